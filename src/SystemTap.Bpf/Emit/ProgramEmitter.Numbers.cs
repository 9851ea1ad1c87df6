using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Layout;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Numbers read from texts; what stands where is as in ProgramEmitter.Texts.cs.

internal sealed partial class ProgramEmitter
{
    /// <summary>R0 = the number the text starts with, as C's strtol with bases 0 and 2–36; wraps at 64 bits.</summary>
    private void ParseLong(IntrinsicExpr i)
    {
        var mark = Marked();
        var text = Text(i.Arguments[0]);
        Long(i.Arguments[1], Reg.R0);
        Save(Word(2), Reg.R0);
        At(i.Span);
        LengthInto(Word(1), text);
        TextAddress(Reg.R2, text);
        CallRoutine("text_number", () =>
        {
            EnterLoopRoutine();
            Save(Pointer(1), Reg.R2);
            var (at, length, radix, value, sign) = (Word(0), Word(1), Word(2), Word(3), Word(4));
            var nothing = _a.NewLabel();
            Store(at, 0);
            Store(value, 0);
            Store(sign, 0);
            Repeat(_c.MaxText + 1, done =>
            {
                var blank = _a.NewLabel();
                Index(Reg.R1, at, length, done);
                ByteOf(Reg.R3, Pointer(1), Reg.R1);
                _a.JumpIf(JumpOp.Eq, Reg.R3, ' ', blank);
                _a.JumpIf(JumpOp.Lt, Reg.R3, '\t', done);
                _a.JumpIf(JumpOp.Gt, Reg.R3, '\r', done);
                _a.Bind(blank);
                Advance(at);
            }, i.Span);
            var unsigned = _a.NewLabel();
            var signed = _a.NewLabel();
            Load(Reg.R1, at);
            Bound(Reg.R1, _c.MaxText);
            ByteOf(Reg.R3, Pointer(1), Reg.R1);
            _a.JumpIf(JumpOp.Eq, Reg.R3, '+', signed);
            _a.JumpIf(JumpOp.Ne, Reg.R3, '-', unsigned);
            Store(sign, 1);
            _a.Bind(signed);
            Advance(at);
            _a.Bind(unsigned);

            // R2 = 1 when 0x and a hex digit follow; R3 the first byte.
            var noHex = _a.NewLabel();
            var hex = _a.NewLabel();
            var digit = _a.NewLabel();
            Load(Reg.R1, at);
            Bound(Reg.R1, _c.MaxText);
            _a.Emit(Instruction.Mov(Reg.R2, 0));
            ByteOf(Reg.R3, Pointer(1), Reg.R1);
            _a.JumpIf(JumpOp.Ne, Reg.R3, '0', noHex);
            _a.Emit(Instruction.Load(MemSize.B, Reg.R4, Reg.R5, 1));
            _a.Emit(Instruction.Alu64(AluOp.Or, Reg.R4, 0x20));
            _a.JumpIf(JumpOp.Ne, Reg.R4, 'x', noHex);
            _a.Emit(Instruction.Load(MemSize.B, Reg.R4, Reg.R5, 2));
            _a.JumpIf(JumpOp.Lt, Reg.R4, '0', noHex);
            _a.JumpIf(JumpOp.Le, Reg.R4, '9', digit);
            _a.Emit(Instruction.Alu64(AluOp.Or, Reg.R4, 0x20));
            _a.JumpIf(JumpOp.Lt, Reg.R4, 'a', noHex);
            _a.JumpIf(JumpOp.Gt, Reg.R4, 'f', noHex);
            _a.Bind(digit);
            _a.Emit(Instruction.Mov(Reg.R2, 1));
            _a.Bind(noHex);
            var based = _a.NewLabel();
            var chosen = _a.NewLabel();
            Load(Reg.R4, radix);
            _a.JumpIf(JumpOp.Ne, Reg.R4, 0, based);
            _a.Emit(Instruction.Mov(Reg.R4, 16));
            _a.JumpIf(JumpOp.Eq, Reg.R2, 1, chosen);
            _a.Emit(Instruction.Mov(Reg.R4, 8));
            _a.JumpIf(JumpOp.Eq, Reg.R3, '0', chosen);
            _a.Emit(Instruction.Mov(Reg.R4, 10));
            _a.Bind(chosen);
            Save(radix, Reg.R4);
            _a.Bind(based);
            _a.JumpIf(JumpOp.SLt, Reg.R4, 2, nothing);
            _a.JumpIf(JumpOp.SGt, Reg.R4, 36, nothing);
            _a.JumpIf(JumpOp.Ne, Reg.R4, 16, hex);
            _a.JumpIf(JumpOp.Eq, Reg.R2, 0, hex);
            Advance(at);
            Advance(at);
            _a.Bind(hex);
            Repeat(_c.MaxText + 1, done =>
            {
                var known = _a.NewLabel();
                Index(Reg.R1, at, length, done);
                ByteOf(Reg.R3, Pointer(1), Reg.R1);
                _a.JumpIf(JumpOp.Lt, Reg.R3, '0', done);
                Move(Reg.R2, Reg.R3);
                _a.Emit(Instruction.Add64Imm(Reg.R2, -'0'));
                _a.JumpIf(JumpOp.Le, Reg.R2, 9, known);
                _a.Emit(Instruction.Alu64(AluOp.Or, Reg.R3, 0x20));
                _a.JumpIf(JumpOp.Lt, Reg.R3, 'a', done);
                _a.JumpIf(JumpOp.Gt, Reg.R3, 'z', done);
                Move(Reg.R2, Reg.R3);
                _a.Emit(Instruction.Add64Imm(Reg.R2, 10 - 'a'));
                _a.Bind(known);
                Load(Reg.R4, radix);
                _a.JumpIf(JumpOp.SGe, Reg.R2, Reg.R4, done);
                Load(Reg.R3, value);
                _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R3, Reg.R4));
                _a.Emit(Instruction.Add64(Reg.R3, Reg.R2));
                Save(value, Reg.R3);
                Advance(at);
            }, i.Span);
            var positive = _a.NewLabel();
            Load(Reg.R0, value);
            Load(Reg.R1, sign);
            _a.JumpIf(JumpOp.Eq, Reg.R1, 0, positive);
            _a.Emit(Instruction.Neg64(Reg.R0));
            _a.Bind(positive);
            _a.Exit();
            _a.Bind(nothing);
            LeaveRoutine();
        });
        Release(mark);
    }
}
