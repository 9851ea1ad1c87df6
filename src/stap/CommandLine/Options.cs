using SystemTap.Semantics.Probes;

namespace SystemTap.Cli.CommandLine;

/// <summary>What a run of <c>stap</c> is for.</summary>
internal enum Mode
{
    Run,

    /// <summary><c>-l</c></summary>
    List,

    /// <summary><c>-L</c></summary>
    ListWithVariables,
    DumpProbeTypes,
    DumpProbeAliases,
    DumpFunctions,
    Help,
    Version,
    CleanCache,

    /// <summary><c>-i</c></summary>
    Interactive,
}

/// <summary>The command line as data. Defaults are SystemTap's.</summary>
internal sealed class Options
{
    public Mode Mode { get; set; } = Mode.Run;

    /// <summary>The main script's file name, <c>-</c> for standard input; null with <c>-e</c>.</summary>
    public string? ScriptFile { get; set; }

    /// <summary>The text of <c>-e</c>.</summary>
    public string? ScriptText { get; set; }

    /// <summary>Texts of <c>-E</c>.</summary>
    public List<string> AdditionalScripts { get; } = [];

    /// <summary>The pattern of <c>-l</c>/<c>-L</c>.</summary>
    public string? ListPattern { get; set; }

    /// <summary>Words after the script: <c>$1 @1 …</c>.</summary>
    public List<string> ScriptArguments { get; } = [];

    /// <summary>Last pass to run, 1–5.</summary>
    public int LastPass { get; set; } = 5;

    /// <summary>Verbosity of pass 1–5 at index 0–4.</summary>
    public int[] Verbosity { get; } = new int[5];

    public bool Guru { get; set; }

    public bool Unoptimized { get; set; }

    public bool SuppressWarnings { get; set; }

    public bool WarningsAreErrors { get; set; }

    public bool KeepTemporary { get; set; }

    /// <summary>A module without a signature is of no use.</summary>
    public bool MustSign { get; set; }

    public bool Timing { get; set; }

    /// <summary><c>--example</c>: the script is one of the examples that come with stap.</summary>
    public bool Example { get; set; }

    /// <summary><c>-b</c>: a file of output for each CPU.</summary>
    public bool Bulk { get; set; }

    /// <summary><c>-s</c>: megabytes per CPU; 0: automatic.</summary>
    public int BufferMegabytes { get; set; }

    public List<string> IncludeDirectories { get; } = [];

    public string? RuntimeDirectory { get; set; }

    public string? KernelRelease { get; set; }

    public string? Architecture { get; set; }

    /// <summary><c>-D NAME=VALUE</c>, in order.</summary>
    public List<(string Name, string Value)> Defines { get; } = [];

    /// <summary><c>-B NAME=VALUE</c></summary>
    public List<string> BuildVariables { get; } = [];

    /// <summary><c>--modinfo NAME=VALUE</c>: further lines of a module's information.</summary>
    public List<string> ModuleInformation { get; } = [];

    /// <summary><c>-G name=value</c>, in order.</summary>
    public List<(string Name, string Value)> Globals { get; } = [];

    public string? ModuleName { get; set; }

    public List<string> DebugObjects { get; } = [];

    public bool AllModules { get; set; }

    public bool Ldd { get; set; }

    public string? OutputFile { get; set; }

    /// <summary><c>-S</c>: bytes at which the output file is changed; 0: never.</summary>
    public long RotateBytes { get; set; }

    /// <summary><c>-S SIZE,N</c>: files kept; 0: all.</summary>
    public int RotateKeep { get; set; }

    public bool FlightRecorder { get; set; }

    public string? Command { get; set; }

    public int TargetPid { get; set; }

    /// <summary><c>--target-namespaces</c>: the process whose namespaces ns_… functions speak of.</summary>
    public int? NamespacesOf { get; set; }

    /// <summary><c>-T</c>; 0: no limit.</summary>
    public double TimeoutSeconds { get; set; }

    /// <summary>"auto", "bpf" or "kernel".</summary>
    public string Runtime { get; set; } = "auto";

    public Privilege Privilege { get; set; } = Privilege.Developer;

    public string? CompatibleVersion { get; set; }

    public bool SkipBadVariables { get; set; }

    public bool SuppressHandlerErrors { get; set; }

    public bool SuppressTimeLimits { get; set; }

    public bool ShowGlobals { get; set; } = true;

    public bool Color { get; set; }

    /// <summary><c>--rlimit-NAME=N</c>: as, cpu, nproc, stack, fsize.</summary>
    public List<(string Name, long Value)> ResourceLimits { get; } = [];

    /// <summary><c>--semantic-keep-going</c>: the errors of pass 2 also as a list for programs.</summary>
    public bool SemanticKeepGoing { get; set; }

    /// <summary>False for <c>--disable-cache</c>.</summary>
    public bool UseModuleCache { get; set; } = true;

    public bool CheckVersion { get; set; }

    /// <summary>True when pass <paramref name="pass"/> (1–5) has at least this verbosity.</summary>
    public bool Verbose(int pass, int level = 1) => Verbosity[pass - 1] >= level;
}

/// <summary>The command line cannot be used: message and what to do.</summary>
internal sealed class UsageException(string message, string? hint = null) : Exception(message)
{
    public string? Hint { get; } = hint;
}
