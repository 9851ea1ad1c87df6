namespace SystemTap.Bench;

/// <summary>
/// An array of ten thousand entries, sorted by value and printed whole: four times a second while events go on, as processor time of the tool for each printing, and once at the end,
/// as time from Ctrl-C, minus the same session with an empty array. The entries come from a program that makes a call with ten thousand different arguments.
/// </summary>
internal static class SortedPrint
{
    private const int Entries = 10_000;

    public static void Measure(Bench bench)
    {
        bench.Table.Section("an array of 10,000 entries");
        Environment.SetEnvironmentVariable("BPFTRACE_MAP_KEYS_MAX", "20000");
        Sample cpu = new(), theirCpu = new(), end = new(), theirEnd = new();
        for (var round = 0; round < bench.Rounds; round++)
        {
            One(bench, bench.Stap, Stap, cpu, end);
            One(bench, bench.Bpftrace, Bpftrace, theirCpu, theirEnd);
        }

        Environment.SetEnvironmentVariable("BPFTRACE_MAP_KEYS_MAX", null);
        bench.Table.Row("foreach sorted by value, printed: processor time", cpu, theirCpu, "ms");
        bench.Table.Row("sorted and printed at the end: from Ctrl-C", end, theirEnd, "ms");
    }

    private static string Stap(bool isFilled, bool timer) =>
        "global n[20000] probe syscall.getppid { " + (isFilled ? "n[$arg1] += $arg1 * 7919 % 10007" : "if (pid() == 4194305) n[1]++") + " } "
        + (timer ? "probe timer.ms(250) { foreach (k in n-) printf(\"%d %d\\n\", k, n[k]) println(\"printed\") }" : "probe end { foreach (k in n-) printf(\"%d %d\\n\", k, n[k]) }");

    private static string Bpftrace(bool isFilled, bool timer) =>
        "tracepoint:raw_syscalls:sys_enter " + (isFilled ? "/args->id == 110/ { @[args->args[0]] = sum(args->args[0] * 7919 % 10007); }" : "/pid == 4194305/ { @[1] = count(); }")
        + (timer ? " interval:ms:250 { print(@); printf(\"printed\\n\"); }" : "");

    private static void One(Bench bench, Tool tool, Func<bool, bool, string> script, Sample cpu, Sample end)
    {
        if (!tool.Here)
        {
            return;
        }

        var empty = End(bench, tool, script(false, false), out _);
        var filled = End(bench, tool, script(true, false), out var lines);
        if (empty is { } e && filled is { } f && lines >= Entries)
        {
            end.Add(Math.Max(0, f - e));
        }
        else
        {
            bench.Note($"{tool.Name} printed {lines} lines of an array of {Entries} entries at the end");
        }

        var output = Path.GetTempFileName();
        using (var session = tool.Start(script(true, true), output, More(tool)))
        {
            if (bench.WaitUntilLive(session))
            {
                bench.Arguments(Entries);
                Thread.Sleep(700);
                var (time, printed) = (session.CpuMs(), Printed(output));
                Thread.Sleep(4000);
                var (timeAfter, printedAfter) = (session.CpuMs(), Printed(output));
                if (printedAfter > printed)
                {
                    cpu.Add((timeAfter - time) / (printedAfter - printed));
                }
                else
                {
                    bench.Note($"{tool.Name} did not print the array at work: {session.Complaint}");
                }

                session.Interrupt();
            }
        }

        File.Delete(output);
    }

    private static double? End(Bench bench, Tool tool, string script, out long lines)
    {
        var output = Path.GetTempFileName();
        lines = 0;
        double? ms = null;
        using (var session = tool.Start(script, output, More(tool)))
        {
            if (bench.WaitUntilLive(session))
            {
                bench.Arguments(Entries);
                ms = session.Interrupt();
                lines = File.ReadLines(output).LongCount();
            }
            else
            {
                bench.Note($"{tool.Name} did not start '{script}': {session.Complaint}");
            }
        }

        File.Delete(output);
        return ms;
    }

    // What a session may do at most: the standard limits of both tools are below ten thousand.
    private static string[] More(Tool tool) => tool.Name == "stap" ? ["-DMAXACTION=1000000"] : [];

    private static long Printed(string file) => File.ReadLines(file).LongCount(static l => l == "printed");
}
