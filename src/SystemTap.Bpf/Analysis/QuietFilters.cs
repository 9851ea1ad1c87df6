using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

/// <summary>
/// Filters before the lock (<see cref="LockPrefix"/>) that moreover cannot fail may come before the test of the session's state as well: events that are
/// filtered out then cost no more than the filter.
/// </summary>
internal static class QuietFilters
{
    /// <summary>Nobody can tell whether it was done: it cannot fail, and counts nothing.</summary>
    public static bool AreQuiet(IReadOnlyList<Stmt> before, Expr? condition)
    {
        var walker = new QuietWalker();
        foreach (var statement in before)
        {
            walker.Visit(statement);
        }

        walker.Visit(condition);
        return walker.Quiet;
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
}
