using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

// A HostStmt becomes the sending of its leaves (HostStmt.IsLeaf). Inside it everything stays that stap can do: operations, moved globals, locals assigned there.

internal sealed partial class BodyRewriter
{
    private Stmt Host(HostStmt s, Scope scope)
    {
        var before = new List<Stmt>();
        var splitter = new PrintSplitter();

        // Something of the statement comes before what is mapped, or decides whether it is evaluated.
        var isLater = false;

        Expr Map(Expr e)
        {
            switch (e)
            {
                case IntrinsicExpr { Intrinsic.Id: IntrinsicId.KernelStack or IntrinsicId.UserStack } i:
                    return splitter.Rewrite(StackForStap(i));
                case IntrinsicExpr { Intrinsic.Id: IntrinsicId.UserStackFrom }:
                    return splitter.Rewrite(Settle(Substitute(e, scope), before, scope, keepReads: true));
                case not null when s.IsLeaf(e):
                    var leaf = Settle(Substitute(e, scope), before, scope, keepReads: true);
                    return isLater && !Purity.IsQuiet(leaf) ? Attempted(leaf, before, splitter) : splitter.Rewrite(leaf);
                case SequenceExpr q:
                    var inner = new Stmt[q.Statements.Count];
                    for (var i = 0; i < inner.Length; i++)
                    {
                        inner[i] = MapStatement(q.Statements[i]);
                        isLater = true;
                    }

                    return new SequenceExpr(inner, Map(q.Value), q.Span);
                case LogicalExpr l:
                    var left = Map(l.Left);
                    return new LogicalExpr(l.IsAnd, left, Later(l.Right), l.Span);
                case ConditionalExpr c:
                    var condition = Map(c.Condition);
                    return new ConditionalExpr(condition, Later(c.WhenTrue), Later(c.WhenFalse), c.Span);
                default:
                    return Mapper.Children(e!, Map);
            }
        }

        Expr Later(Expr e)
        {
            var outer = isLater;
            isLater = true;
            var result = Map(e);
            isLater = outer;
            return result;
        }

        Stmt MapStatement(Stmt statement)
        {
            switch (statement)
            {
                case IfStmt i:
                    var condition = Map(i.Condition);
                    isLater = true;
                    return new IfStmt(condition, MapStatement(i.Then), i.Else is { } otherwise ? MapStatement(otherwise) : null, i.Span);
                case LoopStmt or ForeachStmt or TryStmt:
                    isLater = true;
                    return Mapper.Children(statement, Map, MapStatement);
                case BlockStmt:
                    return Mapper.Children(statement, Map, MapStatement);
                default:
                    var result = Mapper.Children(statement, Map, MapStatement);
                    isLater = true;
                    return result;
            }
        }

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

    /// <summary>
    /// A leaf that may fail, although stap perhaps never comes to it: the kernel tries it and sends value and error, and stap raises the error when the value is asked for.
    /// </summary>
    private ConditionalExpr Attempted(Expr leaf, List<Stmt> before, PrintSplitter splitter)
    {
        var span = leaf.Span;
        var (value, message) = (NewLocal(leaf.Type), NewLocal(ScriptType.String));
        compilation.Capacities.AtLeast(message, MostOfMessage);
        if (leaf.Type == ScriptType.String)
        {
            compilation.Capacities.AtLeast(value, compilation.Capacities.Of(leaf));
        }

        _frozen.Add(value);
        _frozen.Add(message);
        before.Add(Set(value, leaf.Type == ScriptType.String ? new StringConst("", span) : new LongConst(0, span)));
        before.Add(Set(message, new StringConst("", span)));
        before.Add(new TryStmt(Set(value, leaf), message, BlockStmt.Empty, span));
        var (known, error) = (splitter.Rewrite(Read(value)), splitter.Rewrite(Read(message)));
        return new ConditionalExpr(new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.StringLength), [error], span),
            new SequenceExpr([new ExprStmt(new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.Error), [error], span), span)], known, span), known, span);

        ExprStmt Set(Local local, Expr to) => new(new AssignExpr(new LocalPlace(local), to, span), span);

        ReadExpr Read(Local local) => new(new LocalPlace(local), span);
    }

    /// <summary>Bytes of an error's message that are sent.</summary>
    private const int MostOfMessage = 120;

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
}
