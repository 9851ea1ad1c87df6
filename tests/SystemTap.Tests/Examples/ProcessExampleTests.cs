using System.Text.RegularExpressions;
using Xunit;

namespace SystemTap.Tests.Examples;

/// <summary>Examples about processes, threads, signals and the scheduler, against the kernel's own accounting (rusage, schedstat, wait status).</summary>
[Collection("kernel")]
public class ProcessExampleTests
{
    [Fact]
    public void Containers_are_pid_namespaces()
    {
        StapRun.Need();
        var run = StapRun.OnCommand("containers", "unshare -p -f readlink /proc/thread-self/ns/pid_for_children");
        var own = File.ResolveLinkTarget("/proc/self/ns/pid", false)!.Name["pid:[".Length..^1];
        Assert.Equal([1, 1], run.Row(own)[1..3]);
        var other = Assert.Single(run.Lines, l => l.TrimEnd().EndsWith(" readlink", StringComparison.Ordinal)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        Assert.Contains($"pid:[{other[0]}]", run.Out);
        Assert.Equal(["1", "1", "readlink"], other[2..]);
    }

    [Fact]
    public void Hello_speaks_and_ends()
    {
        StapRun.Need();
        var run = StapRun.Stapped(StapRun.Example("hello")).Succeeded();
        Assert.Matches(@"^hello from Linux, pid \d+ started me\n$", run.Out);
    }

    [Fact]
    public void Context_switches_equal_getrusage()
    {
        var run = StapRun.OnWorkload("context-switches", "switches 60 30");
        var truth = run.Truth;
        // until prctl the child has its parent's name
        var rows = run.Rows("worker").Concat(run.Rows("workload")).Where(r => r[0] == truth["child"]).ToList();
        long[] row = [truth["child"], rows.Sum(r => r[1]), rows.Sum(r => r[2])];
        // The last switch of a dying thread comes when it is no longer of the target's processes, and maybe after its parent read the accounts.
        Assert.InRange(row[1], truth["voluntary"] - 1, truth["voluntary"]);
        Assert.InRange(row[2], truth["forced"] - 1, truth["forced"] + 1);
        Assert.True(row[1] >= 60, "sixty sleeps are sixty voluntary switches");
    }

    [Fact]
    public void Cpu_time_equals_getrusage()
    {
        var run = StapRun.OnWorkload("cpu-time", "spin 150");
        var row = run.Row("worker");
        Assert.Equal(run.Truth["child"], row[0]);
        // rusage includes interrupts that hit the process, in both; the first turn is under the parent's name until prctl.
        Assert.InRange(row[1], run.Truth["cpu_us"] / 1000 * 92 / 100, (run.Truth["cpu_us"] / 1000 * 108 / 100) + 10);
    }

    [Fact]
    public void Off_cpu_time_covers_the_sleeps_and_no_more_than_the_clock()
    {
        var run = StapRun.OnWorkload("off-cpu", "child-sleeps 5 30");
        var row = run.Row("worker");
        Assert.Equal(run.Truth["child"], row[0]);
        Assert.InRange(row[1], 5, 12);
        Assert.InRange(row[2], 5 * 30, (run.Truth["slept_us"] / 1000) + 30);
        Assert.True(row[3] >= 30, run.ToString());
    }

    [Fact]
    public void Run_queue_waits_equal_schedstat()
    {
        var run = StapRun.OnWorkload("run-queue", "queue 8");
        var row = run.Rows("worker").Single(r => r[0] == run.Truth["child"]);
        var truthUs = run.Truth["waited_ns"] / 1000;
        // schedstat is read a little before the thread ends; both clocks start within the same scheduler call
        Assert.InRange(row[2], (truthUs * 80 / 100) - 500, (truthUs * 125 / 100) + 30_000);
        Assert.Contains("value |", run.Out);
        Assert.True(row[1] >= run.Truth["turns"] / 2, run.ToString());
    }

    [Fact]
    public void Wakers_sees_one_side_of_a_pipe_wake_the_other()
    {
        var run = StapRun.OnCommand("wakers", "sh -c \"seq 200000 | wc -l\"");
        Assert.Contains("200000", run.Out);
        Assert.Contains(run.Lines, l => Regex.IsMatch(l, @"^seq +wc +\d+$") || Regex.IsMatch(l, @"^wc +seq +\d+$"));
    }

    [Fact]
    public void Signals_are_seen_one_by_one()
    {
        var run = StapRun.OnWorkload("signals", "signals 7");
        var (me, child) = (run.Truth["pid"], run.Truth["child"]);
        Assert.Equal(7, run.Lines.Count(l => l == $"workload({me}) -> victim({child}) signal 10: delivered"));
        Assert.Single(run.Lines, l => l == $"workload({me}) -> victim({child}) signal 12: ignored");
        Assert.Single(run.Lines, l => l == $"workload({me}) -> victim({child}) signal 15: delivered");
        Assert.Contains("  10 from workload to victim: 7 sent", run.Lines);
        Assert.Contains("  10 handled by victim: 7 by own handler", run.Lines);
        Assert.Contains("   9 handled by victim: 1 by default", run.Lines);
    }

    [Fact]
    public void Processes_are_born_start_programs_and_end_with_the_right_status()
    {
        var run = StapRun.OnCommand("processes", "sh -c \"/bin/true; /bin/false; sh -c 'exit 37'; sh -c 'kill -9 \\$\\$'; exit 0\"");
        Assert.Matches(@"(?m)^\d+ exec  /bin/false$", run.Out);
        Assert.Matches(@"(?m)^\d+ exit  true code 0 after \d+ ms$", run.Out);
        Assert.Matches(@"(?m)^\d+ exit  false code 1 after \d+ ms$", run.Out);
        Assert.Matches(@"(?m)^\d+ exit  sh code 37 after \d+ ms$", run.Out);
        Assert.Matches(@"(?m)^\d+ exit  sh signal 9 after \d+ ms$", run.Out);
        Assert.Equal(4, Regex.Matches(run.Out, @"(?m)^\d+ fork  sh -> \d+$").Count);       // the four children; the starting shell becomes the command
        foreach (Match fork in Regex.Matches(run.Out, @"(?m)^\d+ fork  sh -> (\d+)$"))
        {
            Assert.Matches($@"(?m)^{fork.Groups[1].Value} exit ", run.Out);
        }
    }

    [Fact]
    public void Threads_and_processes_are_told_apart()
    {
        var run = StapRun.OnWorkload("threads", "threads 7 3");
        Assert.Equal([run.Truth["pid"], 7, 3], run.Row("workload"));
    }

    [Fact]
    public void Commands_show_arguments_and_failures()
    {
        var run = StapRun.OnCommand("commands", "/bin/sh -c \"/bin/echo one 'two three'; /no/such/program; exit 0\"");
        Assert.Matches("""(?m)^sh\(\d+\): .*"/bin/echo".*"one".*"two three".*$""", run.Out);
        Assert.Matches("""(?m)^sh\(\d+\): .*"/no/such/program".*\n(sh\(\d+\)): failed, ENOENT$""", run.Out);
        Assert.Single(run.Lines, l => l.Contains("failed"));
    }

    [Fact]
    public void Profile_samples_follow_cpu_time()
    {
        var run = StapRun.OnWorkload("profile", "spin 400");
        var line = Assert.Single(run.Lines, l => Regex.IsMatch(l, @"\bworker\b"));
        var words = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        var samples = long.Parse(words[0]);
        Assert.Equal(run.Truth["child"].ToString(), words[4]);
        var expected = run.Truth["cpu_us"] * 997 / 1_000_000;
        Assert.InRange(samples, expected * 60 / 100, expected * 140 / 100);
        Assert.True(long.Parse(words[5]) > samples / 2, "a busy loop is in the program, not in the kernel: " + line);
    }
}
