using System.Text.RegularExpressions;
using Xunit;

namespace SystemTap.Tests.Examples;

/// <summary>Examples about system calls, memory and files, against strace and programs that do an exactly known number of things.</summary>
[Collection("kernel")]
public class SyscallExampleTests
{
    [Fact]
    public void Read_counts_equal_strace_to_the_call()
    {
        var run = StapRun.OnWorkload("read-counts", "reads 5000 100 25");
        var strace = StapRun.Strace(StapRun.Workload + " reads 5000 100 25")["read"];
        var row = run.Row("workload");
        Assert.Equal(run.Truth["pid"], row[0]);
        Assert.Equal(strace.Calls, row[1]);
        Assert.Equal(strace.Errors, row[3]);
        // what the dynamic loader reads (the head of libc) comes on top of ours
        Assert.InRange(row[2], 5000 * 100, (5000 * 100) + 4096);
    }

    [Fact]
    public void Read_counts_of_a_pipeline_equal_strace()
    {
        StapRun.Need();
        var run = StapRun.OnCommand("read-counts", "sh -c \"cat /etc/passwd /etc/group > /dev/null; exit 0\"");
        var file = Path.Combine(StapRun.Folder, "cat.strace");
        StapRun.Execute("strace", ["-f", "-c", "-e", "trace=read", "-o", file, "cat", "/etc/passwd", "/etc/group"]);
        var calls = long.Parse(File.ReadLines(file).Select(l => l.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)).First(w => w[^1] == "read")[3]);
        Assert.Equal(calls, run.Row("cat")[1]);
    }

    [Fact]
    public void Write_bytes_equal_what_dd_copies()
    {
        var file = Path.Combine(StapRun.Folder, "dd.out");
        var run = StapRun.OnCommand("write-bytes", $"dd if=/dev/zero of={file} bs=1000 count=321 status=none");
        var row = run.Row("dd");
        Assert.Equal(new FileInfo(file).Length, row[2]);
        Assert.Equal(321, row[1]);
        Assert.Equal(1000, row[3]);
        Assert.Equal(1000, row[4]);
    }

    [Fact]
    public void Io_sizes_put_every_write_in_its_bucket()
    {
        var run = StapRun.OnCommand("io-sizes", "dd if=/dev/zero of=/dev/null bs=3000 count=77 status=none");
        Assert.Contains("dd: 77 writes, 3000 to 3000 bytes", run.Out);
        Assert.Matches(@"(?m)^ *2048 \|@+ +77$", run.Out);
        var strace = StapRun.Strace("dd if=/dev/zero of=/dev/null bs=3000 count=77 status=none");
        var (read, pread) = (strace["read"], strace.GetValueOrDefault("pread64"));
        Assert.Contains($"dd: {read.Calls - read.Errors + pread.Calls - pread.Errors} reads, ", run.Out);
    }

    [Fact]
    public void File_changes_show_each_change_and_each_failure()
    {
        var (a, b) = (Path.Combine(StapRun.Folder, "made"), Path.Combine(StapRun.Folder, "moved"));
        var run = StapRun.OnCommand("file-changes", $"sh -c \"mkdir {a}; mv {a} {b}; rmdir {b}; rmdir {b} 2>/dev/null; exit 0\"");
        var lines = run.Lines.Select(l => System.Text.RegularExpressions.Regex.Replace(l, @"\(\d+\)", "()")).ToList();
        Assert.Equal(6, lines.Count);
        Assert.Equal($"mkdir() mkdir \"{a}\", 0777", lines[0]);
        Assert.Matches($"^mv\\(\\) rename\\w* .*\"{a}\".*\"{b}\"", lines[1]);
        Assert.Equal($"rmdir() rmdir \"{b}\"", lines[2]);
        Assert.Equal($"rmdir() rmdir \"{b}\"", lines[3]);
        Assert.Equal("rmdir() failed: -2 (ENOENT)", lines[4]);
        Assert.Equal("4 changes asked for, 1 failed", lines[5]);
    }

    [Fact]
    public void Opens_show_every_name_and_result()
    {
        var run = StapRun.OnWorkload("opens", "opens 6");
        var pid = run.Truth["pid"];
        Assert.Equal(3, run.Lines.Count(l => Regex.IsMatch(l, $"""^workload\({pid}\) "/dev/zero" = [0-9]+$""")));
        Assert.Equal(3, run.Lines.Count(l => l == $"workload({pid}) \"/dev/zero-not-there\" = -2 (ENOENT)"));
        // its name was in a page nobody had touched: only the second look, at return, can know it
        Assert.Single(run.Lines, l => Regex.IsMatch(l, $"""^workload\({pid}\) "/dev/null" = [0-9]+$"""));
        var totals = Regex.Match(run.Out, @"(\d+) opens, (\d+) failed, (\d+) names read at return");
        var strace = StapRun.Strace(StapRun.Workload + " opens 6");
        Assert.Equal(strace["openat"].Calls, long.Parse(totals.Groups[1].Value));
        Assert.Equal(strace["openat"].Errors, long.Parse(totals.Groups[2].Value));
        Assert.True(long.Parse(totals.Groups[3].Value) >= 1, run.ToString());
    }

    [Fact]
    public void Calls_are_those_of_strace_in_order()
    {
        StapRun.Need();
        var command = "cat /etc/hostname /no/such/file";
        var stap = StapRun.Stapped(StapRun.Example("calls"), "-c", command);
        Assert.Equal(1, stap.Status);                                           // cat's own status 1 is reported
        var ours = Regex.Matches(stap.Out, @"(?m)^cat\(\d+\) (\w+)\(").Select(m => m.Groups[1].Value).ToList();
        var file = Path.Combine(StapRun.Folder, "order.strace");
        StapRun.Execute("strace", ["-o", file, .. command.Split(' ')]);
        var theirs = File.ReadLines(file).Select(l => Regex.Match(l, @"^(\w+)\(").Groups[1].Value).Where(n => n is not ("" or "execve" or "exit_group")).ToList();
        Assert.Equal(theirs.Select(Tapset), ours.Where(n => n is not ("execve" or "exit_group")).Select(Tapset));
        Assert.Matches("""(?m)^cat\(\d+\) openat\(AT_FDCWD, "/no/such/file", O_RDONLY.*\) = -2 \(ENOENT\)$""", stap.Out);

        // The tapset's names for some calls are older than the kernel's.
        static string Tapset(string name) => name switch { "mmap" => "mmap2", "pread64" => "pread", "newfstatat" => "fstatat", "fadvise64" => "fadvise", _ => name };
    }

    [Fact]
    public void Calls_without_a_target_says_what_to_do()
    {
        StapRun.Need();
        var run = StapRun.Stapped(StapRun.Example("calls"));
        Assert.Equal(1, run.Status);
        Assert.Contains("-c COMMAND", run.Error);
    }

    [Fact]
    public void Syscall_top_counts_exactly_and_refreshes()
    {
        var run = StapRun.OnCommand("syscall-top", $"sh -c \"{StapRun.Workload} calls 4000 1500; sleep 1.5; {StapRun.Workload} calls 10 0\"", "1");
        Assert.True(Regex.Matches(run.Out, @"(?m)^---- .* calls in 1 s$").Count >= 2, run.ToString());
        Assert.Equal(4010, run.Lines.Where(l => Regex.IsMatch(l, @"^ *\d+  getppid +workload$")).Sum(l => long.Parse(l.Split(' ', StringSplitOptions.RemoveEmptyEntries)[0])));
        Assert.Equal(1500, run.Lines.Where(l => Regex.IsMatch(l, @"^ *\d+  getuid +workload$")).Sum(l => long.Parse(l.Split(' ', StringSplitOptions.RemoveEmptyEntries)[0])));
    }

    [Fact]
    public void Syscall_errors_equal_strace()
    {
        var run = StapRun.OnWorkload("syscall-errors", "errors");
        Assert.Equal(5, Count("openat", "ENOENT"));
        Assert.Equal(7, Count("close", "EBADF"));
        Assert.Equal(3, Count("mkdir", "EEXIST"));
        Assert.Equal(2, Count("kill", "EINVAL"));
        var strace = StapRun.Strace(StapRun.Workload + " errors");
        Assert.Equal(strace.Where(c => c.Key != "total").Sum(c => c.Value.Errors), run.Lines.Where(l => l.Contains(" workload ")).Sum(l => long.Parse(l.Split(' ', StringSplitOptions.RemoveEmptyEntries)[0])));

        long Count(string call, string error) => long.Parse(Assert.Single(run.Lines, l => Regex.IsMatch(l, $@"^ *\d+  workload +{call} +{error}$")).Split(' ', StringSplitOptions.RemoveEmptyEntries)[0]);
    }

    [Fact]
    public void Syscall_times_add_up()
    {
        var run = StapRun.OnWorkload("syscall-times", "sleeps 4 40");
        var row = run.Row("clock_nanosleep");
        Assert.Equal(4, row[0]);
        Assert.InRange(row[1], 4 * 40_000, run.Truth["slept_us"]);
        Assert.Equal(row[1] / 4, row[2]);
        Assert.InRange(row[3], row[2], row[1] - (3 * 40_000) + 1000);
        Assert.Contains("microseconds in clock_nanosleep", run.Out);
        Assert.Matches(@"(?m)^ *32768 \|@+ +[1-4]$", run.Out);
    }

    [Fact]
    public void Slow_calls_are_those_above_the_limit()
    {
        var run = StapRun.OnCommand("slow-calls", $"sh -c \"{StapRun.Workload} sleeps 3 90; {StapRun.Workload} sleeps 5 1\"", "60");
        var slow = run.Lines.Where(l => l.Contains("clock_nanosleep(")).ToList();
        Assert.Equal(3, slow.Count);
        Assert.All(slow, l => Assert.Matches(@"^ *(9\d|[1-9]\d\d+) ms  workload\(\d+\) clock_nanosleep\(0x0, 0x0, 0x[0-9a-f]+\) = 0$", l));
    }

    [Fact]
    public void Futex_waits_are_counted_with_their_time_and_lock()
    {
        var run = StapRun.OnWorkload("futex-waits", "futexes 20 5");
        var rows = run.Rows("workload");
        var row = Assert.Single(rows, r => r[0] == run.Truth["pid"]);
        Assert.Equal(21, row[1]);
        Assert.InRange(row[2], 100, run.Truth["waited_us"] / 1000);
        Assert.Single(run.Lines, l => Regex.IsMatch(l, $@"^0x{run.Truth["lock"]:x} +workload +20 "));
    }

    [Fact]
    public void Memory_maps_equal_what_the_program_asked_for()
    {
        var (base_, run) = (StapRun.OnWorkload("memory-maps", "maps 0 0"), StapRun.OnWorkload("memory-maps", "maps 9 640"));
        var (before, row) = (base_.Row("workload"), run.Row("workload"));
        Assert.Equal(run.Truth["pid"], row[0]);
        Assert.Equal(9, row[1] - before[1]);
        Assert.Equal(9 * 640, row[2] - before[2]);
        Assert.Equal(8, row[3] - before[3]);
        Assert.Equal(8 * 640, row[4] - before[4]);
        Assert.Equal(256, row[5]);
    }

    [Fact]
    public void Page_faults_equal_getrusage()
    {
        var run = StapRun.OnWorkload("page-faults", "faults 2000");
        var row = run.Row("worker");
        var truth = run.Truth["minor_faults"] + run.Truth["major_faults"];
        Assert.Equal(run.Truth["child"], row[0]);
        // a fault that is retried is one for the accounts, and those before prctl are under the parent's name
        Assert.InRange(row[1], truth - 60, truth + 60);
        Assert.InRange(row[3], 2000, 2000 + 120);
        Assert.Equal(row[1], row[2] + row[3] + row[4] + row[5]);
    }
}
