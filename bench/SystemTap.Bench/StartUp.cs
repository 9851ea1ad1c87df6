using System.Globalization;
using System.Text.RegularExpressions;

namespace SystemTap.Bench;

/// <summary>Start-up: a script that says hello and ends, from exec to reaped. The first run of each is thrown away (page cache, caches on disk).</summary>
internal static class StartUp
{
    public static void Measure(Bench bench)
    {
        bench.Table.Section("start-up: begin { hello; exit } from exec to end");
        Sample ours = new(), theirs = new(), oursEvent = new(), theirsEvent = new();
        for (var round = -1; round < bench.Rounds * 3; round++)
        {
            Time(bench.Stap, "probe begin { println(\"hello\") exit() }", ours, round);
            Time(bench.Bpftrace, "BEGIN { printf(\"hello\\n\"); exit(); }", theirs, round);
        }

        // the same with one kernel event, so that a program is loaded, attached and detached
        for (var round = -1; round < bench.Rounds; round++)
        {
            Time(bench.Stap, "global n probe kernel.trace(\"sched_switch\") { n[pid()]++ } probe timer.ms(1) { exit() } probe end { println(n[1]) }", oursEvent, round);
            Time(bench.Bpftrace, "tracepoint:sched:sched_switch { @[pid] = count(); } interval:ms:1 { exit(); }", theirsEvent, round);
        }

        bench.Table.Row("hello", ours, theirs, "ms");
        bench.Table.Row("one tracepoint, ended by a 1 ms timer", oursEvent, theirsEvent, "ms");
        Passes(bench);
    }

    private static void Time(Tool tool, string script, Sample sample, int round)
    {
        if (!tool.Here)
        {
            return;
        }

        var ms = tool.TimeToEnd(script);
        if (round >= 0)
        {
            sample.Add(ms);
        }
    }

    /// <summary>Where our time goes, in stap's own words: the "real" time of each pass in <c>stap -v</c>.</summary>
    private static void Passes(Bench bench)
    {
        if (bench.Stap.Path is not { } stap)
        {
            return;
        }

        var samples = new SortedDictionary<int, Sample>();
        for (var round = 0; round < bench.Rounds; round++)
        {
            var (_, error, _) = Tool.Run(stap, ["-v", "-e", "probe begin { println(\"hello\") exit() }"]);
            foreach (Match m in Regex.Matches(error, @"(?m)^Pass (\d): .* in .*?([\d.]+)\s*(?:ms )?real\s*(ms)?"))
            {
                var pass = int.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture);
                if (!samples.TryGetValue(pass, out var sample))
                {
                    samples[pass] = sample = new Sample();
                }

                sample.Add(double.Parse(m.Groups[2].Value, CultureInfo.InvariantCulture));
            }
        }

        foreach (var (pass, sample) in samples)
        {
            bench.Table.Row($"  of this, pass {pass} (stap -v)", sample, new Sample(), "ms");
        }
    }
}
