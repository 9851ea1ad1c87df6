using System.Text.RegularExpressions;

namespace SystemTap.Bench;

/// <summary>Bytes to ship (the program and the libraries it needs beyond the C library) and memory while tracing.</summary>
internal static partial class Sizes
{
    public static void Measure(Bench bench)
    {
        bench.Table.Section("size");
        Sample size = new(), theirSize = new(), all = new(), theirAll = new(), rss = new(), theirRss = new();
        Disk(bench.Stap, size, all);
        Disk(bench.Bpftrace, theirSize, theirAll);
        for (var round = 0; round < bench.Rounds; round++)
        {
            Memory(bench, bench.Stap, "global n probe kernel.trace(\"sys_enter\") { n[pid()]++ } probe end { println(n[1]) }", rss);
            Memory(bench, bench.Bpftrace, "tracepoint:raw_syscalls:sys_enter { @[pid] = count(); }", theirRss);
        }

        bench.Table.Row("executable", size, theirSize, "MB");
        bench.Table.Row("executable and libraries (without the C library)", all, theirAll, "MB");
        bench.Table.Row("memory (resident) of n[pid()]++, live", rss, theirRss, "MB");
    }

    private static void Disk(Tool tool, Sample program, Sample all)
    {
        if (tool.Path is not { } path)
        {
            return;
        }

        var own = new FileInfo(path).ResolveLinkTarget(true) is FileInfo target ? target.Length : new FileInfo(path).Length;
        var total = own;
        foreach (Match library in Library().Matches(Tool.Run("ldd", [path]).Out))
        {
            var file = library.Groups[1].Value;
            if (!Path.GetFileName(file).StartsWith("libc.", StringComparison.Ordinal) && !Path.GetFileName(file).StartsWith("ld-", StringComparison.Ordinal))
            {
                total += new FileInfo(file).ResolveLinkTarget(true) is FileInfo real ? real.Length : new FileInfo(file).Length;
            }
        }

        program.Add(own / 1048576.0);
        all.Add(total / 1048576.0);
    }

    private static void Memory(Bench bench, Tool tool, string script, Sample rss)
    {
        if (!tool.Here)
        {
            return;
        }

        using var session = tool.Start(script);
        if (bench.WaitUntilLive(session))
        {
            Thread.Sleep(200);
            rss.Add(session.StatusKb("VmRSS") / 1024.0);
        }

        session.Interrupt();
    }

    [GeneratedRegex(@"=> (/\S+)")]
    private static partial Regex Library();
}
