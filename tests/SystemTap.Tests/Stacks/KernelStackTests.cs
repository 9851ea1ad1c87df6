using SystemTap.Tests.Examples;
using Xunit;

namespace SystemTap.Tests.Stacks;

/// <summary>Kernel stacks and symbols on the live kernel, through tracepoints and samples.</summary>
public class KernelStackTests
{
    [Fact]
    public void A_tracepoint_in_a_system_call_shows_the_way_into_the_kernel()
    {
        StapRun.Need();
        var run = StapRun.Stapped("-e", """
            probe kernel.trace("sched_process_exit") { if (pid() == target()) { print_backtrace(); exit() } }
            """, "-c", "/bin/true").Succeeded();
        var names = run.Lines.Select(l => l.Split(" : ")[^1].Split('+')[0]).ToArray();
        Assert.Equal("do_exit", names[0]);
        Assert.Contains("do_group_exit", names);
        Assert.Contains("do_syscall_64", names);
        Assert.All(run.Lines, l => Assert.Matches(@"^ 0xffff[0-9a-f]{12}( : [A-Za-z_][\w.]*\+0x[0-9a-f]+/0x[0-9a-f]+ \[\w+\])?$", l));
    }

    [Fact]
    public void The_text_is_a_key_and_names_it_later()
    {
        StapRun.Need();
        var run = StapRun.Stapped("-e", """
            global n
            probe kernel.trace("sched_process_exit") { if (pid() == target()) n[backtrace()]++ }
            probe end { foreach (s in n) { println(n[s]); print_syms(s); print(sprint_syms(s)); println(symname(strtol(s, 16))) } }
            """, "-c", "/bin/true").Succeeded();
        Assert.Equal("1", run.Lines[0]);
        Assert.Contains(": do_exit+0x", run.Lines[1]);
        Assert.Contains(run.Lines, l => l.StartsWith("do_exit+0x", StringComparison.Ordinal) && l.EndsWith("[kernel]", StringComparison.Ordinal) && !l.Contains('/'));
        Assert.Equal("do_exit", run.Lines[^1]);
    }

    [Fact]
    public void Symbols_have_name_offset_size_and_module()
    {
        StapRun.Need();
        var line = File.ReadLines("/proc/kallsyms").First(l => l.EndsWith(" T vfs_read", StringComparison.Ordinal));
        var address = "0x" + line.Split(' ')[0];
        var run = StapRun.Stapped("-e", $$"""probe begin { a = {{address}} println(symname(a + 5)) println(symdata(a + 5)) println(modname(a)) println(symname(1)) exit() }""").Succeeded();
        Assert.Equal("vfs_read", run.Lines[0]);
        Assert.Matches(@"^vfs_read\+0x5/0x[0-9a-f]+ \[kernel\]$", run.Lines[1]);
        Assert.Equal(["kernel", "0x1"], run.Lines[2..]);
    }
}
