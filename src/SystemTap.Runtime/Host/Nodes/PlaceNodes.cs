using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Host.Nodes;

internal sealed class LocalAssignNode(int index, bool isText, Node value, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        if (isText)
        {
            return base.Long(m);
        }

        var result = value.Long(m);
        m.Longs[m.Base + index] = result;
        return result;
    }

    public override string Text(Machine m)
    {
        var result = m.Cut(Span, value.Text(m));
        m.Texts[m.Base + index] = result;
        return result;
    }
}

internal sealed class LocalUpdateNode(int index, BinaryOperator op, Node operand, bool yieldsOld, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        var by = operand.Long(m);
        ref var place = ref m.Longs[m.Base + index];
        var old = place;
        place = op == BinaryOperator.Add ? old + by : Arithmetic.Apply(op, old, by, Span);
        return yieldsOld ? old : place;
    }

    public override string Text(Machine m)
    {
        var by = operand.Text(m);
        var old = m.Texts[m.Base + index];
        var result = m.Cut(Span, old + by);
        m.Texts[m.Base + index] = result;
        return yieldsOld ? old : result;
    }
}

internal sealed class GlobalReadNode(Global global, SourceSpan span) : Node(span)
{
    public override long Long(Machine m) => m.Store.Read(global).Long;

    public override string Text(Machine m) => m.Store.Read(global).Text ?? "";
}

internal sealed class GlobalAssignNode(Global global, Node value, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        var result = value.Long(m);
        m.Store.Write(global, result);
        return result;
    }

    public override string Text(Machine m)
    {
        var result = m.Cut(Span, value.Text(m));
        m.Store.Write(global, result);
        return result;
    }
}

internal sealed class GlobalUpdateNode(Global global, BinaryOperator op, Node operand, bool yieldsOld, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        var by = operand.Long(m);
        if (by == 0 && (op is BinaryOperator.Divide or BinaryOperator.Modulo))
        {
            throw new RuntimeError("division by 0", Span);
        }

        var old = m.Store.Update(global, op, by);
        return yieldsOld ? old : Arithmetic.Apply(op, old, by, Span);
    }

    public override string Text(Machine m)
    {
        var by = operand.Text(m);
        var old = m.Store.Read(global).Text ?? "";
        var result = m.Cut(Span, old + by);
        m.Store.Write(global, result);
        return yieldsOld ? old : result;
    }
}

/// <summary>Evaluates the keys of an element.</summary>
internal sealed class KeyNodes(Node[] keys, IReadOnlyList<ScriptType> types)
{
    public int Count => keys.Length;

    public Value[] Evaluate(Machine m)
    {
        var key = m.Rent(keys.Length);
        for (var i = 0; i < keys.Length; i++)
        {
            key[i] = types[i] == ScriptType.String ? m.Cut(keys[i].Span, keys[i].Text(m)) : keys[i].Long(m);
        }

        return key;
    }
}

internal static class ArrayErrors
{
    public static RuntimeError Overflow(Global array, SourceSpan span) => array.Type == ScriptType.Statistics
        ? new($"aggregation overflow in {array.Name}", span)
        : new($"Array overflow, check MAXMAPENTRIES / size limit ({array.MaxEntries})", span);
}

internal sealed class ElementReadNode(Global array, KeyNodes keys, SourceSpan span) : Node(span)
{
    public override long Long(Machine m) => Read(m).Long;

    public override string Text(Machine m) => Read(m).Text ?? "";

    private Value Read(Machine m)
    {
        var key = keys.Evaluate(m);
        m.Store.TryRead(array, new ArrayKey(key), out var value);
        m.Release(key);
        return value;
    }
}

internal sealed class ElementAssignNode(Global array, KeyNodes keys, Node value, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        var key = keys.Evaluate(m);
        var result = value.Long(m);
        Write(m, key, result);
        return result;
    }

    public override string Text(Machine m)
    {
        var key = keys.Evaluate(m);
        var result = m.Cut(Span, value.Text(m));
        Write(m, key, result);
        return result;
    }

    private void Write(Machine m, Value[] key, Value result)
    {
        if (!m.Store.Write(array, new ArrayKey(key), result))
        {
            throw ArrayErrors.Overflow(array, Span);
        }

        m.Release(key);
    }
}

internal sealed class ElementUpdateNode(Global array, KeyNodes keys, BinaryOperator op, Node operand, bool yieldsOld, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        var key = keys.Evaluate(m);
        var by = operand.Long(m);
        if (by == 0 && (op is BinaryOperator.Divide or BinaryOperator.Modulo))
        {
            throw new RuntimeError("division by 0", Span);
        }

        if (!m.Store.Update(array, new ArrayKey(key), op, by, out var old))
        {
            throw ArrayErrors.Overflow(array, Span);
        }

        m.Release(key);
        return yieldsOld ? old : Arithmetic.Apply(op, old, by, Span);
    }

    public override string Text(Machine m)
    {
        var key = keys.Evaluate(m);
        var by = operand.Text(m);
        m.Store.TryRead(array, new ArrayKey(key), out var known);
        var old = known.Text ?? "";
        var result = m.Cut(Span, old + by);
        if (!m.Store.Write(array, new ArrayKey(key), result))
        {
            throw ArrayErrors.Overflow(array, Span);
        }

        m.Release(key);
        return yieldsOld ? old : result;
    }
}

internal sealed class InNode(Global array, KeyNodes keys, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        var key = keys.Evaluate(m);
        var result = m.Store.Contains(array, new ArrayKey(key)) ? 1 : 0;
        m.Release(key);
        return result;
    }
}

/// <summary>Keys some of which are <c>*</c>: evaluated once, then compared with elements.</summary>
internal sealed class KeyPattern(Node?[] keys, IReadOnlyList<ScriptType> types)
{
    public Value?[] Evaluate(Machine m)
    {
        var wanted = new Value?[keys.Length];
        for (var i = 0; i < keys.Length; i++)
        {
            if (keys[i] is { } key)
            {
                wanted[i] = types[i] == ScriptType.String ? (Value)m.Cut(key.Span, key.Text(m)) : key.Long(m);
            }
        }

        return wanted;
    }

    public static bool Matches(Value?[] wanted, in ArrayKey key)
    {
        for (var i = 0; i < wanted.Length; i++)
        {
            if (wanted[i] is { } part && part != key.Parts[i])
            {
                return false;
            }
        }

        return true;
    }
}

internal sealed class InPatternNode(Global array, KeyPattern pattern, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        var wanted = pattern.Evaluate(m);
        foreach (var entry in m.Store.Entries(array))
        {
            if (KeyPattern.Matches(wanted, entry.Key))
            {
                return 1;
            }
        }

        return 0;
    }
}

internal sealed class StatNode(StatisticKind kind, Global aggregate, KeyNodes? keys, SourceSpan span) : Node(span)
{
    public override long Long(Machine m) => Extract(kind, Find(m, aggregate, keys), Span);

    public static StatSnapshot? Find(Machine m, Global aggregate, KeyNodes? keys)
    {
        if (keys is null)
        {
            return m.Store.Statistics(aggregate, null);
        }

        var key = keys.Evaluate(m);
        var found = m.Store.Statistics(aggregate, new ArrayKey(key));
        m.Release(key);
        return found;
    }

    public static long Extract(StatisticKind kind, StatSnapshot? stat, SourceSpan span)
    {
        if (stat is null || stat.Count == 0)
        {
            return kind is StatisticKind.Count or StatisticKind.Sum ? 0 : throw new RuntimeError("empty aggregate", span);
        }

        return kind switch
        {
            StatisticKind.Count => stat.Count,
            StatisticKind.Sum => stat.Sum,
            StatisticKind.Min => stat.Min,
            StatisticKind.Max => stat.Max,
            StatisticKind.Average => stat.Sum / stat.Count,
            _ => stat.Variance,
        };
    }
}

internal sealed class BucketNode(Global aggregate, KeyNodes? keys, Node index, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        var stat = StatNode.Find(m, aggregate, keys);
        var number = index.Long(m);
        if (number < 0 || number >= aggregate.Shape!.BucketCount)
        {
            throw new RuntimeError("histogram index out of range", Span);
        }

        return stat is null || stat.Count == 0 ? throw new RuntimeError("empty aggregate", Span) : stat.Buckets[number];
    }
}

internal sealed class HistogramTextNode(Global aggregate, KeyNodes? keys, SourceSpan span) : Node(span)
{
    public override string Text(Machine m)
    {
        var stat = StatNode.Find(m, aggregate, keys);
        return stat is null || stat.Count == 0
            ? throw new RuntimeError("empty aggregate", Span)
            : Output.HistogramRenderer.Text(aggregate.Shape!, stat, m.Limits);
    }
}

/// <summary>A histogram whose buckets came in a record: 8 bytes each.</summary>
internal sealed class HistogramLeafNode(StatisticShape shape, Node buckets, SourceSpan span) : Node(span)
{
    public override string Text(Machine m)
    {
        var bytes = buckets.Text(m);
        var stat = new StatSnapshot { Count = 1, Buckets = new long[shape.BucketCount] };
        for (var i = 0; i < bytes.Length && i < 8 * stat.Buckets.Length; i++)
        {
            stat.Buckets[i / 8] |= (long)(byte)bytes[i] << (8 * (i % 8));
        }

        return Output.HistogramRenderer.Text(shape, stat, m.Limits);
    }
}
