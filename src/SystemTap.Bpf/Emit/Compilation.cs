using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Layout;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Regex;
using SystemTap.Targets;

namespace SystemTap.Bpf.Emit;

/// <summary>What all programs of one translation share.</summary>
internal sealed class Compilation(LoweredProgram program, Target target, BpfOptions options)
{
    private readonly List<object> _boxedIds = [];
    private readonly Dictionary<SourceText, int> _sources = new(ReferenceEqualityComparer.Instance);

    public LoweredProgram Program { get; } = program;

    public Target Target { get; } = target;

    public BpfOptions Options { get; } = options;

    public BpfFeatures Features => Options.Features;

    public Limits Limits => Program.Limits;

    /// <summary>Frames are elements of an ordinary array, by the number of the CPU, because one needs more than a per-CPU map can give.</summary>
    public required bool LargeFrames { get; init; }

    /// <summary>Functions that call others are run step by step, as recursive ones are, because calls nest deeper than the kernel allows.</summary>
    public required bool StepwiseCalls { get; init; }

    /// <summary>Why statements that need texts of stap stayed with the kernel; null: they went, or there are none.</summary>
    public Deferral.HostRefusal? Refusal { get; init; }

    /// <summary>Most content bytes of a string.</summary>
    public int MaxText => Limits.MaxStringLength - 1;

    public required Placement Placement { get; init; }

    public required Capacities Capacities { get; set; }

    public required Locks Locks { get; init; }

    public required Storage Storage { get; init; }

    /// <summary>By global index: handlers of kernel events touch it.</summary>
    public bool[] SharedGlobals { get; init; } = [];

    public required MapTable Maps { get; init; }

    public ConstantPool Constants { get; } = new();

    public required int DataMap { get; init; }

    public required int ConstantMap { get; init; }

    public required int RingMap { get; init; }

    public int TargetSetMap { get; set; } = -1;

    /// <summary>Processes that have just ended, so that each ends once; -1: not needed yet.</summary>
    public int EndedMap { get; set; } = -1;

    /// <summary>Threads that are exiting, by probe; -1: not needed.</summary>
    public int ExitingMap { get; set; } = -1;

    /// <summary>Perf events of <c>@perf</c>'s counters: number of the counter × CPUs + CPU; -1 when there is none.</summary>
    public int CounterMap { get; set; } = -1;

    /// <summary>Some program sends user stacks.</summary>
    public bool SendsStacks { get; set; }

    public List<PrintSite> PrintSites { get; } = [];

    public List<ErrorSite> ErrorSites { get; } = [];

    /// <summary>Places of calls that an error can pass.</summary>
    public List<SourceSpan> CallSites { get; } = [];

    public List<ProgramPlan> Programs { get; } = [];

    /// <summary>Handlers of stap that should be run inside the kernel for their lock and cannot be, with the reason.</summary>
    public List<(Probe Probe, BpfCannotException Reason)> LeftToHost { get; } = [];

    /// <summary>Bodies of functions after deferral.</summary>
    public Dictionary<Function, Stmt> FunctionBodies { get; } = new(ReferenceEqualityComparer.Instance);

    public List<SourceText> Sources { get; } = [];

    private readonly Dictionary<RegexPattern, RegexProgram> _regexes = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<RegexPattern, TaggedDfa?> _groups = new(ReferenceEqualityComparer.Instance);

    /// <summary>A pattern, compiled once.</summary>
    public RegexProgram Regex(RegexPattern pattern, SourceSpan span)
    {
        if (!_regexes.TryGetValue(pattern, out var program))
        {
            try
            {
                program = _regexes[pattern] = RegexProgram.Compile(pattern.Pattern);
            }
            catch (RegexSyntaxException error)
            {
                throw new BpfCannotException(error.Message, span);
            }
        }

        return program;
    }

    /// <summary>Its table for groups; null when that is too large.</summary>
    public TaggedDfa? Groups(RegexPattern pattern, RegexProgram program)
    {
        if (!_groups.TryGetValue(pattern, out var table))
        {
            table = _groups[pattern] = TaggedDfa.Build(program, 1000);
        }

        return table;
    }

    /// <summary>The key under which the loader resolves a map: its id, boxed once.</summary>
    public object MapKey(int id)
    {
        while (_boxedIds.Count <= id)
        {
            _boxedIds.Add(_boxedIds.Count);
        }

        return _boxedIds[id];
    }

    public SourceMark Mark(SourceSpan span)
    {
        if (span.Source is null)
        {
            return default;
        }

        if (!_sources.TryGetValue(span.Source, out var file))
        {
            file = Sources.Count;
            _sources[span.Source] = file;
            Sources.Add(span.Source);
        }

        var (line, column) = span.Position;
        return new SourceMark(file, line, column);
    }

    /// <summary>A structure of the kernel by name.</summary>
    public BtfType Structure(string name, SourceSpan span) =>
        Target.KernelBtfOrNull?.Find(BtfKind.Struct, name) ?? throw new BpfCannotException($"kernel type \"struct {name}\" is not known", span, "this needs a kernel with BTF");

    /// <summary>Offset of a member, also inside anonymous parts.</summary>
    public int Offset(BtfType type, string member, SourceSpan span) =>
        (int)(type.FindMember(member)?.ByteOffset ?? throw new BpfCannotException($"\"struct {type.Name}\" of this kernel has no member \"{member}\"", span));

    private readonly Dictionary<string, int> _shared = new(StringComparer.Ordinal);

    /// <summary>
    /// An array map of names that several programs use; made once for each name. It is not frozen: of a frozen map the verifier wants to read the values
    /// itself, which it can only do for maps of one element (ENOTSUPP).
    /// </summary>
    public int SharedMap(string name, int width, int entries, byte[] contents)
    {
        if (!_shared.TryGetValue(name, out var id))
        {
            id = _shared[name] = Maps.Add(ProgramEmitter.MapName("", name), MapType.Array, 4, width, entries, MapFlags.None, contents);
        }

        return id;
    }

    /// <summary>Number of a place that calls a function: 1 to 65535; 65535 also for what is beyond.</summary>
    public int CallSite(SourceSpan span)
    {
        var at = CallSites.IndexOf(span);
        if (at < 0 && CallSites.Count < 65534)
        {
            at = CallSites.Count;
            CallSites.Add(span);
        }

        return at < 0 ? 65535 : at + 1;
    }

    private readonly Dictionary<object, SnapshotSite> _snapshots = new(ReferenceEqualityComparer.Instance);

    /// <summary>The maps of a foreach, made once however often its code is written.</summary>
    /// <param name="token">The foreach, or the half of one that stands for it.</param>
    /// <param name="f">For messages.</param>
    /// <param name="most">Elements.</param>
    /// <param name="entrySize">Bytes of keys and value.</param>
    /// <param name="text">The string to sort by.</param>
    /// <param name="activations">Runs of it that can be under way at once.</param>
    public SnapshotSite Snapshot(object token, ForeachStmt f, int most, int entrySize, (int Offset, int Capacity, bool Descending)? text, int activations)
    {
        if (!_snapshots.TryGetValue(token, out var site))
        {
            // The verifier reaches 2^29 bytes into a map's value. Kernels before 6.10 or so have less: then creating the map fails, with the text given here.
            const long largest = 1 << 29;
            var heap = ProgramEmitter.HeapBytes(most);
            var (levels, shift) = (1, 0);
            if (activations > 1)
            {
                levels = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)activations);
                shift = System.Numerics.BitOperations.Log2(System.Numerics.BitOperations.RoundUpToPowerOf2((ulong)heap));
                heap = SnapshotSite.LevelHead + ((long)levels << shift);
            }

            var much = levels > 1 ? $"its {most} elements, for {levels} calls under way, are" : $"its {most} elements are";
            var message = $"foreach over \"{f.Array.Name}\" in a handler that runs in the kernel: {much} more than can be sorted there";
            var hint = $"give the array a smaller size{(levels > 1 ? ", or MAXNESTING" : "")}, or loop in an end probe";
            if (heap > largest || (long)levels * most > int.MaxValue)
            {
                throw new BpfCannotException(message, f.Span, hint);
            }

            var name = f.Array.Name;
            var entries = entrySize > 0 ? Maps.Add(ProgramEmitter.MapName("e_", name), MapType.Array, 4, entrySize, levels * most) : -1;
            var heapMap = Maps.Add(ProgramEmitter.MapName("h_", name), MapType.Array, 4, (int)heap, 1);
            Maps.WhenTooLarge(heapMap, message + $" by this kernel: {f.Span}; {hint}");
            site = new SnapshotSite(entries, heapMap, most, entrySize, text) { Levels = levels, LevelShift = shift };
            _snapshots[token] = site;
        }

        return site;
    }

    /// <summary>The error site for a place and message; equal ones share a number.</summary>
    public int ErrorSite(string message, SourceSpan span)
    {
        for (var i = 0; i < ErrorSites.Count; i++)
        {
            if (ErrorSites[i].Span == span && ErrorSites[i].MessageFormat == message)
            {
                return i;
            }
        }

        ErrorSites.Add(new ErrorSite(ErrorSites.Count, message, span));
        return ErrorSites.Count - 1;
    }
}
