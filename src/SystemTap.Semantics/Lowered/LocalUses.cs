namespace SystemTap.Semantics.Lowered;

/// <summary>What a place in a tree does with a local.</summary>
public enum LocalUse
{
    /// <summary>Takes its value.</summary>
    Read,

    /// <summary>Gives it a value.</summary>
    Assign,

    /// <summary>Takes its value and gives it another.</summary>
    Update,

    /// <summary>A statement gives it values, perhaps many: the keys and the value of a <c>foreach</c>, the message of a <c>catch</c>.</summary>
    Bind,
}

/// <summary>Visits the uses of locals: the one place that knows all forms.</summary>
public abstract class LocalWalker : LoweredWalker
{
    /// <summary>A local is used.</summary>
    protected abstract void Use(Local local, LocalUse use);

    /// <inheritdoc/>
    public override void Visit(Expr? expression)
    {
        switch (expression)
        {
            case ReadExpr { Place: LocalPlace p }:
                Use(p.Local, LocalUse.Read);
                break;
            case AssignExpr { Place: LocalPlace p }:
                Use(p.Local, LocalUse.Assign);
                break;
            case UpdateExpr { Place: LocalPlace p }:
                Use(p.Local, LocalUse.Update);
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
                Use(message, LocalUse.Bind);
                break;
            case ForeachStmt f:
                foreach (var key in f.Keys)
                {
                    Use(key, LocalUse.Bind);
                }

                if (f.Value is { } value)
                {
                    Use(value, LocalUse.Bind);
                }

                break;
        }

        base.Visit(statement);
    }
}

/// <summary>How often each local is assigned in a body.</summary>
public sealed class AssignmentCounter : LocalWalker
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
    protected override void Use(Local local, LocalUse use)
    {
        if (use != LocalUse.Read)
        {
            _counts[local] = _counts.GetValueOrDefault(local) + (use == LocalUse.Assign ? 1 : 2);
        }
    }
}

/// <summary>The locals a body uses.</summary>
public sealed class LocalFinder : LocalWalker
{
    private readonly HashSet<Local> _seen = new(ReferenceEqualityComparer.Instance);
    private readonly List<Local> _order = [];

    /// <summary>Each once, in the order of their first uses.</summary>
    public static IReadOnlyCollection<Local> In(Stmt body)
    {
        var finder = new LocalFinder();
        finder.Visit(body);
        return finder._order;
    }

    /// <inheritdoc/>
    protected override void Use(Local local, LocalUse use)
    {
        if (_seen.Add(local))
        {
            _order.Add(local);
        }
    }
}
