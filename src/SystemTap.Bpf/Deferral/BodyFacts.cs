using SystemTap.Bpf.Analysis;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

/// <summary>Nodes of an expression.</summary>
internal sealed class NodeCounter : LoweredWalker
{
    private int _count;

    public static int Count(Expr e)
    {
        var counter = new NodeCounter();
        counter.Visit(e);
        return counter._count;
    }

    public override void Visit(Expr? expression)
    {
        if (++_count < 2000)
        {
            base.Visit(expression);
        }
    }
}

/// <summary>Finds effects: assignments, calls that may have some, built-ins that act.</summary>
internal sealed class EffectFinder : LoweredWalker
{
    private readonly HashSet<Function> _seen = new(ReferenceEqualityComparer.Instance);
    private bool _found;
    private int _calls;

    public static bool In(Expr e)
    {
        var finder = new EffectFinder();
        finder.Visit(e);
        return finder._found;
    }

    /// <summary>Whether calling the function has any.</summary>
    public static bool In(Function function) => new EffectFinder().HasEffects(function);

    public override void Visit(Expr? expression)
    {
        _found |= expression switch
        {
            // Within a function its own locals are nobody else's business, and an error that is raised instead of a value is none of the other arguments'.
            AssignExpr { Place: LocalPlace } or UpdateExpr { Place: LocalPlace } => _calls == 0,
            AssignExpr or UpdateExpr or SequenceExpr => true,
            CallExpr c => !c.Function.IsPure && HasEffects(c.Function),
            IntrinsicExpr i => !i.Intrinsic.Has(IntrinsicTraits.Pure) && (_calls == 0 || !i.Intrinsic.Has(IntrinsicTraits.NoReturn)),
            _ => false,
        };
        base.Visit(expression);
    }

    private bool HasEffects(Function function)
    {
        for (var f = function; f is not null; f = f.NextOverload)
        {
            if (!_seen.Add(f))
            {
                continue;
            }

            if (!InlineTest.Accepts(f.Body, int.MaxValue))
            {
                return true;
            }

            _calls++;
            Visit(f.Body);
            _calls--;
        }

        return _found;
    }
}

/// <summary>Removes assignments to locals that nothing reads.</summary>
internal sealed class DeadAssignments : LocalWalker
{
    private readonly HashSet<Local> _read = new(ReferenceEqualityComparer.Instance);
    private bool _changed;

    public static Stmt Remove(Stmt body)
    {
        while (true)
        {
            var pass = new DeadAssignments();
            pass.Visit(body);
            body = pass.Sweep(body);
            if (!pass._changed)
            {
                return body;
            }
        }
    }

    protected override void Use(Local local, LocalUse use)
    {
        if (use is LocalUse.Read or LocalUse.Update)
        {
            _read.Add(local);
        }
    }

    private Stmt Sweep(Stmt s)
    {
        switch (s)
        {
            case ExprStmt { Expression: AssignExpr { Place: LocalPlace p, Value: var value } } when !_read.Contains(p.Local) && IsRemovable(value):
                _changed = true;
                return BlockStmt.Empty;
            case RegionStmt r:
                r.Body = Sweep(r.Body);
                return r;
            default:
                return Mapper.Children(s, static e => e, Sweep);
        }
    }

    /// <summary>Nothing would be missed but an error while reading, which the optimiser of pass 2 gives up for unused locals too; what a script raises itself is no such error.</summary>
    private static bool IsRemovable(Expr value) => !EffectFinder.In(value) && !RaiseFinder.In(value);
}

/// <summary>Finds <c>error()</c>, also in called functions.</summary>
internal sealed class RaiseFinder : CallingWalker
{
    private bool _found;

    public static bool In(Expr e)
    {
        var finder = new RaiseFinder();
        finder.Visit(e);
        return finder._found;
    }

    public override void Visit(Stmt? statement)
    {
        if (statement is TryStmt t)
        {
            // Caught there; the handler may raise another.
            Visit(t.Handler);
            return;
        }

        base.Visit(statement);
    }

    public override void Visit(Expr? expression)
    {
        _found |= expression is IntrinsicExpr i && i.Intrinsic.Has(IntrinsicTraits.NoReturn);
        base.Visit(expression);
    }
}
