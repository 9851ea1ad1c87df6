using SystemTap.Runtime.Output;
using SystemTap.Semantics.Lowered;
using Xunit;

namespace SystemTap.Tests.Runtime;

/// <summary>Goldens worked out by hand from the rules of reference/language.md §9.</summary>
public class HistogramTests
{
    private static string Log(params long[] samples) => Render(new StatisticShape { Histogram = HistogramKind.Log }, new Limits(), samples);

    private static string Render(StatisticShape shape, Limits limits, params long[] samples)
    {
        var buckets = new long[shape.BucketCount];
        foreach (var sample in samples)
        {
            buckets[HistogramBuckets.Of(shape, sample)]++;
        }

        var sink = new ByteSink();
        HistogramRenderer.Render(sink, shape, buckets, limits);
        return sink.ToString();
    }

    private static string Row(string label, int bar, string count) => $"{label,5} |{new string('@', bar)}{new string(' ', 50 - bar)} {count}\n";

    private static readonly string Header = "value |" + new string('-', 50) + " count\n";

    [Theory]
    [InlineData(0, 64)]
    [InlineData(1, 65)]
    [InlineData(2, 66)]
    [InlineData(3, 66)]
    [InlineData(4, 67)]
    [InlineData(long.MaxValue, 127)]
    [InlineData(-1, 63)]
    [InlineData(-3, 62)]
    [InlineData(long.MinValue, 0)]
    public void Logarithmic_buckets(long value, int bucket) =>
        Assert.Equal(bucket, HistogramBuckets.Of(new StatisticShape { Histogram = HistogramKind.Log }, value));

    [Fact]
    public void Two_empty_rows_stand_on_each_side() =>
        Assert.Equal(Header + Row("1", 0, "0") + Row("2", 0, "0") + Row("4", 2, "2") + Row("8", 1, "1") + Row("16", 0, "0") + Row("32", 0, "0") + "\n", Log(4, 5, 8));

    [Fact]
    public void Long_empty_runs_are_shortened() =>
        Assert.Equal(
            Header + Row("0", 0, "0") + Row("1", 1, "1") + Row("2", 0, "0") + Row("4", 0, "0") + "      ~\n" + Row("32", 0, "0") + Row("64", 0, "0")
            + Row("128", 1, "1") + Row("256", 0, "0") + Row("512", 0, "0") + "\n",
            Log(1, 128));

    [Fact]
    public void Runs_of_four_are_kept() =>
        Assert.DoesNotContain("~", Log(1, 32));

    [Fact]
    public void Bars_are_scaled_and_counts_right_aligned()
    {
        // 101 samples: scale ceil(101/50) = 3, bars 33 and 1; the count column is three wide.
        var samples = Enumerable.Repeat(1L, 101).Concat(Enumerable.Repeat(2L, 5)).ToArray();
        Assert.Equal(
            Header + Row("0", 0, "  0") + Row("1", 33, "101") + Row("2", 1, "  5") + Row("4", 0, "  0") + Row("8", 0, "  0") + "\n",
            Log(samples));
    }

    [Fact]
    public void Linear_histograms_name_what_lies_outside()
    {
        var shape = new StatisticShape { Histogram = HistogramKind.Linear, Low = 0, High = 40, Step = 10 };
        Assert.Equal(
            Header + Row("<0", 1, "1") + Row("0", 0, "0") + Row("10", 2, "2") + Row("20", 0, "0") + Row("30", 0, "0") + Row("40", 0, "0") + Row(">40", 1, "1") + "\n",
            Render(shape, new Limits(), -1, 10, 19, 50));
        Assert.Equal(Header + Row("0", 1, "1") + Row("10", 0, "0") + Row("20", 0, "0") + "\n", Render(shape, new Limits(), 5));
    }

    [Fact]
    public void Negative_elision_shows_everything()
    {
        var shape = new StatisticShape { Histogram = HistogramKind.Linear, Low = 0, High = 100, Step = 10 };
        var text = Render(shape, new Limits { HistElision = -1 }, 50);
        Assert.Equal(11 + 2, text.Split('\n').Length - 1);
        Assert.DoesNotContain("~", text);
    }

    [Fact]
    public void Scripts_print_them()
    {
        var text = ScriptHost.Run("global s probe begin { s <<< 4; s <<< 5; s <<< 8; print(@hist_log(s)); exit() }").Output;
        Assert.Equal(Log(4, 5, 8), text);
    }
}
