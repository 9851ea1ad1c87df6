using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace SystemTap.Bench;

/// <summary>
/// How long until every system call is traced, and how long until the tool is gone after Ctrl-C.
/// A marker program makes a call nothing else makes, every 0.1 ms, and remembers when. The tools count all calls by name.
/// The marker stops before Ctrl-C, so the calls counted are the last ones made: the first counted one tells when the probes were live.
/// The peer is run once only: taking its 360 tracepoints down takes it half a minute.
/// </summary>
internal static class LiveTime
{
    public static void Measure(Bench bench)
    {
        bench.Table.Section("every system call counted by name: from exec to the first call counted, and from Ctrl-C to the end");
        Sample live = new(), end = new(), theirLive = new(), theirEnd = new(), rss = new(), theirRss = new(), call = new(), theirCall = new();
        for (var round = -1; round < bench.Rounds; round++)
        {
            One(bench, bench.Stap, "global n probe syscall.* { n[name]++ } probe end { foreach (k in n) printf(\"%s %d\\n\", k, n[k]) }",
                @"(?m)^ioprio_get (\d+)$", 1200, round < 0, live, end, rss, call);
        }

        if (!bench.Quick)
        {
            One(bench, bench.Bpftrace, "tracepoint:syscalls:sys_enter_* { @[probe] = count(); }",
                @"sys_enter_ioprio_get\]: (\d+)", 5000, false, theirLive, theirEnd, theirRss, theirCall);
        }

        bench.Table.Row("time until live", live, theirLive, "ms");
        bench.Table.Row("time to end after Ctrl-C", end, theirEnd, "ms");
        bench.Table.Row("wall time of a getppid call meanwhile", call, theirCall, "ns");
        bench.Table.Row("memory (resident) of the tool meanwhile", rss, theirRss, "MB");
        if (bench.Quick)
        {
            bench.Table.Text("  (the peer takes half a minute here: skipped by --quick)", "", "");
        }
    }

    private static void One(Bench bench, Tool tool, string script, string countPattern, int waitMs, bool warmUp, Sample live, Sample end, Sample rss, Sample call)
    {
        if (!tool.Here)
        {
            return;
        }

        var output = Path.GetTempFileName();
        using var marker = bench.StartLoad("marker", bench.LoadCpu);
        Thread.Sleep(50);
        using var session = tool.Start(script, output);
        Thread.Sleep(waitMs);
        marker.StandardInput.Close();
        var times = marker.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => long.Parse(l, CultureInfo.InvariantCulture)).ToArray();
        marker.WaitForExit();
        var ended = session.Ended;
        var memory = session.StatusKb("VmRSS");
        var loop = ended ? new Sample() : bench.Loop(100_000, 5);
        var toEnd = session.Interrupt();
        var text = File.ReadAllText(output);
        File.Delete(output);
        if (warmUp)
        {
            return;
        }

        if (ended || toEnd is null)
        {
            bench.Note($"{tool.Name} did not survive counting every system call: {session.Complaint}");
            return;
        }

        end.Add(toEnd.Value);
        rss.Add(memory / 1024.0);
        call.Add(loop.Min);
        var match = Regex.Match(text, countPattern);
        var counted = match.Success ? long.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture) : 0;
        if (counted > 0 && counted <= times.Length)
        {
            live.Add((times[times.Length - counted] - (session.Began * (1_000_000_000.0 / Stopwatch.Frequency))) / 1e6);
        }
        else
        {
            bench.Note($"{tool.Name} counted {counted} of {times.Length} marker calls");
        }
    }
}
