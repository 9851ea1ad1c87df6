using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

// Which handlers need a lock?
// ---------------------------
// SystemTap promises that a handler's accesses to globals look as if no other handler ran in between. That holds for handlers in the kernel and for
// those that stap runs while they are at work (timers, procfs): both are *concurrent*; begin, end and error probes are not. Most need nothing for it:
//
//   * globals no concurrent handler writes;
//   * globals that concurrent handlers only add to without looking at them, aggregates included: additions commute, so any order is a legal order;
//   * a single access to one word in a whole handler run: one atomic instruction.
//
// What remains takes a try-lock. Globals that one handler uses together share a lock (union-find), and every handler that touches one of them takes
// it, so a handler never needs two. A lock has two sides:
//
//   * *shared*: handlers that only add, or do one access. They do not disturb each other; each marks its CPU's own word, so they scale like no lock.
//   * *exclusive*: handlers that look at something and act on it: they wait until no CPU is marked. A lock that nobody takes exclusively is dropped.
//
// So the commonest script of all – kernel handlers count, a timer prints and deletes – costs the counting handlers a few nanoseconds, and the timer sees all
// counts of one moment and loses none.
//
// Elements that only their own thread or CPU touches (Global.IsOwned: what @entry saved) need no lock: nobody else is there.
//
// Two things force the lock even for single accesses. Elements that may be deleted meanwhile: the kernel gives the memory of a deleted element to the
// next one inserted, and an addition under way would land there. And a foreach in the kernel, whose snapshot area is there once.

/// <summary>How a handler takes its lock.</summary>
internal enum LockMode
{
    Shared,
    Exclusive,
}

/// <summary>A lock of the data map, see <see cref="Locks"/>.</summary>
internal sealed class LockWord
{
    /// <summary>Offset of the word that holds 0 or 1 + the CPU of the exclusive holder.</summary>
    public int Offset { get; set; } = -1;

    /// <summary>Some handler takes the shared side.</summary>
    public bool HasShared { get; set; }

    /// <summary>Some handler takes the exclusive side.</summary>
    public bool HasExclusive { get; set; }

    /// <summary>Offset of CPU 0's count of shared holders; each CPU has a line of <see cref="Stride"/> bytes.</summary>
    public int SharedOffset { get; set; } = -1;

    /// <summary>Bytes from one CPU's count to the next: a cache line.</summary>
    public const int Stride = 64;
}

/// <summary>Locks of globals and handlers.</summary>
internal sealed class Locks
{
    private readonly int[] _parent;
    private readonly bool[] _locked;
    private readonly SortedDictionary<int, LockWord> _words = [];
    private readonly Dictionary<Probe, AccessCounter> _accesses = new(ReferenceEqualityComparer.Instance);

    private Locks(int globals)
    {
        _parent = new int[globals];
        _locked = new bool[globals];
        for (var i = 0; i < globals; i++)
        {
            _parent[i] = i;
        }
    }

    /// <summary>All locks, in a fixed order.</summary>
    public IReadOnlyCollection<LockWord> Words => _words.Values;

    public static Locks Of(LoweredProgram program, Placement placement)
    {
        var locks = new Locks(program.Globals.Count);
        var facts = new AccessFacts(program.Globals.Count);
        var concurrent = new List<Probe>(placement.KernelProbes);
        concurrent.AddRange(placement.ConcurrentHostProbes);
        foreach (var probe in concurrent)
        {
            var counter = new AccessCounter(facts, placement.KernelProbes.Contains(probe));
            counter.Visit(probe.Body);
            locks._accesses[probe] = counter;
        }

        bool Matters(int g) => placement.KernelUse[g] != GlobalUse.None && ((facts.Written[g] && !facts.Commutes[g]) || facts.Forced[g]);

        foreach (var probe in concurrent)
        {
            var counts = locks._accesses[probe].Counts;
            var total = 0;
            var first = -1;
            for (var g = 0; g < counts.Length; g++)
            {
                if (counts[g] > 0 && Matters(g))
                {
                    total += facts.Forced[g] ? 2 : counts[g];
                    first = first < 0 ? g : first;
                }
            }

            for (var g = first; total >= 2 && g < counts.Length; g++)
            {
                if (counts[g] > 0 && Matters(g))
                {
                    locks._parent[locks.Find(g)] = locks.Find(first);
                    locks._locked[g] = true;
                }
            }
        }

        foreach (var probe in concurrent)
        {
            if (locks.RootOf(probe) is var root && root >= 0)
            {
                if (!locks._words.TryGetValue(root, out var word))
                {
                    locks._words[root] = word = new LockWord();
                }

                var exclusive = locks.ModeOf(probe) == LockMode.Exclusive;
                word.HasExclusive |= exclusive;
                word.HasShared |= !exclusive;
            }
        }

        foreach (var root in new List<int>(locks._words.Keys))
        {
            if (!locks._words[root].HasExclusive)
            {
                locks._words.Remove(root);
            }
        }

        return locks;
    }

    /// <summary>The lock a handler takes; null for none.</summary>
    public LockWord? Of(Probe probe) => RootOf(probe) is var root && root >= 0 ? _words.GetValueOrDefault(root) : null;

    /// <summary>Which side a handler takes.</summary>
    public LockMode ModeOf(Probe probe)
    {
        var counter = _accesses[probe];
        var looks = 0;
        for (var g = 0; g < counter.Counts.Length; g++)
        {
            if (counter.Looks[g] > 0 && _locked[g])
            {
                // Looking at what it changes as well is more than one step.
                looks += counter.Counts[g] > 1 ? 2 : counter.Looks[g];
            }
        }

        return looks >= 2 ? LockMode.Exclusive : LockMode.Shared;
    }

    private int RootOf(Probe probe)
    {
        if (_accesses.TryGetValue(probe, out var counter))
        {
            for (var g = 0; g < counter.Counts.Length; g++)
            {
                if (counter.Counts[g] > 0 && _locked[g])
                {
                    return Find(g);
                }
            }
        }

        return -1;
    }

    private int Find(int g)
    {
        while (_parent[g] != g)
        {
            g = _parent[g] = _parent[_parent[g]];
        }

        return g;
    }
}

/// <summary>What all concurrent handlers together do to each global.</summary>
internal sealed class AccessFacts
{
    public AccessFacts(int globals)
    {
        Commutes = new bool[globals];
        Array.Fill(Commutes, true);
        Written = new bool[globals];
        Forced = new bool[globals];
    }

    /// <summary>Only ever added to, never looked at.</summary>
    public bool[] Commutes { get; }

    public bool[] Written { get; }

    /// <summary>Every access needs the lock: elements are deleted, or a kernel handler iterates it.</summary>
    public bool[] Forced { get; }
}

/// <summary>Counts one handler's accesses to globals; those in loops count twice, and so do those of more than one word.</summary>
internal sealed class AccessCounter(AccessFacts facts, bool inKernel) : LoweredWalker
{
    private readonly HashSet<Function> _active = new(ReferenceEqualityComparer.Instance);
    private int _weight = 1;

    /// <summary>By global index.</summary>
    public int[] Counts { get; } = new int[facts.Written.Length];

    /// <summary>Those that are more than a blind addition.</summary>
    public int[] Looks { get; } = new int[facts.Written.Length];

    public override void Visit(Stmt? statement)
    {
        switch (statement)
        {
            case ExprStmt { Expression: UpdateExpr u } when IsBlindAdd(u):
                Add(u.Place, 1, blind: true, writes: true);
                Visit(u.Place);
                Visit(u.Operand);
                return;
            case LoopStmt s:
                var outer = _weight;
                _weight = 2;
                Visit(s.Condition);
                Visit(s.Body);
                if (s.Step is UpdateExpr step && IsBlindAdd(step))
                {
                    Add(step.Place, 1, blind: true, writes: true);
                    Visit(step.Place);
                    Visit(step.Operand);
                }
                else
                {
                    Visit(s.Step);
                }

                _weight = outer;
                return;
            case ForeachStmt s:
                Look(s.Array, 2, writes: false);
                facts.Forced[s.Array.Index] |= inKernel;
                Visit(s.Slice);
                Visit(s.Limit);
                Visit(s.BucketKeys);
                var before = _weight;
                _weight = 2;
                Visit(s.Body);
                _weight = before;
                return;
            case DeleteStmt s:
                var shares = s.Global.IsArray || s.Global.Type == ScriptType.Statistics;
                Look(s.Global, shares ? 2 : 1, writes: true);
                facts.Forced[s.Global.Index] |= shares && !s.Global.IsOwned;
                break;
            case StatAddStmt s:
                Counts[s.Aggregate.Index] += _weight;
                facts.Written[s.Aggregate.Index] = true;
                facts.Forced[s.Aggregate.Index] |= s.Aggregate.Wraps;
                if (s.Aggregate.Wraps)
                {
                    Look(s.Aggregate, 2, writes: true);
                }

                break;
        }

        base.Visit(statement);
    }

    public override void Visit(Expr? expression)
    {
        switch (expression)
        {
            case ReadExpr e:
                Add(e.Place, 1, false, writes: false);
                break;
            case AssignExpr e:
                Add(e.Place, 1, false, writes: true);
                break;
            case UpdateExpr e:
                Add(e.Place, e.Operator is BinaryOperator.Add or BinaryOperator.Subtract ? 1 : 2, false, writes: true);
                break;
            case InExpr e:
                Look(e.Array, HasWildcard(e.Keys) ? 2 : 1, writes: false);
                break;
            case StatExpr e:
                Look(e.Aggregate, 2, writes: false);
                break;
            case BucketExpr e:
                Look(e.Aggregate, 2, writes: false);
                break;
            case HistogramTextExpr e:
                Look(e.Aggregate, 2, writes: false);
                break;
            case CallExpr e:
                for (var f = e.Function; f is not null && _active.Add(f); f = f.NextOverload)
                {
                    Visit(f.Body);
                    _active.Remove(f);
                }

                break;
        }

        base.Visit(expression);
    }

    private static bool HasWildcard(IReadOnlyList<Expr?> keys)
    {
        foreach (var key in keys)
        {
            if (key is null)
            {
                return true;
            }
        }

        return false;
    }

    private static bool IsBlindAdd(UpdateExpr u) => u.Type == ScriptType.Long && u.Operator is BinaryOperator.Add or BinaryOperator.Subtract;

    private void Add(Place place, int count, bool blind, bool writes)
    {
        var global = place switch
        {
            GlobalPlace g => g.Global,
            ElementPlace e => e.Array,
            _ => null,
        };
        if (global is null || global.IsReadOnly || global.IsOwned)
        {
            return;
        }

        if (blind && !global.Wraps)
        {
            facts.Written[global.Index] = true;
            Counts[global.Index] += count * _weight;
            return;
        }

        // A write to an array with % may drop an element.
        facts.Forced[global.Index] |= global.Wraps && writes;
        Look(global, global.Type == ScriptType.String || global.Wraps ? 2 : count, writes);
    }

    private void Look(Global global, int count, bool writes)
    {
        if (global.IsOwned)
        {
            return;
        }

        facts.Commutes[global.Index] = false;
        facts.Written[global.Index] |= writes;
        Counts[global.Index] += count * _weight;
        Looks[global.Index] += count * _weight;
    }
}
