using System.Globalization;

namespace SystemTap.Targets;

// The argument texts of SDT notes are assembler operands, made by the compiler from an "nor" constraint. What occurs:
//
//   x86-64   -4@%edi  8@$0x10  -4@-20(%rbp)  8@(%rax)  8@8(%rax,%rbx,4)  8@(,%rbx,8)  4@counter(%rip)  4@counter+8(%rip)  8@-8+table(%rip)  8@%fs:16  8f@%xmm0  5
//   i386     -8@big@GOTOFF(%ebx)   -4@table@GOTOFF(%ebx,%eax,4)
//   arm64    -4@w0    8@5      -4@[sp, 12]   8@[x0]    8@[x0, x1, lsl 3]  8@[x19, #-8]   8@x29
//
// The number before the @ is the size, negative for signed values, with "f" for floating point; it may be missing (notes of old compilers): then
// the operand's own size counts, or the word.

/// <summary>Where an argument of a mark is.</summary>
public enum SdtArgumentKind
{
    Constant,
    Register,
    Memory,

    /// <summary>The vector register with the number <see cref="SdtArgument.Constant"/>.</summary>
    Vector,

    /// <summary>A form that cannot be read (segment prefixes).</summary>
    Unreadable,
}

/// <summary>One argument of a mark.</summary>
public sealed record SdtArgument(string Text, SdtArgumentKind Kind)
{
    /// <summary>1, 2, 4 or 8 bytes.</summary>
    public int Size { get; init; } = 8;

    public bool IsSigned { get; init; }

    /// <summary>The bits are a floating-point number.</summary>
    public bool IsFloat { get; init; }

    /// <summary>The constant, or the displacement of a memory operand.</summary>
    public long Constant { get; init; }

    /// <summary>The register, or the base of a memory operand.</summary>
    public Register? Register { get; init; }

    public Register? IndexRegister { get; init; }

    /// <summary>Factor of the index: 1, 2, 4 or 8.</summary>
    public int Scale { get; init; } = 1;

    /// <summary>Symbol whose address is added; then the operand is relative to the file, not to a register.</summary>
    public string? Symbol { get; init; }

    /// <summary>The C type the size stands for.</summary>
    public string TypeText => (Size, IsSigned, IsFloat) switch
    {
        (4, _, true) => "float",
        (_, _, true) => "double",
        (1, true, _) => "int8_t",
        (1, _, _) => "uint8_t",
        (2, true, _) => "int16_t",
        (2, _, _) => "uint16_t",
        (4, true, _) => "int32_t",
        (4, _, _) => "uint32_t",
        (_, true, _) => "int64_t",
        _ => "uint64_t",
    };

    /// <summary>Splits and reads the argument text of a note.</summary>
    public static List<SdtArgument> Parse(string text, Architecture architecture)
    {
        var result = new List<SdtArgument>();
        var depth = 0;
        var start = 0;
        for (var i = 0; i <= text.Length; i++)
        {
            var c = i < text.Length ? text[i] : ' ';
            depth += c is '[' or '(' ? 1 : c is ']' or ')' ? -1 : 0;
            if (c == ' ' && (depth <= 0 || i == text.Length))
            {
                if (i > start)
                    result.Add(One(text[start..i], architecture));
                start = i + 1;
            }
        }
        return result;
    }

    private static SdtArgument One(string text, Architecture architecture)
    {
        var operand = text.AsSpan();
        var (size, signed, isFloat, sized) = (8, false, false, false);
        var at = operand.IndexOf('@');
        if (at >= 0)
        {
            var head = operand[..at];
            if (head.Length > 0 && head[^1] == 'f')
            {
                isFloat = true;
                head = head[..^1];
            }
            if (int.TryParse(head, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var written) && Math.Abs(written) is 1 or 2 or 4 or 8)
            {
                (size, signed, sized) = (Math.Abs(written), written < 0, true);
                operand = operand[(at + 1)..];
            }
        }

        var x86 = architecture.Name == "x86_64";
        var parsed = (x86 ? X86(operand, architecture) : Arm64(operand, architecture)) ?? new SdtArgument("", SdtArgumentKind.Unreadable);
        if (!sized && parsed is { Kind: SdtArgumentKind.Register, Register: { } register })
            size = register.Size;
        if (!sized && parsed.Kind == SdtArgumentKind.Constant)
            signed = true;
        return parsed with { Text = text, Size = size, IsSigned = signed, IsFloat = isFloat };
    }

    private static SdtArgument? X86(ReadOnlySpan<char> operand, Architecture architecture)
    {
        if (operand.IsEmpty)
            return null;
        if (operand[0] == '$')
            return Number(operand[1..]) is { } immediate ? new SdtArgument("", SdtArgumentKind.Constant) { Constant = immediate } : null;
        var open = operand.IndexOf('(');
        if (operand.StartsWith("%xmm") && int.TryParse(operand[4..], NumberStyles.None, CultureInfo.InvariantCulture, out var vector) && vector < 16)
            return new SdtArgument("", SdtArgumentKind.Vector) { Constant = vector };
        if (operand[0] == '%' && open < 0)
            return architecture.FindRegister(operand[1..]) is { } register ? new SdtArgument("", SdtArgumentKind.Register) { Register = register } : null;
        if (open < 0)
            return Number(operand) is { } plain ? new SdtArgument("", SdtArgumentKind.Constant) { Constant = plain } : null;
        if (operand[^1] != ')' || Displacement(operand[..open]) is not var (displacement, symbol))
            return null;
        var inner = operand[(open + 1)..^1];
        Span<Range> parts = stackalloc Range[4];
        var count = inner.Split(parts, ',');
        Register? @base = null, index = null;
        var scale = 1;
        var first = inner[parts[0]].Trim();
        if (!first.IsEmpty)
        {
            if (first.SequenceEqual("%rip"))
            {
                if (symbol is null || count > 1)
                    return null;
            }
            else if (first[0] != '%' || (@base = architecture.FindRegister(first[1..])) is null)
                return null;
        }
        if (count > 1)
        {
            var second = inner[parts[1]].Trim();
            if (second.IsEmpty || second[0] != '%' || (index = architecture.FindRegister(second[1..])) is null)
                return null;
            if (count > 2 && !(int.TryParse(inner[parts[2]].Trim(), out scale) && scale is 1 or 2 or 4 or 8))
                return null;
        }
        if (symbol is not null && symbol.EndsWith("@GOTOFF", StringComparison.Ordinal))
            (symbol, @base) = (symbol[..^"@GOTOFF".Length], null); // the register has the address that the distance is from
        // sym(%rax) is sym's address plus rax: only in code at fixed addresses, where the symbol's address is what it says.
        return new SdtArgument("", SdtArgumentKind.Memory) { Constant = displacement, Symbol = symbol, Register = @base, IndexRegister = index, Scale = scale };
    }

    private static SdtArgument? Arm64(ReadOnlySpan<char> operand, Architecture architecture)
    {
        if (operand.IsEmpty)
            return null;
        if (operand[0] != '[')
        {
            if (Number(operand[0] == '#' ? operand[1..] : operand) is { } constant)
                return new SdtArgument("", SdtArgumentKind.Constant) { Constant = constant };
            return Arm(operand, architecture) is { } register ? new SdtArgument("", SdtArgumentKind.Register) { Register = register } : null;
        }
        if (operand[^1] != ']')
            return null;
        var inner = operand[1..^1];
        Span<Range> parts = stackalloc Range[4];
        var count = inner.Split(parts, ',');
        if (Arm(inner[parts[0]].Trim(), architecture) is not { } @base)
            return null;
        if (count == 1)
            return new SdtArgument("", SdtArgumentKind.Memory) { Register = @base };
        var second = inner[parts[1]].Trim();
        if (second.IsEmpty)
            return null;
        if (count == 2 && Number(second[0] == '#' ? second[1..] : second) is { } displacement)
            return new SdtArgument("", SdtArgumentKind.Memory) { Register = @base, Constant = displacement };
        if (Arm(second, architecture) is not { } index)
            return null;
        var scale = 1;
        if (count > 2)
        {
            var shift = inner[parts[2]].Trim();
            var digits = shift.StartsWith("lsl") ? shift[3..].Trim().TrimStart('#') : default;
            if (!int.TryParse(digits, out var bits) || bits is < 0 or > 3)
                return null;
            scale = 1 << bits;
        }
        return new SdtArgument("", SdtArgumentKind.Memory) { Register = @base, IndexRegister = index, Scale = scale };
    }

    private static Register? Arm(ReadOnlySpan<char> name, Architecture architecture) => architecture.FindRegister(name);

    /// <summary>Sum of numbers and at most one symbol: <c>-8+table</c>, <c>table+16</c>, nothing.</summary>
    private static (long Displacement, string? Symbol)? Displacement(ReadOnlySpan<char> text)
    {
        long sum = 0;
        string? symbol = null;
        var start = 0;
        for (var i = 0; i <= text.Length; i++)
        {
            if (i < text.Length && !(i > start && text[i] is '+' or '-'))
                continue;
            var part = text[start..i].Trim();
            if (part.Length > 0 && part[0] == '+')
                part = part[1..];
            if (!part.IsEmpty)
            {
                if (Number(part) is { } number)
                    sum = unchecked(sum + number);
                else if (symbol is null && (char.IsAsciiLetter(part[0]) || part[0] is '_' or '.'))
                    symbol = part.ToString();
                else
                    return null;
            }
            start = i;
        }
        return (sum, symbol);
    }

    private static long? Number(ReadOnlySpan<char> text)
    {
        var negative = !text.IsEmpty && text[0] == '-';
        if (negative)
            text = text[1..];
        ulong value;
        if (text.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
            ? !ulong.TryParse(text[2..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value)
            : !ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value))
            return null;
        return unchecked(negative ? -(long)value : (long)value);
    }
}
