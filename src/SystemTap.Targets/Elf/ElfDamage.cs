namespace SystemTap.Targets;

/// <summary>
/// What is wrong with a file whose parts are missing. The readers take what is not in the file for absent, so a program that was cut short looks like one
/// that was stripped: messages about what it lacks ask here first, or they would advise packages that cannot help.
/// </summary>
public static class ElfDamage
{
    /// <summary>The damage as the end of a sentence about the file, with what to do; null when every part that its headers name is there.</summary>
    public static string? Of(ElfFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        var length = (ulong)file.Bytes.Length;
        var (offset, entry, count, names) = file.SectionHeaders;
        if (offset == 0)
        {
            // Packers and some strippers leave no section table: what is loaded is all there is to check.
            foreach (var segment in file.Segments)
                if (segment.Type == ElfSegment.Load && !IsWithin(segment.Offset, segment.FileSize, length))
                    return Cut($"what is loaded reaches to byte {End(segment.Offset, segment.FileSize)}", length);
            return null;
        }

        if (offset >= length)
            return Cut($"its section table is at byte {offset}", length);
        if (entry < (file.Is64 ? 64 : 40))
            return Damaged($"entries of {entry} bytes");
        if ((ulong)file.Sections.Count < count)
            return Cut($"its section table has {count} entries, {file.Sections.Count} of them in the file", length);
        if (names >= file.Sections.Count || file.Sections[(int)names] is not { Type: ElfSection.StringTable } strings)
            // A file may do without names; then it says so by the number 0.
            return names == 0 ? null : Damaged($"section {names} does not hold its names");
        if (!IsWithin(strings.Offset, strings.Size, length))
            return Cut($"the names of its sections reach to byte {End(strings.Offset, strings.Size)}", length);
        foreach (var section in file.Sections)
            // Inactive entries (type 0) say nothing about the file.
            if (section.Type is not (0 or ElfSection.NoBits) && !IsWithin(section.Offset, section.Size, length))
                return Cut($"its section \"{section.Name}\" reaches to byte {End(section.Offset, section.Size)}", length);
        return null;
    }

    private static bool IsWithin(ulong offset, ulong size, ulong length) => size == 0 || offset <= length && size <= length - offset;

    private static ulong End(ulong offset, ulong size) => size > ulong.MaxValue - offset ? ulong.MaxValue : offset + size;

    private static string Cut(string what, ulong length) => $"is damaged: {what}, and the file has {length} bytes; install or build it again";

    private static string Damaged(string what) => $"is damaged: its section table is not valid ({what}); install or build it again";
}
