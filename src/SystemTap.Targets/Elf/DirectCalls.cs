using System.Buffers.Binary;

namespace SystemTap.Targets;

/// <summary>A call of a fixed place.</summary>
public readonly record struct DirectCall(ulong ReturnAddress, ulong Target);

/// <summary>
/// Finds calls by reading a function's instructions. Debug information describes calls of optimised code only, and symbols alone describe none; the instructions
/// always do, except for calls through pointers.
/// </summary>
public static class DirectCalls
{
    /// <summary>Calls in a range of code, up to the first instruction that cannot be read.</summary>
    public static List<DirectCall> Of(ElfFile file, ulong start, ulong end)
    {
        var result = new List<DirectCall>();
        if (end <= start || file.FileOffset(start) is not { } offset)
            return result;
        var code = file.Part((ulong)offset, end - start).Span;
        if (file.Machine == ElfMachines.Arm64)
        {
            for (var at = 0; at + 4 <= code.Length; at += 4)
            {
                var word = BinaryPrimitives.ReadUInt32LittleEndian(code[at..]);
                if ((word & 0xfc000000) == 0x94000000)
                    result.Add(new DirectCall(start + (ulong)at + 4, unchecked(start + (ulong)at + (ulong)((long)((int)(word << 6) >> 6) * 4))));
            }
        }
        else if (file.Machine == ElfMachines.X8664)
        {
            for (var at = 0; at < code.Length;)
            {
                var (length, kind, _, _) = X86Instructions.Decode(code[at..]);
                if (kind == InstructionKind.Unknown || length <= 0)
                    break;
                var next = start + (ulong)at + (ulong)length;
                if (length >= 5 && code[at + length - 5] == 0xe8 && IsPrefixed(code.Slice(at, length - 5)))
                    result.Add(new DirectCall(next, unchecked(next + (ulong)(long)BinaryPrimitives.ReadInt32LittleEndian(code[(at + length - 4)..]))));
                at += length;
            }
        }
        return result;
    }

    /// <summary>Only prefixes stand in front of the opcode.</summary>
    private static bool IsPrefixed(ReadOnlySpan<byte> bytes)
    {
        foreach (var b in bytes)
            if (b is not (0x66 or 0x67 or 0xf2 or 0xf3 or 0x3e or (>= 0x40 and <= 0x4f)))
                return false;
        return true;
    }
}
