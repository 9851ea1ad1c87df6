using System.Diagnostics;
using Linux.Bpf;
using Xunit;

namespace SystemTap.Tests.Examples;

/// <summary>How sessions end: by SIGKILL nothing stays in the kernel; by Ctrl-C the end probes still speak.</summary>
[Collection("kernel")]
public class LifetimeTests
{
    private const string Busy = """
        global n, t, last
        probe syscall.* { n[name]++ }
        probe kernel.trace("sched_switch") { last[cpu()] = $next->pid }
        probe timer.profile { t <<< pid() }
        probe timer.ms(50) { foreach (k in n-) { printf("busiest %s\n", k)  break } }
        probe end { delete last  printf("end after %d samples\n", @count(t)) }
        """;

    [Fact]
    public void After_kill_minus_9_no_program_map_or_link_remains()
    {
        StapRun.Need();
        using var stap = StapRun.Start(StapRun.Stap, ["-e", Busy]);
        try
        {
            WaitForLine(stap, "busiest ");
            var held = Held(stap.Id);
            Assert.Contains(held, h => h.Kind == "prog_id");
            Assert.Contains(held, h => h.Kind == "map_id");
            Assert.All(held, h => Assert.True(Exists(h.Kind, h.Id), $"{h} should exist while stap runs"));
            stap.Kill();
            stap.WaitForExit();
            var left = held;
            for (var i = 0; i < 200 && left.Count > 0; i++)
            {
                Thread.Sleep(50);       // the kernel frees after a grace period
                left = [.. left.Where(h => Exists(h.Kind, h.Id))];
            }

            Assert.Empty(left);
        }
        finally
        {
            End(stap);
        }
    }

    [Theory]
    [InlineData("-INT")]
    [InlineData("-TERM")]
    [InlineData("-HUP")]
    public void A_signal_ends_the_session_in_order(string signal)
    {
        StapRun.Need();
        using var stap = StapRun.Start(StapRun.Stap, ["-e", Busy]);
        try
        {
            WaitForLine(stap, "busiest ");
            var held = Held(stap.Id);
            StapRun.Execute("kill", [signal, stap.Id.ToString()]);
            var output = stap.StandardOutput.ReadToEnd();
            Assert.True(stap.WaitForExit(StapRun.TimeoutMs), "stap still runs after the signal");
            Assert.Matches(@"end after \d+ samples\n$", output);
            Assert.Equal(0, stap.ExitCode);
            Assert.Contains(held, h => h.Kind == "prog_id");
        }
        finally
        {
            End(stap);
        }
    }

    [Fact]
    public void Killing_the_command_ends_the_session_and_tells()
    {
        StapRun.Need();
        var run = StapRun.Stapped("-e", "probe end { println(\"end ran\") }", "-c", "kill -9 $$");
        Assert.Contains("end ran\n", run.Out);
        Assert.Equal(1, run.Status);
        Assert.Contains("WARNING: Child process exited with signal 9", run.Error);
    }

    [Fact]
    public void An_error_in_a_handler_runs_error_probes_and_exits_1()
    {
        StapRun.Need();
        var run = StapRun.Stapped("-e", """
            global zero
            probe syscall.getppid { if (pid() == target()) println(1 / zero) }
            probe end { println("end") }
            probe error { println("error probe") }
            probe begin { zero = 0 }
            """, "-c", StapRun.Workload + " calls 1 0");
        Assert.Equal(1, run.Status);
        Assert.Equal("error probe\n", run.Out);
        Assert.Contains("ERROR: division by 0", run.Error);
        Assert.Contains(":2:", run.Error);
    }

    private static void WaitForLine(Process stap, string start)
    {
        var error = stap.StandardError.ReadToEndAsync();
        using var late = new Timer(_ => End(stap), null, StapRun.TimeoutMs, Timeout.Infinite);
        while (stap.StandardOutput.ReadLine() is { } line)
        {
            if (line.StartsWith(start, StringComparison.Ordinal))
            {
                return;
            }
        }

        Assert.Fail($"stap ended before it printed '{start}': {error.Result}");
    }

    private static void End(Process stap)
    {
        if (!stap.HasExited)
        {
            stap.Kill(entireProcessTree: true);
            stap.WaitForExit();
        }
    }

    private sealed record Object(string Kind, uint Id);

    /// <summary>The BPF objects a process holds descriptors of, from /proc/PID/fdinfo. Other processes' objects do not matter here.</summary>
    private static List<Object> Held(int pid)
    {
        var held = new HashSet<Object>();
        foreach (var file in Directory.GetFiles($"/proc/{pid}/fdinfo"))
        {
            string[] lines;
            try
            {
                lines = File.ReadAllLines(file);
            }
            catch (IOException)
            {
                continue;       // closed meanwhile
            }

            foreach (var line in lines)
            {
                var words = line.Split(':', StringSplitOptions.TrimEntries);
                if (words is ["prog_id" or "map_id" or "link_id", var id] && uint.TryParse(id, out var number))
                {
                    held.Add(new Object(words[0], number));
                }
            }
        }

        return [.. held];
    }

    private static unsafe bool Exists(string kind, uint id)
    {
        IdAttr attr = new() { Id = id };
        var command = kind switch { "prog_id" => BpfCommand.ProgGetFdById, "map_id" => BpfCommand.MapGetFdById, _ => BpfCommand.LinkGetFdById };
        var fd = (int)LinuxBpfSys.Instance.Bpf(command, &attr, sizeof(IdAttr));
        if (fd >= 0)
        {
            LinuxBpfSys.Instance.Close(fd);
        }

        return fd >= 0;
    }
}
