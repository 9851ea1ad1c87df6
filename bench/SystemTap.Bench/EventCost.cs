using System.Globalization;
using Linux.Bpf;

namespace SystemTap.Bench;

/// <summary>
/// The price of one event, two ways. Body: the kernel's own clock around the program (bpf_stats), minus what an empty program shows on
/// the same clock. Call: the wall time of a getppid loop with the tool live, minus the time untraced; this has the attach kind in it.
/// Both tools are measured in turn, several rounds, with the statistics (which cost 20 ns a run) off for the wall clock.
/// </summary>
internal static class EventCost
{
    private sealed record Case(string What, string Stap, string Bpftrace);

    // $id and args->id are the number of the call, 110 for getppid; the loop makes almost all events on its CPU.
    private static readonly Case[] Cases =
    [
        new("scalar n++",
            "global n probe kernel.trace(\"sys_enter\") { n++ } probe end { println(n) }",
            "tracepoint:raw_syscalls:sys_enter { @++; }"),
        new("n[execname()]++",
            "global n probe kernel.trace(\"sys_enter\") { n[execname()]++ } probe end { foreach (k in n) println(k, n[k]) }",
            "tracepoint:raw_syscalls:sys_enter { @[comm] = count(); }"),
        new("n[pid()]++",
            "global n probe kernel.trace(\"sys_enter\") { n[pid()]++ } probe end { foreach (k in n) println(k, n[k]) }",
            "tracepoint:raw_syscalls:sys_enter { @[pid] = count(); }"),
        new("histogram of an argument (@hist_log)",
            "global h probe kernel.trace(\"sys_enter\") { h <<< $id } probe end { print(@hist_log(h)) }",
            "tracepoint:raw_syscalls:sys_enter { @ = hist(args->id); }"),
        new("count, sum and average by pid",
            "global s probe kernel.trace(\"sys_enter\") { s[pid()] <<< $id } probe end { foreach (k in s) println(k, \" \", @count(s[k]), \" \", @sum(s[k]), \" \", @avg(s[k])) }",
            "tracepoint:raw_syscalls:sys_enter { @[pid] = stats(args->id); }"),
        new("filter that never matches",
            "global n probe kernel.trace(\"sys_enter\") { if (pid() == 4194305) n++ } probe end { println(n) }",
            "tracepoint:raw_syscalls:sys_enter /pid == 4194305/ { @++; }"),
        new("syscall alias: n[pid()]++ on getppid",
            "global n probe syscall.getppid { n[pid()]++ } probe end { foreach (k in n) println(k, n[k]) }",
            "tracepoint:syscalls:sys_enter_getppid { @[pid] = count(); }"),
    ];

    public static void Measure(Bench bench)
    {
        var untraced = bench.Loop(bench.Calls, 7).Min;
        var floor = Floor(bench, out var emptyCall);
        bench.Table.Section($"one event (an empty program shows {floor:0} ns, taken off every body, and adds {emptyCall.Min - untraced:0} ns to a call, not taken off; a getppid call takes {untraced:0} ns untraced)");
        foreach (var one in Cases)
        {
            Sample body = new(), theirBody = new(), call = new(), theirCall = new();
            for (var round = 0; round < bench.Rounds; round++)
            {
                One(bench, bench.Stap, one.Stap, floor, body, call);
                One(bench, bench.Bpftrace, one.Bpftrace, floor, theirBody, theirCall);
            }

            bench.Table.Row(one.What + ": body", body, theirBody, "ns");
            bench.Table.Row("    wall clock added to a call", call, theirCall, "ns");
        }

        Printing(bench, floor);
    }

    private static double Floor(Bench bench, out Sample call)
    {
        var before = Kernel.ProgramIds();
        using var empty = Kernel.EmptyProgram();
        call = bench.Loop(bench.Calls, 7);
        var sample = new Sample();
        for (var round = 0; round < 5; round++)
        {
            sample.Add(Body(bench, before));
        }

        return sample.Median;
    }

    /// <summary>Nanoseconds per run of the programs that came since <paramref name="before"/>, while the loop runs with statistics on.</summary>
    private static double Body(Bench bench, HashSet<uint> before)
    {
        using var statistics = BpfStats.Enable();
        var start = Kernel.NewPrograms(before, out _);
        bench.Loop(bench.Calls, 1);
        var runs = Kernel.NewPrograms(before, out _) - start;
        return runs.Count == 0 ? double.NaN : (double)runs.TimeNs / runs.Count;
    }

    private static void One(Bench bench, Tool tool, string script, double floor, Sample body, Sample call)
    {
        if (!tool.Here)
        {
            return;
        }

        // untraced just before, and the fastest of several loops: on a machine that also does other things only the minimum means something
        var untraced = bench.Loop(bench.Calls, 5).Min;
        var before = Kernel.ProgramIds();
        using var session = tool.Start(script);
        if (!bench.WaitUntilLive(session, before))
        {
            bench.Note($"{tool.Name} did not start '{script}': {session.Complaint}");
            return;
        }

        call.Add(Math.Max(0, bench.Loop(bench.Calls, 7).Min - untraced));
        var ns = Body(bench, before);
        if (!double.IsNaN(ns))
        {
            body.Add(Math.Max(0, ns - floor));
        }

        session.Interrupt();
    }

    /// <summary>One line printed for each event at full speed: what it costs, and how many lines never arrive. Lines are counted in the output file, by nobody's own report.</summary>
    private static void Printing(Bench bench, double floor)
    {
        Sample body = new(), theirBody = new(), call = new(), theirCall = new(), lost = new(), theirLost = new();
        for (var round = 0; round < bench.Rounds; round++)
        {
            Print(bench, bench.Stap, "probe syscall.getppid { printf(\"%d %d\\n\", pid(), cpu()) }", body, call, lost);
            Print(bench, bench.Bpftrace, "tracepoint:syscalls:sys_enter_getppid { printf(\"%d %d\\n\", pid, cpu); }", theirBody, theirCall, theirLost);
        }

        bench.Table.Row("printf of two numbers: body", body, theirBody, "ns");
        bench.Table.Row("    wall clock added to a call", call, theirCall, "ns");
        bench.Table.Row($"    lines lost of {bench.Calls * 2}, back to back", lost, theirLost, "%");

        void Print(Bench bench, Tool tool, string script, Sample body, Sample call, Sample lost)
        {
            if (!tool.Here)
            {
                return;
            }

            var output = Path.Combine(Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath(), "bench." + Environment.ProcessId);
            var untraced = bench.Loop(bench.Calls, 5).Min;
            var before = Kernel.ProgramIds();
            using var session = tool.Start(script, output);
            if (!bench.WaitUntilLive(session, before))
            {
                bench.Note($"{tool.Name} did not start '{script}': {session.Complaint}");
                return;
            }

            using (var first = bench.StartLoad("loop", bench.Calls, 1, bench.LoadCpu))
            {
                var ns = double.Parse(first.StandardOutput.ReadToEnd(), CultureInfo.InvariantCulture);
                first.WaitForExit();
                call.Add(Math.Max(0, ns - untraced));
                Thread.Sleep(300);
                var (id, bodyNs) = Counted(bench, before);
                body.Add(Math.Max(0, bodyNs - floor));
                session.Interrupt();
                var lines = Lines(output, first.Id) + Lines(output, id);
                lost.Add(100.0 * ((bench.Calls * 2) - lines) / (bench.Calls * 2));
            }

            File.Delete(output);
        }
    }

    private static (int Pid, double Ns) Counted(Bench bench, HashSet<uint> before)
    {
        using var statistics = BpfStats.Enable();
        var start = Kernel.NewPrograms(before, out _);
        using var load = bench.StartLoad("loop", bench.Calls, 1, bench.LoadCpu);
        load.StandardOutput.ReadToEnd();
        load.WaitForExit();
        var runs = Kernel.NewPrograms(before, out _) - start;
        return (load.Id, runs.Count == 0 ? 0 : (double)runs.TimeNs / runs.Count);
    }

    private static long Lines(string file, int pid)
    {
        var start = pid + " ";
        return File.ReadLines(file).LongCount(l => l.StartsWith(start, StringComparison.Ordinal));
    }
}
