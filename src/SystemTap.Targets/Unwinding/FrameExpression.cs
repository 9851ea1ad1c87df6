using System.Buffers.Binary;

namespace SystemTap.Targets;

/// <summary>Reads 8 bytes of a process's memory; false when they are not known.</summary>
public delegate bool ReadWord(ulong address, out ulong value);

/// <summary>The stack machine of DWARF expressions, as far as frame information uses it (PLT entries, signal frames, hand-written assembly).</summary>
internal static class FrameExpression
{
    private const int Deepest = 32;

    /// <summary>The value on top at the end; null when it needs something unknown.</summary>
    /// <param name="code">The expression.</param>
    /// <param name="registers">By DWARF number.</param>
    /// <param name="cfa">Pushed first for rules of registers.</param>
    /// <param name="read">Memory.</param>
    public static ulong? Evaluate(ReadOnlySpan<byte> code, ReadOnlySpan<ulong> registers, ulong? cfa, ReadWord read)
    {
        Span<ulong> stack = stackalloc ulong[Deepest];
        var top = 0;
        if (cfa is { } start)
            stack[top++] = start;
        var r = new FrameTable.Reader(code, 0, code.Length, 0);
        var steps = 0;
        while (r.At < code.Length && !r.Failed && ++steps < 1000)
        {
            var op = r.Byte();
            if (top > Deepest - 2)
                return null;
            switch (op)
            {
                case 0x03: stack[top++] = r.Long(); continue;
                case 0x08: stack[top++] = r.Byte(); continue;
                case 0x09: stack[top++] = (ulong)(sbyte)r.Byte(); continue;
                case 0x0a: stack[top++] = r.Half(); continue;
                case 0x0b: stack[top++] = (ulong)(short)r.Half(); continue;
                case 0x0c: stack[top++] = r.Word(); continue;
                case 0x0d: stack[top++] = (ulong)(int)r.Word(); continue;
                case 0x0e or 0x0f: stack[top++] = r.Long(); continue;
                case 0x10: stack[top++] = r.Unsigned(); continue;
                case 0x11: stack[top++] = (ulong)r.Signed(); continue;
                case >= 0x30 and <= 0x4f: stack[top++] = (ulong)(op - 0x30); continue;
                case >= 0x70 and <= 0x8f:
                {
                    if (op - 0x70 >= registers.Length)
                        return null;
                    stack[top++] = registers[op - 0x70] + (ulong)r.Signed();
                    continue;
                }
                case 0x92:
                {
                    var register = (int)r.Unsigned();
                    var offset = r.Signed();
                    if ((uint)register >= (uint)registers.Length)
                        return null;
                    stack[top++] = registers[register] + (ulong)offset;
                    continue;
                }
                case 0x96: continue;
                case 0x2f: // skip
                {
                    var by = (short)r.Half();
                    r.At = Math.Clamp(r.At + by, 0, code.Length);
                    continue;
                }
            }
            // The rest need at least one value.
            if (top < 1)
                return null;
            switch (op)
            {
                case 0x06:
                    if (!read(stack[top - 1], out stack[top - 1]))
                        return null;
                    continue;
                case 0x94:
                {
                    var size = r.Byte();
                    if (size is not (1 or 2 or 4 or 8) || !read(stack[top - 1], out var word))
                        return null;
                    stack[top - 1] = size == 8 ? word : word & ((1UL << (8 * size)) - 1);
                    continue;
                }
                case 0x12: stack[top] = stack[top - 1]; top++; continue;
                case 0x13: top--; continue;
                case 0x19: stack[top - 1] = (ulong)Math.Abs((long)stack[top - 1]); continue;
                case 0x1f: stack[top - 1] = (ulong)-(long)stack[top - 1]; continue;
                case 0x20: stack[top - 1] = ~stack[top - 1]; continue;
                case 0x23: stack[top - 1] += r.Unsigned(); continue;
                case 0x28: // bra
                {
                    var by = (short)r.Half();
                    if (stack[--top] != 0)
                        r.At = Math.Clamp(r.At + by, 0, code.Length);
                    continue;
                }
                case 0x15:
                {
                    var index = r.Byte();
                    if (index >= top)
                        return null;
                    stack[top] = stack[top - 1 - index];
                    top++;
                    continue;
                }
            }
            if (top < 2)
                return null;
            var b = stack[top - 1];
            var a = stack[top - 2];
            switch (op)
            {
                case 0x14: stack[top++] = a; continue;
                case 0x16: (stack[top - 1], stack[top - 2]) = (a, b); continue;
            }
            ulong? result = op switch
            {
                0x1a => a & b,
                0x1b => b == 0 ? (ulong?)null : (ulong)((long)a / (long)b),
                0x1c => a - b,
                0x1d => b == 0 ? (ulong?)null : a % b,
                0x1e => a * b,
                0x21 => a | b,
                0x22 => a + b,
                0x24 => b > 63 ? 0 : a << (int)b,
                0x25 => b > 63 ? 0 : a >> (int)b,
                0x26 => (ulong)((long)a >> (int)Math.Min(b, 63)),
                0x27 => a ^ b,
                0x29 => a == b ? 1UL : 0,
                0x2a => (long)a >= (long)b ? 1UL : 0,
                0x2b => (long)a > (long)b ? 1UL : 0,
                0x2c => (long)a <= (long)b ? 1UL : 0,
                0x2d => (long)a < (long)b ? 1UL : 0,
                0x2e => a != b ? 1UL : 0,
                _ => (ulong?)null,
            };
            if (result is not { } value)
                return null;
            top--;
            stack[top - 1] = value;
        }
        return r.Failed || top < 1 ? null : stack[top - 1];
    }
}
