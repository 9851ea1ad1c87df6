namespace SystemTap.Targets;

/// <summary>Separate debug files, which distributions ship in packages of their own.</summary>
public static class DebugFiles
{
    private const string Root = "/usr/lib/debug";

    /// <summary>The separate debug file of an ELF file, by build id, then by debug link; null when none is installed.</summary>
    public static ElfFile? Find(ElfFile file)
    {
        var id = file.BuildId;
        if (id is { Length: > 2 } && ElfFile.TryOpen(ByBuildId(id)) is { } found)
            return found;
        if (file.DebugLink is not { Length: > 0 } link || link.Contains('/'))
            return null;
        var folder = Path.GetDirectoryName(Path.GetFullPath(file.Path)) ?? "/";
        foreach (var candidate in (string[])[Path.Combine(folder, link), Path.Combine(folder, ".debug", link), Path.Combine(Root + folder, link)])
            if (candidate != file.Path && ElfFile.TryOpen(candidate) is { } linked && (id is null || linked.BuildId == id))
                return linked;
        return null;
    }

    /// <summary>Where debug packages link to the program or library of a build id.</summary>
    public static string ProgramByBuildId(string buildId) => $"{Root}/.build-id/{buildId[..2]}/{buildId[2..]}";

    /// <summary>Where the debug file of a build id would be.</summary>
    public static string ByBuildId(string buildId) => $"{Root}/.build-id/{buildId[..2]}/{buildId[2..]}.debug";
}
