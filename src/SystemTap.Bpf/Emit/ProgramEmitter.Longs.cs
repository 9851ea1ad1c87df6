using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Expressions of type long. Long(e, to) leaves the value in a register and may destroy R0–R5. "Simple" expressions destroy nothing but
// their target, so they need no temporary for what was computed before them.

internal sealed partial class ProgramEmitter
{
    /// <summary>The value when it is known now.</summary>
    public bool TryConstant(Expr e, out long value)
    {
        switch (e)
        {
            case LongConst c:
                value = c.Value;
                return true;
            case ReadExpr { Place: GlobalPlace { Global: { IsReadOnly: true, Type: ScriptType.Long } g } }:
                value = g.InitialLong;
                return true;
            case IntrinsicExpr i:
                return TryConstantIntrinsic(i, out value);
            default:
                value = 0;
                return false;
        }
    }

    private bool IsSimple(Expr e) => TryConstant(e, out _) || e switch
    {
        ReadExpr { Place: LocalPlace or GlobalPlace, Type: ScriptType.Long } => true,
        ContextExpr c => _event.IsSimple(c),
        ColumnExpr { Type: ScriptType.Long } => true,
        IntrinsicExpr { Intrinsic.Id: IntrinsicId.Target } => true,
        _ => false,
    };

    /// <summary>Evaluates into a register. R0–R5 are lost unless the expression is simple.</summary>
    public void Long(Expr e, Reg to)
    {
        if (TryConstant(e, out var constant))
        {
            _a.LdImm64(to, constant);
            return;
        }

        At(e.Span);
        switch (e)
        {
            case ReadExpr r:
                ReadLong(r, to);
                break;
            case AssignExpr { Place: ElementPlace element } a when KeyOrder.Matters(element.Keys, a.Value):
                var assigning = Marked();
                var key = Key((GlobalStorage.Array)StorageOf(element.Array), element.Keys);
                Long(a.Value, Reg.R0);
                AssignElement(element, key, Reg.R0, a.Span);
                Release(assigning);
                Move(to, Reg.R0);
                break;
            case AssignExpr a:
                Long(a.Value, Reg.R0);
                AssignLong(a.Place, Reg.R0, a.Span);
                Move(to, Reg.R0);
                break;
            case UpdateExpr u:
                Update(u, wanted: true);
                Move(to, Reg.R0);
                break;
            case BinaryExpr b when IsComparison(b.Operator):
            case LogicalExpr:
            case StringCompareExpr:
            case UnaryExpr { Operator: UnaryOperator.Not }:
                Truth(e, to);
                break;
            case BinaryExpr b:
                Binary(b, to);
                break;
            case UnaryExpr u:
                Long(u.Operand, to);
                if (u.Operator == UnaryOperator.Minus)
                {
                    _a.Emit(Instruction.Neg64(to));
                }
                else if (u.Operator == UnaryOperator.Complement)
                {
                    _a.Emit(Instruction.Alu64(AluOp.Xor, to, -1));
                }

                break;
            case ConditionalExpr c:
                var otherwise = _a.NewLabel();
                var end = _a.NewLabel();
                Branch(c.Condition, false, otherwise);
                Long(c.WhenTrue, Reg.R0);
                _a.Jump(end);
                _a.Bind(otherwise);
                Long(c.WhenFalse, Reg.R0);
                _a.Bind(end);
                Move(to, Reg.R0);
                break;
            case InExpr i:
                In(i);
                Move(to, Reg.R0);
                break;
            case CallExpr c:
                var slot = Call(c);
                Load(to, slot!.Value.Memory);
                break;
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.Target }:
                DataAddress(to, ControlBlock.TargetPid);
                Load(to, new Mem(to, 0));
                break;
            case IntrinsicExpr i:
                LongIntrinsic(i);
                Move(to, Reg.R0);
                break;
            case ContextExpr c:
                _event.Load(this, c, to);
                Extend(to, c.Size, c.IsSigned);
                break;
            case ColumnExpr c:
                LoadColumn(c, to);
                break;
            case DerefExpr d:
                Deref(d);
                Move(to, Reg.R0);
                break;
            case StatExpr s:
                Statistic(s);
                Move(to, Reg.R0);
                break;
            case SequenceExpr s:
                foreach (var statement in s.Statements)
                {
                    Statement(statement);
                }

                Long(s.Value, to);
                break;
            case RegexExpr r:
                Match(r);
                Move(to, Reg.R0);
                break;
            case BucketExpr b:
                Bucket(b);
                Move(to, Reg.R0);
                break;
            default:
                throw new InvalidOperationException($"expression {e.GetType().Name} has no long form");
        }
    }

    /// <summary>Evaluates for its effects only.</summary>
    private void Discard(Expr e)
    {
        At(e.Span);
        switch (e)
        {
            case LongConst or StringConst:
                break;
            case UpdateExpr { Type: ScriptType.Long } u:
                Update(u, wanted: false);
                break;
            case CallExpr c:
                Call(c);
                break;
            case IntrinsicExpr { Intrinsic.ReturnType: ScriptType.Void } i:
                VoidIntrinsic(i);
                break;
            case ConditionalExpr c:
                var otherwise = _a.NewLabel();
                var end = _a.NewLabel();
                Branch(c.Condition, false, otherwise);
                Discard(c.WhenTrue);
                _a.Jump(end);
                _a.Bind(otherwise);
                Discard(c.WhenFalse);
                _a.Bind(end);
                break;
            case SequenceExpr s:
                foreach (var statement in s.Statements)
                {
                    Statement(statement);
                }

                Discard(s.Value);
                break;
            case { Type: ScriptType.String }:
                Text(e);
                break;
            default:
                Long(e, Reg.R0);
                break;
        }
    }

    /// <summary>Gives a narrow value its sign or clears what lies above it.</summary>
    public void Extend(Reg r, int size, bool signed)
    {
        if (size is 8 or 0)
        {
            return;
        }

        var bits = 64 - 8 * size;
        if (signed && _c.Features.InstructionSetV4)
        {
            _a.Emit(Instruction.MovSx(r, r, 8 * size));
        }
        else if (!signed && size == 4)
        {
            _a.Emit(Instruction.Mov32(r, r));
        }
        else if (!signed)
        {
            _a.Emit(Instruction.Alu64(AluOp.And, r, (1 << (8 * size)) - 1));
        }
        else
        {
            _a.Emit(Instruction.Alu64(AluOp.Lsh, r, bits));
            _a.Emit(Instruction.Alu64(signed ? AluOp.Arsh : AluOp.Rsh, r, bits));
        }
    }

    // ---- arithmetic ------------------------------------------------------------------------------------------------------

    private void Binary(BinaryExpr b, Reg to)
    {
        if (b.Operator is BinaryOperator.Divide or BinaryOperator.Modulo)
        {
            Divide(b, to);
            return;
        }

        var op = AluOf(b.Operator);
        if (TryConstant(b.Right, out var constant) && constant == (int)constant)
        {
            Long(b.Left, to);
            if (op is AluOp.Lsh or AluOp.Rsh or AluOp.Arsh)
            {
                constant &= 63;
            }

            _a.Emit(Instruction.Alu64(op, to, (int)constant));
            return;
        }

        Operands(b.Left, b.Right, b.Span);
        _a.Emit(Instruction.Alu64(op, Reg.R0, Reg.R1));
        Move(to, Reg.R0);
    }

    /// <summary>Evaluates left, then right, into R0 and R1.</summary>
    private void Operands(Expr left, Expr right, SourceSpan span)
    {
        if (IsSimple(right))
        {
            Long(left, Reg.R0);
            Long(right, Reg.R1);
        }
        else
        {
            var temp = TakeTemp();
            Long(left, Reg.R0);
            Put(temp, Reg.R0);
            Long(right, Reg.R1);
            Get(Reg.R0, temp);
            Free(temp);
        }

        At(span);
    }

    private void Apply(BinaryOperator op, SourceSpan span)
    {
        if (op is BinaryOperator.Divide or BinaryOperator.Modulo)
        {
            var safe = _a.NewLabel();
            _a.JumpIf(JumpOp.Ne, Reg.R1, 0, safe);
            Raise("division by 0", span);
            _a.Bind(safe);
            DivideByRegister(op);
        }
        else
        {
            _a.Emit(Instruction.Alu64(AluOf(op), Reg.R0, Reg.R1));
        }
    }

    private void Divide(BinaryExpr b, Reg to)
    {
        if (TryConstant(b.Right, out var divisor) && divisor is not (0 or -1) && divisor == (int)divisor && _c.Features.InstructionSetV4)
        {
            Long(b.Left, to);
            _a.Emit(b.Operator == BinaryOperator.Divide ? Instruction.SDiv64(to, (int)divisor) : Instruction.SMod64(to, (int)divisor));
            return;
        }

        Operands(b.Left, b.Right, b.Span);
        Apply(b.Operator, b.Span);
        Move(to, Reg.R0);
    }

    /// <summary>R0 = R0 op R1 for a divisor that is not 0. Division by −1 is done by hand: INT64_MIN / −1 traps on processors that older kernels do not guard.</summary>
    private void DivideByRegister(BinaryOperator op)
    {
        var end = _a.NewLabel();
        var ordinary = _a.NewLabel();
        var divide = op == BinaryOperator.Divide;
        _a.JumpIf(JumpOp.Ne, Reg.R1, -1, ordinary);
        _a.Emit(divide ? Instruction.Neg64(Reg.R0) : Instruction.Mov(Reg.R0, 0));
        _a.Jump(end);
        _a.Bind(ordinary);
        if (_c.Features.InstructionSetV4)
        {
            _a.Emit(divide ? Instruction.SDiv64(Reg.R0, Reg.R1) : Instruction.SMod64(Reg.R0, Reg.R1));
        }
        else
        {
            // |a| op |b| unsigned, then the sign of a·b (quotient) or of a (remainder).
            var positiveLeft = _a.NewLabel();
            var positiveRight = _a.NewLabel();
            Move(Reg.R2, Reg.R0);
            if (divide)
            {
                _a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R2, Reg.R1));
            }

            _a.JumpIf(JumpOp.SGe, Reg.R0, 0, positiveLeft);
            _a.Emit(Instruction.Neg64(Reg.R0));
            _a.Bind(positiveLeft);
            _a.JumpIf(JumpOp.SGe, Reg.R1, 0, positiveRight);
            _a.Emit(Instruction.Neg64(Reg.R1));
            _a.Bind(positiveRight);
            _a.Emit(Instruction.Alu64(divide ? AluOp.Div : AluOp.Mod, Reg.R0, Reg.R1));
            _a.JumpIf(JumpOp.SGe, Reg.R2, 0, end);
            _a.Emit(Instruction.Neg64(Reg.R0));
        }

        _a.Bind(end);
    }

    private static AluOp AluOf(BinaryOperator op) => op switch
    {
        BinaryOperator.Add => AluOp.Add,
        BinaryOperator.Subtract => AluOp.Sub,
        BinaryOperator.Multiply => AluOp.Mul,
        BinaryOperator.ShiftLeft => AluOp.Lsh,
        BinaryOperator.ShiftRight => AluOp.Arsh,
        BinaryOperator.ShiftRightLogical => AluOp.Rsh,
        BinaryOperator.BitAnd => AluOp.And,
        BinaryOperator.BitOr => AluOp.Or,
        BinaryOperator.BitXor => AluOp.Xor,
        _ => throw new InvalidOperationException($"operator {op} is no arithmetic"),
    };

    // ---- truth -----------------------------------------------------------------------------------------------------------

    private static bool IsComparison(BinaryOperator op) => op is >= BinaryOperator.Less and <= BinaryOperator.NotEqual;

    private void Truth(Expr e, Reg to)
    {
        var no = _a.NewLabel();
        var end = _a.NewLabel();
        Branch(e, false, no);
        _a.Emit(Instruction.Mov(to, 1));
        _a.Jump(end);
        _a.Bind(no);
        _a.Emit(Instruction.Mov(to, 0));
        _a.Bind(end);
    }

    /// <summary>Goes to the label when the truth of the condition is <paramref name="sense"/>, else falls through.</summary>
    private void Branch(Expr e, bool sense, Label label)
    {
        if (TryConstant(e, out var known))
        {
            if (known != 0 == sense)
            {
                _a.Jump(label);
            }

            return;
        }

        At(e.Span);
        switch (e)
        {
            case UnaryExpr { Operator: UnaryOperator.Not } u:
                Branch(u.Operand, !sense, label);
                break;
            case LogicalExpr l when l.IsAnd != sense:
                // (a && b) is false if either is; (a || b) is true if either is.
                Branch(l.Left, sense, label);
                Branch(l.Right, sense, label);
                break;
            case LogicalExpr l:
                var past = _a.NewLabel();
                Branch(l.Left, !sense, past);
                Branch(l.Right, sense, label);
                _a.Bind(past);
                break;
            case BinaryExpr b when IsComparison(b.Operator):
                var op = JumpOf(b.Operator, sense);
                if (TryConstant(b.Right, out var constant) && constant == (int)constant)
                {
                    Long(b.Left, Reg.R0);
                    _a.JumpIf(op, Reg.R0, (int)constant, label);
                }
                else
                {
                    Operands(b.Left, b.Right, b.Span);
                    _a.JumpIf(op, Reg.R0, Reg.R1, label);
                }

                break;
            case StringCompareExpr s:
                CompareStrings(s, sense, label);
                break;
            default:
                Long(e, Reg.R0);
                _a.JumpIf(sense ? JumpOp.Ne : JumpOp.Eq, Reg.R0, 0, label);
                break;
        }
    }

    private static JumpOp JumpOf(BinaryOperator op, bool sense) => (op, sense) switch
    {
        (BinaryOperator.Less, true) or (BinaryOperator.GreaterOrEqual, false) => JumpOp.SLt,
        (BinaryOperator.LessOrEqual, true) or (BinaryOperator.Greater, false) => JumpOp.SLe,
        (BinaryOperator.Greater, true) or (BinaryOperator.LessOrEqual, false) => JumpOp.SGt,
        (BinaryOperator.GreaterOrEqual, true) or (BinaryOperator.Less, false) => JumpOp.SGe,
        (BinaryOperator.Equal, true) or (BinaryOperator.NotEqual, false) => JumpOp.Eq,
        _ => JumpOp.Ne,
    };
}
