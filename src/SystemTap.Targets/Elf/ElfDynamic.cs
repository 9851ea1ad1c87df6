using System.Buffers.Binary;

namespace SystemTap.Targets;

/// <summary>What a file tells the dynamic linker.</summary>
public readonly record struct ElfDynamicInfo(IReadOnlyList<string> Needed, IReadOnlyList<string> RunPath)
{
    internal static ElfDynamicInfo Of(ElfFile file)
    {
        const ulong tagNeeded = 1, tagRunPath = 29, tagOldRunPath = 15;
        var needed = new List<string>();
        var runPath = new List<string>();
        if (file.FindSection(".dynamic") is not { } section || section.Link >= file.Sections.Count)
            return new ElfDynamicInfo(needed, runPath);
        var strings = file.Contents(file.Sections[(int)section.Link]);
        var bytes = file.Contents(section);
        var size = file.Is64 ? 8 : 4;
        for (var at = 0; at + 2 * size <= bytes.Length; at += 2 * size)
        {
            var tag = Number(bytes[at..], size);
            var value = Number(bytes[(at + size)..], size);
            if (tag == 0)
                break;
            if (tag == tagNeeded)
                needed.Add(ElfFile.Text(strings, (uint)value));
            else if (tag is tagRunPath or tagOldRunPath)
                runPath.AddRange(ElfFile.Text(strings, (uint)value).Split(':', StringSplitOptions.RemoveEmptyEntries));
        }
        return new ElfDynamicInfo(needed, runPath);
    }

    private static ulong Number(ReadOnlySpan<byte> p, int size) => size == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(p) : BinaryPrimitives.ReadUInt32LittleEndian(p);
}
