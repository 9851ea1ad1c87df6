using System.Buffers.Binary;

namespace SystemTap.Targets;

/// <summary>What an instruction does with the flow of control.</summary>
internal enum InstructionKind
{
    Other,
    Return,

    /// <summary>A jump, conditional or not, to a fixed place.</summary>
    Jump,

    /// <summary>A jump through a register or memory: a jump table or a tail call.</summary>
    IndirectJump,

    /// <summary>Not an instruction this reader knows.</summary>
    Unknown,
}

/// <summary>
/// Lengths of x86-64 instructions, and which of them leave a function. Only what compilers emit in functions need be known: an opcode outside the map ends
/// the search. (Intel SDM volume 2, appendix A: the shape of an instruction follows from prefixes, opcode map and ModRM byte.)
/// </summary>
internal static class X86Instructions
{
    /// <summary>Length, kind, and for jumps the target's distance from the instruction's beginning.</summary>
    public static (int Length, InstructionKind Kind, long Target, bool IsNoTrack) Decode(ReadOnlySpan<byte> code)
    {
        var at = 0;
        bool operand16 = false, address32 = false, wide = false, noTrack = false;
        for (; at < code.Length && at < 14; at++)
        {
            var b = code[at];
            if (b == 0x66)
                operand16 = true;
            else if (b == 0x67)
                address32 = true;
            else if (b == 0x3e)
                noTrack = true;
            else if (b is not (0xf0 or 0xf2 or 0xf3 or 0x2e or 0x36 or 0x26 or 0x64 or 0x65))
                break;
        }
        if (at < code.Length && code[at] is >= 0x40 and <= 0x4f)
            wide = (code[at++] & 8) != 0;
        if (at >= code.Length)
            return Unknown;
        var opcode = code[at++];
        switch (opcode)
        {
            case 0xc3 or 0xcb:
                return (at, InstructionKind.Return, 0, false);
            case 0xc2 or 0xca:
                return (at + 2, InstructionKind.Return, 0, false);
            case 0xeb or >= 0x70 and <= 0x7f or >= 0xe0 and <= 0xe3:
                return at < code.Length ? (at + 1, InstructionKind.Jump, at + 1 + (sbyte)code[at], false) : Unknown;
            case 0xe9:
                return Relative(code, at);
            case 0x0f:
                return TwoByte(code, at);
            case 0xc5 or 0xc4 or 0x62:
                return Vector(code, at, opcode);
            case 0xff:
                if (at >= code.Length)
                    return Unknown;
                var length = at + ModRm(code[at..]);
                return (length, (code[at] >> 3 & 7) is 4 or 5 ? InstructionKind.IndirectJump : InstructionKind.Other, 0, noTrack);
            case 0xf6 or 0xf7:
                if (at >= code.Length)
                    return Unknown;
                var immediate = (code[at] >> 3 & 7) < 2 ? opcode == 0xf6 ? 1 : operand16 ? 2 : 4 : 0;
                return (at + ModRm(code[at..]) + immediate, InstructionKind.Other, 0, false);
        }
        var z = operand16 ? 2 : 4;
        var rest = opcode switch
        {
            < 0x40 => (opcode & 7) switch { < 4 => ModRm(code[at..]), 4 => 1, 5 => z, _ => -1 },
            >= 0x50 and <= 0x5f or >= 0x90 and <= 0x99 or >= 0x9b and <= 0x9f or >= 0xa4 and <= 0xa7 or >= 0xaa and <= 0xaf or 0xc9 or 0xcc or 0xd7 or 0xf4 or 0xf5 or >= 0xf8 and <= 0xfd
                or >= 0x6c and <= 0x6f or >= 0xec and <= 0xef => 0,
            0x63 or >= 0x84 and <= 0x8f or >= 0xd0 and <= 0xd3 or >= 0xd8 and <= 0xdf or 0xfe => ModRm(code[at..]),
            0x69 or 0x81 or 0xc7 => ModRm(code[at..]) + z,
            0x6b or 0x80 or 0x83 or 0xc0 or 0xc1 or 0xc6 => ModRm(code[at..]) + 1,
            0x6a or 0xa8 or >= 0xb0 and <= 0xb7 or 0xcd or >= 0xe4 and <= 0xe7 => 1,
            0x68 or 0xa9 => z,
            0xe8 => 4,
            >= 0xb8 and <= 0xbf => wide ? 8 : z,
            >= 0xa0 and <= 0xa3 => address32 ? 4 : 8,
            0xc8 => 3,
            _ => -1,
        };
        return rest < 0 || at + rest > code.Length ? Unknown : (at + rest, InstructionKind.Other, 0, false);
    }

    /// <summary>
    /// The kernel's uprobes step over the instruction as the processor would. They refuse those with a lock or old segment prefix, and look at the opcode byte alone,
    /// also behind a VEX, EVEX or XOP prefix: there 0x70…0x7f (vzeroupper, vpcmpeqb, vpbroadcastb…) are no jumps and 0xc2 (vcmpps) is no return, but the program
    /// would skip them or go on at a wrong place (Linux 6.18: a probe of glibc's strchrnul made it find nothing), and 0x6c…0x6f (vmovd, vmovdqa) are refused as
    /// input and output.
    /// </summary>
    public static bool IsFitForUprobes(ReadOnlySpan<byte> code, bool is64)
    {
        var at = 0;
        for (; at < code.Length && at < 4 && code[at] is 0x64 or 0x65 or 0x66 or 0x67 or 0xf2 or 0xf3 or 0x26 or 0x2e or 0x36 or 0x3e or 0xf0; at++)
        {
            if (code[at] is 0xf0 or 0x26 or 0x2e or 0x36 or 0x3e)
                return false;
        }

        // In 32-bit code these bytes are other instructions when their operand is in memory.
        if (at + 5 > code.Length || !is64 && code[at + 1] < 0xc0)
            return true;
        byte? opcode = code[at] switch
        {
            0xc5 => code[at + 2],
            0xc4 => code[at + 3],
            0x62 => code[at + 4],
            0x8f when (code[at + 1] & 0x1f) >= 8 => code[at + 3],
            _ => null,
        };
        return opcode is not (>= 0x70 and <= 0x7f or 0x90 or 0xc2 or 0xc3 or 0xca or 0xcb or 0xe8 or 0xe9 or 0xeb or 0xff // taken for others
            or >= 0x60 and <= 0x62 or >= 0x6c and <= 0x6f or 0x9a or 0xc4 or 0xc5 or >= 0xd4 and <= 0xd6 or >= 0xe4 and <= 0xe7 or 0xea or >= 0xec and <= 0xef or 0xf0 or 0xf1 or 0xf4 or 0xfa or 0xfb);
    }

    private static readonly (int, InstructionKind, long, bool) Unknown = (0, InstructionKind.Unknown, 0, false);

    private static (int, InstructionKind, long, bool) Relative(ReadOnlySpan<byte> code, int at) =>
        at + 4 <= code.Length ? (at + 4, InstructionKind.Jump, at + 4 + (long)BinaryPrimitives.ReadInt32LittleEndian(code[at..]), false) : Unknown;

    private static (int, InstructionKind, long, bool) TwoByte(ReadOnlySpan<byte> code, int at)
    {
        if (at >= code.Length)
            return Unknown;
        var opcode = code[at++];
        if (opcode is >= 0x80 and <= 0x8f)
            return Relative(code, at);
        var rest = opcode switch
        {
            0x05 or 0x06 or 0x07 or 0x08 or 0x09 or 0x0b or >= 0x30 and <= 0x37 or 0x77 or 0xa0 or 0xa1 or 0xa2 or 0xa8 or 0xa9 or 0xaa or >= 0xc8 and <= 0xcf => 0,
            0x38 => at < code.Length ? 1 + ModRm(code[(at + 1)..]) : -1,
            0x3a => at < code.Length ? 2 + ModRm(code[(at + 1)..]) : -1,
            >= 0x70 and <= 0x73 or 0xa4 or 0xac or 0xba or 0xc2 or 0xc4 or 0xc5 or 0xc6 => 1 + ModRm(code[at..]),
            _ => ModRm(code[at..]),
        };
        return rest < 0 || at + rest > code.Length ? Unknown : (at + rest, InstructionKind.Other, 0, false);
    }

    /// <summary>VEX and EVEX: the map number stands in the prefix.</summary>
    private static (int, InstructionKind, long, bool) Vector(ReadOnlySpan<byte> code, int at, byte prefix)
    {
        var size = prefix == 0xc5 ? 1 : prefix == 0xc4 ? 2 : 3;
        if (at + size >= code.Length)
            return Unknown;
        var map = prefix == 0xc5 ? 1 : code[at] & (prefix == 0xc4 ? 0x1f : 7);
        at += size;
        var opcode = code[at++];
        if (map == 1 && opcode == 0x77)
            return (at, InstructionKind.Other, 0, false);
        var immediate = map == 3 || map == 1 && opcode is >= 0x70 and <= 0x73 or 0xc2 or 0xc4 or 0xc5 or 0xc6 ? 1 : 0;
        var rest = ModRm(code[at..]) + immediate;
        return at + rest > code.Length ? Unknown : (at + rest, InstructionKind.Other, 0, false);
    }

    /// <summary>Bytes of a ModRM byte, its SIB byte and displacement.</summary>
    private static int ModRm(ReadOnlySpan<byte> code)
    {
        if (code.IsEmpty)
            return 64; // beyond the end: the caller's check fails
        var mode = code[0] >> 6;
        var rm = code[0] & 7;
        var length = 1;
        if (mode == 3)
            return length;
        if (rm == 4)
        {
            if (code.Length < 2)
                return 64;
            length++;
            if (mode == 0 && (code[1] & 7) == 5)
                length += 4;
        }
        else if (mode == 0 && rm == 5)
            length += 4;
        return length + (mode == 1 ? 1 : mode == 2 ? 4 : 0);
    }
}
