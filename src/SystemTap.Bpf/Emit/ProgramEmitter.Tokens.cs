using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Layout;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// tokenize(): the delimiters become a set of 256 bits, then one loop over the text passes what belongs to it and one takes what does not.

internal sealed partial class ProgramEmitter
{
    private LocalSlot? _tokenText;
    private Mem _tokenAt;

    /// <summary>tokenize(input, delimiters, isContinue): as strtok, with the text and the place in it kept for the handler run.</summary>
    private StringValue Tokenize(IntrinsicExpr i)
    {
        var slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(i)));
        var kept = TokenText;
        var text = Text(i.Arguments[0]);
        var delimiters = Text(i.Arguments[1]);
        var goesOn = _a.NewLabel();
        if (!TryConstant(i.Arguments[2], out var constant))
        {
            Long(i.Arguments[2], Reg.R0);
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, goesOn);
        }

        At(i.Span);
        if (constant == 0)
        {
            CopyToSlot(text, kept);
            Store(_tokenAt, 0);
        }

        _a.Bind(goesOn);
        BeginText(slot);
        LengthInto(Word(2), delimiters);
        Load(Reg.R0, kept.Memory);
        Save(Word(1), Reg.R0);
        Load(Reg.R0, _tokenAt);
        Save(Word(0), Reg.R0);
        TextAddress(Reg.R4, delimiters);
        Address(Reg.R3, kept.Memory.At(8));
        _a.LdImm64(Reg.R2, Pack(slot, Math.Min(slot.Capacity - 1, _c.MaxText)));
        CallRoutine("text_token", () =>
        {
            EnterLoopRoutine();
            Save(Pointer(1), Reg.R2);
            Save(Pointer(2), Reg.R3);
            Save(Pointer(3), Reg.R4);
            var (at, length, count, index, start, set) = (Word(0), Word(1), Word(2), Word(3), Word(4), Word(5));
            Store(index, 0);
            for (var w = 0; w < 4; w++)
            {
                Store(set.At(8 * w), 0);
            }

            Repeat(_c.MaxText + 1, done =>
            {
                Index(Reg.R1, index, count, done);
                ByteOf(Reg.R3, Pointer(3), Reg.R1);
                BitOf(Reg.R3);
                _a.Emit(Instruction.Mov(Reg.R4, 1));
                _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R4, Reg.R3));
                Load(Reg.R0, new Mem(Reg.R2, set.Offset));
                _a.Emit(Instruction.Alu64(AluOp.Or, Reg.R0, Reg.R4));
                Save(new Mem(Reg.R2, set.Offset), Reg.R0);
                Advance(index);
            }, i.Span);
            foreach (var skip in (ReadOnlySpan<bool>)[true, false])
            {
                Repeat(_c.MaxText + 1, done =>
                {
                    Index(Reg.R1, at, length, done);
                    ByteOf(Reg.R3, Pointer(2), Reg.R1);
                    BitOf(Reg.R3);
                    Load(Reg.R0, new Mem(Reg.R2, set.Offset));
                    _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, Reg.R3));
                    _a.Emit(Instruction.Alu64(AluOp.And, Reg.R0, 1));
                    _a.JumpIf(JumpOp.Eq, Reg.R0, skip ? 0 : 1, done);
                    Advance(at);
                }, i.Span);
                if (skip)
                {
                    Load(Reg.R0, at);
                    Save(start, Reg.R0);
                }
            }

            Load(Reg.R0, start);
            Bound(Reg.R0, _c.MaxText);
            Load(Reg.R4, at);
            _a.Emit(Instruction.Sub64(Reg.R4, Reg.R0));
            Load(Reg.R3, Pointer(2));
            _a.Emit(Instruction.Add64(Reg.R3, Reg.R0));
            Load(Reg.R2, Pointer(1));
            CallAppend();
            LeaveRoutine();

            // R2 = frame + 8 × (byte / 64), byte = byte % 64.
            void BitOf(Reg value)
            {
                Move(Reg.R0, value);
                _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 6));
                _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R0, 3));
                Move(Reg.R2, Frame);
                _a.Emit(Instruction.Add64(Reg.R2, Reg.R0));
                _a.Emit(Instruction.Alu64(AluOp.And, value, 63));
            }
        });
        var more = _a.NewLabel();
        Load(Reg.R0, Word(0));
        Load(Reg.R1, kept.Memory);
        _a.JumpIf(JumpOp.SGe, Reg.R0, Reg.R1, more);
        _a.Emit(Instruction.Add64Imm(Reg.R0, 1));
        _a.Bind(more);
        Save(_tokenAt, Reg.R0);
        return slot.AsString;
    }

    /// <summary>Where the text being cut into tokens stands for the whole handler run.</summary>
    private LocalSlot TokenText
    {
        get
        {
            if (_tokenText is null)
            {
                _tokenText = TakeString(Capacities.BufferFor(_c.MaxText));
                _tokenAt = TakeFrame(8);
                _kept = _frameTop;
            }

            return _tokenText.Value;
        }
    }
}
