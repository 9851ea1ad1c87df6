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
        new("scalar n++ (atomic)",
            "global n probe kernel.trace(\"sys_enter\") { n++ } probe end { println(n) }",
            "tracepoint:raw_syscalls:sys_enter { @++; }"),
        new("scalar, a word for each CPU (n <<< 1, @count)",
            "global n probe kernel.trace(\"sys_enter\") { n <<< 1 } probe end { println(@count(n)) }",
            "tracepoint:raw_syscalls:sys_enter { @ = count(); }"),
        new("two scalars, shared lock (a timer looks at both)",
            "global a, b, d probe kernel.trace(\"sys_enter\") { a++ b++ } probe timer.ms(100) { if (a != b) d++ } probe end { println(a, b, d) }",
            "tracepoint:raw_syscalls:sys_enter { @a++; @b++; } interval:ms:100 { if (@a != @b) { @d++; } }"),
        new("two scalars compared, exclusive lock (peer: no lock)",
            "global a, b, d probe kernel.trace(\"sys_enter\") { a++ b++ if (a != b) d++ } probe end { println(a, b, d) }",
            "tracepoint:raw_syscalls:sys_enter { @a++; @b++; if (@a != @b) { @d++; } }"),
        new("string key: n[execname()]++",
            "global n probe kernel.trace(\"sys_enter\") { n[execname()]++ } probe end { foreach (k in n) println(k, n[k]) }",
            "tracepoint:raw_syscalls:sys_enter { @[comm] = count(); }"),
        new("count by key: n[pid()]++",
            "global n probe kernel.trace(\"sys_enter\") { n[pid()]++ } probe end { foreach (k in n) println(k, n[k]) }",
            "tracepoint:raw_syscalls:sys_enter { @[pid] = count(); }"),
        new("count by key: n[pid()] <<< 1, @count",
            "global n probe kernel.trace(\"sys_enter\") { n[pid()] <<< 1 } probe end { foreach (k in n) println(k, @count(n[k])) }",
            "tracepoint:raw_syscalls:sys_enter { @[pid] = count(); }"),
        new("sum by key",
            "global s probe kernel.trace(\"sys_enter\") { s[pid()] <<< $id } probe end { foreach (k in s) println(k, \" \", @sum(s[k])) }",
            "tracepoint:raw_syscalls:sys_enter { @[pid] = sum(args->id); }"),
        new("average by key",
            "global s probe kernel.trace(\"sys_enter\") { s[pid()] <<< $id } probe end { foreach (k in s) println(k, \" \", @avg(s[k])) }",
            "tracepoint:raw_syscalls:sys_enter { @[pid] = avg(args->id); }"),
        new("count, sum and average by key",
            "global s probe kernel.trace(\"sys_enter\") { s[pid()] <<< $id } probe end { foreach (k in s) println(k, \" \", @count(s[k]), \" \", @sum(s[k]), \" \", @avg(s[k])) }",
            "tracepoint:raw_syscalls:sys_enter { @[pid] = stats(args->id); }"),
        new("histogram of an argument (@hist_log)",
            "global h probe kernel.trace(\"sys_enter\") { h <<< $id } probe end { print(@hist_log(h)) }",
            "tracepoint:raw_syscalls:sys_enter { @ = hist(args->id); }"),
        new("histogram by key (@hist_log)",
            "global h probe kernel.trace(\"sys_enter\") { h[pid()] <<< $id } probe end { foreach (k in h) print(@hist_log(h[k])) }",
            "tracepoint:raw_syscalls:sys_enter { @[pid] = hist(args->id); }"),
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

        Printing.Measure(bench, floor);
    }

    private static double Floor(Bench bench, out Sample call)
    {
        using var empty = Kernel.EmptyProgram();
        call = bench.Loop(bench.Calls, 7);
        var sample = new Sample();
        for (var round = 0; round < 5; round++)
        {
            sample.Add(Body(bench, Environment.ProcessId));
        }

        return sample.Median;
    }

    /// <summary>Nanoseconds per run of a process's programs, while the loop runs with statistics on.</summary>
    private static double Body(Bench bench, int pid)
    {
        using var statistics = BpfStats.Enable();
        var start = Kernel.RunsOf(pid);
        bench.Loop(bench.Calls, 1);
        var runs = Kernel.RunsOf(pid) - start;
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
        using var session = tool.Start(script);
        if (!bench.WaitUntilLive(session))
        {
            bench.Note($"{tool.Name} did not start '{script}': {session.Complaint}");
            return;
        }

        call.Add(Math.Max(0, bench.Loop(bench.Calls, 7).Min - untraced));
        var ns = Body(bench, session.Pid);
        if (!double.IsNaN(ns))
        {
            body.Add(Math.Max(0, ns - floor));
        }

        session.Interrupt();
    }
}
