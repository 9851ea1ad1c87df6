using System.Globalization;
using SystemTap.Runtime.Host;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Output;

/// <summary>Which bucket a sample falls into, and what a bucket is called.</summary>
public static class HistogramBuckets
{
    /// <summary>Logarithmic bucket of 0.</summary>
    public const int Zero = 64;

    /// <summary>Bucket of a value: logarithmic #64 is 0, #65 is 1, #66 is 2–3, …; #63 is −1 and so on. Linear: 0 below low, then one per step, the last for all above.</summary>
    public static int Of(StatisticShape shape, long value)
    {
        if (shape.Histogram == HistogramKind.Log)
        {
            return value == 0 ? 64 : value > 0 ? 65 + Log2((ulong)value) : Math.Max(0, 63 - Log2((ulong)-value));
        }

        if (value < shape.Low)
        {
            return 0;
        }

        // The difference of two longs may need 64 unsigned bits.
        var step = (ulong)value - (ulong)shape.Low;
        var bucket = step / (ulong)shape.Step;
        var last = shape.BucketCount - 1;
        return bucket >= (ulong)(last - 1) ? last : (int)bucket + 1;
    }

    /// <summary>Lowest value (nearest zero for negative logarithmic buckets) of a bucket.</summary>
    public static long LowerBound(StatisticShape shape, int bucket) => shape.Histogram == HistogramKind.Log
        ? bucket == 64 ? 0 : bucket > 64 ? 1L << (bucket - 65) : -(1L << (63 - bucket))
        : shape.Low + ((bucket - 1) * shape.Step);

    /// <summary>What stands before the bar.</summary>
    public static string Label(StatisticShape shape, int bucket)
    {
        if (shape.Histogram == HistogramKind.Linear)
        {
            if (bucket == 0)
            {
                return "<" + shape.Low.ToString(CultureInfo.InvariantCulture);
            }

            if (bucket == shape.BucketCount - 1)
            {
                return ">" + shape.High.ToString(CultureInfo.InvariantCulture);
            }
        }

        return LowerBound(shape, bucket).ToString(CultureInfo.InvariantCulture);
    }

    private static int Log2(ulong value) => 63 - System.Numerics.BitOperations.LeadingZeroCount(value);
}

/// <summary>
/// SystemTap's picture of a histogram: <c>value |----- count</c>, one row per bucket, two empty rows around the data, an empty line at the end. Empty rows further
/// than HIST_ELISION from the data are left out, with a <c>~</c> line in their place where rows follow.
/// </summary>
public static class HistogramRenderer
{
    /// <summary>Empty rows on each side that belong to the picture.</summary>
    private const int Margin = 2;

    /// <summary>Appends the picture.</summary>
    /// <param name="sink">Where to.</param>
    /// <param name="shape">Kind and bounds of the buckets.</param>
    /// <param name="buckets">Counts, <see cref="StatisticShape.BucketCount"/> of them.</param>
    /// <param name="limits">HIST_WIDTH and HIST_ELISION (negative: nothing is left out).</param>
    public static void Render(ByteSink sink, StatisticShape shape, ReadOnlySpan<long> buckets, Limits limits)
    {
        var width = Math.Max(1, limits.HistWidth);
        var elision = limits.HistElision;
        var linear = shape.Histogram == HistogramKind.Linear;

        // The rows for values outside a linear histogram show only when there were such values.
        var first = linear && buckets[0] == 0 ? 1 : 0;
        var last = linear && buckets[^1] == 0 ? buckets.Length - 2 : buckets.Length - 1;
        long most = 0;
        int low = -1, high = -1;
        for (var i = first; i <= last; i++)
        {
            most = Math.Max(most, buckets[i]);
            if (buckets[i] != 0)
            {
                low = low < 0 ? i : low;
                high = i;
            }
        }

        if (low < 0)
        {
            // No bucket has a sample (the aggregate was emptied meanwhile): show the first row alone.
            low = high = linear ? first : 64;
        }

        if (elision >= 0)
        {
            first = Math.Max(first, low - Margin);
            last = Math.Min(last, high + Margin);
            if (!linear && low >= HistogramBuckets.Zero)
            {
                // Without negative samples no negative rows, as SystemTap prints it.
                first = Math.Max(first, HistogramBuckets.Zero);
            }
        }

        var labelWidth = 5;
        for (var i = first; i <= last; i++)
        {
            labelWidth = Math.Max(labelWidth, HistogramBuckets.Label(shape, i).Length);
        }

        var countWidth = most.ToString(CultureInfo.InvariantCulture).Length;
        var scale = Math.Max(1, (most / width) + (most % width != 0 ? 1 : 0));
        sink.Fill((byte)' ', labelWidth - 5);
        sink.Append("value |");
        sink.Fill((byte)'-', width);
        sink.Append(" count\n");
        for (var i = first; i <= last; i++)
        {
            if (buckets[i] == 0 && elision >= 0)
            {
                var end = i;
                while (end <= last && buckets[end] == 0)
                {
                    end++;
                }

                // Rows behind data, and rows in front of data.
                var (after, before) = (i > first ? elision : 0, end <= last ? elision : 0);
                if (end - i > after + before && most > 0)
                {
                    Rows(i, i + after, sink, buckets);
                    if (end <= last)
                    {
                        sink.Fill((byte)' ', labelWidth + 1);
                        sink.Append("~\n");
                    }

                    Rows(end - before, end, sink, buckets);
                }
                else
                {
                    Rows(i, end, sink, buckets);
                }

                i = end - 1;
                continue;
            }

            Rows(i, i + 1, sink, buckets);
        }

        sink.Append((byte)'\n');

        void Rows(int from, int to, ByteSink target, ReadOnlySpan<long> counts)
        {
            for (var i = from; i < to; i++)
            {
                var label = HistogramBuckets.Label(shape, i);
                var bar = (int)(counts[i] / scale);
                var count = counts[i].ToString(CultureInfo.InvariantCulture);
                target.Fill((byte)' ', labelWidth - label.Length);
                target.Append(label);
                target.Append(" |");
                target.Fill((byte)'@', bar);
                target.Fill((byte)' ', width - bar + 1 + countWidth - count.Length);
                target.Append(count);
                target.Append((byte)'\n');
            }
        }
    }

    /// <summary>The picture as a script string.</summary>
    public static string Text(StatisticShape shape, StatSnapshot statistics, Limits limits)
    {
        var sink = new ByteSink(2048);
        Render(sink, shape, statistics.Buckets, limits);
        return sink.ToString();
    }
}
