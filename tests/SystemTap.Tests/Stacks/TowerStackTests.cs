using System.Text.RegularExpressions;
using SystemTap.Tests.Examples;
using Xunit;

namespace SystemTap.Tests.Stacks;

/// <summary>A stack through a library and a signal handler (tower.c), built without frame pointers: the chain of its source, and what gdb shows at the same place.</summary>
public partial class TowerStackTests
{
    private static readonly string[] Chain = ["spot", "deep", "handler", "faulty", "callback", "library_inner", "library_call", "second", "first", "main"];

    private static string Build(string options)
    {
        var source = Path.Combine(Repository.Root, "tests/SystemTap.Tests/Stacks/tower.c");
        var folder = Directory.CreateDirectory(Path.Combine(StapRun.Folder, "tower" + options.Replace(" ", "", StringComparison.Ordinal))).FullName;
        var library = Path.Combine(folder, "libtower.so");
        var program = Path.Combine(folder, "tower");
        string[] common = [.. options.Split(' '), "-fomit-frame-pointer", "-w"];
        foreach (string[] words in (string[][])[[.. common, "-fPIC", "-shared", "-DLIBRARY", "-o", library, source], [.. common, "-o", program, source, library, "-Wl,-rpath," + folder]])
        {
            var (_, error, status, _) = StapRun.Execute("gcc", words);
            Assert.True(status == 0, error);
        }

        return program;
    }

    [Theory]
    [InlineData("-O2")]
    [InlineData("-O1 -no-pie")]
    public void Stacks_are_the_chain_of_the_source_and_of_gdb(string options)
    {
        StapRun.Need();
        var program = Build(options);
        var run = StapRun.Stapped("-e", "probe process(\"" + program + "\").function(\"spot\") { print_ubacktrace() }", "-c", program).Succeeded();
        var names = run.Lines.Select(l => NameOf().Match(l).Groups[1].Value).ToList();
        var chain = names.TakeWhile(n => n != "main").Append("main").Where(n => n != "__restore_rt" && n != "__kernel_rt_sigreturn").ToList();
        Assert.True(chain.SequenceEqual(Chain), run.ToString());

        Assert.SkipUnless(File.Exists("/usr/bin/gdb"), "gdb is not installed; the chain is that of the source");
        var (output, _, _, _) = StapRun.Execute("gdb", ["-batch", "-nx", "-ex", "set confirm off", "-ex", "handle SIGILL nostop noprint pass", "-ex", "break spot", "-ex", "run", "-ex", "bt", program]);
        var theirs = output.Split('\n').Where(l => l.StartsWith('#')).Select(l => Frame().Match(l).Groups[1].Value).Where(n => n != "<signal handler called>").ToList();
        Assert.SkipWhen(theirs.Count == 0, "gdb cannot run programs here");
        Assert.True(theirs.SequenceEqual(chain), output + run);
    }

    /// <summary>At the stub of an imported function, where the frame has another size at each of its instructions.</summary>
    [Theory]
    [InlineData("-O2")]
    [InlineData("-O1 -no-pie")]
    [InlineData("-O2 -fcf-protection -Wl,-z,now")]
    public void The_stack_at_a_stub_begins_with_its_name(string options)
    {
        StapRun.Need();
        var program = Build(options);
        var run = StapRun.Stapped("-e", "probe process(\"" + program + "\").plt(\"library_call\") { print_ubacktrace() }", "-c", program).Succeeded();
        Assert.Equal(["library_call@plt", "second", "first", "main"], run.Lines.Take(4).Select(l => NameOf().Match(l).Groups[1].Value));
    }

    /// <summary>The program is gone when its last stack is named; the call that never returned is the end of main.</summary>
    [Fact]
    public void The_stack_of_the_last_system_call_has_names()
    {
        StapRun.Need();
        var program = Build("-O2");
        var run = StapRun.Stapped("-e", "probe syscall.exit_group { if (pid() == target()) print_ubacktrace_brief() }", "-c", program).Succeeded();
        Assert.Contains(run.Lines, l => l.StartsWith("main+0x", StringComparison.Ordinal));
    }

    [GeneratedRegex(@"0x[0-9a-f]+ : ([A-Za-z_][\w.@]*)\+")]
    private static partial Regex NameOf();

    [GeneratedRegex(@"^#\d+\s+(?:0x[0-9a-f]+ in )?(<signal handler called>|[\w.]+)")]
    private static partial Regex Frame();
}
