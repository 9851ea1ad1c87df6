using System.Text.RegularExpressions;
using SystemTap.Targets;
using SystemTap.Tests.Examples;
using Xunit;

namespace SystemTap.Tests.Stacks;

/// <summary>Stacks with calls that the compiler replaced by copies (inlined.c, inlined.cpp): lines of their own, in gdb's order, marked, and no entries in lists of addresses.</summary>
public partial class InlinedStackTests
{
    private static string Source(string name) => Path.Combine(Repository.Root, "tests/SystemTap.Tests/Stacks", name);

    private static string Build(string source, string options)
    {
        var program = Path.Combine(StapRun.Folder, $"{source}{options.Replace(" ", "", StringComparison.Ordinal)}");
        var (_, error, status, _) = StapRun.Execute(source.EndsWith(".cpp", StringComparison.Ordinal) ? "g++" : "gcc", [.. options.Split(' '), "-fomit-frame-pointer", "-w", "-o", program, Source(source)]);
        Assert.True(status == 0, error);
        return program;
    }

    private static int LineOf(string source, string text) => 1 + Array.FindIndex(File.ReadAllLines(Source(source)), l => l.Contains(text, StringComparison.Ordinal));

    [Theory]
    [InlineData("-O2 -g")]
    [InlineData("-O1 -gdwarf-4 -no-pie")]
    [InlineData("-O2 -g -static")]
    [InlineData("-O2 -gdwarf-5 -gsplit-dwarf")]
    public void Copies_are_lines_with_their_calls_places(string options)
    {
        StapRun.Need();
        Assert.SkipUnless(DwarfFile.IsLibraryPresent, "libdw is not installed");
        var program = Build("inlined.c", options);
        var run = StapRun.Stapped("-e", "probe process(\"" + program + "\").function(\"spot\").call { print_ubacktrace_fileline(); println(ubacktrace()); println(usymname(ustack(1)), \" \", usymname(ustack(2))) }", "-c", program).Succeeded();
        var lines = run.Lines.TakeWhile(l => l.StartsWith(' ')).ToList();
        var main = lines.FindIndex(l => l.Contains(": main+", StringComparison.Ordinal));
        Assert.Equal(["spot", "inner (inlined)", "middle (inlined)", "outer", "main"], lines.Take(main + 1).Select(Shown));

        // Each line has the place of the call that leads to the line above it.
        var source = Source("inlined.c");
        foreach (var (function, call) in new[] { ("inner", "    spot(n);"), ("middle", "inner(n - i)"), ("outer", "middle(n);"), ("main", "outer(1)") })
            Assert.EndsWith($" at {source}:{LineOf("inlined.c", call)}", lines.Single(l => l.Contains($" : {function}+", StringComparison.Ordinal)));

        // A copy's line has the address of its frame, and a distance within the copy.
        Assert.Equal(lines[3].Split(' ')[1], lines[1].Split(' ')[1]);
        Assert.All(lines.Where(l => l.Contains("(inlined)")), l => Assert.Matches(@"^ 0x[0-9a-f]+ : \w+\+0x[0-9a-f]+/0x[0-9a-f]+ \[" + Regex.Escape(program) + @"\] \(inlined\) at ", l));
        Assert.Equal(lines.Count(l => !l.Contains("(inlined)")), run.Lines[lines.Count].Split(' ').Length);
        Assert.Equal("outer main", run.Lines[lines.Count + 1]);
    }

    [Theory]
    [InlineData("inlined.c", "-O2 -g", "spot")]
    [InlineData("inlined.c", "-O3 -g -no-pie", "spot")]
    [InlineData("inlined.cpp", "-O2 -g", "ns::spot")]
    public void Chains_are_those_of_gdb(string source, string options, string function)
    {
        StapRun.Need();
        Assert.SkipUnless(DwarfFile.IsLibraryPresent, "libdw is not installed");
        var program = Build(source, options);
        var run = StapRun.Stapped("-e", "probe process(\"" + program + "\").function(\"" + function + "\").call { print_ubacktrace() }", "-c", program).Succeeded();
        var chain = run.Lines.Select(Shown).Select(n => n.Replace(" (inlined)", "", StringComparison.Ordinal)).ToList();
        chain = chain.Take(chain.IndexOf("main") + 1).ToList();
        Assert.Equal(5, chain.Count);

        Assert.SkipUnless(File.Exists("/usr/bin/gdb"), "gdb is not installed; the chain is that of the source");
        // At the function's first instruction, as the probe; gdb names C++ functions with their parameters.
        var (output, _, _, _) = StapRun.Execute("gdb", ["-batch", "-nx", "-ex", "set confirm off", "-ex", $"break *'{function}'", "-ex", "run", "-ex", "bt", program]);
        var theirs = output.Split('\n').Where(l => l.StartsWith('#')).Select(l => Frame().Match(l).Groups[1].Value).ToList();
        Assert.SkipWhen(theirs.Count == 0, "gdb cannot run programs here");
        Assert.True(theirs.Select(Last).SequenceEqual(chain.Select(Last)), output + run);
    }

    /// <summary>Where the probe itself is in a copy.</summary>
    [Fact]
    public void The_probed_copy_is_the_first_line()
    {
        StapRun.Need();
        Assert.SkipUnless(DwarfFile.IsLibraryPresent, "libdw is not installed");
        var program = Build("inlined.c", "-O2 -g");
        var run = StapRun.Stapped("-e", "probe process(\"" + program + "\").statement(\"first@inlined.c:8\") { print_ubacktrace_brief() print(sprint_ubacktrace()) print_usyms(ucallers(2)) print(sprint_usyms(ucallers(2))) }", "-c", program).Succeeded();
        string[] chain = ["first (inlined)", "spot", "inner (inlined)", "middle (inlined)", "outer"];
        Assert.Equal(chain, run.Lines.Take(5).Select(Shown));
        Assert.Matches(@"^first\+0x[0-9a-f]+ \(inlined\)$", run.Lines[0]);
        var second = Array.FindIndex(run.Lines, l => l.StartsWith("first+") && l.Contains('['));
        Assert.Equal(chain, run.Lines.Skip(second).Take(5).Select(Shown));
        Assert.Matches(@"^first\+0x[0-9a-f]+ \[" + Regex.Escape(program) + @"\] \(inlined\)$", run.Lines[second]);
        Assert.Equal(chain, run.Lines.Skip(run.Lines.Length - 5).Select(Shown));
    }

    /// <summary>C++ symbols are shown as people write them.</summary>
    [Fact]
    public void Names_of_cpp_are_readable()
    {
        StapRun.Need();
        var program = Build("inlined.cpp", "-O2");
        var run = StapRun.Stapped("-e", "probe process(\"" + program + "\").function(\"ns::spot\") { print_ubacktrace_brief() println(usymname(uaddr()), \" \", usymdata(uaddr())) }", "-c", program).Succeeded();
        Assert.StartsWith("ns::spot+0x0", run.Lines[0]);
        Assert.StartsWith("ns::outer+0x", run.Lines[1]);
        Assert.Matches(@"^ns::spot ns::spot\+0x0/0x[0-9a-f]+ \[" + Regex.Escape(program) + @"\]$", run.Lines[^1]);
    }

    /// <summary>
    /// A signal interrupts at the first instruction of a line and of a copy: what came before is not named. The C library describes the end of its handlers by frame information, musl does not.
    /// </summary>
    [Theory]
    [InlineData("gcc", "-O2 -g")]
    [InlineData("musl-gcc", "-O2 -g -static")]
    public void What_a_signal_interrupted_is_at_its_own_instruction(string compiler, string options)
    {
        StapRun.Need();
        Assert.SkipUnless(DwarfFile.IsLibraryPresent, "libdw is not installed");
        Assert.SkipUnless(File.Exists("/usr/bin/" + compiler), compiler + " is not installed");
        Assert.SkipUnless(System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.X64, "the program is for x86-64");
        var program = Path.Combine(StapRun.Folder, "interrupted-" + compiler);
        var (_, error, status, _) = StapRun.Execute(compiler, [.. options.Split(' '), "-w", "-o", program, Source("interrupted.c")]);
        Assert.True(status == 0, error);
        var run = StapRun.Stapped("-e", "probe process(\"" + program + "\").function(\"note\") { print_ubacktrace_fileline() }", "-c", program).Succeeded();
        Assert.Equal(["note", "handler", "__restore_rt", "trap (inlined)", "work", "main"], run.Lines.SkipWhile(l => !l.StartsWith(' ')).Take(6).Select(Shown));
        foreach (var (function, line) in new[] { ("trap", "ud2"), ("work", "    trap();"), ("main", "work(1)") })
            Assert.EndsWith($" at {Source("interrupted.c")}:{LineOf("interrupted.c", line)}", run.Lines.Single(l => l.Contains($" : {function}+", StringComparison.Ordinal)));
    }

    /// <summary>The last part of a name; gdb shows members of lambdas with their parameters.</summary>
    private static string Last(string name) => name.Contains("::operator()", StringComparison.Ordinal) ? "operator()" : Demangler.Last(name);

    private static string Shown(string line) => Name().Match(line) is var m ? m.Groups[1].Value + (line.Contains(" (inlined)", StringComparison.Ordinal) ? " (inlined)" : "") : "";

    [GeneratedRegex(@"^(?: 0x[0-9a-f]+ : )?(.+)\+0x")]
    private static partial Regex Name();

    [GeneratedRegex(@"^#\d+\s+(?:0x[0-9a-f]+ in )?(.+?) \(")]
    private static partial Regex Frame();
}
