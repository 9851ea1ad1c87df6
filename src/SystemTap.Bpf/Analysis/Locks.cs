using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

// Which handlers need a lock?
// ---------------------------
// SystemTap promises that a handler's accesses to globals look as if no other handler ran in between. Most handlers need nothing for that:
//
//   * globals no kernel handler writes: nothing (stap's own handlers never hold locks);
//   * aggregates: per-CPU slots, atomic instructions;
//   * globals that kernel handlers only add to, without looking at the sum: atomic adds commute, so any order is a legal order;
//   * a single access to a long in a whole handler run: one atomic instruction.
//
// What remains – a handler with two or more accesses to globals of the other sort – takes a try-lock. Globals that are used together in such a
// handler share a lock word (union-find), and every handler that touches a global with a lock word takes it, even for one access.
// A handler never needs two lock words: by construction all its locked globals were united.

/// <summary>Lock words of globals and handlers.</summary>
internal sealed class Locks
{
    private readonly int[] _parent;
    private readonly bool[] _locked;
    private readonly Dictionary<int, int> _words = [];
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

    public static Locks Of(LoweredProgram program, Placement placement)
    {
        var locks = new Locks(program.Globals.Count);
        var commutes = new bool[program.Globals.Count];
        Array.Fill(commutes, true);
        foreach (var probe in placement.KernelProbes)
        {
            var counter = new AccessCounter(program.Globals.Count, commutes);
            counter.Visit(probe.Body);
            locks._accesses[probe] = counter;
        }

        bool Matters(int g) =>
            (placement.KernelUse[g] & GlobalUse.Written) != 0 && !commutes[g] && program.Globals[g].Type != ScriptType.Statistics;

        foreach (var probe in placement.KernelProbes)
        {
            var counts = locks._accesses[probe].Counts;
            var total = 0;
            var first = -1;
            for (var g = 0; g < counts.Length; g++)
            {
                if (counts[g] > 0 && Matters(g))
                {
                    total += counts[g];
                    first = first < 0 ? g : first;
                }
            }

            if (total < 2)
            {
                continue;
            }

            for (var g = first; g < counts.Length; g++)
            {
                if (counts[g] > 0 && Matters(g))
                {
                    locks._parent[locks.Find(g)] = locks.Find(first);
                    locks._locked[g] = true;
                }
            }
        }

        return locks;
    }

    /// <summary>Offset in the data map of the lock word a handler takes; −1 for none.</summary>
    public int WordOf(Probe probe)
    {
        var counts = _accesses[probe].Counts;
        for (var g = 0; g < counts.Length; g++)
        {
            if (counts[g] > 0 && _locked[g])
            {
                var root = Find(g);
                if (!_words.TryGetValue(root, out var word))
                {
                    // The first lock is the control block's own word; more stand in its free words, the last of them is shared by all that remain.
                    word = _words.Count == 0 ? ControlBlock.Lock : Math.Min(96 + 8 * (_words.Count - 1), ControlBlock.LockWordsEnd - 8);
                    _words[root] = word;
                }

                return word;
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

/// <summary>Counts one handler's accesses to globals; those in loops count twice, and so do those of more than one word.</summary>
internal sealed class AccessCounter(int globals, bool[] commutes) : Walker
{
    private readonly HashSet<Function> _active = new(ReferenceEqualityComparer.Instance);
    private int _weight = 1;

    /// <summary>By global index.</summary>
    public int[] Counts { get; } = new int[globals];

    public override void Visit(Stmt? statement)
    {
        switch (statement)
        {
            case ExprStmt { Expression: UpdateExpr u } when IsBlindAdd(u):
                Add(u.Place, 1, blind: true);
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
                    Add(step.Place, 1, blind: true);
                }
                else
                {
                    Visit(s.Step);
                }

                _weight = outer;
                return;
            case ForeachStmt s:
                Count(s.Array, 2);
                break;
            case DeleteStmt s:
                Count(s.Global, s.Keys is null && s.Global.IsArray ? 2 : 1);
                break;
        }

        base.Visit(statement);
    }

    public override void Visit(Expr? expression)
    {
        switch (expression)
        {
            case ReadExpr e:
                Add(e.Place, 1, false);
                break;
            case AssignExpr e:
                Add(e.Place, 1, false);
                break;
            case UpdateExpr e:
                Add(e.Place, e.Operator is BinaryOperator.Add or BinaryOperator.Subtract ? 1 : 2, false);
                break;
            case InExpr e:
                Count(e.Array, 1);
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

    private static bool IsBlindAdd(UpdateExpr u) => u.Type == ScriptType.Long && u.Operator is BinaryOperator.Add or BinaryOperator.Subtract;

    private void Add(Place place, int count, bool blind)
    {
        var global = place switch
        {
            GlobalPlace g => g.Global,
            ElementPlace e => e.Array,
            _ => null,
        };
        if (global is null)
        {
            return;
        }

        if (blind && !global.Wraps)
        {
            Counts[global.Index] += count * _weight;
            return;
        }

        Count(global, global.Type == ScriptType.String || global.Wraps ? 2 : count);
    }

    private void Count(Global global, int count)
    {
        commutes[global.Index] = false;
        Counts[global.Index] += count * _weight;
    }
}
