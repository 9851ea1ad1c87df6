using Linux.Bpf;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Plan;

// What pass 3 hands to pass 4 and 5: plain data, made without touching the running kernel. The loader (SystemTap.Runtime) creates the
// maps, loads the programs with the maps' descriptors filled in, attaches, and reads records and globals by the layouts here.

/// <summary>A translated script.</summary>
public sealed record BpfPlan
{
    public required LoweredProgram Program { get; init; }

    /// <summary>Maps by id.</summary>
    public required IReadOnlyList<MapPlan> Maps { get; init; }

    /// <summary>Programs in the order to load. Attach order: tail-call slots first, then the rest in this order.</summary>
    public required IReadOnlyList<ProgramPlan> Programs { get; init; }

    /// <summary>Where each global lives, by <see cref="Global.Index"/>.</summary>
    public required IReadOnlyList<GlobalStorage> Globals { get; init; }

    /// <summary>Print statements of kernel handlers, by site number.</summary>
    public required IReadOnlyList<PrintSite> PrintSites { get; init; }

    /// <summary>Places where kernel handlers can raise an error nobody catches, by site number.</summary>
    public required IReadOnlyList<ErrorSite> ErrorSites { get; init; }

    /// <summary>Places of calls, by the numbers in error records less one.</summary>
    public IReadOnlyList<SourceSpan> CallSites { get; init; } = [];

    /// <summary>Probes whose handlers stap runs itself.</summary>
    public required IReadOnlyList<Probe> HostProbes { get; init; }

    /// <summary>Id of the mmap-able array that holds <see cref="ControlBlock"/> and the scalars; −1 when no kernel program exists (then globals live in stap).</summary>
    public required int DataMap { get; init; }

    /// <summary>Id of the ring buffer; −1 when nothing is sent.</summary>
    public required int RingMap { get; init; }

    /// <summary>Bytes of the data map's value.</summary>
    public required int DataSize { get; init; }

    /// <summary>Map pid (u32) → u32 of the target's process tree; −1 when the script needs none.</summary>
    public int TargetSetMap { get; init; } = -1;

    /// <summary>Map that takes the perf events of the program's counters, to be started on each CPU: number of the counter × possible CPUs + CPU; -1 when there is none.</summary>
    public int CounterMap { get; init; } = -1;

    /// <summary>Handlers send user stacks: stap must know what processes have mapped.</summary>
    public bool SendsStacks { get; init; }

    /// <summary>Names in programs are asked for.</summary>
    public bool NamesPrograms { get; init; }

    /// <summary>
    /// Handlers of stap that touch several globals of kernel handlers and yet cannot be run inside the kernel, with the reason: their single accesses are
    /// atomic, the whole handler is not.
    /// </summary>
    public IReadOnlyList<(Probe Probe, BpfCannotException Reason)> LeftToHost { get; init; } = [];

    /// <summary>Tables in which the kernel counts for arrays of stap; see <see cref="CountTable"/>.</summary>
    public IReadOnlyList<CountTable> CountTables { get; init; } = [];

    /// <summary>Probes of stap that use an array with such a table: its sums are taken before they run.</summary>
    public IReadOnlySet<Probe> CountReaders { get; init; } = new HashSet<Probe>();

    /// <summary>Source texts that marks of the programs' code point into (<c>SourceMark.File</c> is the position here): what <c>ProgramSpec.Sources</c> is made from.</summary>
    public IReadOnlyList<SourceText> Sources { get; init; } = [];
}

/// <summary>Fixed head of the data map: words of 8 bytes shared by stap and all programs. Offsets in bytes.</summary>
public static class ControlBlock
{
    /// <summary>0 while starting (handlers return at once), 1 running, 2 stopping (handlers return at once).</summary>
    public const int State = 0;

    /// <summary>Run-time errors raised and not caught.</summary>
    public const int Errors = 8;

    /// <summary>Records that did not fit in the ring.</summary>
    public const int LostRecords = 16;

    /// <summary>Handler runs skipped because a lock was not had in time.</summary>
    public const int SkippedLock = 24;

    /// <summary>Handler runs skipped because no frame was free (re-entry).</summary>
    public const int SkippedReentry = 32;

    /// <summary>Strings cut to their capacity where the script could have seen the rest.</summary>
    public const int TruncatedStrings = 40;

    /// <summary>target(): pid of -x/-c, 0 for none. Written by stap before the programs run.</summary>
    public const int TargetPid = 48;

    /// <summary>Nanoseconds to add to the boot-time clock to get wall-clock time; stap keeps it fresh.</summary>
    public const int WallOffset = 56;

    /// <summary>Next insertion sequence number of array elements.</summary>
    public const int Sequence = 64;

    /// <summary>Pid of stap itself (its own system calls may be left out of feedback loops).</summary>
    public const int StapPid = 72;

    /// <summary>Word of the first lock of handlers that need several globals at once: 0 free, else 1 + the CPU of the exclusive holder.</summary>
    public const int Lock = 80;

    /// <summary>Reads of user strings that failed because the page was not resident.</summary>
    public const int NonResidentReads = 88;

    /// <summary>Error site + 1 of the first string that was cut, 0 when none was.</summary>
    public const int FirstTruncation = 96;

    /// <summary>First byte after the block: 256. Words 104…255 are free for later work. Further locks stand behind the scalars, see Storage.</summary>
    public const int Size = 256;
}

/// <summary>A map to create.</summary>
public sealed record MapPlan(int Id, string Name, uint Type, int KeySize, int ValueSize, int MaxEntries, uint Flags)
{
    /// <summary>First content of array maps (element after element), or null for zeros. For per-CPU arrays every CPU gets it.</summary>
    public byte[]? Contents { get; init; }

    /// <summary>Frozen after filling, read-only for programs.</summary>
    public bool IsConstant { get; init; }

    /// <summary>What to tell the user when the kernel finds the map too large (E2BIG); null: its own words.</summary>
    public string? WhenTooLarge { get; init; }

    /// <summary>Inner map of a map-in-map.</summary>
    public int InnerMapId { get; init; } = -1;
}

/// <summary>A program to load and attach.</summary>
public sealed record ProgramPlan(string Name, uint ProgramType, AssembledCode Code, AttachPlan Attach, IReadOnlyList<Probe> Probes)
{
    /// <summary>expected_attach_type.</summary>
    public uint ExpectedAttachType { get; init; }

    /// <summary>attach_btf_id for tp_btf and fentry programs.</summary>
    public int AttachBtfId { get; init; }
}

/// <summary>How a program is attached.</summary>
public abstract record AttachPlan
{
    /// <summary>Raw tracepoint (tp_btf when the program has an attach_btf_id).</summary>
    public sealed record RawTracepoint(string Tracepoint) : AttachPlan;

    /// <summary>A perf event on every online CPU, or for one process with inherit.</summary>
    public sealed record PerfEvent(uint Type, ulong Config, long SamplePeriod, long FrequencyHz, int Pid = -1) : AttachPlan
    {
        /// <summary>Address of a hardware watchpoint; 0 for other events.</summary>
        public ulong BreakpointAddress { get; init; }

        public int BreakpointLength { get; init; }

        /// <summary>Reads trigger it too.</summary>
        public bool BreakpointOnRead { get; init; }
    }

    /// <summary>fentry, fexit or an LSM hook: the program names its function by BTF id.</summary>
    public sealed record Trampoline : AttachPlan;

    /// <summary>Kprobes or kretprobes, each with a cookie: one link for all (kprobe_multi) or a perf event for each; in modules an event of tracefs.</summary>
    /// <param name="Places">Where.</param>
    /// <param name="AtReturn">When the functions return.</param>
    /// <param name="IsMulti">The program was made for kprobe_multi.</param>
    public sealed record KernelFunctions(IReadOnlyList<KernelPlace> Places, bool AtReturn, bool IsMulti) : AttachPlan;

    /// <summary>Places in a user-space file. uprobe_multi when the program's expected attach type says so, else one perf event for each place.</summary>
    /// <param name="Path">The file.</param>
    /// <param name="Sites">Places with their cookies.</param>
    /// <param name="IsReturn">When the functions there return.</param>
    /// <param name="Pid">Only in this process; 0: in all.</param>
    public sealed record Uprobe(string Path, IReadOnlyList<UprobeSite> Sites, bool IsReturn, int Pid) : AttachPlan;

    /// <summary>A hook of the network stack.</summary>
    /// <param name="Families">NFPROTO numbers: one link for each.</param>
    /// <param name="Hook">Number of the hook.</param>
    /// <param name="Priority">The first that may be used.</param>
    public sealed record Netfilter(IReadOnlyList<int> Families, int Hook, int Priority) : AttachPlan;

    /// <summary>Entry of a program array.</summary>
    public sealed record TailCall(int MapId, int Index) : AttachPlan;

    /// <summary>Run once for each task when the session starts (a BPF iterator).</summary>
    public sealed record TaskWalk : AttachPlan;

    /// <summary>Not attached: stap runs it by BPF_PROG_TEST_RUN when the probe's time has come, because the handler needs a lock.</summary>
    public sealed record OnDemand : AttachPlan;
}

/// <summary>A place in a user-space file.</summary>
/// <param name="Offset">In the file.</param>
/// <param name="Semaphore">File offset of a counter the kernel raises while attached; 0 for none.</param>
/// <param name="Cookie">What the program reads to tell places apart.</param>
/// <param name="Symbol">The function or mark, for messages.</param>
public readonly record struct UprobeSite(long Offset, long Semaphore, ulong Cookie, string Symbol);

/// <summary>An instruction of the kernel.</summary>
/// <param name="Symbol">The function, for messages and where the address is not known.</param>
/// <param name="Offset">Bytes into it.</param>
/// <param name="Address">Address of the instruction; 0: by symbol and offset.</param>
/// <param name="Cookie">What bpf_get_attach_cookie gives there.</param>
/// <param name="Module">The module it is attached in whenever that is loaded; null in the kernel itself, and for places that are attached once.</param>
public readonly record struct KernelPlace(string Symbol, long Offset, ulong Address, ulong Cookie, string? Module = null);

/// <summary>Where and how a global is stored.</summary>
public abstract record GlobalStorage(Global Global)
{
    /// <summary>In stap's own memory: no kernel handler touches it.</summary>
    public sealed record HostOnly(Global Global) : GlobalStorage(Global);

    /// <summary>Scalar in the data map at <paramref name="Offset"/>: 8 bytes, or <paramref name="Capacity"/> zero-padded bytes of a string.</summary>
    public sealed record Scalar(Global Global, int Offset, int Capacity) : GlobalStorage(Global);

    /// <summary>Scalar aggregate: the only element of a per-CPU array.</summary>
    public sealed record ScalarStatistics(Global Global, int MapId, StatLayout Layout) : GlobalStorage(Global);

    /// <summary>Array of longs or strings: hash map of <see cref="KeyLayout"/> to an 8-byte insertion sequence number and the value.</summary>
    /// <param name="ValueCapacity">Bytes of a string value (multiple of 8), 8 for a long.</param>
    /// <param name="ByHash">The map's key is an 8-byte hash of the key, which itself stands behind the value.</param>
    public sealed record Array(Global Global, int MapId, KeyLayout Key, int ValueCapacity, bool ByHash = false) : GlobalStorage(Global)
    {
        /// <summary>Offset of the value in the map's value; the sequence number is at 0.</summary>
        public const int ValueOffset = 8;

        /// <summary>Offset of the key in the map's value, when it is found by its hash.</summary>
        public int KeyOffset => ValueOffset + ValueCapacity;
    }

    /// <summary>Array of aggregates: per-CPU hash of <see cref="KeyLayout"/> to 8 bytes of insertion sequence (0 on CPUs that did not insert) and a <see cref="StatLayout"/> block at 8.</summary>
    /// <param name="ByHash">The map's key is an 8-byte hash of the key, which itself stands behind the block of each CPU that inserted (and may differ from CPU to CPU).</param>
    public sealed record StatisticsArray(Global Global, int MapId, KeyLayout Key, StatLayout Layout, bool ByHash = false) : GlobalStorage(Global)
    {
        /// <summary>Offset of the block in the value of one CPU; the sequence number is at 0.</summary>
        public const int BlockOffset = 8;

        /// <summary>Offset of the key in the value of one CPU, when it is found by its hash.</summary>
        public int KeyOffset => BlockOffset + Layout.Size;

        /// <summary>Bytes of the value of one CPU.</summary>
        public int ValueSize => KeyOffset + (ByHash ? Key.Size : 0);
    }
}

/// <summary>
/// Counts by texts that only stap can make (stacks and names of the kernel): handlers add to <paramref name="Table"/>, whose keys are what the texts are made from; stap makes the keys of
/// <paramref name="Array"/> and adds what has come since. Elements of the table are never deleted.
/// </summary>
/// <param name="Table">Has the values and shape of the array.</param>
/// <param name="Array">The script's, in stap's memory.</param>
/// <param name="Keys">Keys of the array, over <see cref="LeafExpr"/>s that are the table's keys.</param>
/// <param name="Stacks">Which of the table's keys are addresses, eight bytes each, rather than text.</param>
/// <param name="Span">The first addition.</param>
/// <param name="PointText">The probe it is in.</param>
public sealed record CountTable(Global Table, Global Array, IReadOnlyList<Expr> Keys, IReadOnlyList<bool> Stacks, SourceSpan Span, string PointText);

/// <summary>Layout of a map key: each part 8-byte aligned; longs 8 bytes, strings zero-padded to their capacity (multiple of 8, NUL included).</summary>
/// <param name="Capacities">Per key: 8 for longs, capacity for strings.</param>
public sealed record KeyLayout(IReadOnlyList<ScriptType> Types, IReadOnlyList<int> Capacities)
{
    /// <summary>Bytes of the key.</summary>
    public int Size { get; } = Capacities.Sum();
}

/// <summary>Offsets in the block one CPU keeps of an aggregate; −1: not kept. All are 8-byte words.</summary>
public sealed record StatLayout(StatisticShape Shape)
{
    public int Count { get; init; } = -1;

    public int Sum { get; init; } = -1;

    /// <summary>Starts as long.MaxValue.</summary>
    public int Min { get; init; } = -1;

    /// <summary>Starts as long.MinValue.</summary>
    public int Max { get; init; } = -1;

    /// <summary>Two words: running mean and sum of squared deviations, scaled by the shape's shift.</summary>
    public int Variance { get; init; } = -1;

    /// <summary>First bucket.</summary>
    public int Buckets { get; init; } = -1;

    /// <summary>Bytes in all.</summary>
    public int Size { get; init; }

    /// <summary>Lays out the parts a shape asks for.</summary>
    public static StatLayout For(StatisticShape shape)
    {
        var at = 0;
        int Take(bool wanted, int words)
        {
            if (!wanted)
            {
                return -1;
            }

            var here = at;
            at += 8 * words;
            return here;
        }

        // The count is always kept: emptiness is observable (`in`, printing, "empty aggregate").
        return new StatLayout(shape)
        {
            Count = Take(true, 1),
            Sum = Take(shape.Sum || shape.Variance, 1),
            Min = Take(shape.Min, 1),
            Max = Take(shape.Max, 1),
            Variance = Take(shape.Variance, 2),
            Buckets = Take(shape.Histogram != HistogramKind.None, shape.BucketCount),
            Size = at,
        };
    }
}

/// <summary>
/// A print of a kernel handler. The kernel sends only <see cref="Leaves"/>; stap evaluates <see cref="Arguments"/> over them and formats.
/// So <c>printf("%s", errno_str(e))</c> costs the handler eight bytes.
/// </summary>
/// <param name="Segments">The format.</param>
/// <param name="Arguments">Expressions whose only inputs are <see cref="LeafExpr"/>s and deferrable intrinsics and pure functions.</param>
/// <param name="Leaves">Types of the values in the record, in order.</param>
public sealed record PrintSite(int Number, IReadOnlyList<SystemTap.Language.Syntax.FormatSegment> Segments, IReadOnlyList<Expr> Arguments, IReadOnlyList<ScriptType> Leaves, SourceSpan Span)
{
    /// <summary>Instead of a text: a statement of the handler that stap runs with the leaves.</summary>
    public Stmt? Body { get; init; }
}

/// <summary>A value of the record being printed.</summary>
public sealed class LeafExpr(int index, ScriptType type, SourceSpan span) : Expr(type, span), IEngineNode
{
    /// <summary>Position in <see cref="PrintSite.Leaves"/>.</summary>
    public int Index { get; } = index;

    /// <inheritdoc/>
    public void VisitChildren(LoweredWalker walker)
    {
    }
}

/// <summary>The picture of a histogram whose buckets were sent.</summary>
/// <param name="aggregate">Whose shape says what the buckets are.</param>
/// <param name="buckets">A string of 8 bytes for each bucket.</param>
/// <param name="span">The print's argument.</param>
public sealed class HistogramLeafExpr(Global aggregate, Expr buckets, SourceSpan span) : Expr(ScriptType.String, span), IEngineNode
{
    /// <summary>Whose histogram it is.</summary>
    public Global Aggregate { get; } = aggregate;

    /// <summary>The bytes.</summary>
    public Expr Buckets { get; } = buckets;

    /// <inheritdoc/>
    public void VisitChildren(LoweredWalker walker) => walker.Visit(Buckets);
}

/// <summary>An uncaught error of a kernel handler.</summary>
/// <param name="MessageFormat">Text in which <c>{0}</c> stands for the record's value in hexadecimal with 0x, <c>{1}</c> in decimal, <c>{s}</c> for the record's string (error(msg)).</param>
public sealed record ErrorSite(int Number, string MessageFormat, SourceSpan Span);

/// <summary>
/// Records in the ring. Every record starts with a u32 kind and site (kind in the top 8 bits) and the u32 probe index; then the values: a long is 8 bytes,
/// a string is a u32 length, a u32 zero, and that many bytes padded to 8.
/// </summary>
public static class RecordKind
{
    public const int Print = 1;

    /// <summary>warn(): one string.</summary>
    public const int Warn = 2;

    /// <summary>Uncaught error: its value, the calls that led there (16 bits each: number of a call site plus one, the innermost highest), and its text (may be empty).</summary>
    public const int Error = 3;

    /// <summary>exit(): no values. Sent with a forced wake-up.</summary>
    public const int Exit = 4;

    /// <summary>system(): one string.</summary>
    public const int System = 5;

    /// <summary>abort(): no values.</summary>
    public const int Abort = 6;

    /// <summary>printk(): a level and a string.</summary>
    public const int Printk = 7;

    /// <summary>ftrace(): one string.</summary>
    public const int Ftrace = 8;

    /// <summary>switch_file(): no values.</summary>
    public const int SwitchFile = 9;

    /// <summary>Registers and a copy of the user stack, see <see cref="StackSnapshot"/>.</summary>
    public const int UserStack = 10;
}

/// <summary>Layout of a <see cref="RecordKind.UserStack"/> record, offsets in bytes from its head.</summary>
public static class StackSnapshot
{
    /// <summary>Number that prints name it by.</summary>
    public const int Id = 8;

    /// <summary>Number of a stack that did not fit in the ring: what would use it is lost with it, and counted.</summary>
    public const int Lost = -1;

    /// <summary>CLOCK_MONOTONIC, nanoseconds.</summary>
    public const int Time = 16;

    /// <summary>Process id in the upper half, thread id in the lower.</summary>
    public const int Process = 24;

    /// <summary>Bytes of stack that could be read.</summary>
    public const int Length = 32;

    /// <summary>The user's struct pt_regs.</summary>
    public const int Registers = 40;

    /// <summary>Room for the registers.</summary>
    public const int RegistersSize = 344;

    /// <summary>The stack, from <see cref="Start"/> on.</summary>
    public const int Stack = Registers + RegistersSize;

    public const int Page = 4096;

    /// <summary>Pages copied at most.</summary>
    public const int Pages = 5;

    public const int Size = Stack + (Page * Pages);

    /// <summary>Room for the stack in a small record: of a first thread with so little above its stack pointer, which is then copied from there.</summary>
    public const int Small = 1024;

    /// <summary>Where the copy begins: whole pages, or the stack pointer itself.</summary>
    public static ulong Start(ulong stackPointer, int length) => stackPointer & ~(length < Page ? 7ul : Page - 1);
}

/// <summary>The script asks for something BPF cannot do, or we do not do there: a located "cannot". <c>--runtime=auto</c> then tries the kernel module.</summary>
public sealed class BpfCannotException(string message, SourceSpan span, string? hint = null) : Exception(message)
{
    public SourceSpan Span { get; } = span;

    /// <summary>What to do instead.</summary>
    public string? Hint { get; } = hint;
}
