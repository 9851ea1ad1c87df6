using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

/// <summary>
/// Splits a handler in front of what needs its lock: `if (pid() != target()) next` and the like decide first, so that filtered events neither wait nor count as skipped.
/// What comes first may be evaluated although the handler is skipped afterwards, so it has no effect but on locals, and touches no global that changes.
/// Where it moreover cannot fail (<see cref="IsQuiet"/>), it may come before the test of the session's state as well: events that are filtered out then cost no more than the filter.
/// </summary>
internal static class LockPrefix
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

    /// <summary>Nobody can tell whether it was done: it cannot fail, and counts nothing.</summary>
    public static bool IsQuiet(IReadOnlyList<Stmt> before, Expr? condition)
    {
        var walker = new QuietWalker();
        foreach (var statement in before)
        {
            walker.Visit(statement);
        }

        walker.Visit(condition);
        return walker.Quiet;
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

    private sealed class QuietWalker : LoweredWalker
    {
        public bool Quiet { get; private set; } = true;

        public override void Visit(Stmt? statement)
        {
            Quiet &= statement is null or BlockStmt or ExprStmt or IfStmt or NextStmt;
            base.Visit(statement);
        }

        public override void Visit(Expr? expression)
        {
            Quiet &= expression switch
            {
                null or LongConst or StringConst or ContextExpr or ColumnExpr or LogicalExpr or UnaryExpr or ConditionalExpr or StringCompareExpr => true,
                ReadExpr e => e.Place is LocalPlace or GlobalPlace { Global.IsReadOnly: true },
                AssignExpr e => e.Place is LocalPlace,
                UpdateExpr e => e.Place is LocalPlace && e.Type == ScriptType.Long && CannotFail(e.Operator, e.Operand),
                BinaryExpr e => CannotFail(e.Operator, e.Right),
                IntrinsicExpr e => e.Intrinsic.Has(IntrinsicTraits.Pure) && !e.Intrinsic.Has(IntrinsicTraits.Fallible) && !e.Arguments.Any(a => a.Type == ScriptType.String),
                _ => false,
            };
            if (Quiet)
            {
                base.Visit(expression);
            }
        }

        private static bool CannotFail(BinaryOperator op, Expr right) => op is not (BinaryOperator.Divide or BinaryOperator.Modulo) || right is LongConst { Value: not 0 };
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
                InExpr or StatExpr or BucketExpr or HistogramTextExpr or BucketsExpr or SequenceExpr or RegexExpr or EmbeddedCExpr => false,
                _ => true,
            };
            if (expression is CallExpr call)
            {
                for (var f = call.Function; f is not null && _seen.Add(f); f = f.NextOverload)
                {
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
