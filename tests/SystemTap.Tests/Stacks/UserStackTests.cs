using SystemTap.Targets;
using SystemTap.Tests.Examples;
using Xunit;

namespace SystemTap.Tests.Stacks;

/// <summary>User stacks of a program built without frame pointers: the chain is known from its source (chain.c).</summary>
public class UserStackTests
{
    private static readonly string[] Chain = ["leaf", "middle", "compare", "outer", "main"];

    private static readonly Lazy<string> Built = new(() => Build("chain", "-O2", "-fomit-frame-pointer"));
    private static readonly Lazy<string> Static = new(() => Build("chain_static", "-O2", "-fomit-frame-pointer", "-static"));
    private static readonly Lazy<string> NoPie = new(() => Build("chain_nopie", "-O1", "-fomit-frame-pointer", "-no-pie"));

    private static string Build(string name, params string[] options)
    {
        var program = Path.Combine(StapRun.Folder, name);
        var (_, error, status, _) = StapRun.Execute("gcc", [.. options, "-o", program, Path.Combine(Repository.Root, "tests/SystemTap.Tests/Stacks/chain.c")]);
        return status == 0 ? program : throw new InvalidOperationException("gcc could not compile chain.c: " + error);
    }

    private static string Program(string kind) => kind switch
    {
        "static" => Static.Value,
        "no-pie" => NoPie.Value,
        _ => Built.Value,
    };

    [Theory]
    [InlineData("pie")]
    [InlineData("static")]
    [InlineData("no-pie")]
    public void Printed_stacks_show_the_chain_of_a_short_lived_program(string kind)
    {
        StapRun.Need();
        var run = StapRun.Stapped("-e", "probe syscall.getppid { if (pid() == target()) { print_ubacktrace_brief() } }", "-c", Program(kind)).Succeeded();
        AssertChain(run.Lines.Select(l => l.Split('+')[0]), run.ToString());
    }

    [Fact]
    public void Lines_have_address_symbol_size_and_file()
    {
        StapRun.Need();
        var run = StapRun.Stapped("-e", "probe syscall.getppid { if (pid() == target()) print_ubacktrace() }", "-c", Built.Value).Succeeded();
        Assert.Matches(@"^ 0x[0-9a-f]+ : leaf\+0x[0-9a-f]+/0x[0-9a-f]+ \[" + Built.Value + @"\]$", run.Lines.Single(l => l.Contains(" : leaf+")));
        Assert.Contains(run.Lines, l => l.Contains(": qsort", StringComparison.Ordinal) && l.Contains("libc", StringComparison.Ordinal));
    }

    [Fact]
    public void Events_before_an_exec_keep_their_names()
    {
        StapRun.Need();
        var run = StapRun.Stapped("-e", "probe process(\"libc.so.6\").function(\"malloc\").call { if (pid() == target()) println(execname(), \" \", usymname(uaddr())) }", "-c", "env " + Built.Value).Succeeded();
        Assert.Contains(run.Lines, static l => l.StartsWith("env ", StringComparison.Ordinal));
        Assert.All(run.Lines, static l => Assert.Matches("malloc$", l));
    }

    [Fact]
    public void Callers_above_a_page_that_is_not_in_memory_are_found()
    {
        StapRun.Need();
        var program = Path.Combine(StapRun.Folder, "gap");
        var (_, error, status, _) = StapRun.Execute("gcc", ["-O2", "-fomit-frame-pointer", "-o", program, Path.Combine(Repository.Root, "tests/SystemTap.Tests/Stacks/gap.c")]);
        Assert.True(status == 0, error);
        var run = StapRun.Stapped("-e", $"probe process(\"{program}\").function(\"leaf\") {{ print_ubacktrace_brief() }}", "-c", program).Succeeded();
        Assert.Equal(["leaf", "holder", "outer", "main"], run.Lines.Take(4).Select(l => l.Split('+')[0]));
    }

    [Theory]
    [InlineData("lines4", "-O2 -gdwarf-4")]
    [InlineData("lines5", "-O2 -gdwarf-5 -static")]
    [InlineData("lines_split", "-O1 -gdwarf-5 -gsplit-dwarf")]
    [InlineData("lines_packed", "-O2 -g -gz -no-pie")]
    public void Source_lines_are_those_of_the_calls(string name, string options)
    {
        StapRun.Need();
        Assert.SkipUnless(DwarfFile.IsLibraryPresent, "libdw is not installed");
        var program = Build(name, ["-fomit-frame-pointer", .. options.Split(' ')]);
        var run = StapRun.Stapped("-e", """
            probe process("PROGRAM").function("leaf") { print_ubacktrace_fileline(); printf("%s|%s|%s\n", usymfileline(uaddr()), usymfile(uaddr()), usymline(uaddr())) }
            """.Replace("PROGRAM", program, StringComparison.Ordinal), "-c", program).Succeeded();

        // The truth is the source: the line of each call, found by its text.
        var source = Path.Combine(Repository.Root, "tests/SystemTap.Tests/Stacks/chain.c");
        var text = File.ReadAllLines(source);
        int LineOf(string part) => 1 + Array.FindIndex(text, l => l.Contains(part, StringComparison.Ordinal));
        foreach (var (function, call) in new[] { ("middle", "leaf(n + pad[n])"), ("compare", "middle(3)"), ("outer", "qsort(values, 2"), ("main", "outer(5)") })
            Assert.EndsWith($" at {source}:{LineOf(call)}", run.Lines.Single(l => l.Contains($" : {function}+", StringComparison.Ordinal)));
        var first = LineOf("void leaf(int n)");
        Assert.Matches($@"^{source}:({first}|{first + 1})\|{source}\|({first}|{first + 1})$", run.Lines[^1]);
    }

    [Fact]
    public void Source_places_come_from_debug_information()
    {
        StapRun.Need();
        var program = Build("chain_debug", "-O1", "-g");
        var source = Path.Combine(Repository.Root, "tests/SystemTap.Tests/Stacks/chain.c");
        var line = 1 + Array.FindIndex(File.ReadAllLines(source), l => l.Contains(" leaf(", StringComparison.Ordinal));
        var run = StapRun.Stapped("-e", $$"""probe process("{{program}}").function("leaf").call { println(usymfileline(uaddr())); println(usymfile(uaddr())); println(usymline(uaddr())); exit() }""", "-c", program).Succeeded();
        Assert.Equal(source, run.Lines[1]);
        Assert.InRange(int.Parse(run.Lines[2]), line, line + 1);
        Assert.Equal($"{source}:{run.Lines[2]}", run.Lines[0]);

        var without = StapRun.Stapped("-e", $$"""probe process("{{Built.Value}}").function("leaf").call { println(usymfileline(uaddr())); exit() }""", "-c", Built.Value).Succeeded();
        Assert.Matches("^0x[0-9a-f]+$", without.Lines[0]);
    }

    [Fact]
    public void A_stack_is_an_array_key_and_can_be_named_after_the_process_is_gone()
    {
        StapRun.Need();
        var run = StapRun.Stapped("-e", """
            global n
            probe syscall.getppid { if (pid() == target()) { n[ubacktrace()]++ } }
            probe end { foreach (s in n) { printf("%d\n", n[s]); println(s) } }
            """, "-c", Built.Value + " 7").Succeeded();
        Assert.Equal(2, run.Lines.Length);
        Assert.Equal("7", run.Lines[0]);
        Assert.True(run.Lines[1].Split(' ').Length >= 8, run.ToString());
        Assert.All(run.Lines[1].Split(' '), a => Assert.StartsWith("0x", a));
    }

    [Fact]
    public void A_text_of_names_is_an_array_key()
    {
        StapRun.Need();
        var run = StapRun.Stapped("-e", """
            global n
            probe syscall.getppid { if (pid() == target()) n[execname(), sprint_ubacktrace()] <<< 1 }
            probe end { foreach ([e, s] in n) printf("%s %d\n%s", e, @count(n[e, s]), s) }
            """, "-c", Built.Value + " 5").Succeeded();
        Assert.Equal("chain 5", run.Lines[0]);
        AssertChain(run.Lines.Skip(1).Select(l => l.Split('+')[0]), run.ToString());
    }

    [Fact]
    public void Names_of_addresses_are_keys_and_values()
    {
        StapRun.Need();
        var run = StapRun.Stapped("-e", """
            global n
            probe syscall.getppid { if (pid() == target()) { n[usymname(ustack(1))]++; printf("%s %s\n", usymname(ustack(2)), umodname(ustack(1))) } }
            probe end { foreach (s in n) println(s, " ", n[s]) }
            """, "-c", Built.Value + " 3").Succeeded();
        Assert.Equal(["middle chain", "middle chain", "middle chain", "leaf 3"], run.Lines);
    }

    [Fact]
    public void Samples_name_the_running_function()
    {
        StapRun.Need();
        var run = StapRun.Stapped("-e", """
            global n
            probe timer.profile { if (pid() == target() && user_mode()) n[probefunc()]++ }
            probe end { foreach (f in n- limit 1) println(f) }
            """, "-c", Built.Value + " spin").Succeeded();
        Assert.Equal(["spin"], run.Lines);
    }

    [Fact]
    public void The_example_shows_where_the_time_goes()
    {
        var run = StapRun.OnCommand("cpu-stacks", Built.Value + " spin");
        Assert.Matches(@"^[0-9]+ samples of chain$", run.Lines[0]);
        Assert.StartsWith("spin+0x", run.Lines[1]);
        Assert.StartsWith("main+0x", run.Lines[2]);
    }

    [Fact]
    public void An_array_that_another_handler_changes_moves_with_it()
    {
        StapRun.Need();
        var run = StapRun.Stapped("-e", """
            global n, order
            probe syscall.getppid { if (pid() == target()) { n["plain"]++; order = order . "a" } }
            probe syscall.getppid { if (pid() == target()) { n[sprint_ubacktrace()]++; order = order . (n["plain"] == 3 ? "!" : "b") } }
            probe end { foreach (s in n) if (s != "plain") println(n[s]); println(n["plain"], " ", order) }
            """, "-c", Built.Value + " 4").Succeeded();
        Assert.Equal(["4", "4 ababa!ab"], run.Lines);
    }

    /// <summary>The names of the chain in their order, with whatever the C library has between and below.</summary>
    private static void AssertChain(IEnumerable<string> names, string shown)
    {
        var seen = names.Where(n => Chain.Contains(n)).ToArray();
        Assert.True(seen.SequenceEqual(Chain), shown);
    }
}
