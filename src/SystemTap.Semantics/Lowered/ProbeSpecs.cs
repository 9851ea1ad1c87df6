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

    /// <summary>The counters that <c>@perf</c> reads, in the order of their numbers: of the probes that name one, the first of each name.</summary>
    public static IEnumerable<PerfSpec> Counters(IEnumerable<ProbeSpec?> probes) => probes.OfType<PerfSpec>().Where(s => s.CounterName is not null).DistinctBy(s => s.CounterName);

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

/// <summary>How a kernel function probe may be attached.</summary>
public enum KernelAttachKind
{
    /// <summary>The engine chooses (<c>kernel.function</c>, <c>module().function</c>): fentry, kprobe_multi, fprobe, kprobe.</summary>
    Any,

    /// <summary>A kprobe or kretprobe is asked for (<c>kprobe.*</c>, statements, addresses).</summary>
    Kprobe,

    /// <summary>An LSM hook (<c>kernel.lsm("HOOK")</c>); BPF only.</summary>
    Lsm,
}

/// <summary>A place in kernel code: a function's entry, its return, or one instruction.</summary>
/// <param name="Symbol">Function symbol; empty for an absolute address.</param>
/// <param name="Module">Module name as in /proc/modules, or null for the kernel image.</param>
/// <param name="Offset">Bytes from the symbol to the instruction; 0 for the entry.</param>
/// <param name="IsReturn">True: when the function returns.</param>
public sealed record KernelFunctionSpec(string Symbol, string? Module, long Offset, bool IsReturn) : ProbeSpec
{
    public override bool RunsInKernel => true;

    public override string MechanismName => IsReturn ? "kretprobe" : "kprobe";

    public KernelAttachKind Kind { get; init; }

    /// <summary>Absolute address (live kernel's, or as given by <c>.statement(0xADDR).absolute</c>); 0 when only the symbol is known.</summary>
    public ulong Address { get; init; }

    /// <summary>Id of the FUNC in the BTF of the kernel (or of <see cref="Module"/>); 0 when there is none. Entry arguments and fentry need it.</summary>
    public int BtfFunction { get; init; }

    /// <summary><c>.maxactive(N)</c>; 0: the engine's default.</summary>
    public int MaxActive { get; init; }

    /// <summary>One of a pattern of which it is not known here whether it can be probed: left out without a word where it cannot.</summary>
    public bool IsGuess { get; init; }
}

/// <summary>A place in a user-space file: a function's entry, its return, a statement, a mark or a PLT entry.</summary>
/// <param name="Path">The ELF file, absolute, symbolic links resolved.</param>
/// <param name="FileOffset">Offset in the file of the instruction (what uprobes take).</param>
/// <param name="IsReturn">True: when the function at that offset returns.</param>
/// <param name="Processes">Which processes; <see cref="ProcessFilter.All"/> with an explicit path means every process that maps the file.</param>
public sealed record UserFunctionSpec(string Path, long FileOffset, bool IsReturn, ProcessFilter Processes) : ProbeSpec
{
    public override bool RunsInKernel => true;

    public override string MechanismName => IsReturn ? "uretprobe" : "uprobe";

    /// <summary>Name of the function or mark, for <c>ppfunc()</c> and messages.</summary>
    public string Symbol { get; init; } = "";

    /// <summary>
    /// With <see cref="IsReturn"/>: file offsets of the instructions that return, to be probed instead of the return address, because the program walks its
    /// own stack (exceptions, Go). Null: an ordinary return probe at <see cref="FileOffset"/>.
    /// </summary>
    public IReadOnlyList<long>? ReturnSites { get; init; }

    /// <summary>Where the arguments on the stack begin when the place is not a function's first instruction; null there, and where it is not known.</summary>
    public StackArguments? StackArguments { get; init; }

    /// <summary>File offset of the mark's 16-bit semaphore, 0 for none: the kernel increments it while the probe is attached.</summary>
    public long SemaphoreOffset { get; init; }
}

/// <summary>The address of a function's first argument on the stack.</summary>
/// <param name="Register">Byte offset in pt_regs of the register it counts from.</param>
/// <param name="Displacement">Bytes added to that register.</param>
/// <param name="Width">Bytes of each; 4: a 32-bit program, which has all of them on the stack.</param>
public sealed record StackArguments(int Register, int Displacement, int Width = 8);

/// <summary>A hardware watchpoint: <c>kernel.data(ADDR | "SYMBOL").length(N).write/.rw</c>. Module runtime and BPF (perf breakpoint events).</summary>
/// <param name="Address">Kernel address.</param>
/// <param name="Length">1, 2, 4 or 8 bytes.</param>
/// <param name="OnRead">Also on reads.</param>
public sealed record WatchpointSpec(ulong Address, int Length, bool OnRead) : ProbeSpec
{
    public override bool RunsInKernel => true;

    public override string MechanismName => "hwbkpt";

    /// <summary>The symbol watched, when the script named one.</summary>
    public string Symbol { get; init; } = "";
}

/// <summary><c>netfilter.hook("H").pf("F").priority("N")</c>.</summary>
/// <param name="Hook">Hook number (NF_INET_…).</param>
/// <param name="Family">Protocol family (NFPROTO_…).</param>
/// <param name="Priority">Order among hooks; lower runs first.</param>
public sealed record NetfilterSpec(int Hook, int Family, int Priority) : ProbeSpec
{
    public override bool RunsInKernel => true;

    public override string MechanismName => "netfilter";
}
