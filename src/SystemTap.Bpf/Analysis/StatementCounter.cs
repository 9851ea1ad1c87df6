using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

/// <summary>Counts the statements of a body, without blocks: what one iteration counts against MAXACTION.</summary>
internal sealed class StatementCounter : LoweredWalker
{
    private int _count;

    public static int Count(Stmt s)
    {
        var counter = new StatementCounter();
        counter.Visit(s);
        return counter._count;
    }

    public override void Visit(Stmt? statement)
    {
        if (statement is not (null or BlockStmt))
        {
            _count++;
        }

        base.Visit(statement);
    }
}
