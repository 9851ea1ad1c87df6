using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// sprintf, sprint, sprintd inside the kernel: every conversion, with the meaning stap's own formatter gives it (Runtime/Output/Formatter.cs; tests hold the two
// against each other). All arguments are evaluated before anything is written.

internal sealed partial class ProgramEmitter
{
    /// <summary>Most bytes of memory that %m and %M show.</summary>
    private const int LargestMemory = 4096;

    private StringValue Format(FormatExpr f)
    {
        var longs = new Mem[f.Arguments.Count];
        var texts = new StringValue[f.Arguments.Count];
        for (var i = 0; i < longs.Length; i++)
        {
            if (f.Arguments[i] is HistogramTextExpr h)
            {
                throw Cannot($"the histogram of \"{h.Aggregate.Name}\" as text in a handler that runs in the kernel", h.Span, "print it in a timer or end probe");
            }

            if (f.Arguments[i].Type == ScriptType.String)
            {
                texts[i] = Text(f.Arguments[i]);
            }
            else if (!TryConstant(f.Arguments[i], out _))
            {
                longs[i] = TakeFrame(8);
                Long(f.Arguments[i], Reg.R0);
                Save(longs[i], Reg.R0);
            }
        }

        At(f.Span);
        var builder = NewBuilder(MostOf(f, texts));
        var next = 0;
        foreach (var s in f.Segments)
        {
            if (s.Conversion == FormatConversion.Literal)
            {
                builder.Add(StringValue.Of(s.Text));
                continue;
            }

            int? width = s.WidthKind == FormatSize.Dynamic ? next++ : null;
            int? precision = s.PrecisionKind == FormatSize.Dynamic ? next++ : null;
            var value = next++;
            var argument = new FormatArgument(s, f.Arguments[value], longs[value], texts[value],
                width is { } w ? (f.Arguments[w], longs[w]) : null, precision is { } p ? (f.Arguments[p], longs[p]) : null);
            switch (s.Conversion)
            {
                case FormatConversion.String:
                    FormatText(builder, argument);
                    break;
                case FormatConversion.Char:
                    FormatChar(builder, argument);
                    break;
                case FormatConversion.Binary:
                    FormatBinary(builder, argument);
                    break;
                case FormatConversion.Memory or FormatConversion.MemoryHex:
                    FormatMemory(builder, argument, f.Span);
                    break;
                default:
                    argument.Load(this, Reg.R3);
                    argument.LoadWidth(this, Reg.R4);
                    argument.LoadPrecision(this, Reg.R5);
                    builder.Ready(_c.MaxText);
                    CallAppendNumber(FormOf(s));
                    break;
            }
        }

        return builder.Finish(f.Span);
    }

    /// <summary>Most bytes of a format's text, which may be more than a string holds.</summary>
    private int MostOf(FormatExpr f, StringValue[] texts)
    {
        var most = _c.Capacities.LongestFormat(f.Segments, f.Arguments);
        foreach (var text in texts)
        {
            // Buffers are rounded up, and what is appended is bounded by the buffer.
            most += text == default ? 0 : 8;
        }

        return (int)Math.Min(most, int.MaxValue / 2);
    }

    private static NumberForm FormOf(FormatSegment s) => new(
        s.Conversion switch
        {
            FormatConversion.HexLower or FormatConversion.HexUpper or FormatConversion.Pointer => 16,
            FormatConversion.Octal => 8,
            _ => 10,
        },
        IsSigned: s.Conversion == FormatConversion.Signed,
        IsUpper: s.Conversion == FormatConversion.HexUpper,
        IsAlternate: s.Conversion == FormatConversion.Pointer || (s.Flag == FormatFlag.Alternate && s.Conversion is not (FormatConversion.Signed or FormatConversion.Unsigned)),
        IsZero: s.Flag == FormatFlag.Zero,
        IsLeft: s.Flag == FormatFlag.Left,
        Sign: s.Conversion != FormatConversion.Signed ? '\0' : s.Flag switch { FormatFlag.Plus => '+', FormatFlag.Space => ' ', _ => '\0' });

    /// <summary>One conversion with its argument and, where the format has a <c>*</c>, the arguments of that.</summary>
    private readonly record struct FormatArgument(FormatSegment Segment, Expr Value, Mem Long, StringValue Text, (Expr Value, Mem Long)? Width, (Expr Value, Mem Long)? Precision)
    {
        public bool HasWidth => Segment.WidthKind != FormatSize.Unspecified;

        public void Load(ProgramEmitter e, Reg to) => Load(e, (Value, Long), to);

        private static void Load(ProgramEmitter e, (Expr Value, Mem Long) argument, Reg to)
        {
            if (e.TryConstant(argument.Value, out var constant))
            {
                e._a.LdImm64(to, constant);
            }
            else
            {
                e.Load(to, argument.Long);
            }
        }

        /// <summary>The width, negative when the text stands left; 0 for none.</summary>
        public void LoadWidth(ProgramEmitter e, Reg to)
        {
            var left = Segment.Flag == FormatFlag.Left;
            if (Width is not { } dynamic)
            {
                var fixedWidth = Segment.WidthKind == FormatSize.Fixed ? Segment.Width : 0;
                e._a.LdImm64(to, left ? -fixedWidth : fixedWidth);
                return;
            }

            Load(e, dynamic, to);
            if (left)
            {
                var negative = e._a.NewLabel();
                e._a.JumpIf(JumpOp.SLe, to, 0, negative);
                e._a.Emit(Instruction.Neg64(to));
                e._a.Bind(negative);
            }
        }

        /// <summary>The precision, −1 for none.</summary>
        public void LoadPrecision(ProgramEmitter e, Reg to)
        {
            if (Precision is { } dynamic)
            {
                Load(e, dynamic, to);
            }
            else
            {
                e._a.LdImm64(to, Segment.PrecisionKind == FormatSize.Fixed ? Segment.Precision : -1);
            }
        }
    }

    private void FormatText(TextBuilder builder, FormatArgument a)
    {
        var plain = a.Segment.PrecisionKind == FormatSize.Unspecified && !a.HasWidth;
        if (plain)
        {
            builder.Add(a.Text);
        }
        else
        {
            Source(a.Text);
            if (a.Segment.PrecisionKind != FormatSize.Unspecified)
            {
                var whole = _a.NewLabel();
                a.LoadPrecision(this, Reg.R0);
                _a.JumpIf(JumpOp.Ge, Reg.R0, Reg.R4, whole);
                Move(Reg.R4, Reg.R0);
                _a.Bind(whole);
            }

            a.LoadWidth(this, Reg.R5);
            builder.Ready(_c.MaxText);
            CallAppendPadded();
        }

        if (a.Segment.Flag == FormatFlag.Zero)
        {
            // The NUL it appends ends the text.
            builder.MayHoldNul = true;
            ConstantAddress(Reg.R3, _c.Constants.Text(""));
            _a.Emit(Instruction.Mov(Reg.R4, 1));
            builder.Ready(1);
            CallAppend();
        }
    }

    private void FormatChar(TextBuilder builder, FormatArgument a)
    {
        a.Load(this, Reg.R0);
        if (a.Segment.Flag == FormatFlag.Alternate)
        {
            // A row of the table of escapes: the text, and its length in the last byte.
            _a.Emit(Instruction.Alu64(AluOp.And, Reg.R0, 255));
            _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R0, 3));
            ConstantAddress(Reg.R3, EscapeTable('\''));
            _a.Emit(Instruction.Add64(Reg.R3, Reg.R0));
            Load(Reg.R4, new Mem(Reg.R3, 0));
            _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R4, 56));
        }
        else
        {
            builder.MayHoldNul = true;
            _a.Emit(Instruction.Store(MemSize.B, Frame, Digits.Offset, Reg.R0));
            Address(Reg.R3, Digits);
            _a.Emit(Instruction.Mov(Reg.R4, 1));
        }

        a.LoadWidth(this, Reg.R5);
        builder.Ready(_c.MaxText);
        CallAppendPadded();
    }

    /// <summary>The value's bytes: 1, 2, 4 or 8 by the width; what more the width asks for is NULs, which end a text.</summary>
    private void FormatBinary(TextBuilder builder, FormatArgument a)
    {
        builder.MayHoldNul = true;
        builder.Ready(0);
        a.Load(this, Reg.R0);
        Save(Digits, Reg.R0);
        a.LoadWidth(this, Reg.R5);
        var left = _a.NewLabel();
        var end = _a.NewLabel();
        var sized = _a.NewLabel();
        var right = _a.NewLabel();
        _a.JumpIf(JumpOp.SGe, Reg.R5, 0, right);
        _a.Emit(Instruction.Neg64(Reg.R5));
        _a.Jump(left);
        _a.Bind(right);

        // NULs in front: nothing of this conversion or after it is seen.
        var wide = _a.NewLabel();
        _a.JumpIf(JumpOp.Gt, Reg.R5, 8, wide);
        _a.JumpIf(JumpOp.Eq, Reg.R5, 0, left);
        foreach (var size in (ReadOnlySpan<int>)[1, 2, 4, 8])
        {
            _a.JumpIf(JumpOp.Eq, Reg.R5, size, left);
        }

        _a.Jump(wide);
        _a.Bind(left);
        _a.Emit(Instruction.Mov(Reg.R4, 8));
        _a.JumpIf(JumpOp.Eq, Reg.R5, 0, sized);
        _a.JumpIf(JumpOp.Ge, Reg.R5, 8, sized);
        _a.Emit(Instruction.Mov(Reg.R4, 4));
        _a.JumpIf(JumpOp.Ge, Reg.R5, 4, sized);
        _a.Emit(Instruction.Mov(Reg.R4, 2));
        _a.JumpIf(JumpOp.Ge, Reg.R5, 2, sized);
        _a.Emit(Instruction.Mov(Reg.R4, 1));
        _a.Bind(sized);
        Save(Word(0), Reg.R4);
        Save(Word(1), Reg.R5);
        Address(Reg.R3, Digits);
        builder.Ready(8);
        CallAppend();

        // NULs behind end the text as well.
        Load(Reg.R4, Word(0));
        Load(Reg.R5, Word(1));
        _a.JumpIf(JumpOp.Le, Reg.R5, Reg.R4, end);
        _a.Bind(wide);
        ConstantAddress(Reg.R3, _c.Constants.Text(""));
        _a.Emit(Instruction.Mov(Reg.R4, 1));
        builder.Ready(1);
        CallAppend();
        _a.Bind(end);
    }

    /// <summary>%m and %M: bytes at an address, as many as the precision says, one without.</summary>
    private void FormatMemory(TextBuilder builder, FormatArgument a, SourceSpan span)
    {
        var hex = a.Segment.Conversion == FormatConversion.MemoryHex;
        var most = a.Segment.PrecisionKind switch { FormatSize.Fixed => Math.Min(a.Segment.Precision, LargestMemory), FormatSize.Dynamic => LargestMemory, _ => 1 };
        var mark = Marked();
        var bytes = TakeString((most + 8) & ~7);
        a.LoadPrecision(this, Reg.R2);
        var given = _a.NewLabel();
        _a.JumpIf(JumpOp.SGe, Reg.R2, 0, given);
        _a.Emit(Instruction.Mov(Reg.R2, 1));
        _a.Bind(given);
        CheckPage(a.Segment, most, span);
        Save(bytes.Memory, Reg.R2);
        a.Load(this, Reg.R3);
        Save(Word(10), Reg.R3);
        Address(Reg.R1, bytes.Memory.At(8));
        ReadOrRaise(a.Segment.Flag == FormatFlag.Alternate, span);
        if (!hex)
        {
            builder.MayHoldNul = true;
            Address(Reg.R3, bytes.Memory.At(8));
            Load(Reg.R4, bytes.Memory);
            a.LoadWidth(this, Reg.R5);
            builder.Ready(_c.MaxText);
            CallAppendPadded();
            Release(mark);
            return;
        }

        // Two digits each: blanks first when the text stands right, then the digits in a loop, then blanks.
        var before = _a.NewLabel();
        var after = _a.NewLabel();
        void Blanks(bool leading, Label skip)
        {
            a.LoadWidth(this, Reg.R4);
            if (!leading)
            {
                _a.Emit(Instruction.Neg64(Reg.R4));
            }

            Load(Reg.R0, bytes.Memory);
            _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R0, 1));
            _a.Emit(Instruction.Sub64(Reg.R4, Reg.R0));
            _a.JumpIf(JumpOp.SLe, Reg.R4, 0, skip);
            builder.Ready(_c.MaxText);
            AppendRun(' ');
            _a.Bind(skip);
        }

        builder.Ready(0);
        Blanks(true, before);
        Load(Reg.R4, bytes.Memory);
        Address(Reg.R3, bytes.Memory.At(8));
        builder.Ready(_c.MaxText);
        CallAppendHex();
        Blanks(false, after);
        Release(mark);
    }

    /// <summary>Raises when R2, a number of bytes that %m or %M is to show, is more than a page; tells the verifier that it is at most <paramref name="most"/>.</summary>
    private void CheckPage(FormatSegment s, int most, SourceSpan span)
    {
        if (s.PrecisionKind != FormatSize.Unspecified)
        {
            var fits = _a.NewLabel();
            _a.JumpIf(JumpOp.Le, Reg.R2, LargestMemory, fits);
            Raise(PageMessage(s.Conversion == FormatConversion.Memory ? 'm' : 'M'), span, Reg.R2);
            _a.Bind(fits);
        }

        Bound(Reg.R2, most);
    }

    private static string PageMessage(char conversion) => $"%{conversion} of {{1}} bytes is more than a page ({LargestMemory})";

    /// <summary>Reads R2 bytes from R3 (also in Word(10)) to R1.</summary>
    private void ReadOrRaise(bool user, SourceSpan span)
    {
        var good = _a.NewLabel();
        _a.Call(user ? Helper.ProbeReadUser : Helper.ProbeReadKernel);
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, good);
        Load(Reg.R0, Word(10));
        Raise("read fault at {0}", span, Reg.R0);
        _a.Bind(good);
    }

    /// <summary>Appends R4 bytes at R3 as two hex digits each to the packed slot in R2.</summary>
    private void CallAppendHex() => CallRoutine("text_append_hex", () =>
    {
        EnterLoopRoutine();
        Save(Pointer(1), Reg.R3);
        Save(Pointer(2), Reg.R2);
        Save(Word(11), Reg.R4);
        Store(Word(13), 0);
        Repeat(LargestMemory + 1, done =>
        {
            Load(Reg.R1, Word(13));
            Load(Reg.R2, Word(11));
            _a.JumpIf(JumpOp.SGe, Reg.R1, Reg.R2, done);
            _a.JumpIf(JumpOp.Gt, Reg.R1, LargestMemory, done);
            Load(Reg.R3, Pointer(1));
            _a.Emit(Instruction.Add64(Reg.R3, Reg.R1));
            _a.Emit(Instruction.Add64Imm(Reg.R1, 1));
            Save(Word(13), Reg.R1);
            _a.Emit(Instruction.Load(MemSize.B, Reg.R0, Reg.R3, 0));
            for (var nibble = 0; nibble < 2; nibble++)
            {
                var digit = _a.NewLabel();
                Move(Reg.R1, Reg.R0);
                _a.Emit(nibble == 0 ? Instruction.Alu64(AluOp.Rsh, Reg.R1, 4) : Instruction.Alu64(AluOp.And, Reg.R1, 15));
                _a.JumpIf(JumpOp.Le, Reg.R1, 9, digit);
                _a.Emit(Instruction.Add64Imm(Reg.R1, 'a' - 10 - '0'));
                _a.Bind(digit);
                _a.Emit(Instruction.Add64Imm(Reg.R1, '0'));
                _a.Emit(Instruction.Store(MemSize.B, Frame, Digits.Offset + nibble, Reg.R1));
            }

            Load(Reg.R2, Pointer(2));
            Address(Reg.R3, Digits);
            _a.Emit(Instruction.Mov(Reg.R4, 2));
            CallAppend();
        });
        LeaveRoutine();
    });
}
