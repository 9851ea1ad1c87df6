using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes.Families;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

/// <summary>Shared libraries: by name in the loader's folders, and as a program's needs.</summary>
internal static class Libraries
{
    private static readonly Lazy<string[]> Folders = new(FindFolders);

    /// <summary>Files a name that is no program may mean: the path itself, or a library of the loader's folders.</summary>
    public static IEnumerable<string> Search(string written, string? prefix)
    {
        if (written.Contains('/'))
        {
            var path = Path.GetFullPath(prefix is not null && written[0] != '/' ? Path.Combine(prefix, written) : written);
            if (File.Exists(path))
            {
                yield return path;
            }

            yield break;
        }

        foreach (var folder in Folders.Value)
        {
            var path = Path.Combine(folder, written);
            if (!Globs.IsPattern(written) && File.Exists(path))
            {
                yield return path;
                yield break;
            }
        }
    }

    /// <summary>Libraries of a program whose path, or whose file name, fits a pattern: what a process has mapped, else what the dynamic linker would load.</summary>
    public static List<(string Listed, UserFile File)> Of(UserFile program, string pattern, ProcessFilter filter, Target target)
    {
        var result = new List<(string, UserFile)>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        if (!Globs.IsPattern(pattern) && pattern.Contains('/'))
        {
            Add(Path.GetFullPath(pattern));
            return result;
        }

        if (filter is ProcessFilter.Pid pid && target.Processes.Find(pid.Id) is { } process)
        {
            foreach (var range in process.Maps)
            {
                if (range.IsFile && range.IsExecutable && Fits(range.Path))
                {
                    Add(UserRoots.InOurView(process, range.Path));
                }
            }

            return result;
        }

        foreach (var path in Needed(program, target))
        {
            if (Fits(path))
            {
                Add(path);
            }
        }

        return result;

        bool Fits(string path) => Globs.Matches(pattern, path) || Globs.Matches(pattern, Path.GetFileName(path)) || Path.GetFileName(path).StartsWith(pattern + ".so", StringComparison.Ordinal);

        void Add(string path)
        {
            if (Programs.RealPath(path) is { } real && seen.Add(real) && real != program.Path && target.UserFiles.Open(real) is { } file)
            {
                result.Add((real, file));
            }
        }
    }

    /// <summary>Paths of all libraries a program needs, and they need, nearest first.</summary>
    private static List<string> Needed(UserFile program, Target target)
    {
        var result = new List<string>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var pending = new Queue<UserFile>([program]);
        while (pending.TryDequeue(out var file) && result.Count < 1000)
        {
            var (needed, runPath) = file.Elf.Dynamic;
            foreach (var name in needed)
            {
                if (!seen.Add(name) || Find(name, runPath, file.Path) is not { } path)
                {
                    continue;
                }

                result.Add(path);
                if (Programs.RealPath(path) is { } real && target.UserFiles.Open(real) is { } library)
                {
                    pending.Enqueue(library);
                }
            }
        }

        return result;
    }

    private static string? Find(string name, IReadOnlyList<string> runPath, string owner)
    {
        if (name.Contains('/'))
        {
            return File.Exists(name) ? name : null;
        }

        var own = Path.GetDirectoryName(owner) ?? "/";
        foreach (var folder in runPath)
        {
            var path = Path.Combine(folder.Replace("${ORIGIN}", own).Replace("$ORIGIN", own), name);
            if (File.Exists(path))
            {
                return path;
            }
        }

        foreach (var folder in Folders.Value)
        {
            var path = Path.Combine(folder, name);
            if (File.Exists(path))
            {
                return path;
            }
        }

        return null;
    }

    private static string[] FindFolders()
    {
        var folders = new List<string>();
        foreach (var folder in (Environment.GetEnvironmentVariable("LD_LIBRARY_PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries))
        {
            Add(folder);
        }

        Read("/etc/ld.so.conf", 0);
        foreach (var folder in (string[])["/lib", "/usr/lib", "/lib64", "/usr/lib64"])
        {
            Add(folder);
        }

        return [.. folders];

        void Add(string folder)
        {
            if (!folders.Contains(folder) && Directory.Exists(folder))
            {
                folders.Add(folder);
            }
        }

        void Read(string path, int depth)
        {
            try
            {
                foreach (var raw in File.ReadLines(path))
                {
                    var line = raw.Split('#')[0].Trim();
                    if (line.StartsWith("include ", StringComparison.Ordinal) && depth < 4)
                    {
                        var pattern = Path.Combine("/etc", line[8..].Trim());
                        foreach (var file in Directory.EnumerateFiles(Path.GetDirectoryName(pattern)!, Path.GetFileName(pattern)).Order(StringComparer.Ordinal))
                        {
                            Read(file, depth + 1);
                        }
                    }
                    else if (line.StartsWith('/'))
                    {
                        Add(line);
                    }
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return; // the standard folders remain
            }
        }
    }
}
