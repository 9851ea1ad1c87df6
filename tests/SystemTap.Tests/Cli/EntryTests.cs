using System.Diagnostics;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.Cli;

/// <summary>A return handler that uses values of the entry runs only for calls whose entry the session has seen.</summary>
public sealed class EntryTests
{
    [Fact]
    public async Task Returns_of_calls_that_began_before_the_session_have_no_entry()
    {
        Assert.SkipWhen(Environment.UserName != "root", "needs root");
        using var reader = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", "read a; read b; read c; :"]) { RedirectStandardInput = true })!;

        // The shell waits in its first read when the session starts; it reads byte by byte.
        Thread.Sleep(300);
        var script = $$"""
            global plain, entry, texts
            probe syscall.read.return { if (pid() == {{reader.Id}}) plain++ }
            probe syscall.read.return { if (pid() == {{reader.Id}}) { entry++  fds[@entry($arg1)]++ } }
            probe syscall.read.return { if (pid() == {{reader.Id}} && @entry(execname()) == "sh") texts++ }
            global fds
            probe begin { println("ready") }
            probe process({{reader.Id}}).end { printf("%d %d %d %d\n", plain - entry, plain - texts, entry == fds[0], entry > 0) exit() }
            """;
        var got = await StapProcess.RunAsync(["-e", script], "ready", _ =>
        {
            reader.StandardInput.Write("1\n2\n3\n");
            reader.StandardInput.Close();
        });
        Assert.True(got.Status == 0, got.Err);
        Assert.Equal("ready\n1 1 1 1\n", got.Out);
    }
}
