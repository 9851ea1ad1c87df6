using System.Buffers.Binary;
using System.Text;

namespace SystemTap.Targets;

/// <summary>A note: what the tool chain or a library left in the file for others.</summary>
public readonly record struct ElfNote(string Name, uint Type, ReadOnlyMemory<byte> Data);

internal static class ElfNotes
{
    /// <summary>All notes, from sections, or from segments in files without section headers.</summary>
    public static List<ElfNote> Of(ElfFile file, string? section = null)
    {
        var result = new List<ElfNote>();
        var any = false;
        foreach (var candidate in file.Sections)
            if (candidate.Type == ElfSection.Note && (section is null || candidate.Name == section))
            {
                any = true;
                Read(file.Contents(candidate), result);
            }
        if (!any && section is null)
            foreach (var segment in file.Segments)
                if (segment.Type == ElfSegment.Note)
                    Read(file.Part(segment.Offset, segment.FileSize).Span, result);
        return result;
    }

    private static void Read(ReadOnlySpan<byte> rest, List<ElfNote> result)
    {
        while (rest.Length >= 12)
        {
            long nameLength = BinaryPrimitives.ReadUInt32LittleEndian(rest), length = BinaryPrimitives.ReadUInt32LittleEndian(rest[4..]);
            var type = BinaryPrimitives.ReadUInt32LittleEndian(rest[8..]);
            long start = 12 + (nameLength + 3 & ~3L), next = start + (length + 3 & ~3L);
            if (start + length > rest.Length)
                return;
            var name = nameLength > 0 ? rest.Slice(12, (int)nameLength - 1) : default;
            result.Add(new ElfNote(Encoding.UTF8.GetString(name), type, rest.Slice((int)start, (int)length).ToArray()));
            if (next >= rest.Length)
                return;
            rest = rest[(int)next..];
        }
    }
}
