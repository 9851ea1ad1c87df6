using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

// A HostStmt becomes the sending of its leaves. Inside it everything stays that stap can do: operations, moved globals, locals assigned there; the rest –
// values of the event, of the current task, of memory, of the kernel's locals – is taken out.

internal sealed partial class BodyRewriter
{
    private Stmt Host(HostStmt s, Scope scope)
    {
        var owned = AssignmentCounter.In(s.Body);
        var foreach_ = new LoopLocals();
        foreach_.Visit(s.Body);
        var before = new List<Stmt>();
        var splitter = new PrintSplitter();

        Expr Map(Expr e)
        {
            switch (e)
            {
                case ReadExpr { Place: LocalPlace p } when owned.ContainsKey(p.Local) || foreach_.Locals.Contains(p.Local):
                    return e;
                case ReadExpr { Place: LocalPlace }:
                    return splitter.Rewrite(Settle(Substitute(e, scope), before, scope, keepReads: true));
                case HistogramTextExpr h when !s.Moved.Contains(h.Aggregate):
                    return splitter.Rewrite(Settle(Substitute(e, scope), before, scope, keepReads: true));
                case SequenceExpr q:
                    var inner = new Stmt[q.Statements.Count];
                    for (var i = 0; i < inner.Length; i++)
                    {
                        inner[i] = MapStatement(q.Statements[i]);
                    }

                    return new SequenceExpr(inner, Map(q.Value), q.Span);
                case IntrinsicExpr { Intrinsic.Id: IntrinsicId.KernelStack or IntrinsicId.UserStack } i:
                    return splitter.Rewrite(StackForStap(i));
                case IntrinsicExpr { Intrinsic.Id: IntrinsicId.UserStackFrom }:
                    return splitter.Rewrite(Settle(Substitute(e, scope), before, scope, keepReads: true));
                case IntrinsicExpr i when !HostStatements.StapCan(i.Intrinsic) && !HostStatements.IsStapsOnly(i.Intrinsic.Id):
                case CallExpr when NeedsKernel(e):
                case ContextExpr or DerefExpr or ColumnExpr:
                    return splitter.Rewrite(Settle(Substitute(e, scope), before, scope, keepReads: true));
                default:
                    return Mapper.Children(e, Map);
            }
        }

        Stmt MapStatement(Stmt statement) => Mapper.Children(statement, Map, MapStatement);

        var body = MapStatement(s.Body);
        Stmt NumberStatement(Stmt statement) => Mapper.Children(statement, NumberAll, NumberStatement);
        Expr NumberAll(Expr e)
        {
            if (e is SequenceExpr q)
            {
                var inner = new Stmt[q.Statements.Count];
                for (var i = 0; i < inner.Length; i++)
                {
                    inner[i] = NumberStatement(q.Statements[i]);
                }

                return new SequenceExpr(inner, NumberAll(q.Value), q.Span);
            }

            return splitter.NumberOne(e) ?? Mapper.Children(e, NumberAll);
        }

        body = NumberStatement(body);
        var leaves = splitter.Leaves;
        var types = new ScriptType[leaves.Length];
        for (var i = 0; i < types.Length; i++)
        {
            types[i] = leaves[i].Type;
        }

        var site = new PrintSite(compilation.PrintSites.Count, [], [], types, s.Span) { Body = body };
        compilation.PrintSites.Add(site);
        before.Add(new SendStmt(site, leaves, s.Span));
        return before.Count == 1 ? before[0] : new BlockStmt(before, s.Span);
    }

    /// <summary>A stack as stap makes it from what the kernel can send.</summary>
    private static IntrinsicExpr StackForStap(IntrinsicExpr i)
    {
        var (text, raw) = i.Intrinsic.Id switch
        {
            IntrinsicId.KernelStack => (IntrinsicId.StackText, IntrinsicId.KernelStackRaw),
            IntrinsicId.UserStack => (IntrinsicId.UnwoundStack, IntrinsicId.UserSnapshot),
            _ => (IntrinsicId.UnwoundStack, IntrinsicId.UserSnapshotFrom),
        };
        return new IntrinsicExpr(IntrinsicTable.Get(text), [new IntrinsicExpr(IntrinsicTable.Get(raw), i.Arguments, i.Span)], i.Span);
    }

    private static bool NeedsKernel(Expr e)
    {
        var walker = new KernelNeed();
        walker.Visit(e);
        return walker.Found;
    }

    private sealed class KernelNeed : LoweredWalker
    {
        private readonly HashSet<Function> _seen = new(ReferenceEqualityComparer.Instance);

        public bool Found { get; private set; }

        public override void Visit(Expr? expression)
        {
            Found |= expression is DerefExpr or ContextExpr || (expression is IntrinsicExpr i && !HostStatements.StapCan(i.Intrinsic) && !HostStatements.IsStapsOnly(i.Intrinsic.Id));
            if (expression is CallExpr c && _seen.Add(c.Function))
            {
                Visit(c.Function.Body);
            }

            // Arguments are looked at by whoever maps the call.
            if (expression is not CallExpr)
            {
                base.Visit(expression);
            }
        }
    }

    private sealed class LoopLocals : LoweredWalker
    {
        public HashSet<Local> Locals { get; } = new(ReferenceEqualityComparer.Instance);

        public override void Visit(Stmt? statement)
        {
            if (statement is ForeachStmt f)
            {
                foreach (var key in f.Keys)
                {
                    Locals.Add(key);
                }

                if (f.Value is { } value)
                {
                    Locals.Add(value);
                }
            }

            base.Visit(statement);
        }
    }
}
