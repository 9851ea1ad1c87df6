using System.Buffers.Binary;

namespace SystemTap.Targets;

/// <summary>A stub through which a file calls an imported function.</summary>
/// <param name="Name">The function, without a version.</param>
/// <param name="Address">The stub, as linked.</param>
public readonly record struct PltEntry(string Name, ulong Address);

/// <summary>
/// Finds the stubs of <c>.plt</c>, <c>.plt.sec</c> and <c>.plt.got</c>. On x86 every stub that jumps through a slot of the global offset table is found by its
/// own instruction (<c>jmp *disp(%rip)</c>), whatever layout the linker chose; the slot's relocation has the name. On arm64 stub i belongs to relocation i.
/// </summary>
public static class ElfPlt
{
    /// <summary>All stubs with names, by address; empty for static files.</summary>
    public static List<PltEntry> Of(ElfFile file)
    {
        var result = new List<PltEntry>();
        if (!file.Is64)
            return result;
        var dynamic = ElfSymbols.Dynamic(file);
        var slots = new Dictionary<ulong, string>();
        var ordered = new List<string>();
        foreach (var section in file.Sections)
        {
            if (section.Type != ElfSection.Rela || section.Name is not (".rela.plt" or ".rela.dyn"))
                continue;
            var bytes = file.Contents(section);
            for (var at = 0; at + 24 <= bytes.Length; at += 24)
            {
                var place = BinaryPrimitives.ReadUInt64LittleEndian(bytes[at..]);
                var symbol = BinaryPrimitives.ReadUInt64LittleEndian(bytes[(at + 8)..]) >> 32;
                var name = symbol < (ulong)dynamic.Count ? dynamic[(int)symbol].Name : "";
                if (section.Name == ".rela.plt")
                    ordered.Add(name);
                if (name.Length > 0)
                    slots.TryAdd(place, name);
            }
        }

        foreach (var section in file.Sections)
        {
            if (section.Name is not (".plt" or ".plt.sec" or ".plt.got"))
                continue;
            if (file.Machine == ElfMachines.X8664)
                X86(file, section, slots, result);
            else if (file.Machine == ElfMachines.Arm64 && section.Name == ".plt")
                for (var i = 0; i < ordered.Count && 32 + 16UL * (ulong)(i + 1) <= section.Size; i++)
                    if (ordered[i].Length > 0)
                        result.Add(new PltEntry(ordered[i], section.Address + 32 + 16UL * (ulong)i));
        }

        result.Sort(static (a, b) => a.Address.CompareTo(b.Address));
        return result;
    }

    private static void X86(ElfFile file, ElfSection section, Dictionary<ulong, string> slots, List<PltEntry> result)
    {
        var code = file.Contents(section);
        var stride = section.Name == ".plt.got" && section.EntrySize == 8 ? 8 : 16;
        for (var at = 0; at + stride <= code.Length; at += stride)
        {
            var stub = code.Slice(at, stride);
            var jump = stub.IndexOf((ReadOnlySpan<byte>)[0xff, 0x25]);
            if (jump < 0 || jump + 6 > stub.Length)
                continue;
            var next = section.Address + (ulong)(at + jump + 6);
            var slot = unchecked(next + (ulong)(long)BinaryPrimitives.ReadInt32LittleEndian(stub[(jump + 2)..]));
            if (slots.TryGetValue(slot, out var name))
                result.Add(new PltEntry(name, section.Address + (ulong)at));
        }
    }
}
