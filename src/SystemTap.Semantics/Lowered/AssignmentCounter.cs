namespace SystemTap.Semantics.Lowered;

/// <summary>How often each local is assigned in a body.</summary>
public sealed class AssignmentCounter : LoweredWalker
{
    private readonly Dictionary<Local, int> _counts = new(ReferenceEqualityComparer.Instance);

    /// <summary>The locals that the body assigns, each with the number of places (2 or more where a place assigns often, as a loop's keys).</summary>
    public static Dictionary<Local, int> In(Stmt body)
    {
        var counter = new AssignmentCounter();
        counter.Visit(body);
        return counter._counts;
    }

    /// <inheritdoc/>
    public override void Visit(Expr? expression)
    {
        switch (expression)
        {
            case AssignExpr { Place: LocalPlace p }:
                Add(p.Local);
                break;
            case UpdateExpr { Place: LocalPlace p }:
                Add(p.Local, 2);
                break;
        }

        base.Visit(expression);
    }

    /// <inheritdoc/>
    public override void Visit(Stmt? statement)
    {
        switch (statement)
        {
            case TryStmt { Message: { } message }:
                Add(message, 2);
                break;
            case ForeachStmt f:
                foreach (var key in f.Keys)
                {
                    Add(key, 2);
                }

                if (f.Value is { } value)
                {
                    Add(value, 2);
                }

                break;
        }

        base.Visit(statement);
    }

    private void Add(Local local, int count = 1) => _counts[local] = _counts.GetValueOrDefault(local) + count;
}
