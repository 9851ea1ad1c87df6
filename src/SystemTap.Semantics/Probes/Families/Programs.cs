using System.Globalization;
using System.Text;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// From <c>process("PATH")</c> to executables. Without a slash the name is looked for in <c>$PATH</c>, then in the working folder; in a tapset file under <c>PATH/</c> a relative name
/// stands below that file's folder; a pattern means every executable file it fits; symbolic links are followed; a script means its interpreter.
/// </summary>
internal static class Programs
{
    private const int MostMatches = 4096;

    /// <summary>Pairs of the path as listed (absolute, links not followed) and the filter. Empty when nothing fits.</summary>
    public static List<(string Listed, ProcessFilter Filter)> Find(ProbePoint point, int component, ResolveScope scope)
    {
        var result = new List<(string, ProcessFilter)>();
        var written = ByteText.ToText(((StringLiteral)point.Components[component].Argument!).Value);
        if (written.Length == 0)
        {
            scope.Diagnostics.Error("probe.process-path", Literal.ArgumentSpan(point, component), "process path \"\" is empty", "name a program, such as process(\"/bin/ls\")");
            return result;
        }

        if (point.Components[component].Span.Source?.ProcessPathPrefix is { } prefix && written[0] != '/')
        {
            written = Path.Combine(prefix, written);
        }

        // A machine made from files has no file system: an absolute path is taken at its word.
        if (!scope.Target.IsLive)
        {
            if (written[0] == '/')
            {
                result.Add((written, new ProcessFilter.Executable(written)));
            }

            return result;
        }

        if (written.Contains('/'))
        {
            Collect(Path.GetFullPath(written), result);
            return result;
        }

        var isPattern = Globs.IsPattern(written);
        foreach (var folder in SearchPath())
        {
            Collect(Path.Combine(folder, written), result);
            if (result.Count > 0 && !isPattern)
            {
                break;
            }
        }

        if (result.Count == 0)
        {
            Collect(Path.GetFullPath(written), result);
        }

        return result;
    }

    /// <summary>Program names in <c>$PATH</c>, for suggestions.</summary>
    public static IEnumerable<string> Names(ResolveScope scope)
    {
        if (!scope.Target.IsLive)
        {
            yield break;
        }

        foreach (var folder in SearchPath())
        {
            foreach (var name in Entries(folder))
            {
                yield return name;
            }
        }
    }

    private static void Collect(string path, List<(string, ProcessFilter)> result)
    {
        if (!Globs.IsPattern(path))
        {
            if (Resolve(path) is { } real)
            {
                result.Add((path, new ProcessFilter.Executable(real)));
            }

            return;
        }

        // Links to one file (busybox) are one program: its first name is listed.
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (_, filter) in result)
        {
            seen.Add(((ProcessFilter.Executable)filter).Path);
        }

        foreach (var found in Expand(path))
        {
            if (result.Count < MostMatches && Resolve(found) is { } real && seen.Add(real))
            {
                result.Add((found, new ProcessFilter.Executable(real)));
            }
        }
    }

    private static List<string> Expand(string pattern)
    {
        var current = new List<string> { "/" };
        foreach (var part in pattern.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            var next = new List<string>();
            foreach (var folder in current)
            {
                if (!Globs.IsPattern(part))
                {
                    next.Add(Path.Combine(folder, part));
                    continue;
                }

                foreach (var name in Entries(folder))
                {
                    if ((name[0] != '.' || part[0] == '.') && Globs.Matches(part, name))
                    {
                        next.Add(Path.Combine(folder, name));
                    }
                }
            }

            current = next;
        }

        return current;
    }

    internal static List<string> Entries(string folder)
    {
        var names = new List<string>();
        try
        {
            foreach (var path in Directory.EnumerateFileSystemEntries(folder))
            {
                names.Add(Path.GetFileName(path));
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A folder that is not there or not ours holds no programs.
            return names;
        }

        names.Sort(StringComparer.Ordinal);
        return names;
    }

    internal static string[] SearchPath() =>
        (Environment.GetEnvironmentVariable("PATH") ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").Split(':', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The executable behind a path, or null when it is not an executable file.</summary>
    internal static string? Resolve(string path, int depth = 0)
    {
        try
        {
            var real = RealPath(path);
            if (real is null || !File.Exists(real))
            {
                return null;
            }

#pragma warning disable CA1416 // Linux only, as the whole program
            const UnixFileMode execute = UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;
            if ((File.GetUnixFileMode(real) & execute) == 0)
#pragma warning restore CA1416
            {
                return null;
            }

            return depth < 4 && Interpreter(real) is { } interpreter ? Resolve(interpreter, depth + 1) : real;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static bool IsProcess(string path) =>
        path.StartsWith("/proc/", StringComparison.Ordinal) && int.TryParse(path.AsSpan(6), NumberStyles.None, CultureInfo.InvariantCulture, out _);

    /// <summary>
    /// The path without symbolic links in any of its parts; null when a link leads nowhere. <c>/proc/PID/root</c> stays when it leads into another mount namespace
    /// or root: no path of ours does, and absolute links behind it begin there.
    /// </summary>
    internal static string? RealPath(string path)
    {
        var pending = new Stack<string>();
        Push(path);
        var real = "/";
        var root = "/";
        for (var links = 0; pending.Count > 0;)
        {
            var part = pending.Pop();
            if (part == "..")
            {
                real = Path.GetDirectoryName(real) ?? "/";
                continue;
            }

            var next = Path.Combine(real, part);
            if (new FileInfo(next).LinkTarget is not { } target)
            {
                real = next;
                continue;
            }

            if (part == "root" && IsProcess(real) && (target != "/" || new FileInfo(real + "/ns/mnt").LinkTarget != new FileInfo("/proc/self/ns/mnt").LinkTarget))
            {
                real = root = next;
                continue;
            }

            if (++links > 40)
            {
                return null;
            }

            if (target.StartsWith('/'))
            {
                real = root;
            }

            Push(target);
        }

        return real;

        void Push(string text)
        {
            var parts = text.Split('/', StringSplitOptions.RemoveEmptyEntries);
            for (var i = parts.Length - 1; i >= 0; i--)
            {
                if (parts[i] != ".")
                {
                    pending.Push(parts[i]);
                }
            }
        }
    }

    /// <summary>The program of a <c>#!</c> line; with <c>env</c> the program it would start.</summary>
    private static string? Interpreter(string path)
    {
        Span<byte> head = stackalloc byte[256];
        int length;
        using (var file = File.OpenHandle(path))
        {
            length = RandomAccess.Read(file, head, 0);
        }

        if (length < 4 || head[0] != '#' || head[1] != '!')
        {
            return null;
        }

        var line = head[2..length];
        if (line.IndexOf((byte)'\n') is >= 0 and var end)
        {
            line = line[..end];
        }

        var words = Encoding.UTF8.GetString(line).Split([' ', '\t', '\r'], StringSplitOptions.RemoveEmptyEntries);
        if (words.Length == 0)
        {
            return null;
        }

        if (words.Length > 1 && Path.GetFileName(words[0]) == "env")
        {
            var name = words[1] == "-S" && words.Length > 2 ? words[2] : words[1];
            foreach (var folder in SearchPath())
            {
                if (File.Exists(Path.Combine(folder, name)))
                {
                    return Path.Combine(folder, name);
                }
            }
        }

        return words[0];
    }
}
