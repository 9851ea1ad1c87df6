using SystemTap.Bpf.Analysis;
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
// nothing. The globals touched there move to stap's memory, and with them every other kernel statement that touches them; this is repeated until
// nothing changes. If something cannot go (a read of memory under a condition: it might fault where the script would not have read), the
// program stays as it was and the compiler says what it cannot do.

/// <summary>A statement that stap runs when the record with its leaves arrives; its inner expressions are still those of the script.</summary>
internal sealed class HostStmt(Stmt body, IReadOnlySet<Global> moved, SystemTap.Language.Text.SourceSpan span) : Stmt(span), IEngineNode
{
    public Stmt Body { get; } = body;

    /// <summary>The globals that are in stap's memory; complete once all handlers are split.</summary>
    public IReadOnlySet<Global> Moved { get; } = moved;

    /// <summary>Histograms of the body that the kernel reads and sends.</summary>
    public IEnumerable<HistogramTextExpr> Leaves
    {
        get
        {
            var finder = new HistogramFinder();
            finder.Visit(Body);
            return finder.Found.Where(h => !Moved.Contains(h.Aggregate));
        }
    }

    /// <inheritdoc/>
    public void VisitChildren(LoweredWalker walker)
    {
        foreach (var leaf in Leaves)
        {
            walker.Visit(leaf);
        }
    }

    private sealed class HistogramFinder : LoweredWalker
    {
        public List<HistogramTextExpr> Found { get; } = [];

        public override void Visit(Expr? expression)
        {
            if (expression is HistogramTextExpr h)
            {
                Found.Add(h);
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

        public bool NeedsKernel { get; set; }

        public HashSet<Global> Globals { get; } = new(ReferenceEqualityComparer.Instance);
    }

    private sealed class NotPossible : Exception;

    private HostStatements(LoweredProgram program) => _program = program;

    /// <summary>Built-ins whose texts only stap can make.</summary>
    public static bool IsStapsOnly(IntrinsicId id) => id is IntrinsicId.KernelStack or IntrinsicId.UserStack or IntrinsicId.UserStackFrom or IntrinsicId.SymbolName or IntrinsicId.SymbolData
        or IntrinsicId.SymbolModule or IntrinsicId.SymbolLines or IntrinsicId.SymbolPlace or IntrinsicId.UserSymbolName or IntrinsicId.UserSymbolData or IntrinsicId.UserModule
        or IntrinsicId.UserSymbolLines or IntrinsicId.UserSymbolPlace or IntrinsicId.StackEntry or IntrinsicId.StackHead or IntrinsicId.UnwoundStack or IntrinsicId.StackText;

    /// <summary>Entry of the kernel's stack by a fixed number: the kernel has it as well as stap, so it moves nothing.</summary>
    public static bool IsKernelsToo(Expr? e) =>
        e is IntrinsicExpr { Intrinsic.Id: IntrinsicId.StackEntry, Arguments: [IntrinsicExpr { Intrinsic.Id: IntrinsicId.KernelStack }, LongConst { Value: >= 0 and < 127 }] };

    /// <summary>The program with such statements marked, or the same when there are none or they cannot go.</summary>
    public static LoweredProgram Apply(LoweredProgram program, Architecture architecture)
    {
        program = PrintInliner.Apply(RunningFunction.Apply(program, architecture));
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
            return program;
        }

        try
        {
            return new HostStatements(program).Transform();
        }
        catch (NotPossible)
        {
            return program;
        }
    }

    private LoweredProgram Transform()
    {
        Stmt[] bodies;
        int before;
        do
        {
            before = _moved.Count;
            bodies = new Stmt[_program.Probes.Count];
            for (var i = 0; i < bodies.Length; i++)
            {
                var probe = _program.Probes[i];
                bodies[i] = probe.Spec.RunsInKernel ? new ProbeSplit(this).Split(probe.Body) : probe.Body;
            }
        }
        while (_moved.Count > before);

        var probes = new Probe[bodies.Length];
        for (var i = 0; i < probes.Length; i++)
        {
            var p = _program.Probes[i];
            probes[i] = ReferenceEquals(bodies[i], p.Body) ? p : new Probe
            {
                Index = p.Index, Spec = p.Spec, PointText = p.PointText, Name = p.Name, Locals = p.Locals, Body = bodies[i], Condition = p.Condition, Span = p.Span,
            };
        }

        return _program.WithProbes(probes);
    }

    private FunctionFacts Facts(Function function)
    {
        if (!_functions.TryGetValue(function, out var facts))
        {
            _functions[function] = facts = new FunctionFacts();
            new FunctionWalker(this, facts).Visit(function.Body);
            if (function.EmbeddedCode is not null)
            {
                facts.NeedsKernel = true;
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
            if (IsKernelsToo(expression))
            {
                return;
            }

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
            if (IsKernelsToo(expression))
            {
                return;
            }

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
            if (IsKernelsToo(expression))
            {
                return;
            }

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
            if (IsKernelsToo(expression))
            {
                return;
            }

            if (GlobalOf(expression) is { IsReadOnly: false } g)
            {
                facts.Globals.Add(g);
            }

            switch (expression)
            {
                case IntrinsicExpr i:
                    facts.NeedsStap |= IsStapsOnly(i.Intrinsic.Id);
                    facts.NeedsKernel |= !StapCan(i.Intrinsic);
                    break;
                case HistogramTextExpr:
                    facts.NeedsStap = true;
                    break;
                case DerefExpr or ContextExpr or EmbeddedCExpr:
                    facts.NeedsKernel = true;
                    break;
                case CallExpr c:
                    var other = owner.Facts(c.Function);
                    facts.NeedsStap |= other.NeedsStap;
                    facts.NeedsKernel |= other.NeedsKernel;
                    facts.Globals.UnionWith(other.Globals);
                    break;
            }

            base.Visit(expression);
        }
    }

    private static Global? GlobalOf(Expr? e) => e switch
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
    internal static bool StapCan(Intrinsic i) => i.Has(IntrinsicTraits.Deferrable) || i.Id is IntrinsicId.Exit or IntrinsicId.Error or IntrinsicId.Warn or IntrinsicId.Log
        or IntrinsicId.System or IntrinsicId.Printk or IntrinsicId.FtracePrint or IntrinsicId.SwitchFile or IntrinsicId.Tokenize or IntrinsicId.MatchedGroup or IntrinsicId.GroupCount
        or IntrinsicId.Random32 or IntrinsicId.InTargetSet;

    /// <summary>Splits one handler.</summary>
    private sealed class ProbeSplit(HostStatements owner)
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
                        else if (child is BlockStmt || (child is IfStmt { Condition: var c } && !owner.Needs(c)))
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
                default:
                    return Region(s, isTail);
            }
        }

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
                        isElsewhere |= j != i && Context.LocalFinder.In(b.Statements[j]).Contains(local);
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
                    if (Context.LocalFinder.In(b.Statements[j]).Any(shared.Contains))
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
            new RegionCheck(owner, isTail, AssignmentCounter.In(s)).Visit(s);
            _regions.Add(s);
            return new HostStmt(s, owner._moved, s.Span);
        }

        /// <summary>A local assigned in a region is stap's: nothing outside that region may use it.</summary>
        private void CheckLocals(Stmt kernel)
        {
            var outside = new HashSet<Local>(Context.LocalFinder.In(kernel), ReferenceEqualityComparer.Instance);
            foreach (var region in _regions)
            {
                foreach (var (local, _) in AssignmentCounter.In(region))
                {
                    if (outside.Contains(local) || _regions.Exists(r => !ReferenceEquals(r, region) && Context.LocalFinder.In(r).Contains(local)))
                    {
                        throw new NotPossible();
                    }
                }
            }
        }
    }

    /// <summary>Everything in a region can be run by stap; its globals move.</summary>
    private sealed class RegionCheck(HostStatements owner, bool isTail, Dictionary<Local, int> owned) : LoweredWalker
    {
        private int _conditional;

        /// <summary>Inside something the kernel computes: nothing of stap's can be used there.</summary>
        private int _leaf;

        /// <summary>The kernel can say what it is before the statement runs.</summary>
        private bool IsKernels(Expr e) => e switch
        {
            LongConst or StringConst or ContextExpr => true,
            ReadExpr { Place: LocalPlace p } => !owned.ContainsKey(p.Local),
            IntrinsicExpr i => i.Intrinsic.Has(IntrinsicTraits.Pure) && !i.Intrinsic.Has(IntrinsicTraits.Fallible) && !IsStapsOnly(i.Intrinsic.Id) && i.Arguments.All(IsKernels),
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
                    throw new NotPossible();
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
                if (_leaf == 0 && _conditional == 0 && !owner._moved.Contains(histogram.Aggregate) && histogram.Keys.All(IsKernels))
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
                    throw new NotPossible();
                }

                Move(g);
            }

            if (_leaf > 0 && (expression is IntrinsicExpr { Intrinsic.Id: var id } && IsStapsOnly(id) || expression is ReadExpr { Place: LocalPlace p } && owned.ContainsKey(p.Local)))
            {
                throw new NotPossible();
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
                case CallExpr c:
                    var facts = owner.Facts(c.Function);
                    if (facts.NeedsKernel)
                    {
                        // The kernel can call it for a leaf when it touches nothing that moves and cannot fail at the wrong moment.
                        if (_conditional > 0 || facts.NeedsStap || facts.Globals.Count > 0 || c.Type == ScriptType.Void)
                        {
                            throw new NotPossible();
                        }

                        VisitLeaf(c);
                        return;
                    }

                    foreach (var global in facts.Globals)
                    {
                        Move(global);
                    }

                    break;
                case IntrinsicExpr i when !StapCan(i.Intrinsic) && !IsStapsOnly(i.Intrinsic.Id):
                    // A leaf: read before the statement runs, so it must not be able to fail where the script would not have read it.
                    if (i.Type == ScriptType.Void || (_conditional > 0 && i.Intrinsic.Has(IntrinsicTraits.Fallible)))
                    {
                        throw new NotPossible();
                    }

                    VisitLeaf(i);
                    return;
                case DerefExpr d when _conditional == 0:
                    VisitLeaf(d);
                    return;
                case DerefExpr:
                case EmbeddedCExpr:
                    throw new NotPossible();
                case FormatExpr f when !Purity.IsPlainFormat(f.Segments):
                    throw new NotPossible();
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
