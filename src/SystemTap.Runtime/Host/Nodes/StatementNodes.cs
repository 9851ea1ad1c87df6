using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Runtime.Output;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Host.Nodes;

internal sealed class BlockAct(Act[] statements, SourceSpan span) : Act(span)
{
    public override Flow Run(Machine m)
    {
        foreach (var statement in statements)
        {
            var flow = statement.Run(m);
            if (flow != Flow.Normal)
            {
                return flow;
            }
        }

        return Flow.Normal;
    }
}

internal sealed class LongAct(Node expression, SourceSpan span) : Act(span)
{
    public override Flow Run(Machine m)
    {
        m.Act(Span);
        expression.Long(m);
        return Flow.Normal;
    }
}

internal sealed class TextAct(Node expression, SourceSpan span) : Act(span)
{
    public override Flow Run(Machine m)
    {
        m.Act(Span);
        expression.Text(m);
        return Flow.Normal;
    }
}

internal sealed class IfAct(Node condition, Act then, Act? otherwise, SourceSpan span) : Act(span)
{
    public override Flow Run(Machine m)
    {
        m.Act(Span);
        return condition.Long(m) != 0 ? then.Run(m) : otherwise?.Run(m) ?? Flow.Normal;
    }
}

internal sealed class LoopAct(Node? condition, Act body, Act? step, SourceSpan span) : Act(span)
{
    public override Flow Run(Machine m)
    {
        while (true)
        {
            m.Act(Span);
            if (condition is not null && condition.Long(m) == 0)
            {
                return Flow.Normal;
            }

            var flow = body.Run(m);
            if (flow == Flow.Break)
            {
                return Flow.Normal;
            }

            if (flow is Flow.Next or Flow.Return)
            {
                return flow;
            }

            step?.Run(m);
        }
    }
}

internal sealed class JumpAct(Flow flow, SourceSpan span) : Act(span)
{
    public override Flow Run(Machine m)
    {
        m.Act(Span);
        return flow;
    }
}

internal sealed class ReturnAct(Node? value, ScriptType type, SourceSpan span) : Act(span)
{
    public override Flow Run(Machine m)
    {
        m.Act(Span);
        if (value is not null && type == ScriptType.String)
        {
            m.ReturnText = m.Cut(Span, value.Text(m));
        }
        else
        {
            m.ReturnText = "";
            m.ReturnLong = value is null || type == ScriptType.Void ? 0 : value.Long(m);
        }

        return Flow.Return;
    }
}

internal sealed class ClearAct(Global global, SourceSpan span) : Act(span)
{
    public override Flow Run(Machine m)
    {
        m.Act(Span);
        m.Store.Clear(global);
        return Flow.Normal;
    }
}

internal sealed class DeleteAct(Global array, KeyNodes keys, SourceSpan span) : Act(span)
{
    public override Flow Run(Machine m)
    {
        m.Act(Span);
        var key = keys.Evaluate(m);
        m.Store.Delete(array, new ArrayKey(key));
        m.Release(key);
        return Flow.Normal;
    }
}

internal sealed class DeletePatternAct(Global array, KeyPattern pattern, SourceSpan span) : Act(span)
{
    public override Flow Run(Machine m)
    {
        m.Act(Span);
        var wanted = pattern.Evaluate(m);
        foreach (var entry in m.Store.Entries(array))
        {
            if (KeyPattern.Matches(wanted, entry.Key))
            {
                m.Store.Delete(array, entry.Key);
            }
        }

        return Flow.Normal;
    }
}

internal sealed class StatAddAct(Global aggregate, KeyNodes? keys, Node value, SourceSpan span) : Act(span)
{
    public override Flow Run(Machine m)
    {
        m.Act(Span);
        if (keys is null)
        {
            m.Store.AddSample(aggregate, null, value.Long(m));
            return Flow.Normal;
        }

        var key = keys.Evaluate(m);
        var sample = value.Long(m);
        if (!m.Store.AddSample(aggregate, new ArrayKey(key), sample))
        {
            throw ArrayErrors.Overflow(aggregate, Span);
        }

        m.Release(key);
        return Flow.Normal;
    }
}

internal sealed class TryAct(Act body, int message, Act handler, SourceSpan span) : Act(span)
{
    public override Flow Run(Machine m)
    {
        var (fromBase, fromTop, fromDepth) = (m.Base, m.Top, m.Depth);
        try
        {
            return body.Run(m);
        }
        catch (RuntimeError error) when (error.IsCatchable)
        {
            (m.Base, m.Top, m.Depth) = (fromBase, fromTop, fromDepth);
            if (message >= 0)
            {
                m.Texts[m.Base + message] = m.CutQuietly(error.Message);
            }
        }

        // Outside of the catch block: an error of the handler is its own.
        return handler.Run(m);
    }
}

internal sealed class PrintAct(FormatNode format, SourceSpan span) : Act(span)
{
    public override Flow Run(Machine m)
    {
        m.Act(Span);
        var sink = m.Scratch;
        sink.Clear();
        format.Write(m, sink);
        m.Services.Print(sink.Written);
        return Flow.Normal;
    }
}

internal sealed class ForeachAct(ForeachStmt loop, KeyPattern? slice, Node? limit, Act body) : Act(loop.Span)
{
    private readonly int[] _keyLocals = [.. loop.Keys.Select(k => k.Index)];

    public override Flow Run(Machine m)
    {
        m.Act(Span);
        var wanted = slice?.Evaluate(m);
        var most = limit is null ? long.MaxValue : limit.Long(m);
        if (most <= 0)
        {
            return Flow.Normal;
        }

        IReadOnlyList<ArrayEntry> entries = m.Store.Entries(loop.Array);
        if (wanted is not null)
        {
            var kept = new List<ArrayEntry>();
            foreach (var entry in entries)
            {
                if (KeyPattern.Matches(wanted, entry.Key))
                {
                    kept.Add(entry);
                }
            }

            entries = kept;
        }

        var order = EntryOrder.Sorted(entries, loop.Direction, loop.SortKey, loop.SortStatistic, loop.Array.Type);
        var count = Math.Min(most, entries.Count);
        for (var i = 0; i < count; i++)
        {
            m.Act(Span);
            var entry = entries[order is null ? i : order[i]];
            for (var k = 0; k < _keyLocals.Length; k++)
            {
                Set(m, loop.Keys[k], entry.Key.Parts[k]);
            }

            if (loop.Value is { } local)
            {
                Set(m, local, entry.Value);
            }

            var flow = body.Run(m);
            if (flow == Flow.Break)
            {
                break;
            }

            if (flow is Flow.Next or Flow.Return)
            {
                return flow;
            }
        }

        return Flow.Normal;
    }

    private static void Set(Machine m, Local local, Value value)
    {
        if (local.Type == ScriptType.String)
        {
            m.Texts[m.Base + local.Index] = value.Text ?? "";
        }
        else
        {
            m.Longs[m.Base + local.Index] = value.Long;
        }
    }
}

internal sealed class BucketsAct(ForeachStmt loop, KeyNodes? keys, Node? limit, Act body) : Act(loop.Span)
{
    public override Flow Run(Machine m)
    {
        m.Act(Span);
        var most = limit is null ? long.MaxValue : limit.Long(m);
        if (most <= 0)
        {
            return Flow.Normal;
        }

        var stat = StatNode.Find(m, loop.Array, keys);
        if (stat is null || stat.Count == 0)
        {
            throw new RuntimeError("empty aggregate", Span);
        }

        var order = EntryOrder.SortedBuckets(stat.Buckets, loop.Direction, loop.SortKey != 0);
        for (var i = 0; i < order.Length && i < most; i++)
        {
            m.Act(Span);
            m.Longs[m.Base + loop.Keys[0].Index] = order[i];
            if (loop.Value is { } value)
            {
                m.Longs[m.Base + value.Index] = stat.Buckets[order[i]];
            }

            var flow = body.Run(m);
            if (flow == Flow.Break)
            {
                break;
            }

            if (flow is Flow.Next or Flow.Return)
            {
                return flow;
            }
        }

        return Flow.Normal;
    }
}
