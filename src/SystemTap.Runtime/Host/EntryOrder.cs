using SystemTap.Language.Syntax;
using SystemTap.Runtime.Host.Nodes;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Host;

/// <summary>The order a foreach or an end display visits elements in: sorted, equal ones by insertion, whichever the direction.</summary>
internal static class EntryOrder
{
    /// <summary>Positions in <paramref name="entries"/> in the order asked for; null when that is the given order.</summary>
    public static int[]? Sorted(IReadOnlyList<ArrayEntry> entries, SortDirection direction, int sortKey, StatisticKind statistic, ScriptType type)
    {
        if (direction == SortDirection.None)
        {
            return null;
        }

        var order = new int[entries.Count];
        for (var i = 0; i < order.Length; i++)
        {
            order[i] = i;
        }

        var values = new Value[entries.Count];
        for (var i = 0; i < values.Length; i++)
        {
            var entry = entries[i];
            values[i] = sortKey > 0 ? entry.Key.Parts[sortKey - 1]
                : type == ScriptType.Statistics ? entry.Statistics is { Count: > 0 } s ? StatNode.Extract(statistic, s, default) : 0
                : entry.Value;
        }

        Array.Sort(order, new Comparer(values, direction == SortDirection.Descending));
        return order;
    }

    /// <summary>Bucket numbers by count, or by number.</summary>
    public static int[] SortedBuckets(long[] buckets, SortDirection direction, bool byNumber)
    {
        var order = new int[buckets.Length];
        var values = new Value[buckets.Length];
        for (var i = 0; i < order.Length; i++)
        {
            order[i] = i;
            values[i] = byNumber ? i : buckets[i];
        }

        if (direction != SortDirection.None)
        {
            Array.Sort(order, new Comparer(values, direction == SortDirection.Descending));
        }

        return order;
    }

    private sealed class Comparer(Value[] values, bool descending) : IComparer<int>
    {
        public int Compare(int x, int y)
        {
            var (a, b) = (values[x], values[y]);
            var order = a.Text is null ? a.Long.CompareTo(b.Long) : string.CompareOrdinal(a.Text, b.Text);
            return order == 0 ? x.CompareTo(y) : descending ? (order > 0 ? -1 : 1) : order;
        }
    }
}
