namespace SystemTap.Semantics.Tapsets;

/// <summary>Finds the files of the include folders in their order of precedence.</summary>
internal static class TapsetFiles
{
    /// <summary>When a folder last changed, in ticks; 0 when it does not exist.</summary>
    public static long FolderTime(string path)
    {
        var info = new DirectoryInfo(path);
        return info.Exists ? info.LastWriteTimeUtc.Ticks : 0;
    }

    /// <summary>Size and time of a file; (-1, 0) when it does not exist.</summary>
    public static (long Size, long Time) Stamp(string path)
    {
        var info = new FileInfo(path);
        return info.Exists ? (info.Length, info.LastWriteTimeUtc.Ticks) : (-1, 0);
    }

    public static void Find(TapsetOptions options, List<TapsetFolder> folders, List<TapsetFile> files)
    {
        var subFolders = TapsetPaths.SubFolders(options.Environment);
        var seenFiles = new HashSet<string>(StringComparer.Ordinal);
        var seenNames = new HashSet<string>(StringComparer.Ordinal);
        var runtime = options.Environment.Runtime == "bpf" ? "bpf" : "linux";

        // Macros first, all of them: a file may use a macro of any include folder.
        foreach (var pattern in (ReadOnlySpan<string>)[".stpm", ".stp"])
        {
            foreach (var directory in options.Directories)
            {
                var root = Path.GetFullPath(directory);
                foreach (var sub in subFolders)
                {
                    Folder(root, sub.Length == 0 ? root : Path.Combine(root, sub), pattern, null);
                }

                Tree(root, Path.Combine(root, runtime, "PATH"), pattern, "/", 0);
                Tree(root, Path.Combine(root, "PATH"), pattern, "/", 0);
            }
        }

        void Tree(string root, string folder, string extension, string prefix, int depth)
        {
            if (!Folder(root, folder, extension, prefix) || depth > 32)
            {
                return;
            }

            var inner = Directory.GetDirectories(folder);
            Array.Sort(inner, StringComparer.Ordinal);
            foreach (var path in inner)
            {
                Tree(root, path, extension, prefix + Path.GetFileName(path) + "/", depth + 1);
            }
        }

        bool Folder(string root, string folder, string extension, string? prefix)
        {
            var time = FolderTime(folder);
            if (extension == ".stpm" && !folders.Exists(f => f.Path == folder))
            {
                folders.Add(new TapsetFolder(folder, time));
            }

            if (time == 0)
            {
                return false;
            }

            string[] paths;
            try
            {
                paths = Directory.GetFiles(folder, "*" + extension);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return false; // not ours to read: as if empty
            }

            Array.Sort(paths, StringComparer.Ordinal);
            foreach (var path in paths)
            {
                // Paths are lines of the index; a name with a line break or tab in it cannot be kept there and is no tapset's.
                if (!path.EndsWith(extension, StringComparison.Ordinal) || path.AsSpan().IndexOfAny('\n', '\t') >= 0)
                {
                    continue;
                }

                var (size, written) = Stamp(path);
                if (size >= 0 && seenNames.Add(Path.GetRelativePath(root, path)) && seenFiles.Add(Real(path)))
                {
                    files.Add(new TapsetFile(path, size, written, prefix));
                }
            }

            return true;
        }
    }

    /// <summary>One file reached by two links counts once.</summary>
    private static string Real(string path)
    {
        try
        {
            return new FileInfo(path).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? path;
        }
        catch (IOException)
        {
            return path; // a broken link: reading it will say so
        }
    }
}
