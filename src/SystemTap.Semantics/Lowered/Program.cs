using SystemTap.Language.Text;

namespace SystemTap.Semantics.Lowered;

// The hub of the system. Passes 1 and 2 end here, every engine starts here. The program is small and fully typed: all sugar
// (aliases, wildcards, conditions, @entry, $$vars, pretty printing, @defined, @cast, autocast, slices, printf formats,
// function overloads by arity) is gone. Nothing in it knows which engine will run it; engines add side tables keyed by the
// objects here and never change them.
//
// Strings are byte strings: each char is one byte, a NUL never occurs inside, MAXSTRINGLEN-1 is the longest.
// Longs are 64-bit signed and wrap.

/// <summary>A <c>%{ … %}</c> block outside functions.</summary>
/// <param name="Code">What stands between the brackets.</param>
/// <param name="Span">Where.</param>
public sealed record EmbeddedBlock(string Code, SourceSpan Span);

/// <summary>The static type of a value. Statistics never are values of expressions; only globals have that type.</summary>
public enum ScriptType
{
    /// <summary>No value: the result of a function without <c>return e</c>.</summary>
    Void,
    Long,
    String,

    /// <summary>An aggregate (<c>&lt;&lt;&lt;</c>).</summary>
    Statistics,
}

/// <summary>An elaborated script, ready for any engine.</summary>
public sealed class LoweredProgram
{
    /// <summary>Globals that are used, in order of declaration. <see cref="Global.Index"/> is the position here.</summary>
    public required IReadOnlyList<Global> Globals { get; init; }

    /// <summary>Functions that are called, callees before callers except in recursion.</summary>
    public required IReadOnlyList<Function> Functions { get; init; }

    /// <summary>Probes in order of declaration (after expansion). <see cref="Probe.Index"/> is the position here.</summary>
    public required IReadOnlyList<Probe> Probes { get; init; }

    /// <summary>Limits after <c>-D</c>.</summary>
    public required Limits Limits { get; init; }

    /// <summary>Regular expressions used; <see cref="RegexExpr.Regex"/> points into it.</summary>
    public IReadOnlyList<RegexPattern> Regexes { get; init; } = [];

    /// <summary>Top-level <c>%{ … %}</c> blocks in order (kernel-module runtime only).</summary>
    public IReadOnlyList<EmbeddedBlock> EmbeddedC { get; init; } = [];

    /// <summary>The counters that <c>@perf</c> reads, in the order of their numbers: the probes that name them, the first of each name.</summary>
    public IEnumerable<PerfSpec> Counters => PerfSpec.Counters(Probes.Select(p => p.Spec));

    /// <summary>The same program with other bodies of its probes (an engine's rewriting); everything else is shared.</summary>
    public LoweredProgram WithProbes(IReadOnlyList<Probe> probes) =>
        With(probes, Globals);

    /// <summary>The same program with other bodies of its probes and further globals behind those there are.</summary>
    public LoweredProgram With(IReadOnlyList<Probe> probes, IReadOnlyList<Global> globals) =>
        new() { Globals = globals, Functions = Functions, Probes = probes, Limits = Limits, Regexes = Regexes, EmbeddedC = EmbeddedC };
}

/// <summary>The parts of an aggregate that the script really reads, so that only those are kept.</summary>
public sealed class StatisticShape
{
    /// <summary>True when anything needs the number of samples (also min, max, avg and empty checks do).</summary>
    public bool Count { get; set; }

    public bool Sum { get; set; }

    public bool Min { get; set; }

    public bool Max { get; set; }

    public bool Variance { get; set; }

    /// <summary>Bits of scaling of the variance, 0…62.</summary>
    public int VarianceShift { get; set; }

    public HistogramKind Histogram { get; set; }

    /// <summary>Linear histograms: lowest value of the first bucket, highest value, bucket width.</summary>
    public long Low { get; set; }

    public long High { get; set; }

    public long Step { get; set; }

    /// <summary>Linear: (high − low) / step + 3, of which the first counts values below low and the last values above high. Log: 128, #64 is zero.</summary>
    public int BucketCount => Histogram switch
    {
        HistogramKind.Linear => (int)((High - Low) / Step) + 3,
        HistogramKind.Log => 128,
        _ => 0,
    };
}

public enum HistogramKind
{
    None,
    Linear,
    Log,
}

/// <summary>A global variable of the script or of a tapset.</summary>
public sealed class Global
{
    public required int Index { get; init; }

    public required string Name { get; init; }

    /// <summary>Type of the scalar or of the array's values.</summary>
    public required ScriptType Type { get; init; }

    /// <summary>Types of the keys, each Long or String; empty for a scalar.</summary>
    public IReadOnlyList<ScriptType> KeyTypes { get; init; } = [];

    public bool IsArray => KeyTypes.Count > 0;

    /// <summary>Most elements of an array (MAXMAPENTRIES unless declared).</summary>
    public int MaxEntries { get; init; }

    /// <summary>Declared with <c>%</c>: holds exactly <see cref="MaxEntries"/>, the oldest inserted is dropped.</summary>
    public bool Wraps { get; init; }

    public long InitialLong { get; init; }

    public string InitialString { get; init; } = "";

    /// <summary>For aggregates.</summary>
    public StatisticShape? Shape { get; init; }

    /// <summary>Declared in the tapset library: never shown at the end.</summary>
    public bool IsTapset { get; init; }

    /// <summary>Written by the user's script and never read: printed when the session ends.</summary>
    public bool ShowAtEnd { get; init; }

    /// <summary>Known to hold pointers: the end print uses hexadecimal.</summary>
    public bool HoldsPointers { get; init; }

    /// <summary>Never written after the start: engines may treat it as a constant of the session.</summary>
    public bool IsReadOnly { get; init; }

    /// <summary>
    /// Only the thread, or the CPU, in its first key ever touches an element: handlers need no lock for it. What <c>@entry</c> saves is such, and globals of the tapset
    /// whose names begin with <c>__own_</c>.
    /// </summary>
    public bool IsOwned { get; init; }

    /// <summary>Handlers of the kernel only ever add to its elements, none is deleted, and nobody else looks at them: an engine's own table of counts.</summary>
    public bool OnlyGrows { get; init; }

    public SourceSpan Span { get; init; }
}

/// <summary>A parameter or local variable of one function or probe body.</summary>
public sealed class Local(int index, string name, ScriptType type)
{
    /// <summary>Position in the owner's <c>Locals</c>.</summary>
    public int Index { get; } = index;

    public string Name { get; } = name;

    public ScriptType Type { get; } = type;
}

/// <summary>A script function. Parameters are the first locals; all other locals start as 0 or "".</summary>
public sealed class Function
{
    public required string Name { get; init; }

    public required int ParameterCount { get; init; }

    public required IReadOnlyList<Local> Locals { get; init; }

    /// <summary>Void, Long or String. Falling off the end returns 0 or "".</summary>
    public required ScriptType ReturnType { get; init; }

    /// <summary>Set once, after all functions exist (calls may be recursive).</summary>
    public Stmt Body { get; set; } = BlockStmt.Empty;

    /// <summary>C text of a body <c>%{ … %}</c> (kernel-module runtime only), or null for script.</summary>
    public string? EmbeddedCode { get; init; }

    /// <summary>Calls itself, directly or through others.</summary>
    public bool IsRecursive { get; set; }

    /// <summary>What <c>next</c> tries with the same arguments; null: run-time error "all functions exhausted".</summary>
    public Function? NextOverload { get; set; }

    /// <summary>Has no effect but its result and cannot fail; may be evaluated later, elsewhere or never.</summary>
    public bool IsPure { get; set; }

    public bool IsTapset { get; init; }

    public SourceSpan Span { get; init; }
}

/// <summary>One resolved probe: what to attach to and the handler. The probe's condition is already the outermost <c>if</c> of the body.</summary>
public sealed class Probe
{
    public required int Index { get; init; }

    /// <summary>The event, as plain data.</summary>
    public required ProbeSpec Spec { get; init; }

    /// <summary>The fully resolved probe point, what <c>pp()</c> returns and errors name: <c>kernel.trace("sched:sched_switch")</c>.</summary>
    public required string PointText { get; init; }

    /// <summary>The point as the script spells it after wildcard expansion, what <c>pn()</c> returns and <c>-l</c> lists: <c>syscall.read</c>.</summary>
    public required string Name { get; init; }

    public required IReadOnlyList<Local> Locals { get; init; }

    public required Stmt Body { get; init; }

    /// <summary>The condition, when there is one (also part of <see cref="Body"/>): engines may disarm the probe while it is false.</summary>
    public Expr? Condition { get; init; }

    public SourceSpan Span { get; init; }

    /// <summary>The same probe with another handler.</summary>
    /// <param name="body">What it does.</param>
    /// <param name="added">Further locals, numbered on from those there are.</param>
    public Probe With(Stmt body, IReadOnlyList<Local>? added = null) => new()
    {
        Index = Index, Spec = Spec, PointText = PointText, Name = Name, Locals = added is null ? Locals : [.. Locals, .. added], Body = body, Condition = Condition, Span = Span,
    };
}

/// <summary>A compiled-in regular expression.</summary>
public sealed class RegexPattern(int index, string pattern)
{
    public int Index { get; } = index;

    /// <summary>POSIX ERE text after string escapes.</summary>
    public string Pattern { get; } = pattern;

    /// <summary>The script asks for <c>matched()</c> or <c>ngroups()</c> somewhere.</summary>
    public bool NeedsGroups { get; set; }
}

/// <summary>The limits of a session, with SystemTap's names and defaults, after <c>-D</c>.</summary>
public sealed record Limits
{
    /// <summary>Bytes of a string including its NUL.</summary>
    public int MaxStringLength { get; init; } = 512;

    /// <summary>Statements and iterations of one handler run; 10 × MAXACTION, as in the default INTERRUPTIBLE=1 build.</summary>
    public int MaxAction { get; init; } = 10000;

    /// <summary>Depth of function calls; 0: the deepest chain of the program (+10 when recursive).</summary>
    public int MaxNesting { get; init; }

    public int MaxMapEntries { get; init; } = 2048;

    public int MaxErrors { get; init; }

    public int MaxSkipped { get; init; } = 100;

    /// <summary>Tries to get a lock.</summary>
    public int MaxTryLock { get; init; } = 100;

    /// <summary>Microseconds between tries.</summary>
    public int TryLockDelay { get; init; } = 10;

    public int HistWidth { get; init; } = 50;

    public int HistElision { get; init; } = 2;

    public int MaxBackTrace { get; init; } = 20;

    public int ProcfsBufferSize { get; init; }

    /// <summary>MAXACTION off (<c>--suppress-time-limits</c>).</summary>
    public bool SuppressTimeLimits { get; init; }

    /// <summary>All <c>-D NAME=VALUE</c> as given, for engines with further knobs.</summary>
    public IReadOnlyDictionary<string, string> Defines { get; init; } = new Dictionary<string, string>();
}
