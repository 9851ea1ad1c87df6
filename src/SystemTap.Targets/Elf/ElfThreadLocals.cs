using System.Buffers.Binary;

namespace SystemTap.Targets;

/// <summary>What the dynamic linker writes into a slot of the global offset table for thread-local variables.</summary>
public enum ThreadLocalSlotKind
{
    /// <summary>The file's number in each thread's table of thread-local blocks.</summary>
    Module,

    /// <summary>Distance of the variable at <see cref="ThreadLocalSlot.Offset"/> from the thread pointer.</summary>
    Distance,

    /// <summary>A function and its argument: the distance when the block lies beside the thread pointer, else the address of the file's number.</summary>
    Descriptor,
}

/// <summary>One such slot.</summary>
/// <param name="Kind">What it holds.</param>
/// <param name="Address">Where it is, as linked.</param>
/// <param name="Offset">The variable it was made for: bytes from the beginning of the file's thread-local block.</param>
public readonly record struct ThreadLocalSlot(ThreadLocalSlotKind Kind, ulong Address, long Offset);

/// <summary>
/// How a library's own code finds its thread-local variables. Where the block of a library lies is known to the dynamic linker, which tells the code by relocations; a
/// reader that has no dynamic linker looks into the same slots. x86-64.
/// </summary>
internal static class ElfThreadLocals
{
    private const uint DtpMod64 = 16, TpOff64 = 18, TlsDesc = 36;
    /// <summary>The best slot of a file: one that tells where its block is; null when its code asks for none.</summary>
    public static ThreadLocalSlot? Of(ElfFile file)
    {
        if (!file.Is64 || file.Machine != ElfMachines.X8664)
            return null;
        var dynamic = ElfSymbols.Dynamic(file);
        ThreadLocalSlot? best = null;
        foreach (var section in file.Sections)
        {
            if (section.Type != ElfSection.Rela)
                continue;
            var bytes = file.Contents(section);
            for (var at = 0; at + 24 <= bytes.Length; at += 24)
            {
                var info = BinaryPrimitives.ReadUInt64LittleEndian(bytes[(at + 8)..]);
                if ((uint)info is not (DtpMod64 or TpOff64 or TlsDesc))
                    continue;
                var number = (int)Math.Min(info >> 32, int.MaxValue);
                // Of a symbol that others define the slot would tell about their file.
                if (number > 0 && (number >= dynamic.Count || !dynamic[number].IsDefined))
                    continue;
                var offset = BinaryPrimitives.ReadInt64LittleEndian(bytes[(at + 16)..]) + (number > 0 ? (long)dynamic[number].Value : 0);
                var kind = (uint)info switch { DtpMod64 => ThreadLocalSlotKind.Module, TpOff64 => ThreadLocalSlotKind.Distance, _ => ThreadLocalSlotKind.Descriptor };
                var slot = new ThreadLocalSlot(kind, BinaryPrimitives.ReadUInt64LittleEndian(bytes[at..]), offset);
                // Names that others may define first are the second choice.
                if (number == 0)
                    return slot;
                best ??= slot;
            }
        }
        return best;
    }
}
