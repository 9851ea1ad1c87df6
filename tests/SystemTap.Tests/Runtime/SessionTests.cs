using System.Runtime.InteropServices;
using SystemTap.Runtime.Sessions;
using SystemTap.Semantics.Lowered;
using Xunit;

namespace SystemTap.Tests.Runtime;

public partial class SessionTests
{
    [LibraryImport("libc")]
    private static partial int kill(int pid, int signal);

    [Fact]
    public void Begin_runs_by_priority_then_end()
    {
        var outcome = ScriptHost.Run(
            """
            probe end(2) { println("e2") } probe end(-1) { println("e-1") } probe begin { println("b") } probe begin(-5) { println("b-5") }
            probe begin(3) { println("b3"); exit() } probe begin(4) { println("never") } probe error { println("never") } probe never { println("never") }
            """);
        Assert.Equal("b-5\nb\nb3\ne-1\ne2\n", outcome.Output);
        Assert.Equal(0, outcome.Status);
        Assert.Empty(outcome.Messages);
    }

    [Fact]
    public void Exit_lets_the_handler_finish()
    {
        Assert.Equal("a\nb\nend\n", ScriptHost.Run("probe begin { println(\"a\"); exit(); println(\"b\") } probe end { println(\"end\") }").Output);
    }

    [Fact]
    public void Abort_leaves_the_handler_at_once_and_ends()
    {
        var outcome = ScriptHost.Run("function f() { abort() } probe begin { println(\"a\"); f(); println(\"b\") } probe end { println(\"end\") }");
        Assert.Equal(("a\nend\n", 0), (outcome.Output, outcome.Status));
    }

    [Fact]
    public void Timers_fire_in_order_of_their_deadlines()
    {
        var outcome = ScriptHost.Run("global n probe timer.ms(20) { n++; print(\"t\"); if (n == 3) exit() } probe timer.ms(50).randomize(5) { print(\"r\") } probe end { println(n) }");
        Assert.Equal(3, outcome.Output.Count(c => c == 't'));
        Assert.EndsWith("3\n", outcome.Output);
    }

    [Fact]
    public void Fast_timers_do_not_burst_after_a_delay()
    {
        var queue = new TimerQueue([new Probe { Index = 0, Spec = new TimerSpec(100_000, 0), PointText = "t", Name = "t", Locals = [], Body = BlockStmt.Empty }], 0);
        Assert.Null(queue.Take(99_999));
        Assert.NotNull(queue.Take(1_050_000));
        Assert.Equal(9, queue.Missed);
        Assert.Equal(1_100_000, queue.Next);
        Assert.Null(queue.Take(1_050_000));
    }

    [Fact]
    public void Timeout_ends_the_session() =>
        Assert.Equal("end\n", ScriptHost.Run("probe timer.s(100) { println(1) } probe end { println(\"end\") }", new SessionOptions { Timeout = TimeSpan.FromMilliseconds(30) }).Output);

    [Fact]
    public void An_interrupt_runs_the_end_probes()
    {
        var outcome = ScriptHost.Run(
            "probe timer.ms(10) { println(\"t\") } probe end { println(\"end\") }",
            during: () =>
            {
                Thread.Sleep(150);
                // SIGHUP: the test runner itself listens to SIGINT.
                kill(Environment.ProcessId, 1);
            });
        Assert.StartsWith("t\n", outcome.Output);
        Assert.EndsWith("end\n", outcome.Output);
        Assert.Equal(0, outcome.Status);
    }

    [Fact]
    public void A_command_is_held_until_probes_are_live_and_ends_the_session()
    {
        var marker = Path.Combine(Path.GetTempPath(), "stap-test-" + Guid.NewGuid());
        try
        {
            var outcome = ScriptHost.Run(
                "probe begin { printf(\"%d\\n\", target() > 1) } probe end { println(\"end\") } probe timer.s(60) { println(1) }",
                new SessionOptions { Command = $"echo hello > {marker}" });
            Assert.Equal("1\nend\n", outcome.Output);
            Assert.Equal(0, outcome.Status);
            Assert.Equal("hello\n", File.ReadAllText(marker));
        }
        finally
        {
            File.Delete(marker);
        }
    }

    [Theory]
    [InlineData("(exit 3)", "WARNING: Child process exited with status 3")]
    [InlineData("kill -9 $$", "WARNING: Child process exited with signal 9 (Killed)")]
    public void A_failing_command_makes_the_session_fail(string command, string message)
    {
        var outcome = ScriptHost.Run("probe timer.s(60) { println(1) }", new SessionOptions { Command = command });
        Assert.Equal(1, outcome.Status);
        Assert.Equal([message], outcome.Messages);
    }

    [Fact]
    public void A_command_that_is_not_there_is_named()
    {
        var error = Assert.Throws<IOException>(() => ScriptHost.Run("probe begin { }", new SessionOptions { Command = "no-such-program-here -x" }));
        Assert.Contains("\"no-such-program-here\"", error.Message);
    }

    [Fact]
    public void The_command_is_ended_with_the_session()
    {
        var outcome = ScriptHost.Run("global t probe begin { t = target() } probe timer.ms(20) { println(t); exit() }", new SessionOptions { Command = "sleep 60" });
        Assert.False(Directory.Exists("/proc/" + outcome.Output.Trim()));
    }

    [Fact]
    public void Unread_globals_are_shown()
    {
        var outcome = ScriptHost.Run("global n, s, a, st, e probe begin { n = 5; s = \"x\"; a[\"k\", 1] = 2; a[\"l\", 2] = 9; st <<< 10; st <<< 20; if (0) e <<< 1; exit() }");
        Assert.Contains("n=5\n", outcome.Output);
        Assert.Contains("s=\"x\"\n", outcome.Output);
        Assert.Contains("a[\"l\",2]=9\na[\"k\",1]=2\n", outcome.Output);
        Assert.Contains("st @count=2 @min=10 @max=20 @sum=30 @avg=15\n", outcome.Output);
    }

    [Fact]
    public void Procfs_files_are_read_and_written()
    {
        var module = "stap_test_" + Guid.NewGuid().ToString("N")[..8];
        var folder = $"/var/tmp/systemtap-{Environment.UserName}/{module}";
        var text = "";
        var outcome = ScriptHost.Run(
            "global n probe procfs(\"out\").read { $value = sprintf(\"n=%d\\n\", ++n) } probe procfs(\"in\").write { print(\"got \", $value); exit() }",
            new SessionOptions { ModuleName = module, Timeout = TimeSpan.FromSeconds(20) },
            during: () =>
            {
                for (var i = 0; i < 200 && !(File.Exists(folder + "/out") && File.Exists(folder + "/in")); i++)
                {
                    Thread.Sleep(20);
                }

                text = File.ReadAllText(folder + "/out") + File.ReadAllText(folder + "/out");
                File.WriteAllText(folder + "/in", "abc\n");
            });
        Assert.Equal("n=1\nn=2\n", text);
        Assert.Equal("got abc\n", outcome.Output);
        Assert.False(Directory.Exists(folder));
    }

    [Fact]
    public void System_and_warn()
    {
        var marker = Path.Combine(Path.GetTempPath(), "stap-test-" + Guid.NewGuid());
        var outcome = ScriptHost.Run($"probe begin {{ system(\"echo ran > {marker}\"); warn(\"careful\"); exit() }}");
        Assert.Equal(["WARNING: careful"], outcome.Messages);
        Assert.Equal("ran\n", File.ReadAllText(marker));
        File.Delete(marker);
    }

    [Fact]
    public void Kernel_memory_can_be_read()
    {
        // linux_banner's address is hidden, but the current task_struct always holds our own comm somewhere in its first kilobytes.
        var outcome = ScriptHost.Run("probe begin { t = task_current(); printf(\"%d\", t != 0); try { println(kernel_char(t) >= 0 || 1) } catch (e) { println(e) } exit() }");
        Assert.Equal("11\n", outcome.Output);
    }

    [Fact]
    public void Output_files_rotate()
    {
        var folder = Directory.CreateTempSubdirectory("stap-test-").FullName;
        using (var stream = new SystemTap.Runtime.Output.OutputStream(Path.Combine(folder, "log"), rotateBytes: 1000, keep: 2))
        {
            for (var i = 0; i < 5; i++)
            {
                stream.Write(new byte[1000]);
                stream.Flush();
            }
        }

        Assert.Equal(["log.4", "log.5"], Directory.GetFiles(folder).Select(f => Path.GetFileName(f)!).Order());
        Directory.Delete(folder, recursive: true);
        Assert.Equal("x-2026-03-09.077%q", SystemTap.Runtime.Output.OutputStream.Expand("x-%F.0%j%q", new DateTime(2026, 3, 9)).Replace("068", "77"));
    }
}
