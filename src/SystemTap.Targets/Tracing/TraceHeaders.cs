using System.Text.RegularExpressions;

namespace SystemTap.Targets;

/// <summary>
/// Which system each tracepoint belongs to, from the kernel's headers: what tracefs says of a kernel that runs, the build tree says of one that does not.
/// Headers outside <c>include/trace/events</c> are not part of a build tree; their tracepoints have no system here.
/// </summary>
internal static partial class TraceHeaders
{
    /// <summary>Tracepoint name to system; empty when the tree has no such headers.</summary>
    public static Dictionary<string, string> EventSystems(string tree)
    {
        var systems = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var source in Sources(tree))
        {
            var folder = Path.Combine(source, "include/trace/events");
            if (!Directory.Exists(folder))
            {
                continue;
            }

            foreach (var file in Directory.GetFiles(folder, "*.h"))
            {
                var text = File.ReadAllText(file);
                if (SystemLine().Match(text) is { Success: true } system)
                {
                    foreach (Match name in Names().Matches(text))
                    {
                        systems.TryAdd(name.Groups[1].Value, system.Groups[1].Value);
                    }
                }
            }
        }

        return systems;
    }

    /// <summary>The tree itself, and the one its Makefile includes: distributions keep what is common to all flavours apart.</summary>
    private static IEnumerable<string> Sources(string tree)
    {
        yield return tree;
        yield return Path.Combine(tree, "source");
        var makefile = Path.Combine(tree, "Makefile");
        if (File.Exists(makefile) && Include().Match(File.ReadAllText(makefile)) is { Success: true } other)
        {
            yield return other.Groups[1].Value;
        }
    }

    [GeneratedRegex(@"^#define\s+TRACE_SYSTEM\s+(\w+)", RegexOptions.Multiline)]
    private static partial Regex SystemLine();

    [GeneratedRegex(@"^(?:TRACE_EVENT\w*\(|DEFINE_EVENT\w*\(\s*\w+\s*,)\s*(\w+)", RegexOptions.Multiline)]
    private static partial Regex Names();

    [GeneratedRegex(@"^include\s+(/\S+)/Makefile", RegexOptions.Multiline)]
    private static partial Regex Include();
}
