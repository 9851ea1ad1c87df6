using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Binding;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Lowering;

/// <summary>
/// Turns one bound and typed body into lowered statements. Runs after type inference, so every slot has its type; what does not resolve
/// has been or is reported, and a zero stands in its place to let the walk go on.
/// </summary>
internal sealed partial class BodyLowering
{
    private readonly ProgramBuilder _program;
    private readonly BindingSession _session;
    private readonly bool _fold;
    private readonly Dictionary<LocalSymbol, Local> _map = [];

    /// <summary>The body being lowered; during inlining that of the callee.</summary>
    private BodyUnit _unit;

    public BodyLowering(ProgramBuilder program, BodyUnit unit)
    {
        _program = program;
        _session = program.Session;
        _fold = _session.IsOptimizing;
        _unit = unit;
        foreach (var local in unit.Locals)
        {
            if (local.IsParameter)
            {
                LocalOf(local);
            }
        }
    }

    /// <summary>Locals of the owner so far.</summary>
    public List<Local> Locals { get; } = [];

    /// <summary>Goes on with another body of the same owner: the uses of <c>@entry</c> share one entry probe.</summary>
    public BodyLowering ForUnit(BodyUnit unit)
    {
        _unit = unit;
        return this;
    }

    public Local LocalOf(LocalSymbol symbol)
    {
        if (!_map.TryGetValue(symbol, out var local))
        {
            local = new Local(Locals.Count, symbol.Name, symbol.Slot.Type ?? ScriptType.Long);
            Locals.Add(local);
            _map[symbol] = local;
        }

        return local;
    }

    public Local NewTemporary(string name, ScriptType type)
    {
        var local = new Local(Locals.Count, name, type);
        Locals.Add(local);
        return local;
    }

    /// <summary>All blocks of the body.</summary>
    public List<Stmt> LowerBlocks()
    {
        var result = new List<Stmt>();
        foreach (var block in _unit.Blocks)
        {
            Lower(block, result);
        }

        return result;
    }

    private static Stmt AsStatement(List<Stmt> statements, SourceSpan span) => statements.Count switch
    {
        0 => BlockStmt.Empty,
        1 => statements[0],
        _ => new BlockStmt(statements, span),
    };

    private Stmt LowerToStatement(Statement? s)
    {
        var list = new List<Stmt>();
        Lower(s, list);
        return AsStatement(list, s?.Span ?? default);
    }

    private void Lower(Statement? s, List<Stmt> to)
    {
        if (s is null or EmptyStatement || (_unit.Kept is { } kept && !kept.Contains(s)))
        {
            return;
        }

        switch (s)
        {
            case BlockStatement b:
                foreach (var inner in b.Statements)
                {
                    Lower(inner, to);
                }

                break;
            case ExpressionStatement e:
                LowerEffect(e.Expression, e.Span, to);
                break;
            case IfStatement i:
                LowerIf(i, to);
                break;
            case WhileStatement w:
                LowerLoop(w.Condition, w.Body, null, w.Span, to);
                break;
            case ForStatement f:
                if (f.Initializer is not null)
                {
                    LowerEffect(f.Initializer, f.Initializer.Span, to);
                }

                LowerLoop(f.Condition, f.Body, f.Increment, f.Span, to);
                break;
            case ForeachStatement f:
                LowerForeach(f, to);
                break;
            case BreakStatement:
                to.Add(new BreakStmt(s.Span));
                break;
            case ContinueStatement:
                to.Add(new ContinueStmt(s.Span));
                break;
            case NextStatement:
                to.Add(new NextStmt(s.Span));
                break;
            case ReturnStatement r:
                LowerReturn(r, to);
                break;
            case DeleteStatement d:
                LowerDelete(d, to);
                break;
            case TryStatement t:
                LowerTry(t, to);
                break;
        }
    }

    private void LowerIf(IfStatement i, List<Stmt> to)
    {
        if (_session.Conditions.Evaluate(_unit, i.Condition) is { } known)
        {
            Lower(known ? i.Then : i.Else, to);
            return;
        }

        var condition = Lower(i.Condition);
        if (_fold && condition is LongConst c)
        {
            Lower(c.Value != 0 ? i.Then : i.Else, to);
            return;
        }

        var then = LowerToStatement(i.Then);
        var otherwise = i.Else is null ? null : LowerToStatement(i.Else);
        if (_fold && IsEmpty(otherwise))
        {
            otherwise = null;
        }

        if (_fold && IsEmpty(then))
        {
            if (otherwise is null)
            {
                if (ExprFacts.HasEffects(condition))
                {
                    to.Add(new ExprStmt(condition, i.Condition.Span));
                }

                return;
            }

            condition = Fold.Unary(UnaryOperator.Not, condition, i.Condition.Span, _fold);
            then = otherwise;
            otherwise = null;
        }

        to.Add(new IfStmt(condition, then, otherwise, i.Span));
    }

    private static bool IsEmpty(Stmt? s) => s is BlockStmt { Statements.Count: 0 };

    private void LowerLoop(Expression? condition, Statement body, Expression? increment, SourceSpan span, List<Stmt> to)
    {
        var test = condition is null ? null : Lower(condition);
        if (_fold && test is LongConst c)
        {
            if (c.Value == 0)
            {
                return;
            }

            test = null;
        }

        var statement = LowerToStatement(body);
        Expr? step = null;
        if (increment is not null)
        {
            var effects = new List<Stmt>();
            LowerEffect(increment, increment.Span, effects);
            step = effects.Count switch
            {
                0 => null,
                1 when effects[0] is ExprStmt { Expression: { Type: not ScriptType.Void } e } => e,
                _ => new SequenceExpr(effects, new LongConst(0, increment.Span), increment.Span),
            };
        }

        to.Add(new LoopStmt(test, statement, step, span));
    }

    private void LowerReturn(ReturnStatement r, List<Stmt> to)
    {
        if (r.Value is null)
        {
            to.Add(new ReturnStmt(null, r.Span));
            return;
        }

        if (_unit.Function?.Return.Type == ScriptType.Void)
        {
            LowerEffect(r.Value, r.Span, to);
            to.Add(new ReturnStmt(null, r.Span));
            return;
        }

        to.Add(new ReturnStmt(Lower(r.Value), r.Span));
    }

    private void LowerDelete(DeleteStatement d, List<Stmt> to)
    {
        switch (d.Operand)
        {
            case IdentifierExpression id:
                switch (_session.Resolve(_unit, id))
                {
                    case GlobalSymbol g when _program.GlobalOf(g) is { } global:
                        to.Add(new DeleteStmt(global, null, d.Span));
                        break;
                    case LocalSymbol local when local.IsRead || !_fold:
                        var place = new LocalPlace(LocalOf(local));
                        Expr zero = place.Type == ScriptType.String ? new StringConst("", d.Span) : new LongConst(0, d.Span);
                        to.Add(new ExprStmt(new AssignExpr(place, zero, d.Span), d.Span));
                        break;
                }

                break;
            case IndexExpression { Array: IdentifierExpression id } x when _session.Resolve(_unit, id) is GlobalSymbol g && _program.GlobalOf(g) is { } array:
                to.Add(new DeleteStmt(array, LowerKeys(x.Indexes), d.Span));
                break;
        }
    }

    private void LowerTry(TryStatement t, List<Stmt> to)
    {
        var body = LowerToStatement(t.Body);
        Local? message = null;
        var handler = new List<Stmt>();
        if (t.Variable is { } caught)
        {
            switch (_session.Resolve(_unit, caught))
            {
                case LocalSymbol local when local.IsRead || !_fold:
                    message = LocalOf(local);
                    break;
                case GlobalSymbol g when _program.GlobalOf(g) is { } global:
                    message = NewTemporary("__" + caught.Name, ScriptType.String);
                    handler.Add(Assign(new GlobalPlace(global), message, caught.Span));
                    break;
            }
        }

        Lower(t.Handler, handler);
        if (_fold && IsEmpty(body))
        {
            return;
        }

        to.Add(new TryStmt(body, message, AsStatement(handler, t.Handler.Span), t.Span));
    }

    private static ExprStmt Assign(Place place, Local value, SourceSpan span) =>
        new(new AssignExpr(place, new ReadExpr(new LocalPlace(value), span), span), span);

    /// <summary>An expression whose value nobody wants.</summary>
    private void LowerEffect(Expression e, SourceSpan span, List<Stmt> to)
    {
        switch (e)
        {
            case PrintExpression { ReturnsString: false } p:
                LowerPrint(p, to);
                return;
            case StatisticAddExpression s:
                if (AggregatePlace(s.Target) is var (aggregate, keys))
                {
                    to.Add(new StatAddStmt(aggregate, keys, Lower(s.Value), s.Span));
                }

                return;
            case AssignmentExpression { Target: IdentifierExpression id } a when _fold && IsUnread(id):
                LowerEffect(a.Value, span, to);
                return;
            case IncrementExpression { Operand: IdentifierExpression id } when _fold && IsUnread(id):
                return;
            case IncrementExpression i:
                // The value before the update is not wanted: one form for ++x and x++.
                to.Add(new ExprStmt(LowerIncrement(i, yieldsOld: false), span));
                return;
            case TernaryExpression t when _session.Conditions.Evaluate(_unit, t.Condition) is { } known:
                LowerEffect(known ? t.WhenTrue : t.WhenFalse, span, to);
                return;
        }

        var value = Lower(e);
        if (!_fold || ExprFacts.HasEffects(value))
        {
            to.Add(new ExprStmt(value, span));
        }
    }

    private bool IsUnread(IdentifierExpression id) => _session.Resolve(_unit, id) is LocalSymbol { IsRead: false, IsParameter: false };
}
