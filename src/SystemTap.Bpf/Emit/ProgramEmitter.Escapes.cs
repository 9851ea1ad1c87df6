using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Layout;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Texts as they would be written in a script: each byte by a table.

internal sealed partial class ProgramEmitter
{
    /// <summary>
    /// escape(text, most, quoted): every byte through a table of 256 entries (up to four characters, their number in the last byte), as long as the result
    /// and its closing quote fit; what is cut ends in dots.
    /// </summary>
    private StringValue Escape(IntrinsicExpr i)
    {
        var slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(i)) + 8);
        var text = Text(i.Arguments[0]);
        var most = TakeFrame(8);
        Long(i.Arguments[1], Reg.R0);
        var limited = _a.NewLabel();
        var unlimited = _a.NewLabel();
        _a.JumpIf(JumpOp.SLe, Reg.R0, 0, unlimited);
        _a.JumpIf(JumpOp.SLe, Reg.R0, _c.MaxText, limited);
        _a.Bind(unlimited);
        _a.Emit(Instruction.Mov(Reg.R0, _c.MaxText));
        _a.Bind(limited);
        Save(most, Reg.R0);
        Long(i.Arguments[2], Reg.R0);
        Save(Word(6), Reg.R0);
        At(i.Span);
        Clear(slot.Memory.At(8), slot.Capacity);
        LengthInto(Word(1), text);
        Load(Reg.R0, most);
        Save(Word(2), Reg.R0);
        TextAddress(Reg.R3, text);
        Address(Reg.R2, slot.Memory);
        CallRoutine("text_escape", () =>
        {
            EnterLoopRoutine();
            Save(Pointer(1), Reg.R2);
            Save(Pointer(2), Reg.R3);
            var (index, length, limit, fits, cut, quoted) = (Word(0), Word(1), Word(2), Word(3), Word(4), Word(6));
            var plain = _a.NewLabel();
            Store(index, 0);
            Store(cut, 0);
            Store(fits, 0);
            Store(new Mem(Reg.R2, 0), 0);
            Load(Reg.R0, quoted);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, plain);
            Store(quoted, 1);
            Store(fits, 1);
            Store(new Mem(Reg.R2, 0), 1);
            _a.Emit(Instruction.Store(MemSize.B, Reg.R2, 8, '"'));
            _a.Bind(plain);
            Repeat(_c.MaxText + 1, done =>
            {
                var next = _a.NewLabel();
                var full = _a.NewLabel();
                Index(Reg.R1, index, length, done);
                ByteOf(Reg.R1, Pointer(2), Reg.R1);
                _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R1, 3));
                ConstantAddress(Reg.R2, EscapeTable('"'));
                _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
                Load(Reg.R3, new Mem(Reg.R2, 0));
                Move(Reg.R4, Reg.R3);
                _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R4, 56));
                Load(Reg.R2, Pointer(1));
                Load(Reg.R5, new Mem(Reg.R2, 0));
                _a.JumpIf(JumpOp.Gt, Reg.R5, _c.MaxText, full);
                Move(Reg.R0, Reg.R2);
                _a.Emit(Instruction.Add64(Reg.R0, Reg.R5));
                _a.Emit(Instruction.Add64(Reg.R4, Reg.R5));
                Load(Reg.R1, limit);
                Load(Reg.R5, quoted);
                _a.Emit(Instruction.Sub64(Reg.R1, Reg.R5));
                _a.JumpIf(JumpOp.SGt, Reg.R4, Reg.R1, full);
                _a.Emit(Instruction.Store(MemSize.W, Reg.R0, 8, Reg.R3));
                Save(new Mem(Reg.R2, 0), Reg.R4);
                Load(Reg.R1, limit);
                _a.Emit(Instruction.Add64Imm(Reg.R1, -4));
                _a.JumpIf(JumpOp.SGt, Reg.R4, Reg.R1, next);
                Save(fits, Reg.R4);
                _a.Bind(next);
                Advance(index);
                var skip = _a.NewLabel();
                _a.Jump(skip);
                _a.Bind(full);
                Store(cut, 1);
                _a.Jump(done);
                _a.Bind(skip);
            }, i.Span);
            var end = _a.NewLabel();
            var whole = _a.NewLabel();
            Load(Reg.R2, Pointer(1));
            Load(Reg.R0, quoted);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, end);
            Load(Reg.R0, cut);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, whole);
            Load(Reg.R5, fits);
            Bound(Reg.R5, _c.MaxText);
            Move(Reg.R0, Reg.R2);
            _a.Emit(Instruction.Add64(Reg.R0, Reg.R5));

            // The store of a word and its zeros also wipes what stood behind.
            _a.Emit(Instruction.Store(MemSize.DW, Reg.R0, 8, 0x2e2e2e22));
            _a.Emit(Instruction.Add64Imm(Reg.R5, 4));
            Save(new Mem(Reg.R2, 0), Reg.R5);
            _a.Jump(end);
            _a.Bind(whole);
            Load(Reg.R5, new Mem(Reg.R2, 0));
            Bound(Reg.R5, _c.MaxText);
            Move(Reg.R0, Reg.R2);
            _a.Emit(Instruction.Add64(Reg.R0, Reg.R5));
            _a.Emit(Instruction.Store(MemSize.B, Reg.R0, 8, '"'));
            _a.Emit(Instruction.Add64Imm(Reg.R5, 1));
            Save(new Mem(Reg.R2, 0), Reg.R5);
            _a.Bind(end);
            LeaveRoutine();
        });
        return slot.AsString with { Capacity = slot.Capacity - 8 };
    }

    /// <summary>Offset in the constants of the table of escapes, for texts in such quotes.</summary>
    private int EscapeTable(char quote)
    {
        Span<char> table = new char[256 * 8];
        for (var c = 0; c < 256; c++)
        {
            var letter = "\a\b\f\n\r\t\v\\".IndexOf((char)c);
            var text = letter >= 0 ? "\\" + "abfnrtv\\"[letter]
                : c == quote ? "\\" + quote
                : c is >= 32 and < 127 ? ((char)c).ToString()
                : $"\\{c >> 6}{(c >> 3) & 7}{c & 7}";
            text.CopyTo(table[(8 * c)..]);
            table[(8 * c) + 7] = (char)text.Length;
        }

        return _c.Constants.Text(new string(table));
    }
}
