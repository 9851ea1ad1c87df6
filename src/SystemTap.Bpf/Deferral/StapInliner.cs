using SystemTap.Bpf.Analysis;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

// A function that needs both sides – `function where() { s = sprint_ubacktrace() return execname() . s }`: the kernel knows the name, stap makes the text – can be
// called by neither. In a statement that stap runs, its body takes the place of the call: then each part finds its side, like anything else that stands there.
//
// A body becomes statements without `return`: each one is an assignment to a local that is the call's value, and what follows an `if` with a return in it moves into the
// branch that goes on. So a function with a return inside of a loop or try stays a call.

/// <summary>Puts bodies of functions in place of their calls.</summary>
/// <param name="wanted">The calls that are meant.</param>
/// <param name="fresh">Makes a local of the handler.</param>
internal sealed class StapInliner(Func<CallExpr, bool> wanted, Func<Local, Local> fresh)
{
    /// <summary>Statements that may stand twice because both branches of an <c>if</c> go on to them.</summary>
    private const int MostRepeated = 40;

    /// <summary>The statement without the calls that are wanted, as far as they can be replaced.</summary>
    public Stmt Apply(Stmt s) => s switch
    {
        ExprStmt { Expression: CallExpr c } when Body(c) is { } body => new BlockStmt(body.Statements, s.Span),
        _ => Mapper.Children(s, Apply, Apply),
    };

    private Expr Apply(Expr e)
    {
        switch (e)
        {
            case CallExpr c when Body(c) is var (statements, value):
                return new SequenceExpr(statements, value, e.Span);
            case SequenceExpr q:
                return new SequenceExpr([.. q.Statements.Select(Apply)], Apply(q.Value), q.Span);
            default:
                return Mapper.Children(e, Apply);
        }
    }

    private (Stmt[] Statements, Expr Value)? Body(CallExpr call)
    {
        var f = call.Function;
        if (!wanted(call) || f.IsRecursive || f.NextOverload is not null || f.EmbeddedCode is not null || LoweredSearch.Has<NextStmt>(f.Body))
        {
            return null;
        }

        Local? result = f.ReturnType == ScriptType.Void ? null : fresh(new Local(-1, f.Name + "_value", f.ReturnType));
        var body = new List<Stmt>();
        if (!Flow([f.Body], 0, result, body))
        {
            return null;
        }

        var places = new Dictionary<Local, Local>(ReferenceEqualityComparer.Instance);
        var all = new List<Stmt>();
        for (var i = 0; i < f.Locals.Count; i++)
        {
            places[f.Locals[i]] = fresh(f.Locals[i]);
            Set(places[f.Locals[i]], i < f.ParameterCount ? Apply(call.Arguments[i]) : Nothing(f.Locals[i].Type, call.Span));
        }

        if (result is not null)
        {
            Set(result, Nothing(result.Type, call.Span));
        }

        var renamer = new Renamer(places);
        all.AddRange(body.Select(s => Apply(renamer.Rename(s))));
        return ([.. all], result is null ? new LongConst(0, call.Span) : new ReadExpr(new LocalPlace(result), call.Span));

        void Set(Local local, Expr value) => all.Add(new ExprStmt(new AssignExpr(new LocalPlace(local), value, call.Span), call.Span));
    }

    private static Expr Nothing(ScriptType type, SourceSpan span) => type == ScriptType.Long ? new LongConst(0, span) : new StringConst("", span);

    /// <summary>Writes the statements from a position on without returns; false when that cannot be done.</summary>
    private static bool Flow(IReadOnlyList<Stmt> list, int from, Local? result, List<Stmt> to)
    {
        for (var i = from; i < list.Count; i++)
        {
            var s = list[i];
            if (!LoweredSearch.Has<ReturnStmt>(s))
            {
                to.Add(s);
                continue;
            }

            switch (s)
            {
                case ReturnStmt r:
                    if (result is not null && r.Value is { } value)
                    {
                        to.Add(new ExprStmt(new AssignExpr(new LocalPlace(result), value, r.Span), r.Span));
                    }

                    return true;
                case BlockStmt b:
                    return Flow([.. b.Statements, .. list.Skip(i + 1)], 0, result, to);
                case IfStmt f:
                {
                    Stmt[] rest = [.. list.Skip(i + 1)];
                    var isTwice = !Returns(f.Then) && !(f.Else is { } e && Returns(e));
                    if (isTwice && rest.Sum(StatementCounter.Count) > MostRepeated)
                    {
                        return false;
                    }

                    var (then, otherwise) = (new List<Stmt>(), new List<Stmt>());
                    if (!Flow([f.Then, .. rest], 0, result, then) || !Flow([f.Else ?? BlockStmt.Empty, .. rest], 0, result, otherwise))
                    {
                        return false;
                    }

                    to.Add(new IfStmt(f.Condition, new BlockStmt(then, f.Span), new BlockStmt(otherwise, f.Span), f.Span));
                    return true;
                }

                default:
                    return false;
            }
        }

        return true;
    }

    /// <summary>Every way through the statement returns.</summary>
    private static bool Returns(Stmt s) => s switch
    {
        ReturnStmt => true,
        BlockStmt b => b.Statements.Any(Returns),
        IfStmt f => f.Else is { } otherwise && Returns(f.Then) && Returns(otherwise),
        _ => false,
    };

    private sealed class Renamer(Dictionary<Local, Local> places)
    {
        public Stmt Rename(Stmt s) => s switch
        {
            TryStmt { Message: { } message } t => new TryStmt(Rename(t.Body), Place(message), Rename(t.Handler), t.Span),
            ForeachStmt f => Foreach((ForeachStmt)Mapper.Children(f, Rename, Rename)),
            _ => Mapper.Children(s, Rename, Rename),
        };

        private ForeachStmt Foreach(ForeachStmt f) => f.With([.. f.Keys.Select(Place)], f.Value is { } value ? Place(value) : null, f.Slice, f.Limit, f.BucketKeys, f.Body);

        private Expr Rename(Expr e)
        {
            switch (e)
            {
                case ReadExpr { Place: LocalPlace p }:
                    return new ReadExpr(new LocalPlace(Place(p.Local)), e.Span);
                case AssignExpr { Place: LocalPlace p } a:
                    return new AssignExpr(new LocalPlace(Place(p.Local)), Rename(a.Value), a.Span);
                case UpdateExpr { Place: LocalPlace p } u:
                    return new UpdateExpr(new LocalPlace(Place(p.Local)), u.Operator, Rename(u.Operand), u.YieldsOld, u.Span);
                case SequenceExpr q:
                    return new SequenceExpr([.. q.Statements.Select(Rename)], Rename(q.Value), q.Span);
                default:
                    return Mapper.Children(e, Rename);
            }
        }

        // The value of the call is the handler's already.
        private Local Place(Local local) => places.GetValueOrDefault(local, local);
    }
}
