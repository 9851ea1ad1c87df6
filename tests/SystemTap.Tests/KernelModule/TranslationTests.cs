using System.Text.RegularExpressions;
using Xunit;

namespace SystemTap.Tests.KernelModule;

/// <summary>What the C of a script says of locks, budgets and calls. Timers stand for events: their handlers run beside others.</summary>
public sealed class TranslationTests
{
    private static string C(string script, params string[] options)
    {
        var translated = CHarness.Translate(["--runtime=kernel", "-w", .. options, "-e", script]);
        Assert.NotNull(translated);
        return translated.Value.C.Script;
    }

    // The lock tables: probe number, then { global, exclusive } pairs.
    private static string[] Locks(string c) => [.. Regex.Matches(c, @"locks_(\d+)\[\] = (.*);").Select(m => m.Groups[1].Value + ": " + m.Groups[2].Value)];

    [Fact]
    public void A_counter_needs_one_atomic_instruction_and_no_lock()
    {
        var c = C("global n probe timer.ms(1) { n++ } probe timer.ms(2) { n += 2 } probe end { println(n) }");
        Assert.Empty(Locks(c));
        Assert.Contains("stap_add(&g_n, 1LL);", c);
        Assert.Contains("stap_put_long(&c->sink, g_n);", c.Replace("stap_load(&g_n)", "g_n"));
    }

    [Fact]
    public void Two_globals_that_change_together_are_locked_together()
    {
        var c = C("global a, b probe timer.ms(1) { a++ b = a } probe timer.ms(2) { if (a != b) println(a) }");
        Assert.Equal(["0: { { 0, 1 }, { 1, 1 } }", "1: { { 0, 0 }, { 1, 0 } }"], Locks(c));
        Assert.DoesNotContain("stap_add", c);
    }

    [Fact]
    public void Handlers_that_only_add_share_an_array()
    {
        var c = C("global h probe timer.ms(1) { h[cpu()]++ } probe timer.ms(2) { h[0] += 5 } probe timer.s(9) { delete h } probe end { foreach (k in h) println(k, h[k]) }");
        Assert.Equal(["0: { { 0, 0 } }", "1: { { 0, 0 } }", "2: { { 0, 1 } }"], Locks(c));
        Assert.Equal(2, Regex.Count(c, @"stap_element_add\(&g_h"));
    }

    [Fact]
    public void An_array_that_is_only_added_to_needs_no_lock()
    {
        var c = C("global h, s probe timer.ms(1) { h[cpu()]++ s[cpu()] <<< 1 } probe timer.ms(2) { h[0] += 5 } probe end { foreach (k in h) println(k, h[k], @count(s[k])) }");
        Assert.Empty(Locks(c));
        Assert.Equal(2, Regex.Count(c, @"stap_element_add\(&g_h"));
        Assert.Equal(1, Regex.Count(c, @"\.irqs_off = 1"));
    }

    [Theory]
    [InlineData("if (pid() != 7) next a = cpu() b = a", "!= 7LL", "g_a =")]
    [InlineData("if (pid() == 7) { a = cpu() b = a }", "== 7LL", "g_a =")]
    public void Filters_come_before_the_locks(string body, string filter, string change)
    {
        var c = C($"global a, b probe timer.ms(1) {{ {body} }} probe timer.ms(2) {{ if (a != b) println(a) }}");
        var handler = c[c.IndexOf("probe timer.ms(1)", StringComparison.Ordinal)..];
        Assert.True(handler.IndexOf(filter, StringComparison.Ordinal) is var f and > 0 && handler.IndexOf("stap_lock(c)", StringComparison.Ordinal) is var l && f < l
            && l < handler.IndexOf(change, StringComparison.Ordinal), c);
        Assert.Equal(1, Regex.Count(c, @"stap_lock\(c\)"));
        Assert.Equal(1, Regex.Count(c, @"\.locks_late = 1"));
    }

    [Fact]
    public void What_entry_saved_needs_no_lock_of_the_script()
    {
        var c = C("global n probe syscall.read.return { n += @entry($count) } probe end { println(n) }");
        Assert.Empty(Locks(c));
        Assert.Matches(@"\.owned = 1", c);
    }

    [Fact]
    public void Only_handlers_of_interrupts_make_others_keep_interrupts_out()
    {
        Assert.DoesNotContain(".irqs_off", C("global h, s probe syscall.read { h[tid()]++ s <<< 1 } probe syscall.write { delete h } probe end { foreach (k in h) println(k, @count(s)) }"));
        Assert.Equal(3, Regex.Count(C("global h probe syscall.read { h[tid()]++ } probe syscall.write { delete h } probe timer.ms(1) { h[0] = 1 }"), @"\.irqs_off = 1"));
    }

    [Fact]
    public void The_run_time_is_told_how_many_arguments_a_handler_reads()
    {
        var c = C("probe syscall.read { println($count) } probe syscall.write { println(pid()) }");
        Assert.Equal(1, Regex.Count(c, @"\.arguments = \d"));
        Assert.Contains(".arguments = 3", c);
    }

    [Fact]
    public void Who_reads_what_others_add_to_excludes_them()
    {
        var c = C("global h probe timer.ms(1) { h[cpu()] <<< 1 } probe timer.ms(2) { foreach (k in h) println(@count(h[k])) }");
        Assert.Equal(["0: { { 0, 0 } }", "1: { { 0, 1 } }"], Locks(c));
    }

    [Fact]
    public void Samples_of_a_scalar_aggregate_need_no_lock_but_no_interrupt_either()
    {
        var c = C("global s probe timer.ms(1) { s <<< cpu() } probe end { println(@count(s)) }");
        Assert.Empty(Locks(c));
        Assert.Equal(1, Regex.Count(c, @"\.irqs_off = 1"));
    }

    [Fact]
    public void What_only_begin_writes_needs_nothing()
    {
        var c = C("global most, names probe begin { most = 5 names[1] = \"x\" } probe timer.ms(1) { if (cpu() < most) println(names[1]) }");
        Assert.Empty(Locks(c));
        Assert.DoesNotContain("stap_load", c);
    }

    [Fact]
    public void Statements_are_counted_only_where_their_number_is_open()
    {
        Assert.DoesNotContain("STAP_SPEND", C("global n probe timer.ms(1) { if (n > 3) n = 0 else n++ println(n) }"));
        Assert.Contains("STAP_SPEND", C("probe timer.ms(1) { while (cpu() < 0) println(1) }"));
        Assert.Contains("STAP_SPEND", C("probe timer.ms(1) { println(1) println(2) println(3) }", "-DMAXACTION_INTERRUPTIBLE=2"));
        Assert.DoesNotContain("STAP_SPEND", C("probe timer.ms(1) { while (cpu() < 0) println(1) }", "-g", "--suppress-time-limits"));
    }

    [Fact]
    public void The_script_takes_the_address_of_no_function_but_its_own()
    {
        var c = C("global h probe timer.ms(1) { h[execname()] <<< 1 } probe end { foreach (k in h- limit 3) println(k, @avg(h[k])) }");
        Assert.DoesNotMatch(@"= stap_\w+[,;]", c.Replace("= stap_script", "", StringComparison.Ordinal));
        Assert.Contains("#include \"stap.h\"", c);
        Assert.Equal(1, Regex.Count(c, "#include"));
    }

    /// <summary>Where another kernel is loaded (KASLR) is known when the module is: addresses of its debug information are distances from a function the run-time asks for.</summary>
    [Fact]
    public async Task Variables_of_another_kernel_are_so_far_from_a_function_of_it()
    {
        var tree = Directory.CreateTempSubdirectory("stap-tree-").FullName;
        try
        {
            Directory.CreateDirectory(Path.Combine(tree, "include/config"));
            File.WriteAllText(Path.Combine(tree, ".config"), "CONFIG_MODULES=y\nCONFIG_X86_64=y\n");
            File.WriteAllText(Path.Combine(tree, "include/config/kernel.release"), "6.1.0-test\n");
            File.WriteAllText(Path.Combine(tree, "kernel.c"), "int counter = 5; int sprint_symbol(char *b, unsigned long a) { return counter; } void _stext(void) { }\n");
            using (var gcc = System.Diagnostics.Process.Start("gcc", ["-g", "-O1", "-nostdlib", "-static", "-no-pie", "-fno-pic", "-Wl,-e,_stext",
                "-Wl,--section-start=.text=0x10000000", "-Wl,--section-start=.data=0x10345678", "-o", Path.Combine(tree, "vmlinux"), Path.Combine(tree, "kernel.c")]))
            {
                await gcc.WaitForExitAsync(TestContext.Current.CancellationToken);
                Assert.Equal(0, gcc.ExitCode);
            }

            var c = C("probe timer.ms(1) { println(@var(\"counter@kernel.c\")) }", "-r", tree);
            Assert.Matches(@"(t\d+) = stap_env_kernel_anchor\(\);[\s\S]*stap_read_kernel\(\(u64\)\(\1 \+ " + 0x345678 + "LL\\), 4,", c);
        }
        finally
        {
            Directory.Delete(tree, true);
        }
    }
}
