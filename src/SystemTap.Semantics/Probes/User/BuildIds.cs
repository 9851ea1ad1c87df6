using SystemTap.Semantics.Probes.Families;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

/// <summary>
/// Programs and libraries named by build id: those that debug packages link to, the target of the session, what runs now with its libraries, and the programs in <c>$PATH</c>.
/// </summary>
internal static class BuildIds
{
    /// <summary>The text is a build id: the 40 digits that linkers write by default.</summary>
    public static bool IsOne(string text) => text.Length == 40 && text.AsSpan().IndexOfAnyExcept("0123456789abcdefABCDEF") < 0;

    /// <summary>Files with that build id, by paths without links, the likeliest first.</summary>
    public static IEnumerable<string> Find(string id, ResolveScope scope)
    {
        id = id.ToLowerInvariant();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var path in Candidates(id, scope))
        {
            if (Programs.RealPath(path) is { } real && seen.Add(real) && File.Exists(real) && ElfFile.TryOpen(real) is { } elf && elf.BuildId == id)
            {
                yield return real;
            }
        }
    }

    private static IEnumerable<string> Candidates(string id, ResolveScope scope)
    {
        yield return DebugFiles.ProgramByBuildId(id);
        if (scope.TargetProgram is { } program)
        {
            yield return program;
        }

        var mapped = new HashSet<string>(StringComparer.Ordinal);
        foreach (var process in scope.Target.Processes.All())
        {
            foreach (var range in process.Maps)
            {
                if (range is { IsFile: true, IsExecutable: true, IsDeleted: false } && mapped.Add(range.Path) && UserRoots.InOurView(process, range.Path) is { } ours)
                {
                    yield return ours;
                }
            }
        }

        foreach (var folder in Programs.SearchPath())
        {
            foreach (var name in Programs.Entries(folder))
            {
                yield return Path.Combine(folder, name);
            }
        }
    }
}
