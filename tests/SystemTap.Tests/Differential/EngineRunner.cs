using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using Linux.Bpf;
using SystemTap.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Diagnostics;
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

namespace SystemTap.Tests.Differential;

/// <summary>What a body did on one engine: everything printed, then the messages, without what must differ (the probe's name).</summary>
/// <param name="Text">Output and messages.</param>
/// <param name="Refusal">Why the engine did not run it; null when it ran.</param>
/// <param name="IsDefect">The refusal is no honest "cannot" but a fault of ours: the verifier's, or an exception.</param>
internal sealed record EngineOutcome(string Text, string? Refusal = null, bool IsDefect = false)
{
    public bool Ran => Refusal is null;
}

/// <summary>
/// Runs the same statements in the host evaluator and in the BPF engine, all in this process. The kernel's handler is one of the raw tracepoint <c>sys_enter</c>
/// that takes only the <c>getppid</c> call which this thread makes once all is live. One library and one target serve all programs, so most of the time goes into
/// the verifier. The library keeps state, so threads take turns.
/// </summary>
internal sealed partial class EngineRunner
{
    private static readonly Lazy<EngineRunner> SharedRunner = new(() => new EngineRunner());
    private readonly Target _target = Target.Live();
    private readonly DiagnosticBag _libraryDiagnostics = new();
    private readonly PreprocessorEnvironment _environment;
    private readonly TapsetLibrary _library;
    private readonly string _output = Path.Combine(Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath(), $"stap-engines-{Environment.ProcessId}-{Guid.NewGuid():N}");

    private EngineRunner()
    {
        _environment = new PreprocessorEnvironment
        {
            KernelVersion = _target.Version,
            KernelRelease = _target.Release,
            Architecture = _target.Architecture.Name,
            Runtime = "bpf",
            Privilege = "stapdev",
            GuruMode = true,
            ConfigLookup = name => _target.KernelConfig[name],
        };
        _library = new TapsetLibrary(new TapsetOptions { Directories = TapsetPaths.Default(Path.Combine(Repository.Root, "tapset"), []), Environment = _environment, Diagnostics = _libraryDiagnostics });
    }

    public static EngineRunner Shared => SharedRunner.Value;

    /// <summary>Head of a handler that runs in the kernel, exactly once in a session of <see cref="Run"/>.</summary>
    public static string KernelProbe => $"probe kernel.trace(\"sys_enter\") {{ if ($id != {GetPpid} || tid() != {gettid()}) next;";

    /// <summary>The same for a handler of the system call.</summary>
    public static string SyscallProbe => $"probe syscall.getppid {{ if (tid() != {gettid()}) next;";

    /// <summary>The same for a handler of the C library's function.</summary>
    public static string UserProbe => $"probe process(\"{CLibrary}\").function(\"getppid\") {{ if (tid() != {gettid()}) next;";

    /// <summary>The same for a handler of a sample: the first one of the session.</summary>
    public static string ProfileProbe => "global __done probe timer.profile { if (__done++) next;";

    private static readonly string CLibrary = File.ReadLines("/proc/self/maps").Select(l => l[(l.IndexOf('/', StringComparison.Ordinal) + 1)..]).First(l => l.Contains("libc.so.6", StringComparison.Ordinal)) is var path ? "/" + path : "";

    /// <summary>Passes 1 to 5 of a script. With a kernel handler, one <c>getppid</c> call is made while it is live.</summary>
    public EngineOutcome Run(string script, Limits? limits = null, BpfFeatures? features = null) => Guarded(script, limits, features, plan =>
    {
        Waits = plan.Program.Probes.Any(p => p.Spec is ProfileSpec);
        var messages = new List<string>();
        try
        {
            using (var session = new Session(plan, Options(messages.Add)))
            {
                session.Run();
            }

            return Encoding.Latin1.GetString(File.ReadAllBytes(_output)) + string.Concat(messages.Where(Matters).Select(m => Neutral(m) + "\n"));
        }
        finally
        {
            File.Delete(_output);
        }
    });

    // A handler that was left out or output that was lost is no difference of engines, but must be seen.
    private static bool Matters(string message) => !message.StartsWith("WARNING: ", StringComparison.Ordinal)
        || message.StartsWith("WARNING: Skipped", StringComparison.Ordinal) || message.Contains(" lost", StringComparison.Ordinal);

    /// <summary>Passes 1 to 4: the verifier's opinion, nothing is attached.</summary>
    public EngineOutcome Load(string script, Limits? limits = null, BpfFeatures? features = null) => Guarded(script, limits, features, plan =>
    {
        if (plan.DataMap >= 0)
        {
            KernelSide.Load(plan, Options(static _ => { })).Dispose();
        }

        return "";
    });

    /// <summary>The plan of a script that must translate.</summary>
    public BpfPlan Plan(string script)
    {
        BpfPlan? plan = null;
        var outcome = Guarded(script, null, null, p =>
        {
            plan = p;
            return "";
        });
        return plan ?? throw new InvalidOperationException(outcome.Refusal);
    }

    private static bool Waits { get; set; }

    private SessionOptions Options(Action<string> diagnostics) => new()
    {
        OutputFile = _output,
        ShowGlobals = false,
        TableFolders = [TableFolder],
        Diagnostics = diagnostics,
        WhenLive = static () =>
        {
            getppid();

            // Samples come about a hundred times a second.
            if (Waits)
            {
                for (var until = Environment.TickCount64 + 30; Environment.TickCount64 < until;)
                {
                    getppid();
                }
            }
        },
    };

    // One at a time: test classes run side by side, the library keeps state and all sessions write to the same file.
    private EngineOutcome Guarded(string script, Limits? limits, BpfFeatures? features, Func<BpfPlan, string> use)
    {
        lock (this)
        {
            return Alone(script, limits, features, use);
        }
    }

    private EngineOutcome Alone(string script, Limits? limits, BpfFeatures? features, Func<BpfPlan, string> use)
    {
        var diagnostics = new DiagnosticBag();
        try
        {
            var program = Elaborate(script, limits ?? new Limits(), diagnostics);
            if (program is null)
            {
                return new EngineOutcome("", "refused: " + string.Join("; ", diagnostics.All.Where(d => d.Severity != Severity.Warning).Select(d => d.Message)), true);
            }

            return new EngineOutcome(use(BpfCompiler.Compile(program, _target, new BpfOptions
            {
                RingBytes = 1 << 18,
                Features = features ?? BpfFeatures.Modern,
                ReadTable = static name => Path.Combine(TableFolder, name + ".tbl") is var path && File.Exists(path) ? File.ReadAllText(path) : null,
            })));
        }
        catch (BpfCannotException e)
        {
            return new EngineOutcome("", "cannot: " + e.Message);
        }
        catch (VerifierException e)
        {
            return new EngineOutcome("", $"verifier: {e.Summary} (line {e.Mark?.Line})\n{(e.Log.Length > 3000 ? e.Log[^3000..] : e.Log)}", true);
        }
        catch (Exception e)
        {
            return new EngineOutcome("", "exception: " + e, true);
        }
    }

    private static string TableFolder { get; } = Path.Combine(Repository.Root, "tapset", "tables");

    private LoweredProgram? Elaborate(string script, Limits limits, DiagnosticBag diagnostics)
    {
        var file = Parser.Parse(new SourceText("<input>", script), new ParseOptions { GuruMode = true, Environment = _environment, Macros = _library.Macros }, diagnostics);
        if (file is null || diagnostics.HasErrors)
        {
            return null;
        }

        var resolver = new ProbeResolver(new ResolveScope(_target, diagnostics, false, "bpf"), _library, [file]);
        return Elaborator.Elaborate(new ElaborationInput
        {
            Files = [file],
            Library = _library,
            Expander = new ResolverExpander(resolver),
            TargetBinder = new TargetBinder(_target, diagnostics, limits.MaxStringLength),
            Target = _target,
            Diagnostics = diagnostics,
            Options = new ElaborationOptions { GuruMode = true, Limits = limits, Runtime = "bpf" },
        }).Program;
    }

    // The probe's name differs by nature.
    private static string Neutral(string message) => ProbeName().Replace(message, "in probe P");

    [GeneratedRegex("in probe .*")]
    private static partial Regex ProbeName();

    private static int GetPpid => RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.Arm64 ? 173 : 110;

    [LibraryImport("libc")]
    private static partial int getppid();

    [LibraryImport("libc")]
    private static partial int gettid();
}
