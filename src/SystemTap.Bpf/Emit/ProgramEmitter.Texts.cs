using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Text functions that walk bytes. Indexes live in the frame, so that the verifier sees an unknown number, tests it once against the bound, and
// the loop converges in one round.

internal sealed partial class ProgramEmitter
{
    /// <summary>A loop over an index word from its present value to the bound in memory; the body gets R1 = the index, proven ≤ most.</summary>
    private void Scan(Mem index, Mem bound, int most, Label done, Action body)
    {
        Repeat(done, () =>
        {
            Load(Reg.R1, index);
            Load(Reg.R2, bound);
            _a.JumpIf(JumpOp.SGe, Reg.R1, Reg.R2, done);
            _a.JumpIf(JumpOp.Gt, Reg.R1, most, done);
            body();
            Load(Reg.R1, index);
            _a.Emit(Instruction.Add64Imm(Reg.R1, 1));
            Save(index, Reg.R1);
        });
    }

    /// <summary>A buffer in memory, also of a literal.</summary>
    private StringValue InMemory(StringValue value)
    {
        if (value.Literal is not { } literal)
        {
            return value;
        }

        var slot = TakeString(Capacities.BufferFor(literal.Length));
        CopyToSlot(value, slot);
        return slot.AsString;
    }

    private void ByteAt(IntrinsicExpr i)
    {
        var mark = Marked();
        var text = InMemory(Text(i.Arguments[0]));
        var index = TakeFrame(8);
        Long(i.Arguments[1], Reg.R0);
        Save(index, Reg.R0);
        Length(text, Reg.R2);
        Load(Reg.R1, index);
        var outside = _a.NewLabel();
        var end = _a.NewLabel();
        _a.JumpIf(JumpOp.Ge, Reg.R1, Reg.R2, outside);
        _a.JumpIf(JumpOp.Ge, Reg.R1, text.Capacity, outside);
        Address(Reg.R2, text.Bytes);
        _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
        _a.Emit(Instruction.Load(MemSize.B, Reg.R0, Reg.R2, 0));
        _a.Jump(end);
        _a.Bind(outside);
        _a.Emit(Instruction.Mov(Reg.R0, -1));
        _a.Bind(end);
        Release(mark);
    }

    /// <summary>R0 = place of the second text in the first, −1 when absent; for contains 1 or 0.</summary>
    private void Position(IntrinsicExpr i)
    {
        var mark = Marked();
        var text = InMemory(Text(i.Arguments[0]));
        var part = InMemory(Text(i.Arguments[1]));
        At(i.Span);
        var start = TakeFrame(8);
        var lastStart = TakeFrame(8);
        var index = TakeFrame(8);
        var partLength = TakeFrame(8);
        var found = _a.NewLabel();
        var absent = _a.NewLabel();
        var end = _a.NewLabel();
        Length(part, Reg.R0);
        Save(partLength, Reg.R0);
        Length(text, Reg.R0);
        Load(Reg.R1, partLength);
        _a.Emit(Instruction.Sub64(Reg.R0, Reg.R1));
        _a.Emit(Instruction.Add64Imm(Reg.R0, 1));
        Save(lastStart, Reg.R0);
        Store(start, 0);
        Scan(start, lastStart, text.Capacity - 1, absent, () =>
        {
            var differs = _a.NewLabel();
            Store(index, 0);
            Scan(index, partLength, part.Capacity - 1, found, () =>
            {
                Address(Reg.R2, part.Bytes);
                _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
                _a.Emit(Instruction.Load(MemSize.B, Reg.R3, Reg.R2, 0));
                Load(Reg.R4, start);
                _a.Emit(Instruction.Add64(Reg.R4, Reg.R1));
                _a.JumpIf(JumpOp.Gt, Reg.R4, text.Capacity - 1, differs);
                Address(Reg.R2, text.Bytes);
                _a.Emit(Instruction.Add64(Reg.R2, Reg.R4));
                _a.Emit(Instruction.Load(MemSize.B, Reg.R4, Reg.R2, 0));
                _a.JumpIf(JumpOp.Ne, Reg.R3, Reg.R4, differs);
            });
            _a.Bind(differs);
        });
        var contains = i.Intrinsic.Id == IntrinsicId.Contains;
        _a.Bind(found);
        if (contains)
        {
            _a.Emit(Instruction.Mov(Reg.R0, 1));
        }
        else
        {
            Load(Reg.R0, start);
        }

        _a.Jump(end);
        _a.Bind(absent);
        _a.Emit(Instruction.Mov(Reg.R0, contains ? 0 : -1));
        _a.Bind(end);
        Release(mark);
    }

    /// <summary>substr(s, start, length): "" when start is outside or length is not positive.</summary>
    private StringValue Substring(IntrinsicExpr i)
    {
        var slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(i)));
        var most = slot.Capacity - 1;
        var text = InMemory(Text(i.Arguments[0]));
        var start = TakeFrame(8);
        var count = TakeFrame(8);
        Long(i.Arguments[1], Reg.R0);
        Save(start, Reg.R0);
        Long(i.Arguments[2], Reg.R0);
        Save(count, Reg.R0);
        At(i.Span);
        Clear(slot.Memory.At(8), slot.Capacity);
        Store(slot.Memory, 0);
        var end = _a.NewLabel();
        var fits = _a.NewLabel();
        var small = _a.NewLabel();
        Length(text, Reg.R4);
        Load(Reg.R1, start);
        Load(Reg.R2, count);
        _a.JumpIf(JumpOp.SLt, Reg.R1, 0, end);
        _a.JumpIf(JumpOp.SLe, Reg.R2, 0, end);
        _a.JumpIf(JumpOp.SGe, Reg.R1, Reg.R4, end);
        _a.JumpIf(JumpOp.Ge, Reg.R1, text.Capacity, end);
        _a.Emit(Instruction.Sub64(Reg.R4, Reg.R1));
        _a.JumpIf(JumpOp.SLe, Reg.R2, Reg.R4, fits);
        Move(Reg.R2, Reg.R4);
        _a.Bind(fits);
        _a.JumpIf(JumpOp.Le, Reg.R2, most, small);
        _a.Emit(Instruction.Mov(Reg.R2, most));
        _a.Bind(small);
        Save(slot.Memory, Reg.R2);
        Address(Reg.R3, text.Bytes);
        _a.Emit(Instruction.Add64(Reg.R3, Reg.R1));
        Address(Reg.R1, slot.Memory.At(8));
        _a.Call(Helper.ProbeReadKernel);
        _a.Bind(end);
        return slot.AsString;
    }

    private StringValue ChangeCase(IntrinsicExpr i)
    {
        var lower = i.Intrinsic.Id == IntrinsicId.ToLower;
        var slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(i)));
        CopyToSlot(Text(i.Arguments[0]), slot);
        var index = TakeFrame(8);
        At(i.Span);
        Store(index, 0);
        var done = _a.NewLabel();
        Scan(index, slot.Memory, slot.Capacity - 1, done, () =>
        {
            var same = _a.NewLabel();
            Address(Reg.R2, slot.Memory.At(8));
            _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
            _a.Emit(Instruction.Load(MemSize.B, Reg.R3, Reg.R2, 0));
            _a.JumpIf(JumpOp.Lt, Reg.R3, lower ? 'A' : 'a', same);
            _a.JumpIf(JumpOp.Gt, Reg.R3, lower ? 'Z' : 'z', same);
            _a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R3, 0x20));
            _a.Emit(Instruction.Store(MemSize.B, Reg.R2, 0, Reg.R3));
            _a.Bind(same);
        });
        _a.Bind(done);
        return slot.AsString;
    }

    /// <summary>strtol by the kernel's own, which skips no blanks in front: they are skipped here. R0 = the number, 0 without digits.</summary>
    private void ParseLong(IntrinsicExpr i)
    {
        var mark = Marked();
        var text = InMemory(Text(i.Arguments[0]));
        if (!TryConstant(i.Arguments[1], out var radix) || radix is not (0 or 8 or 10 or 16))
        {
            throw Cannot("strtol() with a base other than 0, 8, 10 or 16 in a handler that runs in the kernel", i.Span);
        }

        var result = TakeStack(8);
        Store(result, 0);
        Address(Reg.R1, text.Bytes);
        _a.Emit(Instruction.Mov(Reg.R2, text.Capacity));
        _a.Emit(Instruction.Mov(Reg.R3, (int)radix));
        Address(Reg.R4, result);
        _a.Call(Helper.Strtol);
        var good = _a.NewLabel();
        var end = _a.NewLabel();
        _a.JumpIf(JumpOp.SGt, Reg.R0, 0, good);
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.Jump(end);
        _a.Bind(good);
        Load(Reg.R0, result);
        _a.Bind(end);
        Release(mark);
    }

    /// <summary>
    /// escape(text, most, quoted): every byte through a table of 256 entries (up to four characters, their number in the last byte), as long as the result
    /// and its closing quote fit; what is cut ends in dots.
    /// </summary>
    private StringValue Escape(IntrinsicExpr i)
    {
        var quoted = TryConstant(i.Arguments[2], out var q) ? q != 0 : throw Cannot("escaping with quotes that only the event decides", i.Span);
        var most = TryConstant(i.Arguments[1], out var m) && m > 0 ? (int)Math.Min(m, _c.MaxText) : _c.MaxText;
        var text = InMemory(Text(i.Arguments[0]));
        var slot = TakeString(Capacities.BufferFor(_c.MaxText) + 8);
        var bytes = slot.Memory.At(8);
        var index = TakeFrame(8);
        var bound = TakeFrame(8);
        var fits = TakeFrame(8);
        At(i.Span);
        var table = EscapeTable();
        Clear(bytes, slot.Capacity);
        Length(text, Reg.R0);
        Save(bound, Reg.R0);
        Store(index, 0);
        Store(slot.Memory, quoted ? 1 : 0);
        Store(fits, quoted ? 1 : 0);
        if (quoted)
        {
            _a.Emit(Instruction.Store(MemSize.B, bytes.Base, bytes.Offset, '"'));
        }

        var done = _a.NewLabel();
        var cut = _a.NewLabel();
        var end = _a.NewLabel();
        Scan(index, bound, text.Capacity - 1, done, () =>
        {
            var next = _a.NewLabel();
            Address(Reg.R2, text.Bytes);
            _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
            _a.Emit(Instruction.Load(MemSize.B, Reg.R1, Reg.R2, 0));
            _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R1, 3));
            ConstantAddress(Reg.R2, table);
            _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
            Load(Reg.R3, new Mem(Reg.R2, 0));
            Move(Reg.R4, Reg.R3);
            _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R4, 56));
            Load(Reg.R5, slot.Memory);
            _a.JumpIf(JumpOp.Gt, Reg.R5, most, done);
            Address(Reg.R2, bytes);
            _a.Emit(Instruction.Add64(Reg.R2, Reg.R5));
            _a.Emit(Instruction.Add64(Reg.R4, Reg.R5));
            _a.JumpIf(JumpOp.Gt, Reg.R4, most - (quoted ? 1 : 0), cut);
            _a.Emit(Instruction.Store(MemSize.W, Reg.R2, 0, Reg.R3));
            Save(slot.Memory, Reg.R4);
            _a.JumpIf(JumpOp.Gt, Reg.R4, most - 4, next);
            Save(fits, Reg.R4);
            _a.Bind(next);
        });
        _a.Bind(cut);
        if (quoted)
        {
            Load(Reg.R5, fits);
            Bound(Reg.R5, most);
            Address(Reg.R2, bytes);
            _a.Emit(Instruction.Add64(Reg.R2, Reg.R5));

            // The store of a word and its zeros also wipes what stood behind.
            _a.Emit(Instruction.Store(MemSize.DW, Reg.R2, 0, 0x2e2e2e22));
            _a.Emit(Instruction.Add64Imm(Reg.R5, 4));
            Save(slot.Memory, Reg.R5);
            _a.Jump(end);
        }

        _a.Bind(done);
        if (quoted)
        {
            Load(Reg.R5, slot.Memory);
            Bound(Reg.R5, most);
            Address(Reg.R2, bytes);
            _a.Emit(Instruction.Add64(Reg.R2, Reg.R5));
            _a.Emit(Instruction.Store(MemSize.B, Reg.R2, 0, '"'));
            _a.Emit(Instruction.Add64Imm(Reg.R5, 1));
            Save(slot.Memory, Reg.R5);
        }

        _a.Bind(end);

        return slot.AsString with { Capacity = Math.Min(slot.Capacity, Capacities.BufferFor(_c.MaxText)) };
    }

    private int EscapeTable()
    {
        Span<char> table = new char[256 * 8];
        for (var c = 0; c < 256; c++)
        {
            var letter = "\a\b\f\n\r\t\v\\\"".IndexOf((char)c);
            var text = letter >= 0 ? "\\" + "abfnrtv\\\""[letter]
                : c is >= 32 and < 127 ? ((char)c).ToString()
                : $"\\{c >> 6}{(c >> 3) & 7}{c & 7}";
            text.CopyTo(table[(8 * c)..]);
            table[8 * c + 7] = (char)text.Length;
        }

        return _c.Constants.Text(new string(table));
    }
}
