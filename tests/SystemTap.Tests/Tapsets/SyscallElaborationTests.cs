using System.Text;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Parsing;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Elaboration;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Tapsets;
using SystemTap.Semantics.Targeting;
using SystemTap.Targets;
using Xunit;

namespace SystemTap.Tests.Tapsets;

/// <summary>Every system-call alias through pass 2: all its variables are used, with the type the documentation gives them.</summary>
public class SyscallElaborationTests
{
    private static readonly Lazy<Target> Machine = new(Target.Live);

    private static readonly PreprocessorEnvironment Environment = new() { Architecture = "x86_64", KernelRelease = "6.12.0", KernelVersion = "6.12.0" };

    public static TheoryData<string> Files =>
        [.. Directory.EnumerateFiles(Path.Combine(Repository.Root, "tapset/linux/syscalls"), "*.stp").Select(f => Path.GetFileNameWithoutExtension(f)).Order()];

    [Theory]
    [MemberData(nameof(Files))]
    public void VariablesHaveTheirTypes(string file)
    {
        var documented = File.ReadLines(Path.Combine(Repository.Root, "tests/SystemTap.Tests/Tapsets/documented-syscalls.txt")).Where(l => l.Length > 0 && l[0] != '#')
            .Select(l => l.Split(' ')).ToDictionary(w => w[0], w => w[1..]);
        var bag = new DiagnosticBag();
        var library = Library(bag);
        var source = library.AllFiles().Single(f => f.Source.Path.EndsWith("/syscalls/" + file + ".stp", StringComparison.Ordinal));
        var script = new StringBuilder();
        foreach (var alias in source.Items.OfType<AliasDefinition>().DistinctBy(a => a.Names[0].ToString()))
        {
            var components = alias.Names[0].Components;
            var isReturn = components[^1].Name == "return";
            script.Append($"probe {alias.Names[0]} ? {{ printf(\"%s %s\\n\", name, {(isReturn ? "sprintf(\"%d %s\", retval, retstr)" : "argstr")})");
            if (!isReturn && components.Count == 2 && documented.TryGetValue(components[1].Name, out var variables))
            {
                foreach (var variable in variables)
                {
                    script.Append($" printf(\"{(variable.EndsWith('$') ? "%s" : "%d")}\", {variable.TrimEnd('$')})");
                }
            }

            script.Append(" }\n");
        }

        script.Append("probe begin { println(syscall_name(0), syscall_num(\"read\")) }\n");
        Elaborate(script.ToString(), library, bag);
    }

    /// <summary>Every native call once, and nothing else: what a script that counts system calls relies on.</summary>
    [Theory]
    [InlineData("syscall")]
    [InlineData("nd_syscall")]
    public void WildcardMeansEveryCallOnce(string layer)
    {
        var bag = new DiagnosticBag();
        var program = Elaborate($"global calls  probe {layer}.* {{ calls[name]++ }}", Library(bag), bag);
        var calls = program.Probes.SelectMany(Specs).Where(s => !s.IsCompat).ToList();
        Assert.All(calls, c => Assert.False(c.IsReturn));
        Assert.Equal(Machine.Value.Architecture.Syscalls.Names.ToArray().Where(n => n is not null).Order(), calls.Select(c => c.Name).Order());
    }

    private static IEnumerable<SyscallSpec> Specs(Probe probe) => probe.Spec is SyscallSpec spec ? [spec] : [];

    private static TapsetLibrary Library(DiagnosticBag bag) => new(new TapsetOptions
    {
        Directories = [Path.Combine(Repository.Root, "tapset")],
        Environment = Environment,
        Diagnostics = bag,
        CacheDirectory = null,
    });

    private static LoweredProgram Elaborate(string script, TapsetLibrary library, DiagnosticBag bag)
    {
        var file = Parser.Parse(new SourceText("<input>", script), new ParseOptions { Environment = Environment, Macros = library.Macros }, bag);
        Assert.True(file is not null, Messages(bag));
        var resolver = new ProbeResolver(new ResolveScope(Machine.Value, bag, false, "bpf"), library, [file]);
        var result = Elaborator.Elaborate(new ElaborationInput
        {
            Files = [file],
            Library = library,
            Expander = new ResolverExpander(resolver),
            TargetBinder = new TargetBinder(Machine.Value, bag, 512),
            Target = Machine.Value,
            Diagnostics = bag,
            Options = new ElaborationOptions(),
        });
        Assert.True(Messages(bag).Length == 0, Messages(bag));
        return result.Program!;
    }

    private static string Messages(DiagnosticBag bag) => string.Join("\n", bag.All.Where(d => d.Severity != Severity.Warning).Select(d => d.Span + ": " + d.Message));
}
