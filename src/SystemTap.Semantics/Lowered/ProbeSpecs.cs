namespace SystemTap.Semantics.Lowered;

/// <summary>
/// What a probe attaches to, as plain data: the output of a probe family, the input of an engine's attach code. One record per kind of
/// event; an engine that cannot attach a kind says so with the probe's place.
/// </summary>
public abstract record ProbeSpec
{
    /// <summary>True for events whose handlers run inside the kernel (or a traced process); false for those a BPF session runs in <c>stap</c> itself.</summary>
    public abstract bool RunsInKernel { get; }

    /// <summary>Short name of the mechanism, what <c>probe_type()</c> returns.</summary>
    public abstract string MechanismName { get; }
}

public enum SessionEvent
{
    Begin,
    End,

    /// <summary>Runs instead of <see cref="End"/> after errors.</summary>
    Error,

    /// <summary>Checked, never run.</summary>
    Never,
}

/// <summary><c>begin end error never</c>; lower <paramref name="Priority"/> runs first, equal ones in script order.</summary>
public sealed record SessionSpec(SessionEvent Event, long Priority) : ProbeSpec
{
    public override bool RunsInKernel => false;

    public override string MechanismName => Event switch
    {
        SessionEvent.Begin => "begin",
        SessionEvent.End => "end",
        SessionEvent.Error => "error",
        _ => "never",
    };
}

/// <summary><c>timer.s/ms/us/ns/hz/jiffies</c>: fires every interval ± randomize (uniform).</summary>
/// <param name="IntervalNs">Nanoseconds.</param>
/// <param name="RandomizeNs">Nanoseconds, 0 for none.</param>
public sealed record TimerSpec(long IntervalNs, long RandomizeNs) : ProbeSpec
{
    public override bool RunsInKernel => false;

    public override string MechanismName => "timer";
}

/// <summary><c>timer.profile</c>: every CPU, each tick or at a frequency, in the interrupted context.</summary>
/// <param name="FrequencyHz">Samples per second and CPU.</param>
public sealed record ProfileSpec(long FrequencyHz) : ProbeSpec
{
    public override bool RunsInKernel => true;

    public override string MechanismName => "timer_profile";
}

/// <summary>A kernel tracepoint, attached raw with typed arguments.</summary>
/// <param name="Name">Without system: <c>sched_switch</c>.</param>
/// <param name="System">Such as <c>sched</c>, or null when the tracepoint has no trace event.</param>
public sealed record TracepointSpec(string Name, string? System) : ProbeSpec
{
    public override bool RunsInKernel => true;

    public override string MechanismName => "tracepoint";
}

/// <summary>Entry or return of system calls through the sys_enter/sys_exit tracepoints.</summary>
/// <param name="Number">Native system-call number; −1: every call.</param>
/// <param name="Name">Name in the architecture's table; empty for every call.</param>
/// <param name="IsReturn">True: at return.</param>
/// <param name="IsCompat">True: number in the 32-bit table.</param>
public sealed record SyscallSpec(int Number, string Name, bool IsReturn, bool IsCompat) : ProbeSpec
{
    public override bool RunsInKernel => true;

    public override string MechanismName => IsReturn ? "syscall_return" : "syscall";

    /// <summary>Which processes; null: all (or, with -c/-x and a process probe, the target's tree).</summary>
    public ProcessFilter? Processes { get; init; }
}

public enum ProcessEvent
{
    /// <summary>A process starts running a program (exec, or fork of a watched one), and once for each that already runs when the session starts.</summary>
    Begin,

    /// <summary>The last thread of a process ends.</summary>
    End,
    ThreadBegin,
    ThreadEnd,
}

/// <summary><c>process….begin/.end/.thread.begin/.thread.end</c></summary>
public sealed record ProcessSpec(ProcessEvent Event, ProcessFilter Filter) : ProbeSpec
{
    public override bool RunsInKernel => true;

    public override string MechanismName => "process";
}

/// <summary>Which processes a process probe means.</summary>
public abstract record ProcessFilter
{
    /// <summary>Every process; with <c>-c</c>/<c>-x</c> the target's process tree.</summary>
    public sealed record All : ProcessFilter;

    /// <summary>Processes whose executable is this file (absolute, symbolic links resolved).</summary>
    public sealed record Executable(string Path) : ProcessFilter;

    /// <summary>One process.</summary>
    public sealed record Pid(int Id) : ProcessFilter;
}

/// <summary><c>perf.type(T).config(C)</c> and the <c>perf.sw.*</c>, <c>perf.hw.*</c> aliases.</summary>
/// <param name="Type">perf_event_attr.type.</param>
/// <param name="Config">perf_event_attr.config.</param>
public sealed record PerfSpec(uint Type, ulong Config) : ProbeSpec
{
    public override bool RunsInKernel => true;

    public override string MechanismName => "perf";

    /// <summary>Sample every N events; 0 when <see cref="FrequencyHz"/> is used.</summary>
    public long SamplePeriod { get; init; }

    public long FrequencyHz { get; init; }

    /// <summary>Only while these processes run; null: everything.</summary>
    public ProcessFilter? Processes { get; init; }

    /// <summary>Name of a counter that is only read by <c>@perf</c>; then the probe has no handler of its own.</summary>
    public string? CounterName { get; init; }
}

/// <summary><c>procfs("PATH").read/.write</c>, also <c>input.char/line</c> (path <c>__stdin</c>).</summary>
/// <param name="Path">Path below the session's folder.</param>
/// <param name="IsWrite">True: the handler runs when someone writes and reads <c>$value</c>; false: it assigns <c>$value</c>, which the reader gets.</param>
public sealed record ProcfsSpec(string Path, bool IsWrite) : ProbeSpec
{
    public override bool RunsInKernel => false;

    public override string MechanismName => "procfs";

    public int Umask { get; init; }

    /// <summary>Bytes of the largest text; 0: STP_PROCFS_BUFSIZE.</summary>
    public int MaxSize { get; init; }

    /// <summary>For reads: the local of the probe that holds <c>$value</c> when the handler ends.</summary>
    public Local? Value { get; init; }
}
