using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Layout;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Text functions that walk bytes, as routines of the library (ProgramEmitter.Library.cs). What each does is written in Runtime/Host/TextFunctions.cs; tests hold
// the two against each other. Texts are padded with NULs, so reading at the length, or a little past it, finds one.

internal sealed partial class ProgramEmitter
{
    /// <summary>Most rounds of a loop over pairs of positions.</summary>
    private int MostPairs => (int)Math.Min(1 << 23, (_c.MaxText + 2L) * (_c.MaxText + 2L));

    /// <summary>to = byte at base pointer + index (a register other than <paramref name="to"/>, bounded before). R5 is lost.</summary>
    private void ByteOf(Reg to, Mem pointer, Reg index)
    {
        Load(Reg.R5, pointer);
        _a.Emit(Instruction.Add64(Reg.R5, index));
        _a.Emit(Instruction.Load(MemSize.B, to, Reg.R5, 0));
    }

    /// <summary>Adds 1 to a word. R0 is lost.</summary>
    private void Advance(Mem word)
    {
        Load(Reg.R0, word);
        _a.Emit(Instruction.Add64Imm(Reg.R0, 1));
        Save(word, Reg.R0);
    }

    /// <summary>Loads an index; goes to the label when it is not below the bound.</summary>
    private void Index(Reg to, Mem index, Mem bound, Label done)
    {
        Load(to, index);
        Load(Reg.R0, bound);
        _a.JumpIf(JumpOp.SGe, to, Reg.R0, done);
        _a.JumpIf(JumpOp.Gt, to, _c.MaxText, done);
    }

    /// <summary>Register = address of a text.</summary>
    private void TextAddress(Reg to, StringValue value)
    {
        if (value.Literal is { } literal)
        {
            ConstantAddress(to, _c.Constants.Text(literal));
        }
        else
        {
            Address(to, value.Bytes);
        }
    }

    /// <summary>Saves a text's length in a word of the library.</summary>
    private void LengthInto(Mem word, StringValue value)
    {
        Length(value, Reg.R0);
        Save(word, Reg.R0);
    }

    private void ByteAt(IntrinsicExpr i)
    {
        var mark = Marked();
        var text = Text(i.Arguments[0]);
        var index = TakeFrame(8);
        Long(i.Arguments[1], Reg.R0);
        Save(index, Reg.R0);
        Length(text, Reg.R2);
        Load(Reg.R1, index);
        var outside = _a.NewLabel();
        var end = _a.NewLabel();
        _a.JumpIf(JumpOp.Ge, Reg.R1, Reg.R2, outside);
        _a.JumpIf(JumpOp.Ge, Reg.R1, text.Capacity, outside);
        TextAddress(Reg.R2, text);
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
        var text = Text(i.Arguments[0]);
        var part = Text(i.Arguments[1]);
        At(i.Span);
        LengthInto(Word(0), text);
        LengthInto(Word(1), part);
        TextAddress(Reg.R2, text);
        TextAddress(Reg.R3, part);
        CallRoutine("text_position", () =>
        {
            EnterLoopRoutine();
            Save(Pointer(1), Reg.R2);
            Save(Pointer(2), Reg.R3);
            var (start, matched, result) = (Word(2), Word(3), Word(4));
            Store(start, 0);
            Store(matched, 0);
            Store(result, -1);
            Repeat(MostPairs, done =>
            {
                var found = _a.NewLabel();
                var other = _a.NewLabel();
                var next = _a.NewLabel();
                MatchNext(Pointer(1), Pointer(2), start, matched, found, other, done);
                _a.Jump(next);
                _a.Bind(found);
                Load(Reg.R0, start);
                Save(result, Reg.R0);
                _a.Jump(done);
                _a.Bind(other);
                Advance(start);
                Store(matched, 0);
                _a.Bind(next);
            }, i.Span);
            Load(Reg.R0, result);
            _a.Exit();
        });
        if (i.Intrinsic.Id == IntrinsicId.Contains)
        {
            _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 63));
            _a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R0, 1));
        }

        Release(mark);
    }

    /// <summary>replace(text, search, replacement): every occurrence, left to right; an empty search changes nothing.</summary>
    private StringValue Replace(IntrinsicExpr i)
    {
        var slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(i)));
        var text = Text(i.Arguments[0]);
        var search = Text(i.Arguments[1]);
        var replacement = Text(i.Arguments[2]);
        At(i.Span);
        BeginText(slot);
        LengthInto(Word(0), text);
        LengthInto(Word(1), search);
        LengthInto(Word(2), replacement);
        TextAddress(Reg.R3, text);
        TextAddress(Reg.R4, search);
        TextAddress(Reg.R5, replacement);
        _a.LdImm64(Reg.R2, Pack(slot, Math.Min(slot.Capacity - 1, _c.MaxText)));
        CallRoutine("text_replace", () =>
        {
            EnterLoopRoutine();
            Save(Pointer(1), Reg.R2);
            Save(Pointer(2), Reg.R3);
            Save(Pointer(3), Reg.R4);
            Save(Pointer(4), Reg.R5);
            var (from, at, matched) = (Word(3), Word(4), Word(5));
            Store(from, 0);
            Store(at, 0);
            Store(matched, 0);
            Repeat(MostPairs, done =>
            {
                var found = _a.NewLabel();
                var other = _a.NewLabel();
                var next = _a.NewLabel();
                Load(Reg.R0, Word(1));
                _a.JumpIf(JumpOp.Eq, Reg.R0, 0, done);
                MatchNext(Pointer(2), Pointer(3), at, matched, found, other, done);
                _a.Jump(next);
                _a.Bind(found);
                AppendPart(at);
                Load(Reg.R2, Pointer(1));
                Load(Reg.R3, Pointer(4));
                Load(Reg.R4, Word(2));
                CallAppend();
                Load(Reg.R0, at);
                Load(Reg.R1, Word(1));
                _a.Emit(Instruction.Add64(Reg.R0, Reg.R1));
                Save(at, Reg.R0);
                Save(from, Reg.R0);
                Store(matched, 0);
                _a.Jump(next);
                _a.Bind(other);
                Advance(at);
                Store(matched, 0);
                _a.Bind(next);
            }, i.Span);
            AppendPart(Word(0));
            LeaveRoutine();

            void AppendPart(Mem end)
            {
                Load(Reg.R0, from);
                Load(Reg.R4, end);
                _a.Emit(Instruction.Sub64(Reg.R4, Reg.R0));
                Load(Reg.R3, Pointer(2));
                Bound(Reg.R0, _c.MaxText);
                _a.Emit(Instruction.Add64(Reg.R3, Reg.R0));
                Load(Reg.R2, Pointer(1));
                CallAppend();
            }
        });
        return EndText(slot, i.Span);
    }

    /// <summary>One step of a search: compares the next byte of the searched text (its length is word 1) with that of the text (word 0) behind the place it may begin at.</summary>
    /// <param name="text">Where the text is.</param>
    /// <param name="part">Where the searched text is.</param>
    /// <param name="start">The place.</param>
    /// <param name="matched">Bytes that were equal so far; one more after this.</param>
    /// <param name="found">All were equal.</param>
    /// <param name="other">This one is not.</param>
    /// <param name="done">The text ends before.</param>
    private void MatchNext(Mem text, Mem part, Mem start, Mem matched, Label found, Label other, Label done)
    {
        Index(Reg.R1, matched, Word(1), found);
        Load(Reg.R2, start);
        _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
        Load(Reg.R0, Word(0));
        _a.JumpIf(JumpOp.SGe, Reg.R2, Reg.R0, done);
        _a.JumpIf(JumpOp.Gt, Reg.R2, _c.MaxText, done);
        ByteOf(Reg.R3, text, Reg.R2);
        ByteOf(Reg.R4, part, Reg.R1);
        _a.JumpIf(JumpOp.Ne, Reg.R3, Reg.R4, other);
        Advance(matched);
    }

    /// <summary>Clears a slot for routines that append.</summary>
    private void BeginText(LocalSlot slot)
    {
        Clear(slot.Memory.At(8), slot.Capacity);
        Store(slot.Memory, 0);
        Store(CutWord, 0);
    }

    private StringValue EndText(LocalSlot slot, Language.Text.SourceSpan span)
    {
        var whole = _a.NewLabel();
        Load(Reg.R0, CutWord);
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, whole);
        CountCut(span);
        _a.Bind(whole);
        return slot.AsString;
    }

    /// <summary>substr(s, start, length): "" when start is outside or length is not positive.</summary>
    private StringValue Substring(IntrinsicExpr i)
    {
        var slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(i)));
        var most = slot.Capacity - 1;
        var text = Text(i.Arguments[0]);
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
        TextAddress(Reg.R3, text);
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
        At(i.Span);
        Load(Reg.R0, slot.Memory);
        Save(Word(1), Reg.R0);
        Address(Reg.R2, slot.Memory.At(8));
        CallRoutine(lower ? "text_lower" : "text_upper", () =>
        {
            EnterLoopRoutine();
            Save(Pointer(1), Reg.R2);
            Store(Word(0), 0);
            Repeat(_c.MaxText + 1, done =>
            {
                var same = _a.NewLabel();
                Index(Reg.R1, Word(0), Word(1), done);
                ByteOf(Reg.R3, Pointer(1), Reg.R1);
                _a.JumpIf(JumpOp.Lt, Reg.R3, lower ? 'A' : 'a', same);
                _a.JumpIf(JumpOp.Gt, Reg.R3, lower ? 'Z' : 'z', same);
                _a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R3, 0x20));
                _a.Emit(Instruction.Store(MemSize.B, Reg.R5, 0, Reg.R3));
                _a.Bind(same);
                Advance(Word(0));
            }, i.Span);
            LeaveRoutine();
        });
        return slot.AsString;
    }
}
