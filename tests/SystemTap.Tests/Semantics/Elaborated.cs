using System.Text;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Parsing;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Elaboration;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Tapsets;
using SystemTap.Semantics.Targeting;
using SystemTap.Targets;
using Xunit;

namespace SystemTap.Tests.Semantics;

/// <summary>A script taken through pass 2 with a small library and, besides the real probe families, made-up points with context variables.</summary>
/// <remarks>
/// <c>fake.syscall</c> has <c>$a $b</c>, <c>fake.call</c> has <c>$a</c> and may recurse; their <c>.return</c> have <c>$return</c> and an entry
/// point. No name of the machine is looked at.
/// </remarks>
internal sealed class Elaborated
{
    public const string Library = """
        function pid:long() { return _stap_pid() }
        function tid:long() { return _stap_tid() }
        function execname:string() { return _stap_execname() }
        function exit() { _stap_exit() }
        function error(msg:string) { _stap_error(msg) }
        function strlen:long(s:string) { return _stap_strlen(s) }
        function strtol:long(s:string, base:long) { return _stap_parse_long(s, base) }
        function get_ns:long() { return _stap_monotonic_ns() }
        function get_us:long() { return get_ns() / 1000 }
        function twice:long(x:long) { return x + x }
        function plus:long(a, b) { return a + b }
        function choose(a, b) { if (@defined($nothing)) return a; else return b }
        function isfive(x) { if (x == 5) return 1; return 0 }
        function printk(level:long, text:string) { _stap_printk(level, text) }
        function kernel_string:string(a:long) { return _stap_kernel_string(a, 512) }
        function bump() { return ++__counter }
        function matched:string(n:long) { return _stap_matched(n) }
        private function hidden() { return 7 }
        function shown() { return hidden() }
        global __counter
        """;

    public const string StartFile = """
        global argc
        probe begin(-9223372036854775808) { argc = _stap_argument_count() }
        """;

    public DiagnosticBag Diagnostics { get; } = new();

    public ElaborationResult Result { get; }

    public LoweredProgram Program => Result.Program ?? throw new InvalidOperationException(Messages());

    public Elaborated(string script, ElaborationOptions? options = null, params string[] tapsets)
    {
        var user = Parse(script, "<input>", false);
        var files = new List<ScriptFile> { Parse(Library, "/tapset/lib.stp", true), Parse(StartFile, "/tapset/argv.stp", true) };
        foreach (var text in tapsets)
        {
            files.Add(Parse(text, $"/tapset/t{files.Count}.stp", true));
        }

        var library = new FileLibrary(files);
        var target = Target.FromFiles(new TargetFiles { Release = "6.12.5-test", Architecture = X8664.Instance });
        var resolver = new ProbeResolver(new ResolveScope(target, Diagnostics, false, "bpf"), library, [user]);
        Result = Elaborator.Elaborate(new ElaborationInput
        {
            Files = [user],
            Library = library,
            Expander = new FakeExpander(resolver),
            TargetBinder = new FakeBinder(Diagnostics),
            Target = target,
            Options = options ?? new ElaborationOptions(),
            Diagnostics = Diagnostics,
        });
        if (Result.Program is { } program)
        {
            LoweredVerifier.Verify(program);
        }
    }

    /// <summary>Elaborates without errors and prints the bodies of all probes, each after its point.</summary>
    public static string Bodies(string script, ElaborationOptions? options = null, params string[] tapsets)
    {
        var e = new Elaborated(script, options, tapsets);
        Assert.True(e.Result.Program is not null, e.Messages());
        return string.Join("\n", e.Program.Probes.Select(p => LoweredPrinter.Print(p.Body)));
    }

    /// <summary>The messages of a script that pass 2 refuses: <c>code@line:column message</c>.</summary>
    public static string Fails(string script, ElaborationOptions? options = null, params string[] tapsets)
    {
        var e = new Elaborated(script, options, tapsets);
        Assert.Null(e.Result.Program);
        Assert.True(e.Diagnostics.HasErrors);
        return string.Join("\n", e.Diagnostics.All.Where(d => d.Severity != Severity.Warning).Select(Text));
    }

    /// <summary>The warnings of a script that elaborates.</summary>
    public static string Warns(string script, ElaborationOptions? options = null, params string[] tapsets)
    {
        var e = new Elaborated(script, options, tapsets);
        Assert.True(e.Result.Program is not null, e.Messages());
        return e.Messages();
    }

    public string Messages() => string.Join("\n", Diagnostics.All.Select(Text));

    private static string Text(Diagnostic d) =>
        d.Code + (d.Span is { Source: not null } s ? $"@{s.Position.Line}:{s.Position.Column}" : "") + " " + d.Message
        + (d.Related is { Source: not null } r ? $" <{d.RelatedMessage} {r.Position.Line}:{r.Position.Column}>" : "")
        + (d.Hint is null ? "" : $" [{d.Hint}]");

    private static ScriptFile Parse(string text, string path, bool isTapset)
    {
        var bag = new DiagnosticBag();
        var file = Parser.Parse(new SourceText(path, text, isTapset), new ParseOptions { Environment = new PreprocessorEnvironment(), GuruMode = true }, bag);
        Assert.True(file is not null && !bag.HasErrors, string.Join("\n", bag.All.Select(d => d.Message)));
        return file;
    }

    private sealed class FileLibrary(List<ScriptFile> files) : ITapsetLibrary
    {
        public IEnumerable<string> FunctionNames => files.SelectMany(f => f.Items.OfType<FunctionDefinition>()).Select(f => f.Name).Where(n => n[0] != '_');

        public IEnumerable<string> AliasNames => files.SelectMany(f => f.Items.OfType<AliasDefinition>()).SelectMany(a => a.Names).Select(n => n.ToString());

        public (int Known, int Parsed) FileCounts => (files.Count, files.Count);

        public IReadOnlyList<ScriptFile> FilesWithFunction(string name) =>
            files.Where(f => f.Items.OfType<FunctionDefinition>().Any(d => d.Name == name && !d.IsPrivate)).ToList();

        public IReadOnlyList<ScriptFile> FilesWithGlobal(string name) =>
            files.Where(f => f.Items.OfType<GlobalDefinition>().Any(d => d.Name == name && !d.IsPrivate)).ToList();

        public IReadOnlyList<ScriptFile> FilesWithAlias(string firstComponent) =>
            files.Where(f => f.Items.OfType<AliasDefinition>().Any(a => a.Names.Any(n => n.Components[0].Name == firstComponent || firstComponent.Contains('*')))).ToList();
    }

    /// <summary>Made-up points under <c>fake</c>; an alias that leads to them is followed one level, everything else is the real resolver's.</summary>
    private sealed class FakeExpander(ProbeResolver resolver) : IProbeExpander
    {
        public IReadOnlyList<ExpandedProbe> Expand(ProbePoint point, DiagnosticBag diagnostics)
        {
            var text = point.ToString();
            if (!text.StartsWith("fake.", StringComparison.Ordinal))
            {
                return resolver.TryExpand(point, diagnostics);
            }

            return [new ExpandedProbe(Resolve(text), text, [], point.Condition is null ? [] : [point.Condition])];
        }

        internal static ResolvedPoint Resolve(string text) => text switch
        {
            "fake.syscall" => new ResolvedPoint(new SyscallSpec(1, "fake", false, false), text, new FakeContext(["$a", "$b"], ["$value"], null)),
            "fake.syscall.return" => new ResolvedPoint(new SyscallSpec(1, "fake", true, false), text, new FakeContext(["$return"], [], Resolve("fake.syscall"))),
            "fake.call" => new ResolvedPoint(new TimerSpec(1, 0), text, new FakeContext(["$a"], [], null)),
            "fake.call.return" => new ResolvedPoint(new TimerSpec(1, 0), text, new FakeContext(["$return"], [], Resolve("fake.call"))),
            "fake.write" => new ResolvedPoint(new ProcfsSpec("x", true), text, new FakeContext([], ["$value"], null)),
            "fake.read" => new ResolvedPoint(new ProcfsSpec("x", false), text, new FakeContext([], [], null)),
            _ => throw new InvalidOperationException(text),
        };
    }

    private sealed class FakeContext(string[] longs, string[] strings, ResolvedPoint? entry) : ProbeContext
    {
        public override IReadOnlyList<ContextVariable> Variables => longs.Select(n => new ContextVariable(n, "struct s *")).ToList();

        public override ResolvedPoint? EntryPoint => entry;

        public override TypedValue? Resolve(string name, SourceSpan span)
        {
            var index = Array.IndexOf(longs, name);
            if (index >= 0)
            {
                return new TypedValue(new ContextExpr(name == "$return" ? ContextValue.SyscallReturn : ContextValue.SyscallArgument, index, span), FakeBinder.Struct);
            }

            return strings.Contains(name) ? new TypedValue(new ContextExpr(ContextValue.ProcfsValue, 0, span), null) : null;
        }
    }

    /// <summary>One C type that has the members <c>f</c> (a pointer to the same) and <c>n</c>; a member is 8 bytes at the address itself.</summary>
    private sealed class FakeBinder(DiagnosticBag diagnostics) : ITargetBinder
    {
        public static readonly CType Struct = new(default, IsUser: false, IsInMemory: false);

        public TypedValue? Member(TypedValue value, string name, SourceSpan span, bool quiet)
        {
            if (name is "f" or "n")
            {
                return new TypedValue(new DerefExpr(value.Value, 8, true, false, span), Struct);
            }

            if (!quiet)
            {
                diagnostics.Error("target.member", span, $"no member '{name}'");
            }

            return null;
        }

        public TypedValue? Index(TypedValue value, Expr index, SourceSpan span, bool quiet) =>
            new(new DerefExpr(new BinaryExpr(BinaryOperator.Add, value.Value, index, span), 8, true, false, span), Struct);

        public TypedValue? AddressOf(TypedValue value, SourceSpan span, bool quiet) => new(((DerefExpr)value.Value).Address, Struct);

        public TypedValue Load(TypedValue value, SourceSpan span) => value;

        public Expr? Pretty(TypedValue value, int depth, SourceSpan span, bool quiet) =>
            new FormatExpr([new FormatSegment(FormatConversion.HexLower, "")], [value.Value], span);

        public TypedValue? Cast(Expr value, string type, string? module, SourceSpan span, bool quiet) => new(value, Struct);

        public TypedValue? Variable(string name, string? module, SourceSpan span, bool quiet) =>
            name == "absent" ? null : new(new LongConst(0x1000, span), Struct);

        public Expr? EnumValue(string name, SourceSpan span, bool quiet)
        {
            if (name == "TEN")
            {
                return new LongConst(10, span);
            }

            if (!quiet)
            {
                diagnostics.Error("target.enum", span, $"no enumerator '{name}'");
            }

            return null;
        }

        public Expr? EnumName(TypedValue value, string? type, string? module, SourceSpan span, bool quiet) => new StringConst("TEN", span);

        public Expr Variables(ProbeContext context, VariableSet set, int depth, SourceSpan span) => new StringConst("a=0x1", span);

        public Expr? Store(TypedValue value, Expr newValue, SourceSpan span, bool quiet) =>
            new SequenceExpr([new ExprStmt(new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.Printk), [newValue, new StringConst("stored", span)], span), span)], newValue, span);
    }
}
