using SystemTap.Language.Syntax;
using SystemTap.Semantics.Binding;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Lowering;

internal sealed partial class BodyLowering
{
    /// <summary>Loops over aggregates in whose bodies the value variable stands for the current element.</summary>
    private Dictionary<ForeachStatement, (Global Array, Local[] Keys)>? _aggregateLoops;

    private void LowerForeach(ForeachStatement f, List<Stmt> to)
    {
        var limit = f.Limit is null ? null : Lower(f.Limit);
        var assignments = new List<Stmt>();
        var keys = new Local[f.Keys.Count];
        for (var i = 0; i < keys.Length; i++)
        {
            keys[i] = LoopVariable(f.Keys[i], assignments);
        }

        Global array;
        IReadOnlyList<Expr> bucketKeys = [];
        var overBuckets = false;
        if (f.Array is HistogramExpression h)
        {
            if (AggregatePlace(h.Operand) is not var (aggregate, place))
            {
                return;
            }

            array = aggregate;
            bucketKeys = place;
            overBuckets = true;
        }
        else if (f.Array is IdentifierExpression id && _session.Resolve(_unit, id) is GlobalSymbol g && _program.GlobalOf(g) is { } global)
        {
            array = global;
        }
        else
        {
            return;
        }

        Local? value = null;
        if (f.Value is { } v)
        {
            if (array.Type == ScriptType.Statistics && !overBuckets)
            {
                (_aggregateLoops ??= [])[f] = (array, keys);
            }
            else if (!_fold || _session.Resolve(_unit, v) is GlobalSymbol or LocalSymbol { IsRead: true })
            {
                value = LoopVariable(v, assignments);
            }
        }

        var slice = f.Slice is null ? null : LowerKeys(f.Slice);
        var body = assignments;
        Lower(f.Body, body);
        to.Add(new ForeachStmt(f.Span)
        {
            Array = array,
            Keys = keys,
            Value = value,
            Slice = slice,
            Direction = f.Direction,
            SortKey = f.SortKey,
            SortStatistic = f.SortStatistic ?? StatisticKind.Count,
            Limit = limit,
            OverBuckets = overBuckets,
            BucketKeys = bucketKeys,
            Body = AsStatement(body, f.Body.Span),
        });
    }

    /// <summary>The local that gets a key or value. A global as loop variable gets a copy at the start of each round.</summary>
    private Local LoopVariable(IdentifierExpression id, List<Stmt> assignments)
    {
        switch (_session.Resolve(_unit, id))
        {
            case LocalSymbol local:
                return LocalOf(local);
            case GlobalSymbol g when _program.GlobalOf(g) is { } global:
                var copy = NewTemporary("__" + id.Name, global.Type);
                assignments.Add(Assign(new GlobalPlace(global), copy, id.Span));
                return copy;
            default:
                return NewTemporary("__" + id.Name, ScriptType.Long);
        }
    }
}
