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
        return Join(values, span);
    }

    private StringValue Join(ReadOnlySpan<StringValue> values, SourceSpan span)
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
            if (literal.Length > _c.MaxText)
            {
                CountCut(span);
            }

            return StringValue.Of(literal.Length > _c.MaxText ? literal[.._c.MaxText] : literal);
        }

        var builder = NewBuilder(most);
        foreach (var value in values)
        {
            builder.Add(value);
        }

        return builder.Finish(span);
    }

    private TextBuilder NewBuilder(int most) => new(this, most);

    /// <summary>
    /// A text in the making: its slot is cleared, parts are appended in turn. As long as all parts together fit, plain ones are written in place; a text that
    /// could get longer than a string may be is made by routines that cut.
    /// </summary>
    private sealed class TextBuilder
    {
        private readonly ProgramEmitter _e;
        private readonly bool _clips;
        private int? _known = 0;
        private int _soFar;

        public TextBuilder(ProgramEmitter e, int most)
        {
            _e = e;
            _clips = most > e._c.MaxText;
            Slot = e.TakeString(Capacities.BufferFor(Math.Min(most, e._c.MaxText)));
            e.Clear(Slot.Memory.At(8), Slot.Capacity);
            if (_clips)
            {
                e.Store(CutWord, 0);
            }
        }

        public LocalSlot Slot { get; }

        /// <summary>Some part may have written a NUL, where a string ends.</summary>
        public bool MayHoldNul { get; set; }

        private int Limit => Math.Min(Slot.Capacity - 1, _e._c.MaxText);

        /// <summary>The packed slot into R2, its length in memory, for a routine that appends at most that much.</summary>
        public void Ready(int most)
        {
            if (_known is { } length)
            {
                _e.Store(Slot.Memory, length);
                _known = null;
            }

            _e._a.LdImm64(Reg.R2, Pack(Slot, Limit));
            _soFar = Math.Min(_soFar + most, Limit);
        }

        public void Add(StringValue value)
        {
            if (!_clips)
            {
                _e.Append(Slot.Memory, Slot.Memory.At(8), ref _known, _soFar, value);
                _soFar += value.MaxLength;
                return;
            }

            _e.Source(value);
            Ready(value.MaxLength);
            _e.CallAppend();
        }

        public StringValue Finish(SourceSpan span)
        {
            if (_known is { } length)
            {
                _e.Store(Slot.Memory, length);
            }

            if (MayHoldNul)
            {
                _e.CutAtNul(Slot);
            }

            if (_clips)
            {
                var whole = _e._a.NewLabel();
                _e.Load(Reg.R0, CutWord);
                _e._a.JumpIf(JumpOp.Eq, Reg.R0, 0, whole);
                _e.CountCut(span);
                _e._a.Bind(whole);
            }

            return Slot.AsString;
        }
    }

    /// <summary>R3 = address of a text, R4 = its length.</summary>
    private void Source(StringValue value)
    {
        Length(value, Reg.R4);
        if (value.Literal is { } literal)
        {
            ConstantAddress(Reg.R3, _c.Constants.Text(literal));
        }
        else
        {
            Address(Reg.R3, value.Bytes);
        }
    }

    /// <summary>Ends a text at its first NUL and clears what follows.</summary>
    private void CutAtNul(LocalSlot slot)
    {
        Length(slot.AsString with { Length = null }, Reg.R0);
        var most = slot.Capacity - 1;
        Bound(Reg.R0, most);
        Save(slot.Memory, Reg.R0);
        Address(Reg.R1, slot.Memory.At(8));
        _a.Emit(Instruction.Add64(Reg.R1, Reg.R0));
        _a.Emit(Instruction.Mov(Reg.R2, most));
        _a.Emit(Instruction.Sub64(Reg.R2, Reg.R0));
        _a.Emit(Instruction.Mov(Reg.R3, 0));
        _usesLibrary = true;
        _a.Call(Helper.ProbeReadKernel);
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
                Put(size, target.At(i), (int)word);
            }

            i += bytes;
        }
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
