using System.Text.RegularExpressions;
using Xunit;

namespace SystemTap.Tests.Examples;

/// <summary>Examples about disks, interrupts, timers and the network.</summary>
[Collection("kernel")]
public class DeviceExampleTests
{
    [Fact]
    public void Block_latency_sees_every_direct_read_of_dd()
    {
        StapRun.Need();
        var file = Path.Combine(Repository.Root, "out", "block-test." + Environment.ProcessId);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        try
        {
            File.WriteAllBytes(file, new byte[64 * 4096]);
            StapRun.Execute("sync", [file]);
            var (_, error, status, _) = StapRun.Execute("dd", ["if=" + file, "of=/dev/null", "bs=4096", "iflag=direct", "status=none"]);
            if (status != 0)
            {
                Assert.Skip("the file system of the repository has no direct I/O: " + error.Trim());
            }

            var run = StapRun.OnCommand("block-latency", $"dd if={file} of=/dev/null bs=4096 iflag=direct status=none");
            var row = run.Row("dd");
            Assert.Equal(64, row[0]);
            Assert.Equal(64 * 4096, row[1]);
            Assert.True(row[2] > 0, run.ToString());
            Assert.Contains("read microseconds", run.Lines);
            var counts = run.Out.Split("write microseconds")[0].Split("read microseconds")[1];
            Assert.True(Regex.Matches(counts, @"(?m)\|.* (\d+)$").Sum(m => long.Parse(m.Groups[1].Value)) >= 64, run.ToString());
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void Interrupts_lie_between_two_looks_at_proc()
    {
        StapRun.Need();
        var before = Softirqs();
        var run = StapRun.OnWorkload("interrupts", "interrupts 400");
        var after = Softirqs();
        foreach (var kind in new[] { "TIMER", "SCHED", "RCU" })
        {
            var row = run.Row("softirq", kind);
            // the program looked while the script was live, the test before and after it
            // a few in a thousand of what /proc counts never reach the tracepoint
            Assert.InRange(row[0], run.Truth[kind] - 2 - (run.Truth[kind] / 50), after[kind] - before[kind]);
            Assert.True(row[1] * 1000 >= row[2] * 1000 && row[2] >= 0, run.ToString());
        }

        static Dictionary<string, long> Softirqs() =>
            File.ReadLines("/proc/softirqs").Skip(1).Select(l => l.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
                .ToDictionary(w => w[0].TrimEnd(':'), w => w.Skip(1).Sum(long.Parse));
    }

    [Fact]
    public void Timers_include_those_of_the_sleeping_program()
    {
        var run = StapRun.OnWorkload("timers", "sleeps 100 1");
        var total = run.Lines.SkipWhile(l => !l.StartsWith("CPU")).Skip(1).TakeWhile(l => !l.StartsWith("interrupted"))
            .Sum(l => long.Parse(l.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1]));
        Assert.True(total >= 100, "a hundred sleeps end by a hundred timers:\n" + run);
        Assert.InRange(run.Lines.SkipWhile(l => !l.StartsWith("interrupted")).Skip(1).Sum(l => long.Parse(l[16..])), 1, total);
    }

    [Fact]
    public void Net_bytes_equal_what_was_sent()
    {
        var run = StapRun.OnWorkload("net-bytes", "net 250000 1234");
        var row = run.Row("workload", "IPv4");
        Assert.Equal((250000 / 4000) + 1 + 1, row[0]);
        Assert.Equal(250000 + 1234, row[1]);
        Assert.Equal(250000 + 1234, row[3]);
    }

    [Fact]
    public void Tcp_connections_are_followed_from_open_to_close()
    {
        var run = StapRun.OnWorkload("tcp-connections", "net 5000 500");
        var (port, client) = (run.Truth["port"], run.Truth["client_port"]);
        Assert.Equal(2, run.Lines.Count(l => l == $"open   workload({run.Truth["pid"]}) to 127.0.0.1:{port}"));     // the second is refused
        Assert.Single(run.Lines, l => Regex.IsMatch(l, $@"^up     127\.0\.0\.1:{client} - 127\.0\.0\.1:{port} after \d+ us$"));
        Assert.Single(run.Lines, l => l == $"accept 127.0.0.1:{port} - 127.0.0.1:{client}");
        Assert.Single(run.Lines, l => Regex.IsMatch(l, $@"^closed 127\.0\.0\.1:{port} - 127\.0\.0\.1:{client} after \d+ ms$"));
    }

    [Fact]
    public void Net_calls_show_address_and_result()
    {
        var run = StapRun.OnWorkload("net-calls", "net 10 10");
        var (pid, port) = (run.Truth["pid"], run.Truth["port"]);
        Assert.Single(run.Lines, l => l == $"workload({pid}) connect to 127.0.0.1 port {port}: ok");
        Assert.Single(run.Lines, l => l == $"workload({pid}) connect to 127.0.0.1 port {port}: ECONNREFUSED");
    }
}
