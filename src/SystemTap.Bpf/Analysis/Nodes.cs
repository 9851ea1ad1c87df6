using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

// Nodes only this compiler makes, between the lowered program and instructions.

/// <summary>A print after deferral: send the record of <paramref name="site"/> with these leaf values.</summary>
internal sealed class SendStmt(PrintSite site, IReadOnlyList<Expr> leaves, SourceSpan span) : Stmt(span), IEngineNode
{
    public PrintSite Site { get; } = site;

    public IReadOnlyList<Expr> Leaves { get; } = leaves;

    /// <inheritdoc/>
    public void VisitChildren(LoweredWalker walker) => walker.Visit(Leaves);
}

/// <summary>A constant that differs between the system calls served by one merged handler: column of the dispatch table.</summary>
internal sealed class ColumnExpr(int column, ScriptType type, SourceSpan span) : Expr(type, span), IEngineNode
{
    public int Column { get; } = column;

    /// <summary>Most bytes of a string column.</summary>
    public int Length { get; init; }

    /// <inheritdoc/>
    public void VisitChildren(LoweredWalker walker)
    {
    }
}

/// <summary>An inlined function body: <see cref="LeaveStmt"/> ends it.</summary>
internal sealed class RegionStmt(SourceSpan span) : Stmt(span), IEngineNode
{
    public Stmt Body { get; set; } = BlockStmt.Empty;

    /// <inheritdoc/>
    public void VisitChildren(LoweredWalker walker) => walker.Visit(Body);
}

/// <summary>Goes to the end of a region: <c>return</c> in an inlined function.</summary>
internal sealed class LeaveStmt(RegionStmt region, SourceSpan span) : Stmt(span), IEngineNode
{
    public RegionStmt Region { get; } = region;

    /// <inheritdoc/>
    public void VisitChildren(LoweredWalker walker)
    {
    }
}

/// <summary>
/// Bytes of memory with their exact number, NULs included: what is left of a quoted buffer when stap does the quoting. Only ever sent in records. Fails when
/// the memory cannot be read.
/// </summary>
internal sealed class RawBytesExpr(Expr address, Expr count, bool isUser, SourceSpan span) : Expr(ScriptType.String, span), IEngineNode
{
    public Expr Address { get; } = address;

    public Expr Count { get; } = count;

    public bool IsUser { get; } = isUser;

    /// <summary>What <c>%m</c> ('m') or <c>%M</c> ('M') shows: a negative number means one byte, more than a page is an error. NUL for other uses.</summary>
    public char Conversion { get; init; }

    /// <inheritdoc/>
    public void VisitChildren(LoweredWalker walker)
    {
        walker.Visit(Address);
        walker.Visit(Count);
    }
}

/// <summary>All buckets of a histogram, 8 bytes each: what is sent of a printed histogram. Raises "empty aggregate".</summary>
internal sealed class BucketsExpr(Global aggregate, IReadOnlyList<Expr> keys, SourceSpan span) : Expr(ScriptType.String, span), IEngineNode
{
    public Global Aggregate { get; } = aggregate;

    public IReadOnlyList<Expr> Keys { get; } = keys;

    /// <inheritdoc/>
    public bool ReadsGlobals => true;

    /// <inheritdoc/>
    public void VisitChildren(LoweredWalker walker) => walker.Visit(Keys);
}
