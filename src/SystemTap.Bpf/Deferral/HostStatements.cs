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

/// <summary>A statement that stap runs when the record with its leaves arrives; its inner expressions are still those of the script.</summary>
internal sealed class HostStmt(Stmt body, IReadOnlySet<Global> moved, SourceSpan span) : Stmt(span), IEngineNode
{
    public Stmt Body { get; } = body;

    /// <summary>The globals that are in stap's memory; complete once all handlers are split.</summary>
    public IReadOnlySet<Global> Moved { get; } = moved;

    private Dictionary<Local, int>? _owned;

    private bool? _matches;

    /// <summary>The kernel reads and sends it.</summary>
    public bool IsLeaf(Expr e) => e switch
    {
        ReadExpr { Place: LocalPlace p } => !(_owned ??= AssignmentCounter.In(Body)).ContainsKey(p.Local),
        HistogramTextExpr h => !Moved.Contains(h.Aggregate),
        IntrinsicExpr { Intrinsic.Id: IntrinsicId.KernelStack or IntrinsicId.UserStack } => true,
        IntrinsicExpr { Intrinsic.Id: IntrinsicId.MatchedGroup or IntrinsicId.GroupCount } => !(_matches ??= LoweredSearch.Has(Body, static e => e is RegexExpr)),
        IntrinsicExpr i => !HostStatements.StapCan(i.Intrinsic) && !HostStatements.IsStapsOnly(i.Intrinsic.Id),
        CallExpr c => HostStatements.NeedsKernel(c.Function),
        ContextExpr or DerefExpr or ColumnExpr => true,
        _ => HostStatements.GlobalOf(e) is { IsReadOnly: false } g && !Moved.Contains(g),
    };

    /// <inheritdoc/>
    public void VisitChildren(LoweredWalker walker)
    {
        var finder = new LeafFinder(this);
        finder.Visit(Body);
        foreach (var leaf in finder.Found)
        {
            walker.Visit(leaf);
        }
    }

    private sealed class LeafFinder(HostStmt owner) : LoweredWalker
    {
        public List<Expr> Found { get; } = [];

        public override void Visit(Expr? expression)
        {
            if (expression is not null && owner.IsLeaf(expression))
            {
                Found.Add(expression);
                return;
            }

            base.Visit(expression);
        }
    }
}

/// <summary>Finds the statements of kernel handlers that stap must run.</summary>
internal sealed class HostStatements
{
    private readonly LoweredProgram _program;
    private readonly HashSet<Global> _moved = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<Function, FunctionFacts> _functions = new(ReferenceEqualityComparer.Instance);

    private sealed class FunctionFacts
    {
        public bool NeedsStap { get; set; }

        public bool NeedsKernel { get; init; }

        public HashSet<Global> Globals { get; } = new(ReferenceEqualityComparer.Instance);
    }

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
        var finder = new StapsOnlyFinder();
        foreach (var probe in program.Probes)
        {
            if (probe.Spec.RunsInKernel)
            {
                finder.Visit(probe.Body);
            }
        }

        if (!finder.Found)
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

    private static bool OnlyPrints(Function f)
    {
        var body = f.Body;
        while (body is BlockStmt { Statements: [var only] })
        {
            body = only;
        }

        return f.IsTapset && body is PrintStmt;
    }

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

    private FunctionFacts Facts(Function function)
    {
        if (!_functions.TryGetValue(function, out var facts))
        {
            _functions[function] = facts = new FunctionFacts { NeedsKernel = NeedsKernel(function) };
            for (Function? f = function; f is not null; f = f.NextOverload)
            {
                new FunctionWalker(this, facts).Visit(f.Body);
            }
        }

        return facts;
    }

    /// <summary>Needs stap: makes a text only stap can make (other than to print it), or touches a global that has moved.</summary>
    private bool Needs(Stmt? s)
    {
        var walker = new NeedWalker(this);
        walker.Visit(s);
        return walker.Needed;
    }

    private bool Needs(Expr? e)
    {
        var walker = new NeedWalker(this);
        walker.Visit(e);
        return walker.Needed;
    }

    private sealed class StapsOnlyFinder : LoweredWalker
    {
        private readonly HashSet<Function> _seen = new(ReferenceEqualityComparer.Instance);

        public bool Found { get; private set; }

        public override void Visit(Expr? expression)
        {
            Found |= expression is HistogramTextExpr || (expression is IntrinsicExpr i && IsStapsOnly(i.Intrinsic.Id));
            if (expression is CallExpr c && _seen.Add(c.Function))
            {
                Visit(c.Function.Body);
            }

            base.Visit(expression);
        }
    }

    private sealed class NeedWalker(HostStatements owner) : LoweredWalker
    {
        public bool Needed { get; private set; }

        public override void Visit(Stmt? statement)
        {
            switch (statement)
            {
                case PrintStmt p:
                    // What is printed is deferred without our doing; only its reads of moved globals count.
                    foreach (var argument in p.Arguments)
                    {
                        Needed |= new GlobalFinder(owner).Touches(argument) || KernelOperation.OnStapsText(argument);
                    }

                    return;
                case ExprStmt { Expression: IntrinsicExpr { Intrinsic.Id: IntrinsicId.Log } log }:
                    Needed |= new GlobalFinder(owner).Touches(log.Arguments[0]) || KernelOperation.OnStapsText(log.Arguments[0]);
                    return;
                case DeleteStmt d:
                    Needed |= owner._moved.Contains(d.Global);
                    break;
                case StatAddStmt a:
                    Needed |= owner._moved.Contains(a.Aggregate);
                    break;
                case ForeachStmt f:
                    Needed |= owner._moved.Contains(f.Array);
                    break;
            }

            base.Visit(statement);
        }

        public override void Visit(Expr? expression)
        {
            Needed |= expression switch
            {
                IntrinsicExpr i => IsStapsOnly(i.Intrinsic.Id),
                HistogramTextExpr => true,
                CallExpr c => owner.Facts(c.Function) is var facts && (facts.NeedsStap || facts.Globals.Overlaps(owner._moved)),
                _ => GlobalOf(expression) is { } g && owner._moved.Contains(g),
            };
            base.Visit(expression);
        }
    }

    /// <summary>Finds operations that printing cannot be left with – a match, the pieces of a text – on texts that only stap can make.</summary>
    private sealed class KernelOperation : LoweredWalker
    {
        private int _inside;
        private bool _found;

        public static bool OnStapsText(Expr e)
        {
            var finder = new KernelOperation();
            finder.Visit(e);
            return finder._found;
        }

        public override void Visit(Expr? expression)
        {
            _found |= _inside > 0 && expression is IntrinsicExpr i && IsStapsOnly(i.Intrinsic.Id);
            var isKernels = expression is not null && !Purity.IsDeferrable(expression) && !(expression is IntrinsicExpr own && IsStapsOnly(own.Intrinsic.Id));
            _inside += isKernels ? 1 : 0;
            base.Visit(expression);
            _inside -= isKernels ? 1 : 0;
        }
    }

    private sealed class GlobalFinder(HostStatements owner) : LoweredWalker
    {
        private bool _found;

        public bool Touches(Expr e)
        {
            Visit(e);
            return _found;
        }

        public override void Visit(Expr? expression)
        {
            _found |= GlobalOf(expression) is { } g && owner._moved.Contains(g)
                || expression is CallExpr c && owner.Facts(c.Function).Globals.Overlaps(owner._moved);
            base.Visit(expression);
        }
    }

    /// <summary>Stap cannot evaluate it for a handler of the kernel.</summary>
    private static bool IsKernels(Expr? e) => e is DerefExpr or ContextExpr or EmbeddedCExpr || (e is IntrinsicExpr i && !StapCan(i.Intrinsic));

    /// <summary>Something in the function, or in what it calls, only the kernel can evaluate.</summary>
    public static bool NeedsKernel(Function function)
    {
        var walker = new KernelNeed();
        walker.Follow(function);
        return walker.Found;
    }

    private sealed class KernelNeed : LoweredWalker
    {
        private readonly HashSet<Function> _seen = new(ReferenceEqualityComparer.Instance);

        public bool Found { get; private set; }

        public void Follow(Function function)
        {
            for (var f = function; f is not null && _seen.Add(f); f = f.NextOverload)
            {
                Found |= f.EmbeddedCode is not null;
                Visit(f.Body);
            }
        }

        public override void Visit(Expr? expression)
        {
            Found |= IsKernels(expression);
            if (expression is CallExpr c)
            {
                Follow(c.Function);
            }

            base.Visit(expression);
        }
    }

    private sealed class FunctionWalker(HostStatements owner, FunctionFacts facts) : LoweredWalker
    {
        public override void Visit(Stmt? statement)
        {
            switch (statement)
            {
                case PrintStmt:
                    // Its texts are deferred without our doing.
                    var before = facts.NeedsStap;
                    base.Visit(statement);
                    facts.NeedsStap = before;
                    return;
                case DeleteStmt d:
                    facts.Globals.Add(d.Global);
                    break;
                case StatAddStmt a:
                    facts.Globals.Add(a.Aggregate);
                    break;
                case ForeachStmt f:
                    facts.Globals.Add(f.Array);
                    break;
            }

            base.Visit(statement);
        }

        public override void Visit(Expr? expression)
        {
            if (GlobalOf(expression) is { IsReadOnly: false } g)
            {
                facts.Globals.Add(g);
            }

            switch (expression)
            {
                case IntrinsicExpr i:
                    facts.NeedsStap |= IsStapsOnly(i.Intrinsic.Id);
                    break;
                case HistogramTextExpr:
                    facts.NeedsStap = true;
                    break;
                case CallExpr c:
                    var other = owner.Facts(c.Function);
                    facts.NeedsStap |= other.NeedsStap;
                    facts.Globals.UnionWith(other.Globals);
                    break;
            }

            base.Visit(expression);
        }
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

    /// <summary>Splits one handler.</summary>
    private sealed class ProbeSplit(HostStatements owner, Func<Local, Local> fresh)
    {
        private readonly List<Stmt> _regions = [];

        public Stmt Split(Stmt body)
        {
            if (!owner.Needs(body))
            {
                return body;
            }

            var result = Statement(body, isTail: true);
            CheckLocals(result);
            return result;
        }

        private Stmt Statement(Stmt s, bool isTail)
        {
            switch (s)
            {
                case BlockStmt b:
                    var list = new List<Stmt>();
                    if (FirstOfShared(b) is >= 0 and var first)
                    {
                        // A local that gets such a text is stap's: what uses it goes along, from its first mention to the end.
                        list.AddRange(b.Statements.Take(first));
                        list.Add(Region(new BlockStmt([.. b.Statements.Skip(first)], b.Statements[first].Span), isTail));
                        return new BlockStmt(list, b.Span);
                    }

                    for (var i = 0; i < b.Statements.Count; i++)
                    {
                        var child = b.Statements[i];
                        var last = i == b.Statements.Count - 1;
                        if (!owner.Needs(child))
                        {
                            list.Add(child);
                        }
                        else if (IsSplit(child) && ((isTail && last) || !MayLeave(child)))
                        {
                            list.Add(Statement(child, isTail && last));
                        }
                        else
                        {
                            var rest = new List<Stmt>();
                            for (; i < b.Statements.Count; i++)
                            {
                                rest.Add(b.Statements[i]);
                            }

                            list.Add(Region(rest.Count == 1 ? rest[0] : new BlockStmt(rest, child.Span), isTail));
                        }
                    }

                    return new BlockStmt(list, b.Span);
                case IfStmt i when !owner.Needs(i.Condition):
                    return new IfStmt(i.Condition, owner.Needs(i.Then) ? Statement(i.Then, isTail) : i.Then,
                        i.Else is { } otherwise && owner.Needs(otherwise) ? Statement(otherwise, isTail) : i.Else, i.Span);
                case TryStmt t when !owner.Needs(t.Body):
                    return new TryStmt(t.Body, t.Message, Statement(t.Handler, isTail), t.Span);
                default:
                    return Region(s, isTail);
            }
        }

        /// <summary>A statement of which parts stay in the kernel.</summary>
        private bool IsSplit(Stmt s) => s is BlockStmt || (s is IfStmt { Condition: var c } && !owner.Needs(c)) || (s is TryStmt t && !owner.Needs(t.Body));

        /// <summary>A part that stap runs may leave the handler or end the session: what follows must not run, or its records must come with that part's.</summary>
        private bool MayLeave(Stmt s)
        {
            switch (s)
            {
                case BlockStmt b:
                    var first = FirstOfShared(b);
                    for (var i = 0; i < b.Statements.Count && first < 0; i++)
                    {
                        if (!owner.Needs(b.Statements[i]))
                        {
                            continue;
                        }

                        if (!IsSplit(b.Statements[i]))
                        {
                            first = i;
                        }
                        else if (MayLeave(b.Statements[i]))
                        {
                            return true;
                        }
                    }

                    return first >= 0 && b.Statements.Skip(first).Any(Leaves);
                case IfStmt i when !owner.Needs(i.Condition):
                    return (owner.Needs(i.Then) && MayLeave(i.Then)) || (i.Else is { } otherwise && owner.Needs(otherwise) && MayLeave(otherwise));
                case TryStmt t when !owner.Needs(t.Body):
                    return MayLeave(t.Handler);
                default:
                    return Leaves(s);
            }
        }

        private static bool Leaves(Stmt s) => LoweredSearch.SaysNext(s) || LoweredSearch.Has(s, Ends) || LoweredSearch.Calls(s, static f => LoweredSearch.Has(f.Body, Ends));

        private static bool Ends(Expr e) => e is IntrinsicExpr { Intrinsic.Id: IntrinsicId.Exit or IntrinsicId.Abort };

        /// <summary>Where the statements begin that share a local with one of them that needs stap and assigns it; -1 when none is shared.</summary>
        private int FirstOfShared(BlockStmt b)
        {
            var shared = new HashSet<Local>(ReferenceEqualityComparer.Instance);
            var needing = -1;
            for (var i = 0; i < b.Statements.Count && needing < 0; i++)
            {
                if (!owner.Needs(b.Statements[i]))
                {
                    continue;
                }

                foreach (var (local, _) in AssignmentCounter.In(b.Statements[i]))
                {
                    var isElsewhere = false;
                    for (var j = 0; j < b.Statements.Count; j++)
                    {
                        isElsewhere |= j != i && LocalFinder.In(b.Statements[j]).Contains(local);
                    }

                    if (isElsewhere)
                    {
                        shared.Add(local);
                        needing = i;
                    }
                }
            }

            if (needing < 0)
            {
                return -1;
            }

            // Later statements may assign further locals that earlier ones use.
            for (var first = needing; ;)
            {
                for (var i = first; i < b.Statements.Count; i++)
                {
                    shared.UnionWith(AssignmentCounter.In(b.Statements[i]).Select(a => a.Key));
                }

                var before = first;
                for (var j = first - 1; j >= 0; j--)
                {
                    if (LocalFinder.In(b.Statements[j]).Any(shared.Contains))
                    {
                        first = j;
                    }
                }

                if (first == before)
                {
                    return first;
                }
            }
        }

        private HostStmt Region(Stmt s, bool isTail)
        {
            s = new StapInliner(IsForBoth, fresh).Apply(s);
            new RegionCheck(owner, isTail, AssignmentCounter.In(s)).Visit(s);
            _regions.Add(s);
            return new HostStmt(s, owner._moved, s.Span);
        }

        /// <summary>Neither stap nor the kernel can call it, or the kernel cannot call it for stap.</summary>
        private bool IsForBoth(CallExpr c) =>
            owner.Facts(c.Function) is { NeedsKernel: true } facts && (facts.NeedsStap || facts.Globals.Count > 0 || !IsQuiet(c.Function) || c.Arguments.Any(owner.Needs));

        /// <summary>A local assigned in a region is stap's: nothing outside that region may use it.</summary>
        private void CheckLocals(Stmt kernel)
        {
            var outside = new HashSet<Local>(LocalFinder.In(kernel), ReferenceEqualityComparer.Instance);
            foreach (var region in _regions)
            {
                foreach (var (local, _) in AssignmentCounter.In(region))
                {
                    if (outside.Contains(local) || _regions.Exists(r => !ReferenceEquals(r, region) && LocalFinder.In(r).Contains(local)))
                    {
                        throw new NotPossible($"variable '{local.Name}' gets such a text in one place and is used in another", region.Span);
                    }
                }
            }
        }
    }

    /// <summary>The function only computes a value: it can be called before it is asked for.</summary>
    private static bool IsQuiet(Function f) => f.ReturnType != ScriptType.Void && (f.IsPure || !EffectFinder.In(f));

    /// <summary>Everything in a region can be run by stap; its globals move.</summary>
    private sealed class RegionCheck(HostStatements owner, bool isTail, Dictionary<Local, int> owned) : LoweredWalker
    {
        private int _conditional;

        /// <summary>Inside something the kernel computes: nothing of stap's can be used there.</summary>
        private int _leaf;

        /// <summary>The kernel can say what it is before the statement runs.</summary>
        private bool KernelKnows(Expr? e) => e switch
        {
            null or LongConst or StringConst or ContextExpr => true,
            ReadExpr { Place: LocalPlace p } => !owned.ContainsKey(p.Local),
            ReadExpr { Place: GlobalPlace p } => !owner._moved.Contains(p.Global),
            ReadExpr { Place: ElementPlace p } => !owner._moved.Contains(p.Array) && p.Keys.All(KernelKnows),
            IntrinsicExpr i => i.Intrinsic.Has(IntrinsicTraits.Pure) && !IsStapsOnly(i.Intrinsic.Id) && i.Arguments.All(KernelKnows),
            DerefExpr d => KernelKnows(d.Address),
            BinaryExpr b => KernelKnows(b.Left) && KernelKnows(b.Right),
            UnaryExpr u => KernelKnows(u.Operand),
            ConcatExpr c => c.Parts.All(KernelKnows),
            _ => false,
        };

        /// <summary>A look at a global that stays in the kernel.</summary>
        private bool IsKernelRead(Expr e) => e switch
        {
            ReadExpr { Place: not LocalPlace } => KernelKnows(e),
            InExpr i => !owner._moved.Contains(i.Array) && i.Keys.All(KernelKnows),
            StatExpr s => !owner._moved.Contains(s.Aggregate) && s.Keys.All(KernelKnows),
            _ => false,
        };

        private void VisitLeaf(Expr e)
        {
            _leaf++;
            base.Visit(e);
            _leaf--;
        }

        public override void Visit(Stmt? statement)
        {
            switch (statement)
            {
                case NextStmt when !isTail:
                case ReturnStmt:
                    throw new NotPossible("'next' behind it would have to skip statements of the kernel", statement.Span);
                case DeleteStmt d:
                    Move(d.Global);
                    break;
                case StatAddStmt a:
                    Move(a.Aggregate);
                    break;
                case ForeachStmt f:
                    Move(f.Array);
                    break;
                case IfStmt i:
                    Visit(i.Condition);
                    _conditional++;
                    Visit(i.Then);
                    Visit(i.Else);
                    _conditional--;
                    return;
                case LoopStmt or TryStmt:
                    _conditional++;
                    base.Visit(statement);
                    _conditional--;
                    return;
            }

            var isLoop = statement is ForeachStmt;
            _conditional += isLoop ? 1 : 0;
            base.Visit(statement);
            _conditional -= isLoop ? 1 : 0;
        }

        public override void Visit(Expr? expression)
        {
            if (expression is HistogramTextExpr histogram)
            {
                if (_leaf == 0 && _conditional == 0 && !owner._moved.Contains(histogram.Aggregate) && histogram.Keys.All(KernelKnows))
                {
                    return;
                }

                // Also one that nothing is ever added to.
                owner._moved.Add(histogram.Aggregate);
            }

            if (GlobalOf(expression) is { IsReadOnly: false } g)
            {
                if (_leaf > 0)
                {
                    if (expression is AssignExpr or UpdateExpr)
                    {
                        throw new NotPossible($"'{g.Name}' is changed while memory is read", expression.Span);
                    }

                    owner._readInKernel.Add(g);
                }
                else if (IsKernelRead(expression!))
                {
                    return;
                }
                else
                {
                    Move(g);
                }
            }

            if (_leaf > 0 && expression is IntrinsicExpr { Intrinsic.Id: var id } && IsStapsOnly(id))
            {
                throw new NotPossible("the kernel would need such a text, or what is made of it, to go on", expression.Span);
            }

            if (_leaf > 0 && expression is ReadExpr { Place: LocalPlace p } && owned.ContainsKey(p.Local))
            {
                throw new NotPossible($"the kernel would need variable '{p.Local.Name}' to go on, which depends on such a text or changes beside it", expression.Span);
            }

            switch (expression)
            {
                case LogicalExpr l:
                    Visit(l.Left);
                    _conditional++;
                    Visit(l.Right);
                    _conditional--;
                    return;
                case ConditionalExpr c:
                    Visit(c.Condition);
                    _conditional++;
                    Visit(c.WhenTrue);
                    Visit(c.WhenFalse);
                    _conditional--;
                    return;
                case CallExpr c when owner.Facts(c.Function) is var facts && facts.NeedsKernel:
                    // The kernel calls it for a leaf, whether it is asked for or not.
                    if (facts.NeedsStap || facts.Globals.Count > 0 || !IsQuiet(c.Function))
                    {
                        throw new NotPossible($"function '{c.Function.Name}' needs the kernel and cannot be taken apart", c.Span);
                    }

                    VisitLeaf(c);
                    return;
                case CallExpr c:
                    foreach (var global in owner.Facts(c.Function).Globals)
                    {
                        Move(global);
                    }

                    break;
                case IntrinsicExpr i when !StapCan(i.Intrinsic) && !IsStapsOnly(i.Intrinsic.Id):
                    if (i.Type == ScriptType.Void || (_conditional > 0 && i.Intrinsic.Has(IntrinsicTraits.Fallible) && !i.Intrinsic.Has(IntrinsicTraits.Pure)))
                    {
                        throw new NotPossible($"'{i.Intrinsic.Name}' acts in the kernel", i.Span);
                    }

                    VisitLeaf(i);
                    return;
                case DerefExpr d:
                    VisitLeaf(d);
                    return;
                case EmbeddedCExpr:
                    throw new NotPossible("C code cannot be left to stap", expression.Span);
                case FormatExpr f when !Purity.IsPlainFormat(f.Segments):
                    throw new NotPossible("%m and %M read memory while a text is made", f.Span);
            }

            base.Visit(expression);
        }

        private void Move(Global g)
        {
            if (!g.IsReadOnly)
            {
                owner._moved.Add(g);
            }
        }
    }
}

/// <summary>Why statements that need texts of stap cannot be left to it.</summary>
/// <param name="Reason">A sentence part.</param>
/// <param name="Span">Where it is seen.</param>
internal sealed record HostRefusal(string Reason, SourceSpan Span);
