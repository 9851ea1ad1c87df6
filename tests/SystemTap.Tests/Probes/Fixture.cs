using System.Text;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Parsing;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Tapsets;
using SystemTap.Targets;
using Xunit;

namespace SystemTap.Tests.Probes;

/// <summary>Parses a script and expands its first probe against this machine and a library given as text.</summary>
internal sealed class Fixture
{
    private static readonly Lazy<Target> LiveTarget = new(Target.Live);

    public static Target Live => LiveTarget.Value;

    public static PreprocessorEnvironment Environment { get; } = new() { KernelRelease = "6.12.5-test", KernelVersion = "6.12.5", Architecture = "x86_64", Runtime = "bpf" };

    public DiagnosticBag Diagnostics { get; } = new();

    public ProbeResolver Resolver { get; }

    public ScriptFile File { get; }

    public Fixture(string script, string tapset = "", Target? target = null, bool hasTarget = false, Privilege granted = Privilege.Developer,
        Func<ResolvedPoint, string?>? obstacle = null)
    {
        File = Parse(script, false);
        ITapsetLibrary library = tapset.Length == 0 ? new EmptyTapsetLibrary() : new TextLibrary(Parse(tapset, true));
        var scope = new ResolveScope(target ?? Live, Diagnostics, hasTarget, "bpf") { Granted = granted, Obstacle = obstacle };
        Resolver = new ProbeResolver(scope, library, [File]);
    }

    public List<ExpandedProbe> Expand() => Resolver.Expand(File.Items.OfType<ProbeDefinition>().First());

    /// <summary>Names of the events, expanded without any error.</summary>
    public string[] ExpandNames()
    {
        var result = Expand().Select(e => e.Name).ToArray();
        Assert.Equal("", Messages());
        return result;
    }

    public string Messages() => string.Join("\n", Diagnostics.All.Select(d => d.Code + ": " + d.Message + (d.Hint is null ? "" : " [" + d.Hint + "]")));

    public static ScriptFile Parse(string text, bool isTapset)
    {
        var bag = new DiagnosticBag();
        var source = new SourceText(isTapset ? "/tapset/x.stp" : "<input>", Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(text)), isTapset);
        var file = Parser.Parse(source, new ParseOptions { Environment = Environment }, bag);
        Assert.True(file is not null, string.Join("\n", bag.All.Select(d => d.Message)));
        return file;
    }

    public static ExpandedProbe One(string script, string tapset = "", Target? target = null, bool hasTarget = false)
    {
        var fixture = new Fixture(script, tapset, target, hasTarget);
        var all = fixture.Expand();
        Assert.Equal("", fixture.Messages());
        return Assert.Single(all);
    }

    /// <summary>The diagnostics of a script that must not resolve.</summary>
    public static string Fails(string script, string tapset = "", Target? target = null)
    {
        var fixture = new Fixture(script, tapset, target);
        Assert.Empty(fixture.Expand());
        Assert.True(fixture.Diagnostics.HasErrors);
        return fixture.Messages();
    }

    private sealed class TextLibrary(ScriptFile file) : ITapsetLibrary
    {
        public IEnumerable<string> FunctionNames => file.Items.OfType<FunctionDefinition>().Select(f => f.Name);

        public IEnumerable<string> AliasNames => file.Items.OfType<AliasDefinition>().SelectMany(a => a.Names).Select(n => n.ToString());

        public (int Known, int Parsed) FileCounts => (1, 1);

        public IReadOnlyList<ScriptFile> FilesWithFunction(string name) => FunctionNames.Contains(name) ? [file] : [];

        public IReadOnlyList<ScriptFile> FilesWithGlobal(string name) => [];

        public IReadOnlyList<ScriptFile> FilesWithAlias(string firstComponent) => [file];
    }
}
