using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;

namespace SystemTap.Semantics.Lowered;

/// <summary>
/// Splits a handler in front of what needs its lock: `if (pid() != target()) next` and the like decide first, so that filtered events neither wait nor count as skipped.
/// What comes first may be evaluated although the handler is skipped afterwards, so it has no effect but on locals, and touches no global that changes.
/// </summary>
public static class LockPrefix
{
    /// <summary>What is done before the lock is taken, the condition under which it is needed (null: always), and what is done under it; null: nothing is gained.</summary>
    public static (IReadOnlyList<Stmt> Before, Expr? Condition, Stmt Under)? Of(Stmt body)
    {
        var statements = new List<Stmt>();
        Flatten(body, statements);
        var count = 0;
        var filters = false;
        while (count < statements.Count && IsHarmless(statements[count]))
        {
            filters |= statements[count] is IfStmt;
            count++;
        }

        var last = count == statements.Count - 1 ? statements[count] as IfStmt : null;
        if (last is { Else: null } && IsHarmless(last.Condition))
        {
            return (statements.GetRange(0, count), last.Condition, last.Then);
        }

        return filters && count < statements.Count
            ? (statements.GetRange(0, count), null, new BlockStmt(statements.GetRange(count, statements.Count - count), body.Span))
            : null;
    }

    private static void Flatten(Stmt s, List<Stmt> into)
    {
        if (s is BlockStmt block)
        {
            foreach (var inner in block.Statements)
            {
                Flatten(inner, into);
            }
        }
        else
        {
            into.Add(s);
        }
    }

    private static bool IsHarmless(Stmt s)
    {
        var walker = new HarmlessWalker();
        walker.Visit(s);
        return walker.Harmless;
    }

    private static bool IsHarmless(Expr e)
    {
        var walker = new HarmlessWalker();
        walker.Visit(e);
        return walker.Harmless;
    }

    private sealed class HarmlessWalker : LoweredWalker
    {
        private readonly HashSet<Function> _seen = new(ReferenceEqualityComparer.Instance);

        public bool Harmless { get; private set; } = true;

        public override void Visit(Stmt? statement)
        {
            Harmless &= statement is null or BlockStmt or ExprStmt or IfStmt or ReturnStmt or NextStmt;
            if (Harmless)
            {
                base.Visit(statement);
            }
        }

        public override void Visit(Expr? expression)
        {
            Harmless &= expression switch
            {
                ReadExpr e => IsFixed(e.Place),
                AssignExpr e => e.Place is LocalPlace,
                UpdateExpr e => e.Place is LocalPlace,
                IntrinsicExpr e => e.Intrinsic.Has(IntrinsicTraits.Pure) && e.Intrinsic.Id is not (IntrinsicId.UserSnapshot or IntrinsicId.UserSnapshotFrom or IntrinsicId.KernelStackRaw),
                InExpr or StatExpr or BucketExpr or HistogramTextExpr or SequenceExpr or RegexExpr or EmbeddedCExpr or IEngineNode { ReadsGlobals: true } => false,
                _ => true,
            };
            if (expression is CallExpr call)
            {
                for (var f = call.Function; f is not null && _seen.Add(f); f = f.NextOverload)
                {
                    Harmless &= f.EmbeddedCode is null;
                    Visit(f.Body);
                }
            }

            if (Harmless)
            {
                base.Visit(expression);
            }
        }

        private static bool IsFixed(Place place) => place switch
        {
            LocalPlace => true,
            GlobalPlace p => p.Global.IsReadOnly,
            _ => false,
        };
    }
}
