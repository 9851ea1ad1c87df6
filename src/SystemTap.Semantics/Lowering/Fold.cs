using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Lowering;

/// <summary>Makers of expressions that compute what is already known. With folding off they only build the node.</summary>
internal static class Fold
{
    public static Expr Binary(BinaryOperator op, Expr left, Expr right, SourceSpan span, bool fold)
    {
        if (left.Type == ScriptType.String)
        {
            return fold && left is StringConst a && right is StringConst b
                ? new LongConst(Compare(op, string.CompareOrdinal(a.Value, b.Value)), span)
                : new StringCompareExpr(op, left, right, span);
        }

        if (fold && left is LongConst x && right is LongConst y && Compute(op, x.Value, y.Value) is { } value)
        {
            return new LongConst(value, span);
        }

        return new BinaryExpr(op, left, right, span);
    }

    /// <summary>The value of an operation on constants; null for a division by zero, which stays a run-time error.</summary>
    public static long? Compute(BinaryOperator op, long a, long b) => unchecked(op switch
    {
        BinaryOperator.Multiply => a * b,
        BinaryOperator.Divide => b == 0 ? null : b == -1 ? -a : a / b,
        BinaryOperator.Modulo => b == 0 ? null : b == -1 ? 0 : a % b,
        BinaryOperator.Add => a + b,
        BinaryOperator.Subtract => a - b,
        BinaryOperator.ShiftLeft => a << (int)(b & 63),
        BinaryOperator.ShiftRight => a >> (int)(b & 63),
        BinaryOperator.ShiftRightLogical => a >>> (int)(b & 63),
        BinaryOperator.BitAnd => a & b,
        BinaryOperator.BitXor => a ^ b,
        BinaryOperator.BitOr => a | b,
        _ => Compare(op, a.CompareTo(b)),
    });

    public static Expr Unary(UnaryOperator op, Expr operand, SourceSpan span, bool fold)
    {
        if (op == UnaryOperator.Plus)
        {
            return operand;
        }

        if (fold && operand is LongConst c)
        {
            return new LongConst(
                unchecked(op switch
                {
                    UnaryOperator.Minus => -c.Value,
                    UnaryOperator.Not => c.Value == 0 ? 1 : 0,
                    _ => ~c.Value,
                }),
                span);
        }

        return new UnaryExpr(op, operand, span);
    }

    public static Expr Logical(bool isAnd, Expr left, Expr right, SourceSpan span, bool fold)
    {
        if (fold && left is LongConst l)
        {
            if (l.Value == 0 == isAnd)
            {
                return new LongConst(isAnd ? 0 : 1, span);
            }

            return AsBoolean(right, span, fold);
        }

        return new LogicalExpr(isAnd, left, right, span);
    }

    /// <summary>0 or 1.</summary>
    public static Expr AsBoolean(Expr e, SourceSpan span, bool fold) => e switch
    {
        LongConst c when fold => new LongConst(c.Value != 0 ? 1 : 0, span),
        LogicalExpr or StringCompareExpr or InExpr or RegexExpr or UnaryExpr { Operator: UnaryOperator.Not } => e,
        BinaryExpr { Operator: >= BinaryOperator.Less and <= BinaryOperator.NotEqual } => e,
        _ => new BinaryExpr(BinaryOperator.NotEqual, e, new LongConst(0, span), span),
    };

    /// <summary>Concatenation with nested ones dissolved and neighbouring literals joined.</summary>
    public static Expr Concat(List<Expr> parts, SourceSpan span, bool fold)
    {
        var flat = new List<Expr>(parts.Count);
        foreach (var part in parts)
        {
            Add(part);
        }

        return flat.Count switch
        {
            0 => new StringConst("", span),
            1 => flat[0],
            _ => new ConcatExpr(flat, span),
        };

        void Add(Expr part)
        {
            switch (part)
            {
                case ConcatExpr nested:
                    foreach (var inner in nested.Parts)
                    {
                        Add(inner);
                    }

                    break;
                case StringConst { Value: "" } when fold:
                    break;
                case StringConst c when fold && flat.Count > 0 && flat[^1] is StringConst before:
                    flat[^1] = new StringConst(before.Value + c.Value, before.Span);
                    break;
                default:
                    flat.Add(part);
                    break;
            }
        }
    }

    private static long Compare(BinaryOperator op, int order) => op switch
    {
        BinaryOperator.Less => order < 0,
        BinaryOperator.Greater => order > 0,
        BinaryOperator.LessOrEqual => order <= 0,
        BinaryOperator.GreaterOrEqual => order >= 0,
        BinaryOperator.Equal => order == 0,
        BinaryOperator.NotEqual => order != 0,
        _ => throw new InvalidOperationException("not a comparison"),
    } ? 1 : 0;
}
