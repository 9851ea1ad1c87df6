namespace SystemTap.Targets;

/// <summary>Whether a source file is the one a script means by <c>@file.c</c>.</summary>
public static class SourceFiles
{
    /// <summary>
    /// A pattern with a slash in front is compared with the whole path; another with as many last parts as it has: <c>fs/open.c</c>, <c>open.c</c>,
    /// <c>*.c</c>.
    /// </summary>
    /// <param name="pattern">As written in the script; stars allowed.</param>
    /// <param name="file">As the compiler wrote it.</param>
    /// <param name="folder">The compiler's working directory, for relative names.</param>
    public static bool Matches(string pattern, string file, string? folder = null)
    {
        if (file.Length == 0)
            return false;
        if (pattern.StartsWith('/'))
        {
            var whole = file.StartsWith('/') || folder is null ? file : Path.Combine(folder, file);
            return Globs.Matches(pattern, Path.GetFullPath(whole));
        }
        if (file == pattern || Globs.Matches(pattern, file))
            return true;
        var parts = 1 + pattern.AsSpan().Count('/');
        var at = file.Length;
        for (var i = 0; i < parts && at >= 0; i++)
            at = at == 0 ? -1 : file.LastIndexOf('/', at - 1);
        return Globs.Matches(pattern, file.AsSpan(at + 1));
    }
}
