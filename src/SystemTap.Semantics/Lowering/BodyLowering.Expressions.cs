using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Binding;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Lowering;

internal sealed partial class BodyLowering
{
    /// <summary>Lowers an expression to its value.</summary>
    public Expr Lower(Expression e)
    {
        switch (e)
        {
            case NumberLiteral n:
                return new LongConst(n.Value, At(n.Span));
            case StringLiteral s:
                return new StringConst(s.Value, At(s.Span));
            case IdentifierExpression id:
                return LowerIdentifier(id);
            case IndexExpression x:
                return LowerIndex(x);
            case UnaryExpression u:
                return Fold.Unary(u.Operator, Lower(u.Operand), At(u.Span), _fold);
            case IncrementExpression i:
                return LowerIncrement(i, !i.IsPrefix);
            case BinaryExpression b:
                return LowerBinary(b);
            case RegexExpression r:
                return new RegexExpr(Lower(r.Operand), _program.Regex(r.Pattern), r.IsNegated, At(r.Span));
            case InExpression i:
                return _session.Resolve(_unit, i.Array) is GlobalSymbol g && _program.GlobalOf(g) is { } array
                    ? new InExpr(array, LowerKeys(i.Keys), At(i.Span))
                    : Missing(i.Span);
            case TernaryExpression t:
                return LowerTernary(t);
            case AssignmentExpression a:
                return LowerAssignment(a);
            case StatisticAddExpression s:
                var effects = new List<Stmt>();
                LowerEffect(s, At(s.Span), effects);
                return new SequenceExpr(effects, new LongConst(0, At(s.Span)), At(s.Span));
            case CallExpression c:
                return LowerCall(c);
            case StatisticExpression s:
                return LowerStatistic(s);
            case HistogramExpression h:
                return AggregatePlace(h.Operand) is var (aggregate, keys) ? new HistogramTextExpr(aggregate, keys, At(h.Span)) : Missing(h.Span, ScriptType.String);
            case PrintExpression p:
                return LowerSprint(p);
            case EmbeddedCExpression c:
                return new EmbeddedCExpr(c.Code.Contains("/* string */", StringComparison.Ordinal) ? ScriptType.String : ScriptType.Long, c.Code, At(c.Span));
            case DefinedExpression d:
                return new LongConst(_session.Conditions.IsDefined(_unit, d) ? 1 : 0, At(d.Span));
            case ProbeWriteExpression w:
                return new LongConst(ConstantConditions.IsWritten(_unit, w) ? 1 : 0, At(w.Span));
            default:
                return LowerTarget(e);
        }
    }

    private static Expr Missing(SourceSpan span, ScriptType type = ScriptType.Long) =>
        type == ScriptType.String ? new StringConst("", span) : new LongConst(0, span);

    private Expr LowerIdentifier(IdentifierExpression id)
    {
        switch (_session.Resolve(_unit, id))
        {
            case LocalSymbol local:
                return _inlined is not null && _inlined.TryGetValue(local, out var argument)
                    ? argument
                    : new ReadExpr(new LocalPlace(LocalOf(local)), At(id.Span));
            case GlobalSymbol g when _program.GlobalOf(g) is { } global:
                return new ReadExpr(new GlobalPlace(global), At(id.Span));
            default:
                return Missing(id.Span);
        }
    }

    private Expr LowerIndex(IndexExpression x)
    {
        if (x.Array is HistogramExpression h)
        {
            return AggregatePlace(h.Operand) is var (aggregate, keys) && x.Indexes is [{ } bucket]
                ? new BucketExpr(aggregate, keys, Lower(bucket), At(x.Span))
                : Missing(x.Span);
        }

        if (_session.Resolve(_unit, (IdentifierExpression)x.Array) is LocalSymbol)
        {
            return LowerTarget(x);
        }

        return PlaceOf(x) is { } place ? new ReadExpr(place, At(x.Span)) : Missing(x.Span);
    }

    /// <summary>The place an assignment's left side means; null for target variables and after errors.</summary>
    private Place? PlaceOf(Expression target)
    {
        switch (target)
        {
            case IdentifierExpression id:
                return _session.Resolve(_unit, id) switch
                {
                    LocalSymbol local => new LocalPlace(LocalOf(local)),
                    GlobalSymbol g when _program.GlobalOf(g) is { } global => new GlobalPlace(global),
                    _ => null,
                };
            case IndexExpression { Array: IdentifierExpression id } x:
                if (_session.Resolve(_unit, id) is not GlobalSymbol symbol || _program.GlobalOf(symbol) is not { } array)
                {
                    return null;
                }

                var keys = LowerKeys(x.Indexes);
                var all = new Expr[keys.Length];
                for (var i = 0; i < keys.Length; i++)
                {
                    all[i] = keys[i] ?? Missing(x.Span);
                }

                return new ElementPlace(array, all);
            case TargetVariable v when _session.ProcfsValueVariable(_unit, v) is { } value:
                return new LocalPlace(LocalOf(value));
            default:
                return null;
        }
    }

    private Expr?[] LowerKeys(IReadOnlyList<Expression?> keys)
    {
        var result = new Expr?[keys.Count];
        for (var i = 0; i < result.Length; i++)
        {
            result[i] = keys[i] is { } key ? Lower(key) : null;
        }

        return result;
    }

    private Expr LowerIncrement(IncrementExpression i, bool yieldsOld)
    {
        var one = new LongConst(1, At(i.Span));
        var op = i.IsDecrement ? BinaryOperator.Subtract : BinaryOperator.Add;
        if (PlaceOf(i.Operand) is { } place)
        {
            return new UpdateExpr(place, op, one, yieldsOld, At(i.Span));
        }

        // A target variable: read, change, write; the old value is recomputed from the new one.
        var changed = StoreTarget(i.Operand, new BinaryExpr(op, Lower(i.Operand), one, At(i.Span)), At(i.Span));
        return yieldsOld ? new BinaryExpr(i.IsDecrement ? BinaryOperator.Add : BinaryOperator.Subtract, changed, one, At(i.Span)) : changed;
    }

    private Expr LowerAssignment(AssignmentExpression a)
    {
        if (PlaceOf(a.Target) is not { } place)
        {
            var value = Lower(a.Value);
            if (a.Operator is { } change)
            {
                value = Fold.Binary(change, Lower(a.Target), value, At(a.OperatorSpan), _fold);
            }

            return StoreTarget(a.Target, value, At(a.Span));
        }

        if (a.Operator is { } op)
        {
            return new UpdateExpr(place, op, Lower(a.Value), yieldsOld: false, At(a.OperatorSpan));
        }

        return new AssignExpr(place, Lower(a.Value), At(a.Span));
    }

    private Expr LowerBinary(BinaryExpression b)
    {
        switch (b.Operator)
        {
            case BinaryOperator.Concat:
                var text = Fold.Concat([Lower(b.Left), Lower(b.Right)], At(b.Span), _fold);
                var longest = _session.Options.Limits.MaxStringLength - 1;
                return text is StringConst folded && folded.Value.Length > longest ? new StringConst(folded.Value[..longest], folded.Span) : text;
            case BinaryOperator.LogicalAnd or BinaryOperator.LogicalOr:
                if (_session.Conditions.Evaluate(_unit, b) is { } known)
                {
                    return new LongConst(known ? 1 : 0, At(b.Span));
                }

                var isAnd = b.Operator == BinaryOperator.LogicalAnd;

                // A side decided by @defined must not be lowered: its names may not exist.
                if (_session.Conditions.Evaluate(_unit, b.Left) is not null)
                {
                    return Fold.AsBoolean(Lower(b.Right), At(b.Span), _fold);
                }

                return Fold.Logical(isAnd, Lower(b.Left), Lower(b.Right), At(b.Span), _fold);
            default:
                return Fold.Binary(b.Operator, Lower(b.Left), Lower(b.Right), At(b.OperatorSpan), _fold);
        }
    }

    private Expr LowerTernary(TernaryExpression t)
    {
        if (_session.Conditions.Evaluate(_unit, t.Condition) is { } known)
        {
            return Lower(known ? t.WhenTrue : t.WhenFalse);
        }

        var condition = Lower(t.Condition);
        return _fold && condition is LongConst c
            ? Lower(c.Value != 0 ? t.WhenTrue : t.WhenFalse)
            : new ConditionalExpr(condition, Lower(t.WhenTrue), Lower(t.WhenFalse), At(t.Span));
    }

    private (Global Aggregate, IReadOnlyList<Expr> Keys)? AggregatePlace(Expression operand)
    {
        if (operand is IdentifierExpression id && _session.Resolve(_unit, id) is LocalSymbol { AggregateLoop: { } loop })
        {
            if (_aggregateLoops is null || !_aggregateLoops.TryGetValue(loop, out var element))
            {
                _session.Report("semantic.aggregate-operand", id.Span, $"'{id.Name}' stands for an element of an aggregate only inside of its foreach");
                return null;
            }

            var keys = new Expr[element.Keys.Length];
            for (var i = 0; i < keys.Length; i++)
            {
                keys[i] = new ReadExpr(new LocalPlace(element.Keys[i]), At(id.Span));
            }

            return (element.Array, keys);
        }

        return PlaceOf(operand) switch
        {
            GlobalPlace p => (p.Global, []),
            ElementPlace p => (p.Array, p.Keys),
            _ => null,
        };
    }

    private Expr LowerStatistic(StatisticExpression s) =>
        AggregatePlace(s.Operand) is var (aggregate, keys) ? new StatExpr(s.Kind, aggregate, keys, At(s.Span)) : Missing(s.Span);

    private Expr LowerCall(CallExpression call)
    {
        var arguments = new Expr[call.Arguments.Count];
        for (var i = 0; i < arguments.Length; i++)
        {
            arguments[i] = Lower(call.Arguments[i]);
        }

        return LowerCall(call, arguments);
    }

    private Expr LowerCall(CallExpression call, Expr[] arguments)
    {
        if (IntrinsicTable.Find(call.Name) is { } intrinsic && call.Span.Source is { IsTapset: true })
        {
            _program.NoteIntrinsic(intrinsic);
            return new IntrinsicExpr(intrinsic, arguments, At(call.Span));
        }

        if (_session.ResolveCall(_unit, call) is not { Unit: not null } function)
        {
            return Missing(call.Span);
        }

        if (_fold && TryInline(function, arguments, call.Span) is { } inlined)
        {
            return inlined;
        }

        return new CallExpr(_program.FunctionOf(function), arguments, At(call.Span));
    }
}
