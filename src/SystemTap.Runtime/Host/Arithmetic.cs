using System.Runtime.CompilerServices;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;

namespace SystemTap.Runtime.Host;

/// <summary>64-bit arithmetic as the language has it: wraps, shift counts masked with 63, division by zero is a run-time error, MIN / −1 does not trap.</summary>
public static class Arithmetic
{
    /// <summary>Applies an operator; comparisons give 0 or 1.</summary>
    /// <exception cref="RuntimeError">Division or remainder by zero.</exception>
    public static long Apply(BinaryOperator op, long left, long right, SourceSpan span) => op switch
    {
        BinaryOperator.Multiply => left * right,
        BinaryOperator.Divide => Divide(left, right, span),
        BinaryOperator.Modulo => Modulo(left, right, span),
        BinaryOperator.Add => left + right,
        BinaryOperator.Subtract => left - right,
        BinaryOperator.ShiftLeft => left << (int)(right & 63),
        BinaryOperator.ShiftRight => left >> (int)(right & 63),
        BinaryOperator.ShiftRightLogical => left >>> (int)(right & 63),
        BinaryOperator.Less => left < right ? 1 : 0,
        BinaryOperator.Greater => left > right ? 1 : 0,
        BinaryOperator.LessOrEqual => left <= right ? 1 : 0,
        BinaryOperator.GreaterOrEqual => left >= right ? 1 : 0,
        BinaryOperator.Equal => left == right ? 1 : 0,
        BinaryOperator.NotEqual => left != right ? 1 : 0,
        BinaryOperator.BitAnd => left & right,
        BinaryOperator.BitXor => left ^ right,
        BinaryOperator.BitOr => left | right,
        _ => throw new RuntimeError("operator is not arithmetic", span),
    };

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long Divide(long left, long right, SourceSpan span) => right switch
    {
        0 => throw new RuntimeError("division by 0", span),
        -1 => -left,
        _ => left / right,
    };

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long Modulo(long left, long right, SourceSpan span) => right switch
    {
        0 => throw new RuntimeError("division by 0", span),
        -1 => 0,
        _ => left % right,
    };

    /// <summary>Bytewise order of two strings.</summary>
    public static long Compare(BinaryOperator op, string left, string right)
    {
        var order = string.CompareOrdinal(left, right);
        return Apply(op, order, 0, default);
    }
}
