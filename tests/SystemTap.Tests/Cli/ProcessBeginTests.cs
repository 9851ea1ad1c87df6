using System.Diagnostics;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.Cli;

/// <summary>process.begin and process.thread.begin are fired once for each process and thread that is there when the session starts.</summary>
public sealed class ProcessBeginTests
{
    private static Process Sleeper(string program = "/bin/sleep", params string[] words)
    {
        Assert.SkipWhen(Environment.UserName != "root", "needs root");
        return Process.Start(new ProcessStartInfo(program, words.Length > 0 ? words : ["60"]) { RedirectStandardInput = true })!;
    }

    private static async Task<string> Output(params string[] args)
    {
        var got = await StapProcess.RunAsync(["-T", "0.5", .. args]);
        Assert.True(got.Status == 0, got.Err);
        return got.Out;
    }

    [Fact]
    public async Task By_number()
    {
        using var sleeper = Sleeper();
        try
        {
            var script = $"probe process({sleeper.Id}).begin {{ t = task_current() println(pid(), \" \", tid(), \" \", execname(), \" \", uid(), \" \", task_pid(t), \" \", task_execname(t), \" \", ppid()) }}";
            Assert.Equal($"{sleeper.Id} {sleeper.Id} sleep 0 {sleeper.Id} sleep {Environment.ProcessId}\n", await Output("-e", script));
        }
        finally
        {
            sleeper.Kill();
        }
    }

    [Fact]
    public async Task By_program_and_as_a_key()
    {
        using var sleeper = Sleeper();
        try
        {
            var script = "global n probe process(\"/bin/sleep\").begin { n[execname(), pid()]++ } probe end { foreach ([e, p] in n) if (p == " + sleeper.Id + ") println(e, n[e, p]) delete n }";
            Assert.Equal("sleep1\n", await Output("-e", script));
        }
        finally
        {
            sleeper.Kill();
        }
    }

    [Fact]
    public async Task Of_all_processes_there_are_as_many_as_proc_shows()
    {
        using var sleeper = Sleeper();
        try
        {
            // Processes come and go meanwhile, but not those that are there before and after.
            HashSet<int> Living() => [.. Process.GetProcesses().Where(p => File.Exists($"/proc/{p.Id}/exe")).Select(p => p.Id)];
            var before = Living();
            var seen = (await Output("-e", "probe process.begin { printf(\"%d\\n\", pid()) }")).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse).ToList();
            before.IntersectWith(Living());
            before.RemoveWhere(id => !HasMemory(id));
            Assert.Contains(sleeper.Id, before);
            Assert.Empty(before.Except(seen));
            Assert.All(before, id => Assert.Single(seen, s => s == id));
        }
        finally
        {
            sleeper.Kill();
        }
    }

    // Kernel threads have an exe that leads nowhere and no maps.
    private static bool HasMemory(int id)
    {
        try
        {
            return File.ReadLines($"/proc/{id}/maps").Any();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    [Fact]
    public async Task The_target_and_its_children_only()
    {
        using var sleeper = Sleeper("/bin/sh", "-c", "sleep 61 & sleep 61; true");
        try
        {
            for (var i = 0; i < 100 && Children(sleeper.Id) < 2; i++)
            {
                await Task.Delay(20, TestContext.Current.CancellationToken);
            }

            var lines = (await Output("-x", sleeper.Id.ToString(), "-e", "probe process.begin { println(execname()) }")).Split('\n', StringSplitOptions.RemoveEmptyEntries);
            Assert.Equal(["sh", "sleep", "sleep"], lines.Order());
        }
        finally
        {
            sleeper.Kill(entireProcessTree: true);
        }
    }

    private static int Children(int pid) => File.ReadAllText($"/proc/{pid}/task/{pid}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries).Length;

    [Fact]
    public async Task The_command_begins_once()
    {
        Assert.SkipWhen(Environment.UserName != "root", "needs root");
        var got = await StapProcess.RunAsync(["-c", "/bin/true", "-e", "probe process.begin { println(execname(), pid() == target()) }"]);
        Assert.Equal((0, "true1\n"), (got.Status, got.Out));
    }

    /// <summary>The walk runs in stap, whose memory is not the process's: user memory counts as not there instead of being stap's.</summary>
    [Fact]
    public async Task User_memory_is_out_of_reach()
    {
        using var sleeper = Sleeper();
        try
        {
            var script = $"probe process({sleeper.Id}).begin {{ println(user_string(task_current()->mm->arg_start, \"unread\")) }}";
            Assert.Equal("unread\n", await Output("-e", script));
        }
        finally
        {
            sleeper.Kill();
        }
    }

    [Fact]
    public async Task Ids_in_another_user_namespace()
    {
        Assert.SkipWhen(Environment.UserName != "root", "needs root");
        using var container = Sleeper("/usr/bin/setpriv", "--reuid", "65000", "--regid", "65001", "--clear-groups", "unshare", "-U", "-r", "sleep", "60");
        try
        {
            for (var i = 0; i < 100 && Map(container.Id).Length == 0; i++)
            {
                await Task.Delay(20, TestContext.Current.CancellationToken);
            }

            Assert.SkipWhen(Map(container.Id).Length == 0, "no user namespaces here");
            const string Script = "probe kernel.trace(\"sched_process_exec\") { if (pid() == target() && execname() == \"true\") println(ns_uid(), \" \", ns_gid(), \" \", ns_euid(), \" \", uid()) } probe begin { println(ns_uid()) }";
            var got = await StapProcess.RunAsync(["--target-namespaces", container.Id.ToString(), "-e", Script, "-c", "setpriv --reuid 65000 --regid 65001 --clear-groups /bin/true"]);
            Assert.Equal((0, "65534\n0 0 0 65000\n"), (got.Status, got.Out));
        }
        finally
        {
            container.Kill();
        }
    }

    private static string Map(int pid)
    {
        try
        {
            return File.ReadAllText($"/proc/{pid}/uid_map") is var map && map.Contains("65000") ? map : "";
        }
        catch (IOException)
        {
            return "";
        }
    }
}
