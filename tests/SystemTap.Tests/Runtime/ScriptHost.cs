using SystemTap.Bpf.Plan;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Syntax;
using SystemTap.Language.Parsing;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Text;
using SystemTap.Runtime.Sessions;
using SystemTap.Semantics.Elaboration;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Tapsets;
using SystemTap.Semantics.Targeting;
using SystemTap.Targets;

namespace SystemTap.Tests.Runtime;

/// <summary>What a session in a test gave.</summary>
internal sealed record SessionOutcome(int Status, string Output, IReadOnlyList<string> Messages);

/// <summary>Real scripts through the real front end, run by a session without kernel programs.</summary>
internal static class ScriptHost
{
    private static string Tapset => Path.Combine(Repository.Root, "tapset");

    public static LoweredProgram Compile(string script, Limits? limits = null)
    {
        var diagnostics = new DiagnosticBag();
        var target = Target.Live();
        var environment = new PreprocessorEnvironment
        {
            KernelVersion = target.Version,
            KernelRelease = target.Release,
            Architecture = target.Architecture.Name,
            Runtime = "bpf",
            Privilege = "stapdev",
            GuruMode = true,
            ConfigLookup = name => target.KernelConfig[name],
        };
        var library = new TapsetLibrary(new TapsetOptions { Directories = TapsetPaths.Default(Tapset, []), Environment = environment, Diagnostics = diagnostics });
        var file = Parser.Parse(new SourceText("<input>", script), new ParseOptions { GuruMode = true, Environment = environment, Macros = library.Macros }, diagnostics);
        if (diagnostics.HasErrors || file is null)
        {
            throw new InvalidOperationException(string.Join("\n", diagnostics.All.Select(d => d.Message)));
        }

        limits ??= new Limits();
        var resolver = new ProbeResolver(new ResolveScope(target, diagnostics, false, "bpf"), library, [file]);
        var elaborated = Elaborator.Elaborate(new ElaborationInput
        {
            Files = [file],
            Library = library,
            Expander = new ResolverExpander(resolver),
            TargetBinder = new TargetBinder(target, diagnostics, limits.MaxStringLength),
            Target = target,
            Diagnostics = diagnostics,
            Options = new ElaborationOptions { GuruMode = true, Limits = limits },
        });
        return elaborated.Program ?? throw new InvalidOperationException(string.Join("\n", diagnostics.All.Select(d => d.Message)));
    }

    public static BpfPlan HostPlan(LoweredProgram program) => new()
    {
        Program = program,
        Maps = [],
        Programs = [],
        Globals = [.. program.Globals.Select(g => new GlobalStorage.HostOnly(g))],
        PrintSites = [],
        ErrorSites = [],
        HostProbes = program.Probes,
        DataMap = -1,
        RingMap = -1,
        DataSize = 0,
    };

    public static SessionOutcome Run(string script, SessionOptions? options = null, Limits? limits = null, Action? during = null)
    {
        var output = Path.GetTempFileName();
        var messages = new List<string>();
        try
        {
            using var session = new Session(HostPlan(Compile(script, limits)), (options ?? new SessionOptions()) with
            {
                OutputFile = output,
                TableFolders = [Path.Combine(Tapset, "tables")],
                Diagnostics = line =>
                {
                    lock (messages)
                    {
                        messages.Add(line);
                    }
                },
            });
            var helper = during is null ? null : Task.Run(during);
            var status = session.Run();
            session.Dispose();
            helper?.Wait();
            return new SessionOutcome(status, System.Text.Encoding.Latin1.GetString(File.ReadAllBytes(output)), messages);
        }
        finally
        {
            File.Delete(output);
        }
    }

    /// <summary>Output of a begin handler, which must end without an error.</summary>
    public static string Begin(string body, Limits? limits = null)
    {
        var outcome = Run($"probe begin {{ {body}\n exit() }}", limits: limits);
        Xunit.Assert.Empty(outcome.Messages);
        Xunit.Assert.Equal(0, outcome.Status);
        return outcome.Output;
    }
}
