using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

/// <summary>
/// <c>a[KEYS] = VALUE</c>: the language computes the keys first. Computing the value first is cheaper (the key need not be kept meanwhile), and nobody can tell unless one of
/// them changes what the other reads, or both can fail.
/// </summary>
internal static class KeyOrder
{
    /// <summary>True when the keys must be computed before the value.</summary>
    public static bool Matters(IReadOnlyList<Expr> keys, Expr value)
    {
        if (value is LongConst or StringConst)
        {
            return false;
        }

        var (reads, noisy) = (false, false);
        foreach (var key in keys)
        {
            reads |= key is not (LongConst or StringConst);
            noisy |= Noise.In(key, failuresToo: true);
        }

        return reads && (noisy || Noise.In(value, failuresToo: false));
    }

    /// <summary>The same of one argument and those after it: true when it must be computed before them.</summary>
    public static bool Matters(IReadOnlyList<Expr> keys, IReadOnlyList<Expr> list, int from)
    {
        for (var i = from; i < list.Count; i++)
        {
            if (Matters(keys, list[i]))
            {
                return true;
            }
        }

        return false;
    }

    // Anything that changes a variable, calls a function or, when asked, can fail.
    private sealed class Noise(bool failuresToo) : LoweredWalker
    {
        private bool _found;

        public static bool In(Expr expression, bool failuresToo)
        {
            var noise = new Noise(failuresToo);
            noise.Visit(expression);
            return noise._found;
        }

        public override void Visit(Expr? expression)
        {
            _found |= expression switch
            {
                AssignExpr or UpdateExpr or CallExpr or SequenceExpr => true,
                IntrinsicExpr i => !i.Intrinsic.Has(IntrinsicTraits.Pure) || failuresToo && i.Intrinsic.Has(IntrinsicTraits.Fallible),
                BinaryExpr { Operator: BinaryOperator.Divide or BinaryOperator.Modulo, Right: not LongConst } or DerefExpr or StatExpr => failuresToo,
                _ => false,
            };
            if (!_found)
            {
                base.Visit(expression);
            }
        }
    }
}
