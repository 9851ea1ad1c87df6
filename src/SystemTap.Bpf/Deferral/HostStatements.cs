using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Bpf.Deferral;

// Statements stap runs for a handler
// ----------------------------------
// `probe timer.profile { n[execname(), sprint_ubacktrace()]++ }`: the key is a text only stap can make – unwinding without frame pointers, names of symbols. A
// print of it is deferred anyway (PrintDeferral); a key is not a print. But nothing says that this statement must run in the kernel: its inputs (a
// snapshot of the stack, the process's name) are leaves, and if no other kernel code touches the array, stap can run the statement when the
// record arrives, in order, alone, and exactly. So such statements become a HostStmt: the kernel sends its leaves, stap runs it.
//
// The picture of a histogram kept as a value is such a text too. Its buckets are the leaf, so the aggregate stays in the kernel – unless it is taken under a
// condition of a statement stap runs: it may be empty, and then reading it would fail where the script would not have read it.
//
// What goes: from the first statement of a block that needs stap to the block's end. Conditions in front stay in the kernel, so filtered events cost
// nothing. A statement that may leave the handler or end the session takes everything behind it along. The globals that are changed there move to stap's memory, and with them
// every other kernel statement that touches them; this is repeated until nothing changes. Globals that are only read stay, and their values are leaves.
//
// A leaf is read before the statement runs, and not each is asked for: a read of memory under a condition, or behind other effects, is tried (AttemptedLeaf), and its error is raised when
// stap comes to it. Functions that need both sides are put in place of their calls (StapInliner).
//
// If something cannot go (the kernel would need a value that stap makes, to go on), the program stays as it was, and Refusal says why.

/// <summary>Finds the statements of kernel handlers that stap must run.</summary>
internal sealed partial class HostStatements
{
    private readonly LoweredProgram _program;
    private readonly HashSet<Global> _moved = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<Function, FunctionFacts> _functions = new(ReferenceEqualityComparer.Instance);

    private readonly HashSet<Global> _readInKernel = new(ReferenceEqualityComparer.Instance);

    private sealed class NotPossible(string reason, SourceSpan span) : Exception(reason)
    {
        public SourceSpan Span { get; } = span;
    }

    private HostStatements(LoweredProgram program) => _program = program;

    /// <summary>Built-ins whose texts only stap can make.</summary>
    public static bool IsStapsOnly(IntrinsicId id) => id is IntrinsicId.KernelStack or IntrinsicId.UserStack or IntrinsicId.UserStackFrom or IntrinsicId.SymbolName or IntrinsicId.SymbolData
        or IntrinsicId.SymbolModule or IntrinsicId.SymbolLines or IntrinsicId.SymbolPlace or IntrinsicId.UserSymbolName or IntrinsicId.UserSymbolData or IntrinsicId.UserModule
        or IntrinsicId.UserSymbolLines or IntrinsicId.UserSymbolPlace or IntrinsicId.StackEntry or IntrinsicId.StackHead or IntrinsicId.UnwoundStack or IntrinsicId.StackText;

    /// <summary>The program with such statements marked, or the same when there are none or they cannot go; and the tables in which the kernel counts for stap.</summary>
    public static (LoweredProgram Program, HostRefusal? Refusal, IReadOnlyList<CountTable> Tables) Apply(LoweredProgram program, Architecture architecture)
    {
        program = InlinePrints(RunningFunction.Apply(program, architecture));
        if (!StapsOnlyFinder.In(program))
        {
            return (program, null, []);
        }

        var (counting, tables) = KernelCounts.Apply(program);
        if (tables.Count > 0)
        {
            var (result, none, moved) = Apply(counting);

            // An addition behind a statement that goes to stap goes along.
            if (none is null && !tables.Any(t => moved.Contains(t.Table)))
            {
                return (result, null, tables);
            }
        }

        var (plain, refusal, _) = Apply(program);
        return (plain, refusal, []);
    }

    private static (LoweredProgram Program, HostRefusal? Refusal, IReadOnlySet<Global> Moved) Apply(LoweredProgram program)
    {
        var statements = new HostStatements(program);
        if (!StapsOnlyFinder.In(program))
        {
            return (program, null, statements._moved);
        }

        try
        {
            return (statements.Transform(), null, statements._moved);
        }
        catch (NotPossible e)
        {
            return (program, new HostRefusal(e.Message, e.Span), statements._moved);
        }
    }

    /// <summary>
    /// Library functions that only print something (<c>print_backtrace()</c>, <c>print_syms(list)</c>) in place of their calls: then the print is deferred like any other.
    /// </summary>
    private static LoweredProgram InlinePrints(LoweredProgram program)
    {
        Probe[]? probes = null;
        for (var i = 0; i < program.Probes.Count; i++)
        {
            var p = program.Probes[i];
            if (!p.Spec.RunsInKernel || !LoweredSearch.Calls(p.Body, OnlyPrints))
            {
                continue;
            }

            var locals = new FreshLocals(p);
            probes ??= [.. program.Probes];
            probes[i] = p.With(new StapInliner(static c => OnlyPrints(c.Function), locals.Make).Apply(p.Body), locals.Made);
        }

        return probes is null ? program : program.WithProbes(probes);
    }

    private static bool OnlyPrints(Function f) => f.IsTapset && WithoutBlocks(f.Body) is PrintStmt;

    /// <summary>The only statement of a block, of the block in it, and so on.</summary>
    public static Stmt WithoutBlocks(Stmt s) => s is BlockStmt { Statements: [var only] } ? WithoutBlocks(only) : s;

    /// <summary>Further locals of a handler.</summary>
    private sealed class FreshLocals(Probe probe)
    {
        public List<Local> Made { get; } = [];

        public Local Make(Local like)
        {
            Made.Add(new Local(probe.Locals.Count + Made.Count, like.Name, like.Type));
            return Made[^1];
        }
    }

    private LoweredProgram Transform()
    {
        var probes = new Probe[_program.Probes.Count];
        int before;
        do
        {
            before = _moved.Count;
            _readInKernel.Clear();
            for (var i = 0; i < probes.Length; i++)
            {
                var p = _program.Probes[i];
                if (!p.Spec.RunsInKernel)
                {
                    probes[i] = p;
                    continue;
                }

                var locals = new FreshLocals(p);
                var body = new ProbeSplit(this, locals.Make).Split(p.Body);
                probes[i] = ReferenceEquals(body, p.Body) ? p : p.With(body, locals.Made);
            }
        }
        while (_moved.Count > before);

        foreach (var global in _readInKernel)
        {
            if (_moved.Contains(global))
            {
                throw new NotPossible($"'{global.Name}' is changed by a statement that needs such a text, and memory is read at an address that depends on it", global.Span);
            }
        }

        return _program.WithProbes(probes);
    }

    public static Global? GlobalOf(Expr? e) => e switch
    {
        ReadExpr r => GlobalOf(r.Place),
        AssignExpr a => GlobalOf(a.Place),
        UpdateExpr u => GlobalOf(u.Place),
        InExpr i => i.Array,
        StatExpr s => s.Aggregate,
        BucketExpr b => b.Aggregate,
        HistogramTextExpr h => h.Aggregate,
        _ => null,
    };

    private static Global? GlobalOf(Place p) => p switch
    {
        GlobalPlace g => g.Global,
        ElementPlace e => e.Array,
        _ => null,
    };

    /// <summary>Stap's own evaluation of the built-in means the same for a handler of the kernel.</summary>
    internal static bool StapCan(Intrinsic i) => i.Has(IntrinsicTraits.Deferrable) || i.Id is IntrinsicId.Exit or IntrinsicId.Abort or IntrinsicId.Error or IntrinsicId.Warn or IntrinsicId.Log
        or IntrinsicId.System or IntrinsicId.Printk or IntrinsicId.FtracePrint or IntrinsicId.SwitchFile or IntrinsicId.Tokenize or IntrinsicId.MatchedGroup or IntrinsicId.GroupCount
        or IntrinsicId.Random32 or IntrinsicId.InTargetSet;
}
