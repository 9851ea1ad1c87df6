using System.Diagnostics;
using System.Globalization;
using Linux.Bpf;

namespace SystemTap.Bench;

/// <summary>
/// One line printed for each event: what it costs at full speed, how many lines never arrive, and the highest rate at which all arrive. Lines are counted in the output
/// file, by nobody's own report.
/// </summary>
internal static class Printing
{
    public static void Measure(Bench bench, double floor)
    {
        Sample body = new(), theirBody = new(), call = new(), theirCall = new(), lost = new(), theirLost = new(), gap = new(), theirGap = new();
        for (var round = 0; round < bench.Rounds; round++)
        {
            Print(bench, bench.Stap, "probe syscall.getppid { printf(\"%d %d\\n\", pid(), cpu()) }", floor, body, call, lost, gap);
            Print(bench, bench.Bpftrace, "tracepoint:syscalls:sys_enter_getppid { printf(\"%d %d\\n\", pid, cpu); }", floor, theirBody, theirCall, theirLost, theirGap);
        }

        bench.Table.Row("printf of two numbers: body", body, theirBody, "ns");
        bench.Table.Row("    wall clock added to a call", call, theirCall, "ns");
        bench.Table.Row($"    lines lost of {bench.Calls}, back to back", lost, theirLost, "%");
        bench.Table.Row("    from line to line at the highest rate without loss", gap, theirGap, "ns");
    }

    private static void Print(Bench bench, Tool tool, string script, double floor, Sample body, Sample call, Sample lost, Sample gap)
    {
        if (!tool.Here)
        {
            return;
        }

        var output = Path.Combine(Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath(), "bench." + Environment.ProcessId);
        var untraced = bench.Loop(bench.Calls, 5).Min;
        using (var session = tool.Start(script, output))
        {
            if (!bench.WaitUntilLive(session))
            {
                bench.Note($"{tool.Name} did not start '{script}': {session.Complaint}");
                return;
            }

            using (BpfStats.Enable())
            {
                var start = Kernel.RunsOf(session.Pid);
                Load(bench, 0);
                var runs = Kernel.RunsOf(session.Pid) - start;
                body.Add(Math.Max(0, ((double)runs.TimeNs / Math.Max(1, runs.Count)) - floor));
            }

            // Back to back first, then each time a fifth slower until every line arrives.
            var (pid, ns) = Load(bench, 0);
            call.Add(Math.Max(0, ns - untraced));
            var missing = bench.Calls - Arrived(bench, output, pid);
            lost.Add(100.0 * missing / bench.Calls);
            for (var tries = 0; missing > 0 && tries < 15; tries++)
            {
                (pid, ns) = Load(bench, (long)(ns * 1.25));
                missing = bench.Calls - Arrived(bench, output, pid);
            }

            if (missing == 0)
            {
                gap.Add(ns);
            }

            session.Interrupt();
        }

        File.Delete(output);
    }

    /// <summary>Makes the calls, from start to start at least so far apart; nanoseconds of each.</summary>
    private static (int Pid, double Ns) Load(Bench bench, long gap)
    {
        using var load = bench.StartLoad("paced", bench.Calls, gap, bench.LoadCpu);
        var ns = double.Parse(load.StandardOutput.ReadToEnd(), CultureInfo.InvariantCulture);
        load.WaitForExit();
        return (load.Id, ns);
    }

    /// <summary>Lines of a process in the output, once no more come.</summary>
    private static long Arrived(Bench bench, string file, int pid)
    {
        long size = -1;
        for (var began = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(began).TotalSeconds < 30;)
        {
            var now = new FileInfo(file).Length;
            if (now == size)
            {
                break;
            }

            size = now;
            Thread.Sleep(400);
        }

        var start = pid + " ";
        return Math.Min(bench.Calls, File.ReadLines(file).LongCount(l => l.StartsWith(start, StringComparison.Ordinal)));
    }
}
