using Linux.Bpf;
using SystemTap.Language.Syntax;

namespace SystemTap.Runtime.Host;

// Read-modify-write of one 8-byte element of a hash map from user space, atomic against kernel handlers. bpf(2) can only copy whole values, so the
// operation is done by a small program that stap runs by request: one system call finds the element and changes it in place.
//
// The whole operation must happen inside the kernel. A compare-and-exchange with a value read before does not do: a script that counts system calls
// sees the very call that asks for the exchange, so the element has always changed by the time it comes.
//
// Addition is one atomic instruction; the rest tries load, operate, compare-and-exchange eight times, which is only ever needed against other CPUs.
// Signed division is made of unsigned ones, because signed division instructions need Linux 6.6. Linux 5.12 (atomics that fetch).

/// <summary>Updates elements of one hash map in place.</summary>
internal sealed class ElementUpdater : IDisposable
{
    // The mapped exchange: the key, then these words.
    private const int Operator = 0, Operand = 8, Result = 16, Old = 24, Words = 32;
    private const int NotFound = 0, Done = 1, Contended = 2;
    private const int Attempts = 8;
    private const int ValueOffset = Bpf.Plan.GlobalStorage.Array.ValueOffset;

    private static readonly BinaryOperator[] Operators =
    [
        BinaryOperator.Multiply, BinaryOperator.Divide, BinaryOperator.Modulo, BinaryOperator.ShiftLeft, BinaryOperator.ShiftRight,
        BinaryOperator.ShiftRightLogical, BinaryOperator.BitAnd, BinaryOperator.BitOr, BinaryOperator.BitXor,
    ];

    private readonly BpfMap _scratch;
    private readonly MappedMemory _memory;
    private readonly BpfProgram _program;
    private readonly int _words;

    public ElementUpdater(BpfMap elements)
    {
        _words = (elements.Spec.KeySize + 7) & ~7;
        _scratch = BpfMap.Create(MapSpec.GlobalData("stap_update", _words + Words));
        _program = BpfProgram.Load(new ProgramSpec("stap_update", ProgramType.RawTracepoint, Code(elements)));
        _memory = _scratch.Map();
    }

    /// <summary>Applies an operator to an element; false when there is no such element.</summary>
    public bool Apply(ReadOnlySpan<byte> key, BinaryOperator op, long operand, out long old)
    {
        if (op == BinaryOperator.Subtract)
        {
            (op, operand) = (BinaryOperator.Add, -operand);
        }

        key.CopyTo(_memory.Span);
        while (true)
        {
            _memory.Word(_words + Operator) = (long)op;
            _memory.Word(_words + Operand) = operand;
            _memory.Word(_words + Result) = NotFound;
            _program.TestRun(default);
            if (_memory.Word(_words + Result) != Contended)
            {
                old = _memory.Word(_words + Old);
                return _memory.Word(_words + Result) == Done;
            }
        }
    }

    public void Dispose()
    {
        _memory.Dispose();
        _program.Dispose();
        _scratch.Dispose();
    }

    private AssembledCode Code(BpfMap elements)
    {
        var a = new Assembler();
        var end = a.NewLabel();
        var done = a.NewLabel();
        a.LdMapValue(Reg.R6, _scratch, 0);
        a.LdMap(Reg.R1, elements);
        a.Emit(Instruction.Mov(Reg.R2, Reg.R6));
        a.Call(Helper.MapLookupElem);
        a.JumpIf(JumpOp.Eq, Reg.R0, 0, end);
        a.Emit(Instruction.Mov(Reg.R7, Reg.R0));
        a.Emit(Instruction.Load(MemSize.DW, Reg.R8, Reg.R6, _words + Operator));
        a.Emit(Instruction.Load(MemSize.DW, Reg.R9, Reg.R6, _words + Operand));

        var add = a.NewLabel();
        a.JumpIf(JumpOp.Eq, Reg.R8, (int)BinaryOperator.Add, add);
        foreach (var op in Operators)
        {
            var next = a.NewLabel();
            a.JumpIf(JumpOp.Ne, Reg.R8, (int)op, next);
            for (var attempt = 0; attempt < Attempts; attempt++)
            {
                // R0 the value seen, R2 its copy, R1 the new one.
                a.Emit(Instruction.Load(MemSize.DW, Reg.R0, Reg.R7, ValueOffset));
                a.Emit(Instruction.Mov(Reg.R2, Reg.R0));
                a.Emit(Instruction.Mov(Reg.R1, Reg.R0));
                Operate(a, op);
                a.Emit(Instruction.Atomic(AtomicOp.CmpXchg, MemSize.DW, Reg.R7, ValueOffset, Reg.R1));
                a.JumpIf(JumpOp.Eq, Reg.R0, Reg.R2, done);
            }

            a.Emit(Instruction.Store(MemSize.DW, Reg.R6, _words + Result, Contended));
            a.Jump(end);
            a.Bind(next);
        }

        a.Jump(end);
        a.Bind(add);
        a.Emit(Instruction.Mov(Reg.R2, Reg.R9));
        a.Emit(Instruction.Atomic(AtomicOp.FetchAdd, MemSize.DW, Reg.R7, ValueOffset, Reg.R2));
        a.Bind(done);
        a.Emit(Instruction.Store(MemSize.DW, Reg.R6, _words + Old, Reg.R2));
        a.Emit(Instruction.Store(MemSize.DW, Reg.R6, _words + Result, Done));
        a.Bind(end);
        a.Emit(Instruction.Mov(Reg.R0, 0));
        a.Exit();
        return a.Finish();
    }

    // R1 = R1 op R9. R0 and R2 survive.
    private static void Operate(Assembler a, BinaryOperator op)
    {
        switch (op)
        {
            case BinaryOperator.Divide or BinaryOperator.Modulo:
                Divide(a, op == BinaryOperator.Modulo);
                break;
            case BinaryOperator.ShiftLeft or BinaryOperator.ShiftRight or BinaryOperator.ShiftRightLogical:
                a.Emit(Instruction.Mov(Reg.R3, Reg.R9));
                a.Emit(Instruction.Alu64(AluOp.And, Reg.R3, 63));
                a.Emit(Instruction.Alu64(op == BinaryOperator.ShiftLeft ? AluOp.Lsh : op == BinaryOperator.ShiftRight ? AluOp.Arsh : AluOp.Rsh, Reg.R1, Reg.R3));
                break;
            default:
                a.Emit(Instruction.Alu64(
                    op switch { BinaryOperator.Multiply => AluOp.Mul, BinaryOperator.BitAnd => AluOp.And, BinaryOperator.BitOr => AluOp.Or, _ => AluOp.Xor }, Reg.R1, Reg.R9));
                break;
        }
    }

    // Magnitudes are divided unsigned. MIN / −1 wraps to MIN by itself. The caller has refused a divisor of 0.
    private static void Divide(Assembler a, bool remainder)
    {
        var leftReady = a.NewLabel();
        var rightReady = a.NewLabel();
        var end = a.NewLabel();
        a.Emit(Instruction.Mov(Reg.R3, Reg.R9));
        a.Emit(Instruction.Mov(Reg.R4, Reg.R1));
        if (!remainder)
        {
            a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R4, Reg.R9));
        }

        a.JumpIf(JumpOp.SGe, Reg.R1, 0, leftReady);
        a.Emit(Instruction.Neg64(Reg.R1));
        a.Bind(leftReady);
        a.JumpIf(JumpOp.SGe, Reg.R3, 0, rightReady);
        a.Emit(Instruction.Neg64(Reg.R3));
        a.Bind(rightReady);
        a.Emit(Instruction.Alu64(remainder ? AluOp.Mod : AluOp.Div, Reg.R1, Reg.R3));
        a.JumpIf(JumpOp.SGe, Reg.R4, 0, end);
        a.Emit(Instruction.Neg64(Reg.R1));
        a.Bind(end);
    }
}
