using SystemTap.Language.Syntax;
using SystemTap.Language.Text;

namespace SystemTap.Semantics.Lowered;

/// <summary>A statement. Each executed statement and iteration counts against MAXACTION.</summary>
public abstract class Stmt(SourceSpan span)
{
    public SourceSpan Span { get; } = span;
}

public sealed class BlockStmt(IReadOnlyList<Stmt> statements, SourceSpan span) : Stmt(span)
{
    public static readonly BlockStmt Empty = new([], default);

    public IReadOnlyList<Stmt> Statements { get; } = statements;
}

/// <summary>Evaluates and drops the value (which may be Void).</summary>
public sealed class ExprStmt(Expr expression, SourceSpan span) : Stmt(span)
{
    public Expr Expression { get; } = expression;
}

public sealed class IfStmt(Expr condition, Stmt then, Stmt? @else, SourceSpan span) : Stmt(span)
{
    public Expr Condition { get; } = condition;

    public Stmt Then { get; } = then;

    public Stmt? Else { get; } = @else;
}

/// <summary><c>while</c> and <c>for</c>: test, body, step. <c>continue</c> goes to the step. A null condition is true.</summary>
public sealed class LoopStmt(Expr? condition, Stmt body, Expr? step, SourceSpan span) : Stmt(span)
{
    public Expr? Condition { get; } = condition;

    public Stmt Body { get; } = body;

    public Expr? Step { get; } = step;
}

/// <summary>
/// Iterates an array, or the buckets of a histogram when <see cref="OverBuckets"/>. Unsorted and equal entries come in insertion order.
/// The body cannot change the array (checked in pass 2).
/// </summary>
public sealed class ForeachStmt : Stmt
{
    public ForeachStmt(SourceSpan span) : base(span)
    {
    }

    public required Global Array { get; init; }

    /// <summary>Key variables; for buckets the one that gets the bucket number.</summary>
    public required IReadOnlyList<Local> Keys { get; init; }

    /// <summary>Gets the value (Long or String arrays); for aggregates null: bodies read them by <see cref="StatExpr"/>.</summary>
    public Local? Value { get; init; }

    /// <summary>Evaluated once; only elements whose keys equal the non-null entries are visited. Null: all.</summary>
    public IReadOnlyList<Expr?>? Slice { get; init; }

    public SortDirection Direction { get; init; }

    /// <summary>0: by value; n ≥ 1: by the n-th key.</summary>
    public int SortKey { get; init; }

    /// <summary>For aggregates sorted by value.</summary>
    public StatisticKind SortStatistic { get; init; }

    public Expr? Limit { get; init; }

    /// <summary>Iterates bucket numbers of the histogram of <see cref="Array"/>[<see cref="BucketKeys"/>].</summary>
    public bool OverBuckets { get; init; }

    public IReadOnlyList<Expr> BucketKeys { get; init; } = [];

    public required Stmt Body { get; init; }

    /// <summary>The same loop with other variables, expressions and body.</summary>
    public ForeachStmt With(IReadOnlyList<Local> keys, Local? value, IReadOnlyList<Expr?>? slice, Expr? limit, IReadOnlyList<Expr> bucketKeys, Stmt body) => new(Span)
    {
        Array = Array,
        Keys = keys,
        Value = value,
        Slice = slice,
        Direction = Direction,
        SortKey = SortKey,
        SortStatistic = SortStatistic,
        Limit = limit,
        OverBuckets = OverBuckets,
        BucketKeys = bucketKeys,
        Body = body,
    };
}

public sealed class BreakStmt(SourceSpan span) : Stmt(span);

public sealed class ContinueStmt(SourceSpan span) : Stmt(span);

/// <summary>In a probe: leave the handler. In a function: try <see cref="Function.NextOverload"/>.</summary>
public sealed class NextStmt(SourceSpan span) : Stmt(span);

/// <summary>Leaves the function; a null value returns 0 or "".</summary>
public sealed class ReturnStmt(Expr? value, SourceSpan span) : Stmt(span)
{
    public Expr? Value { get; } = value;
}

/// <summary>
/// Deletes: a scalar (reset to 0, "" or empty), a whole array (<see cref="Keys"/> null), or the elements whose keys equal the non-null entries.
/// </summary>
public sealed class DeleteStmt(Global global, IReadOnlyList<Expr?>? keys, SourceSpan span) : Stmt(span)
{
    public Global Global { get; } = global;

    public IReadOnlyList<Expr?>? Keys { get; } = keys;
}

/// <summary>Resets a local to 0 or "" is an ordinary assignment; this adds a sample to an aggregate.</summary>
public sealed class StatAddStmt(Global aggregate, IReadOnlyList<Expr> keys, Expr value, SourceSpan span) : Stmt(span)
{
    public Global Aggregate { get; } = aggregate;

    /// <summary>Empty for a scalar.</summary>
    public IReadOnlyList<Expr> Keys { get; } = keys;

    public Expr Value { get; } = value;
}

/// <summary>Runs the body; a run-time error in it (or in functions it calls) runs the handler with the message. Not for exit, MAXACTION.</summary>
public sealed class TryStmt(Stmt body, Local? message, Stmt handler, SourceSpan span) : Stmt(span)
{
    public Stmt Body { get; } = body;

    public Local? Message { get; } = message;

    public Stmt Handler { get; } = handler;
}

/// <summary>Writes text to the session's output stream, atomically.</summary>
public sealed class PrintStmt(IReadOnlyList<FormatSegment> segments, IReadOnlyList<Expr> arguments, SourceSpan span) : Stmt(span)
{
    public IReadOnlyList<FormatSegment> Segments { get; } = segments;

    /// <summary>As in <see cref="FormatExpr.Arguments"/>.</summary>
    public IReadOnlyList<Expr> Arguments { get; } = arguments;
}
