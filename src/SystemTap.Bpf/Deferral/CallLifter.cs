using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

// Calls out of expressions
// ------------------------
// A function that calls itself is run by a loop over steps (ProgramEmitter.Recursion.cs): at such a call the step ends, and when the callee is done another step goes on behind it.
// Nothing may be half computed then, in registers or temporaries. So bodies of such functions are rewritten until each recursive call is the whole value of an assignment
// (or stands alone): what was evaluated before it in the same expression is assigned to fresh locals first, && || ?: become `if`. Conditions of loops and ifs
// become sequences – statements, then a value – since they are evaluated again and again.

/// <summary>Rewrites one function.</summary>
internal sealed class CallLifter(Func<Function, bool> isRecursive, Capacities capacities)
{
    private int _count;

    public Stmt Lift(Stmt s)
    {
        switch (s)
        {
            case BlockStmt b:
                return new BlockStmt([.. b.Statements.Select(Lift)], b.Span);
            case IfStmt i:
                return new IfStmt(Root(i.Condition), Lift(i.Then), i.Else is { } e ? Lift(e) : null, i.Span);
            case LoopStmt l:
                return new LoopStmt(l.Condition is { } c ? Root(c) : null, Lift(l.Body), l.Step is { } step ? Root(step) : null, l.Span);
            case TryStmt t:
                return new TryStmt(Lift(t.Body), t.Message, Lift(t.Handler), t.Span);
            case RegionStmt r:
                r.Body = Lift(r.Body);
                return r;
            case ForeachStmt f when Contains(f):
            {
                // What the loop needs from round to round is kept in locals.
                var start = new List<Stmt>();
                var loop = Mapper.Children(f, e => e is LongConst or StringConst ? e : Assigned(Lift(e, start), start), Lift);
                start.Add(loop);
                return start.Count == 1 ? loop : new BlockStmt(start, f.Span);
            }
        }

        var before = new List<Stmt>();
        var result = s switch
        {
            ExprStmt { Expression: CallExpr c } when isRecursive(c.Function) => new ExprStmt(Call(c, before), s.Span),
            ExprStmt { Expression: AssignExpr { Place: LocalPlace p, Value: CallExpr c } a } when isRecursive(c.Function) =>
                new ExprStmt(new AssignExpr(p, Call(c, before), a.Span), s.Span),
            SendStmt p => new SendStmt(p.Site, Several(p.Leaves, before), p.Span),
            StatAddStmt a => Several([.. a.Keys, a.Value], before) is var all ? new StatAddStmt(a.Aggregate, [.. all.Take(a.Keys.Count)], all[^1], a.Span) : a,
            DeleteStmt { Keys: { } keys } d when keys.All(k => k is not null) => new DeleteStmt(d.Global, Several([.. keys.Select(k => k!)], before), d.Span),
            ExprStmt or ReturnStmt => Mapper.Children(s, e => Lift(e, before), static child => child),
            _ => s,
        };
        if (before.Count == 0)
        {
            return result;
        }

        before.Add(result);
        return new BlockStmt(before, s.Span);
    }

    /// <summary>An expression that is evaluated where no other value is waiting.</summary>
    private Expr Root(Expr e)
    {
        var before = new List<Stmt>();
        var value = Lift(e, before);
        return before.Count == 0 ? value : new SequenceExpr(before, value, e.Span);
    }

    private Expr Lift(Expr e, List<Stmt> before)
    {
        if (!Contains(e))
        {
            return e;
        }

        switch (e)
        {
            case CallExpr c when isRecursive(c.Function):
                return Assigned(Call(c, before), before);
            case SequenceExpr s:
                before.AddRange(s.Statements.Select(Lift));
                return Lift(s.Value, before);
            case LogicalExpr l:
            {
                // t = a; if (t) t = b   or   if (!t) t = b, each as 0 or 1
                var result = NewLocal(ScriptType.Long);
                Put(result, Truth(Lift(l.Left, before)), before, e.Span);
                var then = new List<Stmt>();
                Put(result, Truth(Lift(l.Right, then)), then, e.Span);
                Expr test = Read(result, e.Span);
                before.Add(new IfStmt(l.IsAnd ? test : new UnaryExpr(Language.Syntax.UnaryOperator.Not, test, e.Span), new BlockStmt(then, e.Span), null, e.Span));
                return Read(result, e.Span);
            }

            case ConditionalExpr c:
            {
                var condition = Lift(c.Condition, before);
                var result = NewLocal(e.Type);
                var (then, otherwise) = (new List<Stmt>(), new List<Stmt>());
                Put(result, Lift(c.WhenTrue, then), then, e.Span);
                Put(result, Lift(c.WhenFalse, otherwise), otherwise, e.Span);
                before.Add(new IfStmt(condition, new BlockStmt(then, e.Span), new BlockStmt(otherwise, e.Span), e.Span));
                return Read(result, e.Span);
            }
        }

        var children = new List<Expr>();
        Mapper.Children(e, child =>
        {
            children.Add(child);
            return child;
        });
        var lifted = Several(children, before);
        var next = 0;
        return Mapper.Children(e, _ => lifted[next++]);
    }

    /// <summary>A call into the group: with overloads to try, the arguments are locals, so that they can be given again.</summary>
    private CallExpr Call(CallExpr c, List<Stmt> before)
    {
        var arguments = Several(c.Arguments, before);
        if (c.Function.NextOverload is not null)
        {
            for (var i = 0; i < arguments.Length; i++)
            {
                arguments[i] = arguments[i] is LongConst or StringConst ? arguments[i] : Assigned(arguments[i], before);
            }
        }

        return new CallExpr(c.Function, arguments, c.Span);
    }

    /// <summary>Values evaluated in order: those before the last one with a call are kept in locals.</summary>
    private Expr[] Several(IReadOnlyList<Expr> list, List<Stmt> before)
    {
        var last = list.Count - 1;
        while (last >= 0 && !Contains(list[last]))
        {
            last--;
        }

        var result = new Expr[list.Count];
        for (var i = 0; i < result.Length; i++)
        {
            var value = i > last ? list[i] : Lift(list[i], before);
            result[i] = i >= last || value is LongConst or StringConst ? value : Assigned(value, before);
        }

        return result;
    }

    private bool Contains(Expr e)
    {
        var finder = new Finder(isRecursive);
        finder.Visit(e);
        return finder.Found;
    }

    private bool Contains(Stmt s)
    {
        var finder = new Finder(isRecursive);
        finder.Visit(s);
        return finder.Found;
    }

    private static BinaryExpr Truth(Expr e) => new(Language.Syntax.BinaryOperator.NotEqual, e, new LongConst(0, e.Span), e.Span);

    private static ReadExpr Read(Local local, SourceSpan span) => new(new LocalPlace(local), span);

    private void Put(Local local, Expr value, List<Stmt> to, SourceSpan span)
    {
        if (local.Type == ScriptType.String)
        {
            capacities.AtLeast(local, capacities.Of(value));
        }

        to.Add(new ExprStmt(new AssignExpr(new LocalPlace(local), value, span), span));
    }

    private ReadExpr Assigned(Expr value, List<Stmt> before)
    {
        if (value is ReadExpr { Place: LocalPlace known } read && _fresh.Contains(known.Local))
        {
            return read; // Nothing else assigns to it.
        }

        var local = NewLocal(value.Type);
        Put(local, value, before, value.Span);
        return Read(local, value.Span);
    }

    private readonly HashSet<Local> _fresh = new(ReferenceEqualityComparer.Instance);

    private Local NewLocal(ScriptType type)
    {
        var local = new Local(-1, $"_r{++_count}", type);
        _fresh.Add(local);
        return local;
    }

    private sealed class Finder(Func<Function, bool> isRecursive) : LoweredWalker
    {
        public bool Found { get; private set; }

        public override void Visit(Expr? expression)
        {
            Found |= expression is CallExpr c && isRecursive(c.Function);
            base.Visit(expression);
        }
    }
}
