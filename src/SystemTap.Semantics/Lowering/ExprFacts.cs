using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Lowering;

/// <summary>Questions about lowered expressions.</summary>
internal static class ExprFacts
{
    /// <summary>Evaluating it does something besides giving a value; calls of script functions count unless known to be pure. Errors do not count.</summary>
    public static bool HasEffects(Expr e)
    {
        switch (e)
        {
            case LongConst or StringConst or ContextExpr:
                return false;
            case ReadExpr r:
                return r.Place is ElementPlace p && Any(p.Keys);
            case AssignExpr or UpdateExpr or RegexExpr or SequenceExpr or EmbeddedCExpr:
                return true;
            case BinaryExpr b:
                return HasEffects(b.Left) || HasEffects(b.Right);
            case StringCompareExpr s:
                return HasEffects(s.Left) || HasEffects(s.Right);
            case LogicalExpr l:
                return HasEffects(l.Left) || HasEffects(l.Right);
            case UnaryExpr u:
                return HasEffects(u.Operand);
            case ConditionalExpr c:
                return HasEffects(c.Condition) || HasEffects(c.WhenTrue) || HasEffects(c.WhenFalse);
            case ConcatExpr c:
                return Any(c.Parts);
            case InExpr i:
                return Any(i.Keys);
            case CallExpr c:
                return !c.Function.IsPure || Any(c.Arguments);
            case IntrinsicExpr i:
                return !i.Intrinsic.Has(IntrinsicTraits.Pure) || Any(i.Arguments);
            case DerefExpr d:
                return HasEffects(d.Address);
            case FormatExpr f:
                return Any(f.Arguments);
            case HistogramTextExpr h:
                return Any(h.Keys);
            case StatExpr s:
                return Any(s.Keys);
            case BucketExpr b:
                return Any(b.Keys) || HasEffects(b.Index);
            default:
                return true;
        }
    }

    /// <summary>Cheap, effect-free, and the same wherever in the expression it is evaluated.</summary>
    public static bool IsSimple(Expr e) => e switch
    {
        LongConst or StringConst or ContextExpr => true,
        ReadExpr { Place: LocalPlace } => true,
        IntrinsicExpr i => i.Intrinsic.Has(IntrinsicTraits.Stable) && !i.Intrinsic.Has(IntrinsicTraits.Fallible) && i.Arguments.Count == 0,
        _ => false,
    };

    private static bool Any(IReadOnlyList<Expr?> list)
    {
        for (var i = 0; i < list.Count; i++)
        {
            if (list[i] is { } e && HasEffects(e))
            {
                return true;
            }
        }

        return false;
    }
}
