using System.Diagnostics;
using System.Globalization;
using System.Text;
using Xunit;

namespace SystemTap.Tests.Differential;

/// <summary>
/// Random programs on two engines. <c>DIFFERENTIAL_SEED</c> is the first seed, <c>DIFFERENTIAL_COUNT</c> how many; a difference is shrunk to the shortest body that still shows it
/// and printed with its seed; <c>DIFFERENTIAL_OLDER=1</c> compiles them as for Linux 6.1. Constructs the BPF engine refuses with a located "cannot" are skipped and counted.
/// </summary>
public sealed class DifferentialTests
{
    [Fact]
    public void Random_programs_print_the_same_on_both_engines()
    {
        Assert.SkipWhen(Environment.UserName != "root", "needs root");
        var first = Number("DIFFERENTIAL_SEED", 1);
        var count = Number("DIFFERENTIAL_COUNT", 500);
        var most = Number("DIFFERENTIAL_FAILURES", 3);
        var report = new StringBuilder();
        var refusals = new Dictionary<string, int>();
        var failures = 0;
        var ran = 0;
        var clock = Stopwatch.StartNew();
        for (var seed = first; seed < first + count && failures < most; seed++)
        {
            var script = ScriptGenerator.Write(seed);
            var difference = Differential.Compare(script, refusals, all: seed % 4 == 0);
            if (difference is null)
            {
                ran++;
                continue;
            }

            failures++;
            if (Environment.GetEnvironmentVariable("DIFFERENTIAL_COUNT") is not null)
            {
                Console.Error.WriteLine($"seed {seed}: {difference.Kind}; shrinking …");
            }

            var shortest = Shrinker.Shrink(script, difference.Kind);
            report.Append(CultureInfo.InvariantCulture, $"--- seed {seed}\n{Differential.Compare(shortest, [])?.Text ?? difference.Text}\n=== script\n{shortest}\n");
        }

        var summary = $"{ran} of {count} programs agree or are refused ({refusals.Values.Sum()} refused: {string.Join(", ", refusals.OrderByDescending(r => r.Value).Take(10).Select(r => $"{r.Value} {r.Key}"))}), {clock.Elapsed.TotalMilliseconds / Math.Max(1, ran):F1} ms each";
        TestContext.Current.TestOutputHelper?.WriteLine(summary);
        if (Environment.GetEnvironmentVariable("DIFFERENTIAL_COUNT") is not null)
        {
            Console.Error.WriteLine(summary);
        }

        Assert.True(failures == 0, $"{summary}\n{report}");
        Assert.True(refusals.Values.Sum() <= count / 2, $"too many programs refused: {summary}");
    }

    private static int Number(string name, int standard) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out var n) ? n : standard;
}

