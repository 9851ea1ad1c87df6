using SystemTap.Language.Diagnostics;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Listing;
using SystemTap.Semantics.Tapsets;
using Xunit;

namespace SystemTap.Tests.Probes;

public class ListingTests
{
    private const string Tapset = """
        global seen
        probe sc.read = kernel.syscall("read") { name = "read"; fd = $arg1; buf = $arg2; argstr = sprintf("%d", fd); seen++; __x = 1; text = strname(fd) }
        probe sc.write = kernel.syscall("write") { name = "write" }
        probe both = sc.read, sc.write { n = name . "!"; k = 1 ? 2 : 3 }
        function strname(n) { return sprintf("%d", n) }
        function cat(a, b) { return a . b }
        function len:long (s:string) { return _stap_strlen(s) }
        function pass(x) { return cat(x, "") }
        function quiet() { println("x") }
        function _hidden() { return 1 }
        private function own() { return 1 }
        """;

    private static (int Code, string Text, DiagnosticBag Bag) List(string point, bool variables)
    {
        var fixture = new Fixture($"probe {point} {{}}", Tapset);
        var library = new TapsetOnly(Fixture.Parse(Tapset, true));
        var lister = new ProbeLister(fixture.Resolver, library, []);
        var output = new StringWriter();
        var bag = new DiagnosticBag();
        return (lister.List(((ProbeDefinition)fixture.File.Items[0]).Points, variables, output, bag), output.ToString(), bag);
    }

    [Fact]
    public void PatternsListTheirPoints()
    {
        Assert.Equal((0, "sc.read\nsc.write\n"), (List("sc.*", false).Code, List("sc.*", false).Text));
        Assert.Equal("both\n", List("both", false).Text);
        Assert.Equal("kernel.trace(\"sched:sched_switch\")\n", List("kernel.trace(\"sched_switch\")", false).Text);
    }

    [Fact]
    public void VariablesHaveTypes()
    {
        Assert.Equal("sc.read name:string fd:long buf:long argstr:string text:string $fd:unsigned int $buf:char* $count:size_t\n", List("sc.read", true).Text);
        Assert.StartsWith("both name:string fd:long buf:long argstr:string text:string n:string k:long $fd:unsigned int", List("both", true).Text);
        Assert.Contains(" $prev:struct task_struct* ", List("kernel.trace(\"sched_switch\")", true).Text);
        Assert.Equal("procfs(\"x\").read $value:string\n", List("procfs(\"x\").read", true).Text);
        Assert.Equal("timer.s(1)\n", List("timer.s(1)", true).Text);
    }

    [Fact]
    public void NothingIsExitCodeOne()
    {
        var (code, text, bag) = List("kernel.trace(\"nosuch_*\")", false);
        Assert.Equal((1, ""), (code, text));
        Assert.True(bag.HasErrors);
        Assert.Equal(1, List("nonesuch*", false).Code);
    }

    [Fact]
    public void FunctionsAreDumpedWithTypes()
    {
        var file = Fixture.Parse(Tapset, true);
        var output = new StringWriter();
        Dumps.Functions([file], new LightTypes(new TapsetOnly(file), []), output);
        Assert.Equal("cat:string (a:string, b:string)\nlen:long (s:string)\npass:string (x:string)\nquiet:unknown ()\nstrname:string (n:long)\n", output.ToString());
    }

    [Fact]
    public void AliasesAreDumpedWithTheirPoints()
    {
        var output = new StringWriter();
        Dumps.ProbeAliases([Fixture.Parse(Tapset + "probe z += begin!, end? {} probe _h = begin {}", true)], output);
        Assert.Equal("both = sc.read, sc.write\nsc.read = kernel.syscall(\"read\")\nsc.write = kernel.syscall(\"write\")\nz += begin!, end?\n", output.ToString());
    }

    [Fact]
    public void ProbeTypesAreDumped()
    {
        var output = new StringWriter();
        Dumps.ProbeTypes(output);
        var lines = output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Contains("kernel.trace(string)", lines);
        Assert.Contains("timer.ms(number).randomize(number)", lines);
        Assert.Contains("kernel.function(string).return", lines);
        Assert.DoesNotContain(lines, l => l.StartsWith("java"));
        Assert.Equal(lines.Order(StringComparer.Ordinal), lines);
    }

    private sealed class TapsetOnly(ScriptFile file) : ITapsetLibrary
    {
        public IEnumerable<string> FunctionNames => [];

        public IEnumerable<string> AliasNames => [];

        public (int Known, int Parsed) FileCounts => (1, 1);

        public IReadOnlyList<ScriptFile> FilesWithFunction(string name) => file.Items.OfType<FunctionDefinition>().Any(f => f.Name == name) ? [file] : [];

        public IReadOnlyList<ScriptFile> FilesWithGlobal(string name) => [];

        public IReadOnlyList<ScriptFile> FilesWithAlias(string firstComponent) => [file];
    }
}
