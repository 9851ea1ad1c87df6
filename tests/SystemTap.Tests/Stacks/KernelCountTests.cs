using System.Globalization;
using SystemTap.Tests.Examples;
using Xunit;

namespace SystemTap.Tests.Stacks;

/// <summary>Counting by stacks and names of the kernel: the kernel counts by what the texts are made from, stap makes the texts (BPF).</summary>
public class KernelCountTests
{
    private static StapResult Counted(string script, string command, params string[] options)
    {
        StapRun.Need();
        return StapRun.Stapped([.. options, "-e", script, "-c", command]).Succeeded();
    }

    // 300 system calls of one kind, from one place of the kernel, beside those of any start.
    private const string Dd = "dd if=/dev/zero of=/dev/null bs=1 count=300 status=none";

    [Theory]
    [InlineData("backtrace()")]
    [InlineData("sprint_backtrace()")]
    [InlineData("callers(3)")]
    [InlineData("sprint_syms(backtrace())")]
    [InlineData("symname(stack(0))")]
    [InlineData("probefunc() . \" \" . backtrace()")]
    public void Every_event_is_counted_once(string key)
    {
        var run = Counted($$"""
            global n, m, all
            probe kernel.trace("sys_enter") { if (pid() == target()) { n[execname(), {{key}}]++ all++ } }
            probe end { foreach ([e, s] in n) { sum += n[e, s]; if (n[e, s] >= 600) most++ ; if (s != "") texts++ ; keys++ } println(sum == all, " ", most, " ", texts == keys) }
            """, Dd);
        Assert.Equal(["1 1 1"], run.Lines);
    }

    [Fact]
    public void No_record_is_sent_for_an_event()
    {
        // A ring of one page holds some twenty records: with one for each event most would be lost.
        var run = Counted("""
            global n, all
            probe kernel.trace("sys_enter") { if (pid() == target()) { n[sprint_backtrace()]++ all++ } }
            probe end { foreach (s in n) sum += n[s]; println(sum == all && all >= 600) }
            """, Dd, "-v");
        Assert.Equal(["1"], run.Lines);
        Assert.DoesNotContain("lost", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Texts_that_are_cut_to_the_same_are_one_key_also_when_the_kernels_table_is_full()
    {
        // Two places in the kernel for two kinds of events, and room for one.
        var run = Counted("""
            global n[1], all
            probe kernel.trace("sys_enter"), kernel.trace("sys_exit"), kernel.trace("sched_process_exit") { if (pid() == target()) { n[callers(0)]++ all++ } }
            probe end { foreach (s in n) { keys++; sum += n[s]; println("<", s, ">") } println(keys, " ", sum == all && all > 600) }
            """, Dd);
        Assert.Equal(["<>", "1 1"], run.Lines);
    }

    /// <summary>The table finds large keys by a hash: (0 · K) ^ 0 and (1 · K) ^ K are made equal here.</summary>
    [Fact]
    public void Keys_with_one_hash_are_two()
    {
        var run = Counted("""
            global n, s, all, sums, amounts, counts
            probe kernel.trace("sys_enter") {
              if (pid() != target()) next
              all++
              n[0, 0, sprint_backtrace()]++
              n[1, -7046029254386353131, sprint_backtrace()] += 3
              s[0, 0, sprint_backtrace()] <<< 1
              s[1, -7046029254386353131, sprint_backtrace()] <<< 2
            }
            probe end {
              foreach ([a, b, t] in n) { sums[a] += n[a, b, t]; counts[a] += @count(s[a, b, t]); amounts[a] += @sum(s[a, b, t]) }
              println(sums[0] == all, sums[1] == 3 * all, counts[0] == all, counts[1] == all, amounts[0] == all, amounts[1] == 2 * all, all > 600)
            }
            """, Dd);
        Assert.Equal(["1111111"], run.Lines);
    }

    [Fact]
    public void An_array_that_is_full_is_an_error_in_the_probe()
    {
        StapRun.Need();
        var run = StapRun.Stapped("-e", """
            global n[1]
            probe kernel.trace("sys_enter") { if (pid() == target()) n[execname(), backtrace()]++ }
            probe kernel.trace("sys_exit") { if (pid() == target()) n[execname(), backtrace()]++ }
            probe end { println("not reached") }
            """, "-c", Dd);
        Assert.Equal(1, run.Status);
        Assert.Contains("ERROR: Array overflow, check MAXMAPENTRIES / size limit (1) near", run.Error, StringComparison.Ordinal);
        Assert.Contains("in probe kernel.trace(\"raw_syscalls:sys_e", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_timer_that_prints_and_deletes_loses_nothing()
    {
        var run = Counted("""
            global n, all, sum
            probe kernel.trace("sys_enter") { if (pid() == target()) { n[backtrace()]++ all++ } }
            probe timer.ms(1) { foreach (s in n) sum += n[s]; delete n }
            probe end { foreach (s in n) sum += n[s]; println(sum == all && all > 20000) }
            """, "dd if=/dev/zero of=/dev/null bs=1 count=20000 status=none");
        Assert.Equal(["1"], run.Lines);
    }

    [Fact]
    public void Aggregates_have_their_parts()
    {
        var run = Counted("""
            global n, m
            probe kernel.trace("sys_enter") { if (pid() == target()) { n[execname(), backtrace()] <<< $id; m <<< $id } }
            probe timer.ms(2) { foreach ([e, s] in n) looks += @count(n[e, s]); if (looks < 0) exit() }
            probe end {
              low = 99999
              foreach ([e, s] in n) { c += @count(n[e, s]); sum += @sum(n[e, s]); if (@min(n[e, s]) < low) low = @min(n[e, s]); if (@max(n[e, s]) > high) high = @max(n[e, s]); foreach (b in @hist_linear(n[e, s], 0, 400, 4)) h += @hist_linear(n[e, s], 0, 400, 4)[b] }
              println(c == @count(m), sum == @sum(m), low == @min(m), high == @max(m), h == c)
            }
            """, Dd);
        Assert.Equal(["11111"], run.Lines);
    }

    [Fact]
    public void Amounts_are_added_and_what_nobody_reads_is_shown()
    {
        var run = Counted("""
            global n
            probe kernel.trace("sched_process_exit") { if (pid() == target()) n[execname(), symname(stack(0))] += 5 }
            """, "/bin/true");
        Assert.Equal(["n[\"true\",\"do_exit\"]=5"], run.Lines);
    }

    [Fact]
    public void Elements_come_in_their_order()
    {
        var run = Counted("""
            global n
            probe kernel.trace("sched_process_exec") { if (pid() == target()) n["exec", backtrace()]++ }
            probe kernel.trace("sched_process_exit") { if (pid() == target()) n["exit", backtrace()]++ }
            probe end { foreach ([what, s] in n) println(what) }
            """, "/bin/true");
        Assert.Equal(["exec", "exit"], run.Lines);
    }

    /// <summary>The frames between a tracepoint and the handler are none of the event's.</summary>
    [Fact]
    public void The_stack_of_a_tracepoint_begins_with_the_function_that_has_it()
    {
        var run = Counted("""
            probe kernel.trace("sched_process_exit") {
              if (pid() == target()) {
                println(symname(stack(0)), " ", caller())
                printf("0x%x 0x%x %d\n", stack(0), stack(1), caller_addr() == stack(1))
                println(backtrace())
                for (i = 0; i < 60; i++) if (stack(i)) deep++
                println(deep)
              }
            }
            """, "/bin/true");
        Assert.StartsWith("do_exit do_group_exit 0xffff", run.Lines[0], StringComparison.Ordinal);
        var list = run.Lines[2].Split(' ');
        Assert.Equal([list[0], list[1], "1"], run.Lines[1].Split(' '));
        Assert.Equal(list.Length, int.Parse(run.Lines[3], CultureInfo.InvariantCulture));
    }
}
