using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;
using Xunit;

namespace SystemTap.Tests.Probes;

public class ResolverTests
{
    [Theory]
    [InlineData("begin", "begin")]
    [InlineData("begin(-5)", "begin(-5)")]
    [InlineData("timer.ms(100)", "timer.ms(100)")]
    [InlineData("kernel.syscall(\"read\")", "kernel.syscall(\"read\")")]
    [InlineData("kernel.trace(\"sched_switch\")", "kernel.trace(\"sched:sched_switch\")")]
    public void NativePointsKeepTheirText(string point, string name) =>
        Assert.Equal([name], new Fixture($"probe {point} {{ next }}").ExpandNames());

    [Fact]
    public void ComponentWildcardsNeedTheSameKindOfArgument()
    {
        Assert.Equal(["timer.profile"], new Fixture("probe timer.* { next }").ExpandNames());
        Assert.Contains("timer.jiffies(2000)", new Fixture("probe timer.*(2000) { next }").Expand().Select(e => e.Name));
        Assert.DoesNotContain("timer.ns(2000)", new Fixture("probe timer.*(2000) { next }").Expand().Select(e => e.Name)); // 2 us: out of range
    }

    [Fact]
    public void DoubleStarCrossesDots() =>
        Assert.Equal(["process.begin", "process.end", "process.syscall", "process.syscall.return", "process.thread.begin", "process.thread.end"],
            new Fixture("probe process.** { next }").ExpandNames().Order(StringComparer.Ordinal));

    [Fact]
    public void SuffixGoesToTheUnderlyingPoints()
    {
        var probe = Fixture.One("probe rd.return { next }", "probe rd = kernel.syscall(\"read\") { x = $arg1 }");
        Assert.Equal("rd.return", probe.Name);
        Assert.Equal("kernel.syscall(\"read\").return", probe.Point.PointText);
        Assert.True(Assert.IsType<SyscallSpec>(probe.Point.Spec).IsReturn);
        Assert.Single(probe.Aliases);
    }

    [Fact]
    public void WildcardsPreferWrittenAliasesToSuffixes()
    {
        const string tapset = "probe s.read = kernel.syscall(\"read\") {} probe s.read.return = kernel.syscall(\"write\").return {} probe s.close = kernel.syscall(\"close\") {}";
        Assert.Equal(["s.close.return", "s.read.return"], new Fixture("probe s.*.return { next }", tapset).ExpandNames());
        Assert.Equal(["s.close", "s.read"], new Fixture("probe s.* { next }", tapset).ExpandNames());
        Assert.Equal(["s.close", "s.read", "s.read.return"], new Fixture("probe s.** { next }", tapset).ExpandNames());
    }

    [Fact]
    public void AllDefinitionsOfAnAliasApply() =>
        Assert.Equal(["begin", "end"], new Fixture("probe a { next }", "probe a = begin {} probe a = end {}").Expand().Select(e => e.Point.PointText));

    [Fact]
    public void SufficiencyStopsTheListAndIsInherited()
    {
        const string tapset = "probe a = kernel.syscall(\"nosuch\")!, kernel.syscall(\"read\")!, kernel.syscall(\"write\") {} probe b = kernel.syscall(\"read\"), kernel.syscall(\"write\") {}";
        Assert.Equal(["kernel.syscall(\"read\")"], new Fixture("probe a { next }", tapset).Expand().Select(e => e.Point.PointText));
        Assert.Equal(2, new Fixture("probe b { next }", tapset).Expand().Count);
        Assert.Single(new Fixture("probe b! { next }", tapset).Expand());
        Assert.Equal(["begin"], new Fixture("probe nothing.here!, begin!, end { next }").ExpandNames());
    }

    [Fact]
    public void OptionalPointsVanishSilently()
    {
        var fixture = new Fixture("probe kernel.trace(\"no_such_thing\")?, nonsense?, kernel.function(\"f\")?, timer.s(0)?, al? { next }", "probe al = kernel.syscall(\"nosuch\") {}");
        Assert.Empty(fixture.Expand());
        Assert.Equal("", fixture.Messages());
    }

    [Fact]
    public void AnAlternativeThatCannotBeProbedIsTheReason()
    {
        const string tapset = "probe al = kernel.syscall(\"read\")!, kernel.syscall(\"nosuch\") {}";
        var fixture = new Fixture("probe al { next }", tapset, obstacle: p => p.PointText.Contains("read", StringComparison.Ordinal) ? "it is shut" : null);
        Assert.Empty(fixture.Expand());
        Assert.Equal("probe.no-match: no match for 'al', while resolving probe point [what is behind the alias cannot be probed here: it is shut]", fixture.Messages());
    }

    [Fact]
    public void PatternsLeaveOutTracepointsThatCannotBeProbed()
    {
        Func<ResolvedPoint, string?> obstacle = p => p.PointText.Contains("sys_exit", StringComparison.Ordinal) ? "it is shut" : null;
        Assert.Equal(["kernel.trace(\"sys_enter\")"], new Fixture("probe kernel.trace(\"sys_e*[rt]\") { next }", obstacle: obstacle).Expand().Select(e => e.Point.PointText.Replace("raw_syscalls:", "", StringComparison.Ordinal)));
        Assert.Single(new Fixture("probe kernel.trace(\"sys_exit\") { next }", obstacle: obstacle).Expand()); // a name is refused later, with its place
    }

    [Fact]
    public void ConditionsAddUpOutermostFirst()
    {
        var probe = Fixture.One("global x, y probe a if (x) { next }", "probe a = b if (1) {} probe b = begin if (2) {}");
        Assert.Equal(3, probe.Conditions.Count);
        Assert.Equal("x", Assert.IsType<SystemTap.Language.Syntax.IdentifierExpression>(probe.Conditions[0]).Name);
    }

    [Fact]
    public void PrologueAndEpilogueStylesAreKept()
    {
        var probe = Fixture.One("probe a { next }", "probe a = b { x = 1 }, { y = 2 } probe b += begin { z = 3 }");
        Assert.Equal(2, probe.Aliases.Count);
        Assert.NotNull(probe.Aliases[0].Prologue);
        Assert.NotNull(probe.Aliases[0].Epilogue);
        Assert.Null(probe.Aliases[1].Prologue);
        Assert.NotNull(probe.Aliases[1].Epilogue);
    }

    [Fact]
    public void LoopsAreReported()
    {
        Assert.Contains("probe.alias-loop", Fixture.Fails("probe a { next }", "probe a = b {} probe b = a {}"));
    }

    [Fact]
    public void MisspeltComponentsGetSuggestions()
    {
        Assert.Contains("did you mean 'begin'", Fixture.Fails("probe begn { next }"));
        Assert.Contains("did you mean 'trace'", Fixture.Fails("probe kernel.trase(\"x\") { next }"));
        Assert.Contains("netdev", Fixture.Fails("probe netdv.receive { next }", "probe netdev.receive = begin {}"));
        Assert.Contains("needs an argument", Fixture.Fails("probe timer.s { next }"));
        Assert.Contains("takes a number", Fixture.Fails("probe timer.s(\"1\") { next }"));
        Assert.Contains("probe.incomplete", Fixture.Fails("probe kernel { next }"));
    }

    [Fact]
    public void MisspeltAliasPartsGetSuggestionsFromFilesNotLoaded()
    {
        var bag = new SystemTap.Language.Diagnostics.DiagnosticBag();
        var file = Fixture.Parse("probe syscall.raed { next }", false);
        var resolver = new ProbeResolver(new ResolveScope(Fixture.Live, bag, false, "bpf"), new NamesOnly(), [file]);
        Assert.Empty(resolver.Expand((SystemTap.Language.Syntax.ProbeDefinition)file.Items[0]));
        var error = Assert.Single(bag.All);
        Assert.StartsWith("no match for 'raed' of 'syscall'", error.Message);
        Assert.Contains("read", error.Hint);
        Assert.Equal("<input>:1:15", error.Span.ToString());
    }

    /// <summary>A library that knows names but whose files do not hold the point asked for.</summary>
    private sealed class NamesOnly : SystemTap.Semantics.Tapsets.ITapsetLibrary
    {
        public IEnumerable<string> FunctionNames => [];

        public IEnumerable<string> AliasNames => ["syscall.read", "syscall.read.return", "syscall.write"];

        public (int Known, int Parsed) FileCounts => (1, 0);

        public IReadOnlyList<SystemTap.Language.Syntax.ScriptFile> FilesWithFunction(string name) => [];

        public IReadOnlyList<SystemTap.Language.Syntax.ScriptFile> FilesWithGlobal(string name) => [];

        public IReadOnlyList<SystemTap.Language.Syntax.ScriptFile> FilesWithAlias(string firstComponent) => [];
    }

    [Fact]
    public void MisspeltArgumentsGetSuggestions()
    {
        Assert.Contains("did you mean 'sched_switch'", Fixture.Fails("probe kernel.trace(\"sched:sched_swich\") { next }"));
        Assert.Contains("nanosleep", Fixture.Fails("probe kernel.syscall(\"nanoslep\") { next }"));
    }

    [Theory]
    [InlineData("process(\"/bin/ls\").data(1)")]
    [InlineData("java(\"a\").class(\"b\").method(\"c\")")]
    public void LaterFamiliesSayThatTheyAreNotHereYet(string point)
    {
        var message = Fixture.Fails($"probe {point} {{ next }}");
        Assert.Contains("probe.unavailable", message);
        Assert.Contains("not available yet", message);
    }

    [Fact]
    public void FailuresInsideAliasesNameTheAlias()
    {
        var fixture = new Fixture("probe a { next }", "probe a = kernel.trace(\"no_such_thing\") {}");
        Assert.Empty(fixture.Expand());
        var error = Assert.Single(fixture.Diagnostics.All);
        Assert.Contains("alias 'a'", error.Context[0].What);
    }

    [Fact]
    public void WildcardMembersThatFailAreLeftOut()
    {
        const string tapset = "probe s.a = kernel.syscall(\"nosuch\") {} probe s.b = kernel.syscall(\"read\") {}";
        Assert.Equal(["s.b"], new Fixture("probe s.* { next }", tapset).ExpandNames());
    }

    [Fact]
    public void PrivilegesAreChecked()
    {
        var fixture = new Fixture("probe kernel.trace(\"sched_switch\") { next }", granted: Privilege.User);
        Assert.Empty(fixture.Expand());
        Assert.Contains("probe.privilege", fixture.Messages());
    }

    [Fact]
    public void AliasesWithLiteralsMatchTheirLiteralOnly()
    {
        const string tapset = "probe x(\"a\") = begin {} probe x(\"b\") = end {}";
        Assert.Equal("end", Fixture.One("probe x(\"b\") { next }", tapset).Point.PointText);
    }

    [Fact]
    public void ManyAliasesExpandOnce()
    {
        var tapset = string.Join("\n", Fixture.Live.Architecture.Syscalls.Names.ToArray().Where(n => n is not null).Select(n => $"probe sc.{n} = kernel.syscall(\"{n}\") {{ name = \"{n}\" }}"));
        var names = new Fixture("probe sc.* { next }", tapset).ExpandNames();
        Assert.True(names.Length > 300);
        Assert.Equal(names.Length, names.Distinct().Count());
    }
}
