using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

// Nodes only this compiler makes, between the lowered program and instructions.

/// <summary>A print after deferral: send the record of <paramref name="site"/> with these leaf values.</summary>
internal sealed class SendStmt(PrintSite site, IReadOnlyList<Expr> leaves, SourceSpan span) : Stmt(span)
{
    public PrintSite Site { get; } = site;

    public IReadOnlyList<Expr> Leaves { get; } = leaves;
}

/// <summary>A constant that differs between the system calls served by one merged handler: column of the dispatch table.</summary>
internal sealed class ColumnExpr(int column, ScriptType type, SourceSpan span) : Expr(type, span)
{
    public int Column { get; } = column;

    /// <summary>Most bytes of a string column.</summary>
    public int Length { get; init; }
}
