using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Bpf.Emit;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

/// <summary>Turns the prints of a handler or function into sends of leaves.</summary>
internal sealed class BodyRewriter(Compilation compilation)
{
    public Stmt Rewrite(Stmt body) => Statement(body);

    private Stmt Statement(Stmt s)
    {
        switch (s)
        {
            case PrintStmt p:
                return Print(p.Segments, p.Arguments, p.Span);
            case ExprStmt { Expression: IntrinsicExpr { Intrinsic.Id: IntrinsicId.Log } log }:
                return Print([new FormatSegment(FormatConversion.String, ""), new FormatSegment(FormatConversion.Literal, "\n")], log.Arguments, log.Span);
            default:
                return Mapper.Children(s, Expression, Statement);
        }
    }

    private Expr Expression(Expr e)
    {
        if (e is SequenceExpr s)
        {
            var list = new Stmt[s.Statements.Count];
            for (var i = 0; i < list.Length; i++)
            {
                list[i] = Statement(s.Statements[i]);
            }

            return new SequenceExpr(list, Expression(s.Value), s.Span);
        }

        return Mapper.Children(e, Expression);
    }

    private SendStmt Print(IReadOnlyList<FormatSegment> segments, IReadOnlyList<Expr> arguments, Language.Text.SourceSpan span)
    {
        if (!Purity.IsPlainFormat(segments))
        {
            throw new BpfCannotException("%m and %M read memory while printing, which a handler in the kernel cannot leave to stap", span, "run with --runtime=kernel");
        }

        foreach (var argument in arguments)
        {
            if (argument is HistogramTextExpr h)
            {
                throw new BpfCannotException($"printing the histogram of \"{h.Aggregate.Name}\" in a handler that runs in the kernel", h.Span, "print it in a timer or end probe, or run with --runtime=kernel");
            }
        }

        var (rewritten, leaves) = PrintSplitter.Split(arguments);
        var types = new ScriptType[leaves.Length];
        for (var i = 0; i < types.Length; i++)
        {
            types[i] = leaves[i].Type;
        }

        var site = new PrintSite(compilation.PrintSites.Count, segments, rewritten, types, span);
        compilation.PrintSites.Add(site);
        return new SendStmt(site, leaves, span);
    }
}
