using SystemTap.Runtime.Output;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Host;

/// <summary>
/// One running aggregate: what one CPU (or stap) has seen. Variance by Welford's method on samples multiplied by 2^shift: <see cref="Mean"/> is their
/// running mean, <see cref="SquaredDeviations"/> the sum of the squared deviations (so scaled by 2^(2·shift)). Kernel programs keep the same two words.
/// </summary>
public sealed class StatCell(StatisticShape shape)
{
    private readonly StatisticShape _shape = shape;

    public long Count { get; set; }

    public long Sum { get; set; }

    public long Min { get; set; } = long.MaxValue;

    public long Max { get; set; } = long.MinValue;

    public long Mean { get; set; }

    public long SquaredDeviations { get; set; }

    public long[] Buckets { get; } = shape.BucketCount == 0 ? [] : new long[shape.BucketCount];

    /// <summary>Adds a sample; sums wrap.</summary>
    public void Add(long sample)
    {
        Count++;
        Sum += sample;
        Min = Math.Min(Min, sample);
        Max = Math.Max(Max, sample);
        if (_shape.Variance)
        {
            var scaled = sample << _shape.VarianceShift;
            var delta = scaled - Mean;
            Mean += delta / Count;
            SquaredDeviations += delta * (scaled - Mean);
        }

        if (Buckets.Length > 0)
        {
            Buckets[HistogramBuckets.Of(_shape, sample)]++;
        }
    }

    /// <summary>Adds what another cell counts. Variances cannot be added like that.</summary>
    public void Add(StatCell other)
    {
        Count += other.Count;
        Sum += other.Sum;
        Min = Math.Min(Min, other.Min);
        Max = Math.Max(Max, other.Max);
        for (var i = 0; i < Buckets.Length; i++)
        {
            Buckets[i] += other.Buckets[i];
        }
    }

    /// <summary>What this cell has counted since it was as another one; minimum and maximum stay those of all samples.</summary>
    public StatCell Since(StatCell earlier)
    {
        var result = new StatCell(_shape) { Count = Count - earlier.Count, Sum = Sum - earlier.Sum, Min = Min, Max = Max };
        for (var i = 0; i < Buckets.Length; i++)
        {
            result.Buckets[i] = Buckets[i] - earlier.Buckets[i];
        }

        return result;
    }

    /// <summary>What extractors see of several cells taken together; null when there are none.</summary>
    public static StatSnapshot Merge(StatisticShape shape, ReadOnlySpan<StatCell> cells)
    {
        var merged = new StatSnapshot { Buckets = shape.BucketCount == 0 ? [] : new long[shape.BucketCount] };
        foreach (var cell in cells)
        {
            if (cell.Count == 0)
            {
                continue;
            }

            merged.Count += cell.Count;
            merged.Sum += cell.Sum;
            merged.Min = Math.Min(merged.Min, cell.Min);
            merged.Max = Math.Max(merged.Max, cell.Max);
            for (var i = 0; i < cell.Buckets.Length; i++)
            {
                merged.Buckets[i] += cell.Buckets[i];
            }
        }

        if (shape.Variance && merged.Count > 1)
        {
            merged.Variance = MergedVariance(shape.VarianceShift, merged.Sum, merged.Count, cells);
        }

        return merged;
    }

    // Total sum of squares = Σ within the cells + Σ n·(cell mean − grand mean)². The grand mean comes from the exact sum, also for a single cell: running
    // means are truncated at every step, and SystemTap makes good for it here. 128-bit intermediates because scaled values times a count need not fit in 64.
    private static long MergedVariance(int shift, long sum, long count, ReadOnlySpan<StatCell> cells)
    {
        var mean = ((Int128)sum << shift) / count;
        Int128 squares = 0;
        foreach (var cell in cells)
        {
            if (cell.Count > 0)
            {
                var off = cell.Mean - mean;
                squares += cell.SquaredDeviations + (off * off * cell.Count);
            }
        }

        return (long)((squares / (count - 1)) >> (2 * shift));
    }
}
