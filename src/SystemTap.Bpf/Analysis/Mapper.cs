using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

/// <summary>Rebuilds trees: a node with each child replaced. Unchanged nodes are kept.</summary>
internal static class Mapper
{
    public static Expr Children(Expr e, Func<Expr, Expr> map)
    {
        switch (e)
        {
            case ReadExpr r:
                return Place(r.Place, map) is var p && ReferenceEquals(p, r.Place) ? r : new ReadExpr(p, r.Span);
            case AssignExpr a:
                return new AssignExpr(Place(a.Place, map), map(a.Value), a.Span);
            case UpdateExpr u:
                return new UpdateExpr(Place(u.Place, map), u.Operator, map(u.Operand), u.YieldsOld, u.Span);
            case BinaryExpr b:
                return new BinaryExpr(b.Operator, map(b.Left), map(b.Right), b.Span);
            case StringCompareExpr s:
                return new StringCompareExpr(s.Operator, map(s.Left), map(s.Right), s.Span);
            case LogicalExpr l:
                return new LogicalExpr(l.IsAnd, map(l.Left), map(l.Right), l.Span);
            case UnaryExpr u:
                return new UnaryExpr(u.Operator, map(u.Operand), u.Span);
            case ConditionalExpr c:
                return new ConditionalExpr(map(c.Condition), map(c.WhenTrue), map(c.WhenFalse), c.Span);
            case ConcatExpr c:
                return new ConcatExpr(List(c.Parts, map), c.Span);
            case InExpr i:
                return new InExpr(i.Array, OptionalList(i.Keys, map), i.Span);
            case CallExpr c:
                return new CallExpr(c.Function, List(c.Arguments, map), c.Span);
            case IntrinsicExpr { Arguments.Count: > 0 } i:
                return new IntrinsicExpr(i.Intrinsic, List(i.Arguments, map), i.Span);
            case RawBytesExpr r:
                return new RawBytesExpr(map(r.Address), map(r.Count), r.IsUser, r.Span) { Conversion = r.Conversion };
            case DerefExpr d:
                return new DerefExpr(map(d.Address), d.Size, d.IsSigned, d.IsUser, d.Span) { BitShift = d.BitShift, BitWidth = d.BitWidth, MemberName = d.MemberName };
            case FormatExpr f:
                return new FormatExpr(f.Segments, List(f.Arguments, map), f.Span);
            case HistogramTextExpr h:
                return new HistogramTextExpr(h.Aggregate, List(h.Keys, map), h.Span);
            case BucketsExpr b:
                return new BucketsExpr(b.Aggregate, List(b.Keys, map), b.Span);
            case HistogramLeafExpr h:
                return new HistogramLeafExpr(h.Aggregate, map(h.Buckets), h.Span);
            case StatExpr s:
                return new StatExpr(s.Kind, s.Aggregate, List(s.Keys, map), s.Span);
            case BucketExpr b:
                return new BucketExpr(b.Aggregate, List(b.Keys, map), map(b.Index), b.Span);
            case RegexExpr r:
                return new RegexExpr(map(r.Subject), r.Regex, r.IsNegated, r.Span);
            default:
                return e;
        }
    }

    public static Place Place(Place place, Func<Expr, Expr> map) => place is ElementPlace e ? new ElementPlace(e.Array, List(e.Keys, map)) : place;

    public static Expr[] List(IReadOnlyList<Expr> list, Func<Expr, Expr> map)
    {
        var result = new Expr[list.Count];
        for (var i = 0; i < result.Length; i++)
        {
            result[i] = map(list[i]);
        }

        return result;
    }

    public static Expr?[] OptionalList(IReadOnlyList<Expr?> list, Func<Expr, Expr> map)
    {
        var result = new Expr?[list.Count];
        for (var i = 0; i < result.Length; i++)
        {
            result[i] = list[i] is { } e ? map(e) : null;
        }

        return result;
    }

    /// <summary>Rebuilds a statement: expressions by one function, child statements by another.</summary>
    public static Stmt Children(Stmt s, Func<Expr, Expr> map, Func<Stmt, Stmt> statement)
    {
        switch (s)
        {
            case BlockStmt b:
                var list = new Stmt[b.Statements.Count];
                for (var i = 0; i < list.Length; i++)
                {
                    list[i] = statement(b.Statements[i]);
                }

                return new BlockStmt(list, b.Span);
            case ExprStmt e:
                return new ExprStmt(map(e.Expression), e.Span);
            case IfStmt i:
                return new IfStmt(map(i.Condition), statement(i.Then), i.Else is { } otherwise ? statement(otherwise) : null, i.Span);
            case LoopStmt l:
                return new LoopStmt(l.Condition is { } c ? map(c) : null, statement(l.Body), l.Step is { } step ? map(step) : null, l.Span);
            case ForeachStmt f:
                return f.With(f.Keys, f.Value, f.Slice is { } slice ? OptionalList(slice, map) : null, f.Limit is { } limit ? map(limit) : null, List(f.BucketKeys, map), statement(f.Body));
            case ReturnStmt { Value: { } value } r:
                return new ReturnStmt(map(value), r.Span);
            case DeleteStmt { Keys: { } keys } d:
                return new DeleteStmt(d.Global, OptionalList(keys, map), d.Span);
            case StatAddStmt a:
                return new StatAddStmt(a.Aggregate, List(a.Keys, map), map(a.Value), a.Span);
            case TryStmt t:
                return new TryStmt(statement(t.Body), t.Message, statement(t.Handler), t.Span);
            case PrintStmt p:
                return new PrintStmt(p.Segments, List(p.Arguments, map), p.Span);
            case RegionStmt r:
                r.Body = statement(r.Body);
                return r;
            case Deferral.HostStmt h:
                return new Deferral.HostStmt(statement(h.Body), h.Moved, h.Span);
            case SendStmt p:
                return new SendStmt(p.Site, List(p.Leaves, map), p.Span);
            default:
                return s;
        }
    }
}
