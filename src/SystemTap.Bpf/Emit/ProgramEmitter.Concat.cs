using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Concatenation and formatting inside the kernel, for texts that are keys, compared or kept. (Texts that are only printed are made by stap.) A format
// is a concatenation whose numbers are written by bpf_snprintf.

internal sealed partial class ProgramEmitter
{
    private StringValue Concat(IReadOnlyList<Expr> parts, SourceSpan span)
    {
        var values = new StringValue[parts.Count];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = Text(parts[i]);
        }

        At(span);
        return Join(values);
    }

    private StringValue Join(ReadOnlySpan<StringValue> values)
    {
        var most = 0;
        var literal = "";
        foreach (var value in values)
        {
            most += value.MaxLength;
            literal = literal is not null && value.Literal is { } text ? literal + text : null;
        }

        if (literal is not null)
        {
            return StringValue.Of(literal.Length > _c.MaxText ? literal[.._c.MaxText] : literal);
        }

        var slot = TakeString(Capacities.BufferFor(most));
        var bytes = slot.Memory.At(8);
        Clear(bytes, slot.Capacity);
        int? known = 0;
        var soFar = 0;
        foreach (var value in values)
        {
            Append(slot.Memory, bytes, ref known, soFar, value);
            soFar += value.MaxLength;
        }

        if (known is { } length)
        {
            Store(slot.Memory, length);
        }

        if (most > _c.MaxText)
        {
            Cut(slot, _c.MaxText);
        }

        return slot.AsString with { Capacity = Math.Min(slot.Capacity, Capacities.BufferFor(_c.MaxText)) };
    }

    /// <summary>Cuts a text that came out longer than a string may be.</summary>
    private void Cut(LocalSlot slot, int most)
    {
        var fits = _a.NewLabel();
        Load(Reg.R0, slot.Memory);
        _a.JumpIf(JumpOp.Le, Reg.R0, most, fits);
        Store(slot.Memory, most);
        Increment(ControlBlock.TruncatedStrings);
        Address(Reg.R1, slot.Memory.At(8 + most));
        _a.Emit(Instruction.Mov(Reg.R2, slot.Capacity - most));
        _a.Emit(Instruction.Mov(Reg.R3, 0));
        _a.Call(Helper.ProbeReadKernel);
        _a.Bind(fits);
    }

    /// <summary>Adds 1 to a word of the control block. R1 and R2 are lost.</summary>
    private void Increment(int word)
    {
        DataAddress(Reg.R1, word);
        _a.Emit(Instruction.Mov(Reg.R2, 1));
        _a.Emit(Instruction.Atomic(AtomicOp.Add, MemSize.DW, Reg.R1, 0, Reg.R2));
    }

    /// <summary>Appends to a buffer whose length so far is known now, or stands in <paramref name="cursor"/> and is at most <paramref name="soFar"/>.</summary>
    private void Append(Mem cursor, Mem bytes, ref int? known, int soFar, StringValue value)
    {
        if (value.Literal is { } literal)
        {
            if (literal.Length == 0)
            {
                return;
            }

            if (known is { } at && literal.Length <= Inline)
            {
                PutBytes(literal, bytes.At(at));
                known = at + literal.Length;
                return;
            }

            if (known is { } start)
            {
                Address(Reg.R1, bytes.At(start));
                _a.Emit(Instruction.Mov(Reg.R2, literal.Length));
                ConstantAddress(Reg.R3, _c.Constants.Text(literal));
                _a.Call(Helper.ProbeReadKernel);
                known = start + literal.Length;
                return;
            }
        }

        var past = _a.NewLabel();
        if (known is { } fixedLength)
        {
            Store(cursor, fixedLength);
            known = null;
        }

        Length(value, Reg.R2);
        if (value.Literal is null)
        {
            // Never taken; the verifier needs to hear it.
            _a.JumpIf(JumpOp.Gt, Reg.R2, value.MaxLength, past);
        }

        Load(Reg.R4, cursor);
        _a.JumpIf(JumpOp.Gt, Reg.R4, soFar, past);
        Address(Reg.R1, bytes);
        _a.Emit(Instruction.Add64(Reg.R1, Reg.R4));
        _a.Emit(Instruction.Add64(Reg.R4, Reg.R2));
        Save(cursor, Reg.R4);
        if (value.Literal is { } longText)
        {
            ConstantAddress(Reg.R3, _c.Constants.Text(longText));
        }
        else
        {
            Address(Reg.R3, value.Bytes);
        }

        _a.Call(Helper.ProbeReadKernel);
        _a.Bind(past);
    }

    /// <summary>Stores the bytes of a short text, nothing after them.</summary>
    private void PutBytes(string text, Mem target)
    {
        var i = 0;
        while (i < text.Length)
        {
            var left = text.Length - i;
            var (size, bytes) = left >= 8 ? (MemSize.DW, 8) : left >= 4 ? (MemSize.W, 4) : left >= 2 ? (MemSize.H, 2) : (MemSize.B, 1);
            var word = WordOf(text.Substring(i, bytes), 0);
            if (size == MemSize.DW)
            {
                Store(target.At(i), word);
            }
            else
            {
                _a.Emit(Instruction.Store(size, target.Base, target.Offset + i, (int)word));
            }

            i += bytes;
        }
    }

    // ---- formats ---------------------------------------------------------------------------------------------------------

    private StringValue Format(FormatExpr f)
    {
        var values = new List<StringValue>();
        var next = 0;
        foreach (var s in f.Segments)
        {
            if (s.Conversion == FormatConversion.Literal)
            {
                values.Add(StringValue.Of(s.Text));
                continue;
            }

            if (s.WidthKind == FormatSize.Dynamic || s.PrecisionKind == FormatSize.Dynamic)
            {
                throw Cannot("a format with \"*\" whose text is used in a kernel handler", f.Span, "print it instead, or run with --runtime=kernel");
            }

            values.Add(FormatOne(s, f.Arguments[next++], f.Span));
        }

        At(f.Span);
        return Join(values.ToArray());
    }

    private StringValue FormatOne(FormatSegment s, Expr argument, SourceSpan span)
    {
        switch (s.Conversion)
        {
            case FormatConversion.String:
                var text = Text(argument);
                if (s.PrecisionKind == FormatSize.Fixed && s.Precision < text.MaxLength)
                {
                    text = Prefix(text, s.Precision);
                }

                return s.WidthKind == FormatSize.Fixed && s.Width > 0 ? PadText(text, s, span) : text;
            case FormatConversion.Char when s.Flag != FormatFlag.Alternate && s.WidthKind == FormatSize.Unspecified:
                return CharText(argument);
            case FormatConversion.Signed or FormatConversion.Unsigned or FormatConversion.HexLower or FormatConversion.HexUpper or FormatConversion.Pointer
                when s.PrecisionKind == FormatSize.Unspecified:
                return NumberText(s, argument, span);
            default:
                throw Cannot($"the conversion {s.Conversion} with these flags in a text that a kernel handler uses", span, "print it instead, or run with --runtime=kernel");
        }
    }

    private StringValue NumberText(FormatSegment s, Expr argument, SourceSpan span)
    {
        var prefix = s.Conversion == FormatConversion.Pointer || (s.Flag == FormatFlag.Alternate && s.Conversion is FormatConversion.HexLower or FormatConversion.HexUpper);
        var flag = s.Flag switch
        {
            FormatFlag.Zero => "0",
            FormatFlag.Plus => "+",
            FormatFlag.Left => "-",
            FormatFlag.Space => " ",
            _ => "",
        };
        var width = s.WidthKind == FormatSize.Fixed && s.Width > 0 ? s.Width : 0;
        var letter = s.Conversion switch
        {
            FormatConversion.Signed => "d",
            FormatConversion.Unsigned => "u",
            FormatConversion.HexUpper => "X",
            _ => "x",
        };
        var head = prefix ? letter == "X" ? "0X" : "0x" : "";
        var inner = prefix || width == 0 ? $"{head}%{(prefix ? "" : flag)}ll{letter}" : $"%{flag}{width}ll{letter}";
        var slot = TakeString(Capacities.BufferFor(Math.Max(24, prefix ? 0 : width)));
        var mark = Marked();
        Long(argument, Reg.R0);
        var data = TakeStack(8);
        Save(data, Reg.R0);
        At(span);
        Clear(slot.Memory.At(8), slot.Capacity);
        Snprintf(slot, inner, data);
        Release(mark);
        return prefix && width > 0 ? PadText(slot.AsString, s with { Flag = s.Flag == FormatFlag.Alternate ? FormatFlag.None : s.Flag }, span) : slot.AsString;
    }

    /// <summary>Writes one value by a format; the length word gets the length.</summary>
    private void Snprintf(LocalSlot slot, string format, Mem data)
    {
        Address(Reg.R1, slot.Memory.At(8));
        _a.Emit(Instruction.Mov(Reg.R2, slot.Capacity));
        ConstantAddress(Reg.R3, _c.Constants.Text(format));
        Address(Reg.R4, data);
        _a.Emit(Instruction.Mov(Reg.R5, 8));
        _a.Call(Helper.Snprintf);
        var good = _a.NewLabel();
        var fits = _a.NewLabel();
        _a.JumpIf(JumpOp.SGt, Reg.R0, 0, good);
        _a.Emit(Instruction.Mov(Reg.R0, 1));
        _a.Bind(good);
        _a.JumpIf(JumpOp.SLe, Reg.R0, slot.Capacity, fits);
        _a.Emit(Instruction.Mov(Reg.R0, slot.Capacity));
        _a.Bind(fits);
        _a.Emit(Instruction.Add64Imm(Reg.R0, -1));
        Save(slot.Memory, Reg.R0);
    }

    private StringValue PadText(StringValue text, FormatSegment s, SourceSpan span)
    {
        var most = Math.Max(s.Width, text.MaxLength);
        var slot = TakeString(Capacities.BufferFor(most));
        var source = Padded(text, text.Capacity);
        var mark = Marked();
        var data = TakeStack(8);
        Address(Reg.R1, source);
        Save(data, Reg.R1);
        At(span);
        Clear(slot.Memory.At(8), slot.Capacity);
        Snprintf(slot, $"%{(s.Flag == FormatFlag.Left ? "-" : "")}{s.Width}s", data);
        Release(mark);
        return slot.AsString;
    }

    /// <summary>The first bytes of a text.</summary>
    private StringValue Prefix(StringValue text, int most)
    {
        if (text.Literal is { } literal)
        {
            return StringValue.Of(literal[..Math.Min(most, literal.Length)]);
        }

        var slot = TakeString(Capacities.BufferFor(most));
        CopyPadded(text, slot.Memory.At(8), slot.Capacity);
        var end = slot.Memory.At(8 + most);
        for (var i = most; i < slot.Capacity; i++)
        {
            _a.Emit(Instruction.Store(MemSize.B, end.Base, end.Offset + i - most, 0));
        }

        var fits = _a.NewLabel();
        Length(text, Reg.R0);
        _a.JumpIf(JumpOp.Le, Reg.R0, most, fits);
        _a.Emit(Instruction.Mov(Reg.R0, most));
        _a.Bind(fits);
        Save(slot.Memory, Reg.R0);
        return slot.AsString;
    }

    /// <summary>One byte; "" for 0.</summary>
    private StringValue CharText(Expr argument)
    {
        var slot = TakeString(8);
        Long(argument, Reg.R0);
        _a.Emit(Instruction.Alu64(AluOp.And, Reg.R0, 255));
        Save(slot.Memory.At(8), Reg.R0);
        var empty = _a.NewLabel();
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, empty);
        _a.Emit(Instruction.Mov(Reg.R0, 1));
        _a.Bind(empty);
        Save(slot.Memory, Reg.R0);
        return slot.AsString;
    }
}
