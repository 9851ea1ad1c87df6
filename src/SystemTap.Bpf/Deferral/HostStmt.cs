using SystemTap.Bpf.Analysis;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

/// <summary>A statement that stap runs when the record with its leaves arrives; its inner expressions are still those of the script.</summary>
internal sealed class HostStmt(Stmt body, IReadOnlySet<Global> moved, SourceSpan span) : Stmt(span), IEngineNode
{
    public Stmt Body { get; } = body;

    /// <summary>The globals that are in stap's memory; complete once all handlers are split.</summary>
    public IReadOnlySet<Global> Moved { get; } = moved;

    private Dictionary<Local, int>? _owned;

    private bool? _matches;

    /// <summary>The kernel reads and sends it.</summary>
    public bool IsLeaf(Expr e) => e switch
    {
        ReadExpr { Place: LocalPlace p } => !(_owned ??= AssignmentCounter.In(Body)).ContainsKey(p.Local),
        HistogramTextExpr h => !Moved.Contains(h.Aggregate),
        IntrinsicExpr { Intrinsic.Id: IntrinsicId.KernelStack or IntrinsicId.UserStack } => true,
        IntrinsicExpr { Intrinsic.Id: IntrinsicId.MatchedGroup or IntrinsicId.GroupCount } => !(_matches ??= LoweredSearch.Has(Body, static e => e is RegexExpr)),
        IntrinsicExpr i => !HostStatements.StapCan(i.Intrinsic) && !HostStatements.IsStapsOnly(i.Intrinsic.Id),
        CallExpr c => HostStatements.NeedsKernel(c.Function),
        ContextExpr or DerefExpr or ColumnExpr => true,
        _ => HostStatements.GlobalOf(e) is { IsReadOnly: false } g && !Moved.Contains(g),
    };

    /// <inheritdoc/>
    public void VisitChildren(LoweredWalker walker)
    {
        var finder = new LeafFinder(this);
        finder.Visit(Body);
        foreach (var leaf in finder.Found)
        {
            walker.Visit(leaf);
        }
    }

    private sealed class LeafFinder(HostStmt owner) : LoweredWalker
    {
        public List<Expr> Found { get; } = [];

        public override void Visit(Expr? expression)
        {
            if (expression is not null && owner.IsLeaf(expression))
            {
                Found.Add(expression);
                return;
            }

            base.Visit(expression);
        }
    }
}

/// <summary>Why statements that need texts of stap cannot be left to it.</summary>
/// <param name="Reason">A sentence part.</param>
/// <param name="Span">Where it is seen.</param>
internal sealed record HostRefusal(string Reason, SourceSpan Span);
