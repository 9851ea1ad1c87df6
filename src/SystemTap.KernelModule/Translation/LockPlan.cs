using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.KernelModule.Translation;

// Which globals need a lock, and which handlers take it how
// ---------------------------------------------------------
// begin, end and error handlers run while no other handler does, so they take no locks and do not count here. Of the others:
//
//   * a global no event handler writes needs nothing;
//   * a long that event handlers only add to without looking (n++), or that no handler touches together with anything else, needs one atomic
//     instruction for each access and no lock (the rule of the BPF compiler's Analysis/Locks.cs);
//   * a scalar aggregate that event handlers only add samples to needs nothing: each CPU has a cell of its own;
//   * an array that event handlers do nothing but add to (a[k]++, a[k] <<< v) needs nothing: elements never go away, additions are safe against each
//     other, and insertions take turns by a lock of the array's own;
//   * an array whose elements each belong to one thread or CPU (Global.IsOwned: what @entry saved) needs nothing either: its operations take the array's
//     short lock. Not if some handler goes through all of it;
//   * everything else has a reader/writer lock, taken for the whole handler. Who may share it is fixed for each global: adders, if any event handler
//     does nothing but add to it; else readers.
//
// Handlers with locks, or that add to cells, must not be interrupted by handlers that use the same: they run with interrupts off. Where all handlers
// that touch those globals run in tasks only (system calls, processes, programs), there is nothing to keep out, and they do not.
//
// Locks are taken, and interrupts turned off, at the handler's begin; behind its filters (LockPrefix) if it begins with some.

internal enum Access
{
    /// <summary>No lock, plain memory: no event handler writes it.</summary>
    Plain,

    /// <summary>No lock, atomic instructions.</summary>
    Atomic,

    /// <summary>An array that handlers only add to: no lock.</summary>
    Adders,

    /// <summary>An array whose elements are only touched by their own thread or CPU: no lock.</summary>
    Owned,

    /// <summary>A lock, shared by readers.</summary>
    SharedByReaders,

    /// <summary>A lock, shared by handlers that only add.</summary>
    SharedByAdders,
}

/// <summary>Takes the handler's locks, or leaves the handler, which is counted as skipped.</summary>
internal sealed class LockStmt(SourceSpan span) : Stmt(span), IEngineNode
{
    public void VisitChildren(LoweredWalker walker)
    {
    }
}

/// <summary>Locks of globals and handlers.</summary>
internal sealed class LockPlan
{
    [Flags]
    private enum Use
    {
        None = 0,
        Read = 1,

        /// <summary>Adds without looking at the result.</summary>
        Add = 2,

        /// <summary>Needs the global for itself.</summary>
        Own = 4,
    }

    private readonly Access[] _access;
    private readonly bool[] _fromInterrupts;
    private readonly IReadOnlyList<Global> _globals;
    private readonly Dictionary<Probe, Uses> _uses = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<Probe, (Stmt Body, bool IsLate)> _bodies = new(ReferenceEqualityComparer.Instance);

    public LockPlan(LoweredProgram program)
    {
        var count = program.Globals.Count;
        _globals = program.Globals;
        _access = new Access[count];
        _fromInterrupts = new bool[count];
        var all = new Use[count];
        var whole = new bool[count];
        foreach (var probe in program.Probes)
        {
            if (probe.Spec is SessionSpec)
            {
                continue;
            }

            var uses = new Uses(program.Globals);
            uses.Visit(probe.Body);
            _uses[probe] = uses;
            for (var g = 0; g < count; g++)
            {
                all[g] |= uses.Of[g];
                whole[g] |= uses.Whole[g];
                _fromInterrupts[g] |= uses.Of[g] != Use.None && !RunsInTasks(probe.Spec);
            }
        }

        bool Written(int g) => (all[g] & (Use.Add | Use.Own)) != 0;
        bool IsLong(int g) => program.Globals[g] is { IsArray: false, Type: ScriptType.Long };
        bool OnlyAdded(int g) => all[g] == Use.Add;
        for (var g = 0; g < count; g++)
        {
            var global = program.Globals[g];
            _access[g] = !Written(g) ? Access.Plain
                : global.IsOwned && global.IsArray && global.Type != ScriptType.Statistics && !global.Wraps && !whole[g] ? Access.Owned
                : global.IsArray && OnlyAdded(g) ? Access.Adders
                : !global.IsArray && OnlyAdded(g) ? (global.Type == ScriptType.Statistics ? Access.Plain : Access.Atomic)
                : IsLong(g) ? Access.Atomic
                : (all[g] & Use.Add) != 0 && !global.Wraps ? Access.SharedByAdders
                : Access.SharedByReaders;
        }

        // A handler with more than one access to what others change must see them as one: its longs need locks too.
        foreach (var uses in _uses.Values)
        {
            var total = 0;
            for (var g = 0; g < count; g++)
            {
                total += Written(g) && !(IsLong(g) && OnlyAdded(g)) && _access[g] is not (Access.Owned or Access.Adders) ? uses.Times[g] : 0;
            }

            for (var g = 0; total > 1 && g < count; g++)
            {
                if (uses.Times[g] > 0 && _access[g] == Access.Atomic && !OnlyAdded(g))
                {
                    _access[g] = Access.SharedByReaders;
                }
            }
        }
    }

    public Access Of(Global global) => _access[global.Index];

    public bool IsLocked(Global global) => Of(global) is Access.SharedByReaders or Access.SharedByAdders;

    /// <summary>The handler must run with interrupts off: one of an interrupt may want its locks, or add to the cells it is adding to.</summary>
    public bool NeedsInterruptsOff(Probe probe)
    {
        if (_uses.TryGetValue(probe, out var uses))
        {
            for (var g = 0; g < _access.Length; g++)
            {
                var cells = (uses.Of[g] & Use.Add) != 0 && _globals[g].Type == ScriptType.Statistics;
                if (uses.Of[g] != Use.None && _fromInterrupts[g] && (cells || IsLocked(_globals[g])))
                {
                    return true;
                }
            }
        }

        return false;
    }

    /// <summary>
    /// What to write for a handler, and whether it takes its locks itself, by a <see cref="LockStmt"/> behind the filters at its beginning: events that are
    /// filtered out neither wait for a lock nor count as skipped.
    /// </summary>
    public (Stmt Body, bool IsLate) BodyOf(Probe probe) => _bodies.TryGetValue(probe, out var known) ? known : _bodies[probe] = Split(probe);

    private (Stmt Body, bool IsLate) Split(Probe probe)
    {
        // What a procfs reader gets is evaluated behind the statements, always.
        if (probe.Spec is ProcfsSpec || (For(probe).Count == 0 && !NeedsInterruptsOff(probe)) || LockPrefix.Of(probe.Body) is not { } prefix)
        {
            return (probe.Body, false);
        }

        var span = probe.Body.Span;
        Stmt under = new BlockStmt([new LockStmt(span), prefix.Under], span);
        return (new BlockStmt([.. prefix.Before, prefix.Condition is { } condition ? new IfStmt(condition, under, null, span) : under], span), true);
    }

    // Never in an interrupt, whatever the kernel is doing.
    private static bool RunsInTasks(ProbeSpec spec) => spec is SyscallSpec or ProcessSpec or ProcfsSpec or UserFunctionSpec;

    /// <summary>The locks a handler takes, by rising number of the global.</summary>
    public IReadOnlyList<(int Global, bool Exclusive)> For(Probe probe)
    {
        var locks = new List<(int, bool)>();
        if (_uses.TryGetValue(probe, out var uses))
        {
            for (var g = 0; g < _access.Length; g++)
            {
                if (uses.Of[g] != Use.None && _access[g] is Access.SharedByReaders or Access.SharedByAdders)
                {
                    var shared = _access[g] == Access.SharedByReaders ? Use.Read : Use.Add;
                    locks.Add((g, uses.Of[g] != shared));
                }
            }
        }

        return locks;
    }

    private sealed class Uses(IReadOnlyList<Global> globals) : LoweredWalker
    {
        private readonly HashSet<Function> _active = new(ReferenceEqualityComparer.Instance);
        private int _weight = 1;

        public Use[] Of { get; } = new Use[globals.Count];

        /// <summary>Accesses in a run; those in loops and those of more than one word count twice.</summary>
        public int[] Times { get; } = new int[globals.Count];

        /// <summary>Arrays of which more than one named element is touched at once.</summary>
        public bool[] Whole { get; } = new bool[globals.Count];

        public override void Visit(Stmt? statement)
        {
            switch (statement)
            {
                case ExprStmt { Expression: UpdateExpr u } when IsBlindAdd(u):
                    Add(u);
                    return;
                case LoopStmt s:
                    var outer = _weight;
                    _weight = 2;
                    Visit(s.Condition);
                    Visit(s.Body);
                    if (s.Step is UpdateExpr step && IsBlindAdd(step))
                    {
                        Add(step);
                    }
                    else
                    {
                        Visit(s.Step);
                    }

                    _weight = outer;
                    return;
                case ForeachStmt s:
                    // Sorting is done in memory of the array's own; aggregates are read from all CPUs' cells.
                    Whole[s.Array.Index] = true;
                    Note(s.Array, s.Direction != SortDirection.None || s.OverBuckets || s.Array.Type == ScriptType.Statistics ? Use.Own : Use.Read, 2);
                    outer = _weight;
                    _weight = 2;
                    base.Visit(statement);
                    _weight = outer;
                    return;
                case DeleteStmt s:
                    Whole[s.Global.Index] |= s.Keys is null || s.Keys.Contains(null);
                    Note(s.Global, Use.Own, 2);
                    break;
                case StatAddStmt s:
                    Note(s.Aggregate, Use.Add, 1);
                    break;
            }

            base.Visit(statement);
        }

        public override void Visit(Expr? expression)
        {
            switch (expression)
            {
                case ReadExpr e:
                    Note(GlobalOf(e.Place), Use.Read, 1);
                    break;
                case AssignExpr e:
                    Note(GlobalOf(e.Place), Use.Own, 1);
                    break;
                case UpdateExpr e:
                    Note(GlobalOf(e.Place), Use.Own, 1);
                    break;
                case InExpr e:
                    Whole[e.Array.Index] |= e.Keys.Contains(null);
                    Note(e.Array, Use.Read, 1);
                    break;
                case StatExpr e:
                    Note(e.Aggregate, Use.Own, 2);
                    break;
                case BucketExpr e:
                    Note(e.Aggregate, Use.Own, 2);
                    break;
                case HistogramTextExpr e:
                    Note(e.Aggregate, Use.Own, 2);
                    break;
                case CallExpr e:
                    for (var f = e.Function; f is not null; f = f.NextOverload)
                    {
                        if (_active.Add(f))
                        {
                            EmbeddedGlobals(f);
                            Visit(f.Body);
                            _active.Remove(f);
                        }
                    }

                    break;
            }

            base.Visit(expression);
        }

        // What embedded C declares with pragma comments.
        private void EmbeddedGlobals(Function function)
        {
            foreach (var (name, isWrite) in EmbeddedPragmas.Globals(function.EmbeddedCode ?? ""))
            {
                foreach (var global in globals)
                {
                    if (global.Name == name)
                    {
                        Whole[global.Index] = true;
                        Note(global, isWrite ? Use.Own : Use.Read, 2);
                    }
                }
            }
        }

        private static bool IsBlindAdd(UpdateExpr u) => u.Type == ScriptType.Long && u.Place is not LocalPlace && u.Operator is BinaryOperator.Add or BinaryOperator.Subtract;

        private void Add(UpdateExpr u)
        {
            if (GlobalOf(u.Place) is { } global)
            {
                Note(global, global.Wraps ? Use.Own : Use.Add, 1);
            }

            Visit(u.Place);
            Visit(u.Operand);
        }

        private static Global? GlobalOf(Place place) => place switch
        {
            GlobalPlace g => g.Global,
            ElementPlace e => e.Array,
            _ => null,
        };

        private void Note(Global? global, Use use, int times)
        {
            if (global is not null)
            {
                Of[global.Index] |= use;
                Times[global.Index] += times * _weight;
            }
        }
    }
}
