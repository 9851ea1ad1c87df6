using System.Globalization;
using System.Text;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

// Counting by stacks and names of the kernel
// ------------------------------------------
// `n[execname(), sprint_backtrace()]++`: only stap can make the text, so HostStatements would send a record for each event and stap would count. But an addition need not be done at once,
// nor one by one. So the kernel adds to a table of its own whose keys are what the text is made from – addresses, as they are – and stap makes the texts and adds the sums to the
// script's array when somebody looks: before a handler of stap that uses the array runs, and at the end.
//
//     n[execname(), sprint_backtrace()]++   becomes   try { table[execname(), ADDRESSES]++ } catch { n[execname(), sprint_backtrace()]++ }
//
// The array itself is in stap's memory, so all the rest of the language goes on as before: two stacks whose texts are equal (or are cut to the same) are one element, and
// loops sort by text. What does not fit into the table any more comes as a record, as before.
//
// Elements of the table are never deleted: the kernel gives their memory to the next one inserted, and an addition under way on another CPU would land there. Stap remembers
// what it has taken and adds the difference. Minimum and maximum have no difference, so they are counted here only when the array never loses elements.
//
// Stacks of programs are not among it: they are unwound by stap from a copy of the stack, so no two events have the same key.

/// <summary>Moves additions to arrays whose keys hold stacks or names of the kernel into the kernel.</summary>
internal sealed class KernelCounts
{
    private readonly LoweredProgram _program;
    private readonly Dictionary<Global, int> _mentions = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<Global, int> _additions = new(ReferenceEqualityComparer.Instance);
    private readonly HashSet<Global> _texts = new(ReferenceEqualityComparer.Instance);
    private readonly HashSet<Global> _unfit = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<(Global Array, string Shape), CountTable> _tables = [];

    private string _point = "";

    private KernelCounts(LoweredProgram program) => _program = program;

    /// <summary>The program with such additions moved, and the tables that take them.</summary>
    public static (LoweredProgram Program, IReadOnlyList<CountTable> Tables) Apply(LoweredProgram program)
    {
        var pass = new KernelCounts(program);
        var probes = new Probe[program.Probes.Count];
        pass.Look();
        if (!pass._texts.Any(pass.Fits))
        {
            return (program, []);
        }

        for (var i = 0; i < probes.Length; i++)
        {
            var p = program.Probes[i];
            pass._point = p.PointText;
            var body = p.Spec.RunsInKernel ? pass.Rewrite(p.Body) : p.Body;
            probes[i] = ReferenceEquals(body, p.Body) ? p : p.With(body);
        }

        return (program.With(probes, [.. program.Globals, .. pass._tables.Values.Select(static t => t.Table)]), [.. pass._tables.Values]);
    }

    // ---- which arrays ----------------------------------------------------------------------------------------------------

    /// <summary>All that handlers of the kernel do to it are additions that can be moved, and one of them at least needs it.</summary>
    private bool Fits(Global g) => _texts.Contains(g) && !_unfit.Contains(g) && !g.Wraps && !g.IsOwned && _additions.GetValueOrDefault(g) == _mentions.GetValueOrDefault(g);

    private void Look()
    {
        var mentions = new Mentions(_mentions);
        foreach (var p in _program.Probes)
        {
            if (p.Spec.RunsInKernel)
            {
                mentions.Visit(p.Body);
                LookAt(p.Body);
            }
        }

        if (_texts.Count > 0)
        {
            var losses = new Losses();
            foreach (var p in _program.Probes)
            {
                losses.Visit(p.Body);
            }

            foreach (var g in _texts)
            {
                if (g.Shape is { } shape && (shape.Variance || ((shape.Min || shape.Max) && losses.Found.Contains(g))))
                {
                    _unfit.Add(g);
                }
            }
        }
    }

    private void LookAt(Stmt s)
    {
        if (AdditionOf(s) is { } addition)
        {
            _additions[addition.Array] = _additions.GetValueOrDefault(addition.Array) + 1;
            if (addition.Keys.Any(NeedsText))
            {
                _texts.Add(addition.Array);
            }

            if (Split(addition) is null)
            {
                _unfit.Add(addition.Array);
            }

            return;
        }

        // An error inside of try is caught there, and must not be by what is put in here.
        if (s is not TryStmt)
        {
            Mapper.Children(s, static e => e, child =>
            {
                LookAt(child);
                return child;
            });
        }
    }

    private Stmt Rewrite(Stmt s)
    {
        if (AdditionOf(s) is { } addition)
        {
            return Fits(addition.Array) ? Moved(addition) : s;
        }

        if (s is TryStmt)
        {
            return s;
        }

        var changed = false;
        var result = Mapper.Children(s, static e => e, child =>
        {
            var mapped = Rewrite(child);
            changed |= !ReferenceEquals(mapped, child);
            return mapped;
        });
        return changed ? result : s;
    }

    private sealed record Addition(Stmt Statement, Global Array, IReadOnlyList<Expr> Keys, Expr Value);

    private static Addition? AdditionOf(Stmt s) => s switch
    {
        ExprStmt { Expression: UpdateExpr { Place: ElementPlace p, Operator: Language.Syntax.BinaryOperator.Add or Language.Syntax.BinaryOperator.Subtract } u } when p.Type == ScriptType.Long
            => new Addition(s, p.Array, p.Keys, u.Operand),
        StatAddStmt { Keys.Count: > 0 } a => new Addition(s, a.Aggregate, a.Keys, a.Value),
        _ => null,
    };

    private TryStmt Moved(Addition addition)
    {
        var split = Split(addition)!;
        var array = addition.Array;
        if (!_tables.TryGetValue((array, split.Shape), out var counts))
        {
            var table = new Global
            {
                Index = _program.Globals.Count + _tables.Count,
                Name = array.Name,
                Type = array.Type,
                KeyTypes = [.. split.Columns.Select(static c => c.Type)],
                MaxEntries = array.MaxEntries,
                Shape = array.Shape,
                IsTapset = true,
                OnlyGrows = true,
                Span = array.Span,
            };
            counts = new CountTable(table, array, split.Keys, split.Stacks, addition.Statement.Span, _point);
            _tables.Add((array, split.Shape), counts);
        }

        var span = addition.Statement.Span;
        Stmt count = addition.Statement switch
        {
            ExprStmt { Expression: UpdateExpr u } => new ExprStmt(new UpdateExpr(new ElementPlace(counts.Table, split.Columns), u.Operator, u.Operand, u.YieldsOld, u.Span), span),
            _ => new StatAddStmt(counts.Table, split.Columns, addition.Value, span),
        };
        return new TryStmt(count, null, addition.Statement, span);
    }

    // ---- keys ------------------------------------------------------------------------------------------------------------

    /// <param name="Columns">What the kernel puts into the key.</param>
    /// <param name="Stacks">Which of them are addresses of a stack.</param>
    /// <param name="Keys">The script's keys, made of the columns.</param>
    /// <param name="Shape">Equal for additions whose keys are made in the same way.</param>
    private sealed record SplitKeys(IReadOnlyList<Expr> Columns, IReadOnlyList<bool> Stacks, IReadOnlyList<Expr> Keys, string Shape);

    private static SplitKeys? Split(Addition addition)
    {
        // It is evaluated again where the table is full.
        if (NeedsText(addition.Value) || EffectFinder.In(addition.Value) || addition.Keys.Any(EffectFinder.In))
        {
            return null;
        }

        var splitter = new Splitter();
        var keys = new Expr[addition.Keys.Count];
        for (var i = 0; i < keys.Length; i++)
        {
            if (splitter.Key(addition.Keys[i]) is not { } key)
            {
                return null;
            }

            keys[i] = key;
        }

        return new SplitKeys(splitter.Columns, splitter.Stacks, keys, splitter.Shape);
    }

    private sealed class Splitter
    {
        private readonly StringBuilder _shape = new();

        public List<Expr> Columns { get; } = [];

        public List<bool> Stacks { get; } = [];

        public string Shape => _shape.ToString();

        /// <summary>The key over columns; null when it cannot be made later.</summary>
        public Expr? Key(Expr e)
        {
            _shape.Append(';');
            return NeedsText(e) ? Part(e) : Column(e, isStack: false);
        }

        private LeafExpr Column(Expr e, bool isStack)
        {
            _shape.Append(isStack ? "@" : e.Type == ScriptType.String ? "$" : "#");
            Columns.Add(e);
            Stacks.Add(isStack);
            return new LeafExpr(Columns.Count - 1, e.Type, e.Span);
        }

        private Expr? Part(Expr e)
        {
            switch (e)
            {
                case LongConst c:
                    _shape.Append(CultureInfo.InvariantCulture, $"{c.Value}");
                    return e;
                case StringConst c:
                    _shape.Append(CultureInfo.InvariantCulture, $"{c.Value.Length}\"").Append(c.Value);
                    return e;
                case var _ when !NeedsText(e):
                    return Column(e, isStack: false);
                case IntrinsicExpr { Intrinsic.Id: IntrinsicId.KernelStack } i:
                    var raw = Column(new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.KernelStackRaw), [], i.Span), isStack: true);
                    return new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.StackText), [raw], i.Span);
                case IntrinsicExpr i when IsMadeLater(i.Intrinsic.Id):
                    _shape.Append(i.Intrinsic.Name).Append('(');
                    return Parts(i.Arguments) is { } arguments ? new IntrinsicExpr(i.Intrinsic, arguments, i.Span) : null;
                case ConcatExpr c:
                    _shape.Append(".(");
                    return Parts(c.Parts) is { } parts ? new ConcatExpr(parts, c.Span) : null;
                case FormatExpr f when Purity.IsPlainFormat(f.Segments):
                    _shape.Append('%').AppendJoin(',', f.Segments).Append('(');
                    return Parts(f.Arguments) is { } values ? new FormatExpr(f.Segments, values, f.Span) : null;
                case CallExpr c when Result(c) is { } value:
                    return Part(value);
                default:
                    return null;
            }
        }

        private Expr[]? Parts(IReadOnlyList<Expr> list)
        {
            var result = new Expr[list.Count];
            for (var i = 0; i < result.Length; i++)
            {
                if (Part(list[i]) is not { } part)
                {
                    return null;
                }

                result[i] = part;
                _shape.Append(',');
            }

            _shape.Append(')');
            return result;
        }
    }

    /// <summary>Stap can make it as well long after the event, from the arguments alone. (What is mapped in a process changes.)</summary>
    private static bool IsMadeLater(IntrinsicId id) => id is IntrinsicId.SymbolName or IntrinsicId.SymbolData or IntrinsicId.SymbolModule or IntrinsicId.SymbolLines or IntrinsicId.SymbolPlace
        or IntrinsicId.StackEntry or IntrinsicId.StackHead or IntrinsicId.StackText;

    /// <summary>What a function that only returns a value returns.</summary>
    private static Expr? Result(CallExpr c)
    {
        var f = c.Function;
        if (f.NextOverload is not null || f.IsRecursive || f.EmbeddedCode is not null || HostStatements.WithoutBlocks(f.Body) is not ReturnStmt { Value: { } value } || !c.Arguments.All(Purity.IsQuiet))
        {
            return null;
        }

        var fits = true;
        var result = Replace(value);
        return fits ? result : null;

        Expr Replace(Expr e)
        {
            switch (e)
            {
                case ReadExpr { Place: LocalPlace p }:
                    fits &= p.Local.Index < f.ParameterCount;
                    return fits ? c.Arguments[p.Local.Index] : e;
                case SequenceExpr or AssignExpr or UpdateExpr:
                    fits = false;
                    return e;
                default:
                    return Mapper.Children(e, Replace);
            }
        }
    }

    private static bool NeedsText(Expr e) => HostStatements.StapsOnlyFinder.In(e);

    /// <summary>Counts where handlers name arrays, in called functions too.</summary>
    private sealed class Mentions(Dictionary<Global, int> found) : CallingWalker
    {
        public override void Visit(Stmt? statement)
        {
            Add(statement switch { DeleteStmt d => d.Global, StatAddStmt a => a.Aggregate, ForeachStmt f => f.Array, _ => null });
            base.Visit(statement);
        }

        public override void Visit(Expr? expression)
        {
            Add(HostStatements.GlobalOf(expression));
            base.Visit(expression);
        }

        private void Add(Global? g)
        {
            if (g is { IsArray: true })
            {
                found[g] = found.GetValueOrDefault(g) + 1;
            }
        }
    }

    /// <summary>Arrays that lose elements.</summary>
    private sealed class Losses : CallingWalker
    {
        public HashSet<Global> Found { get; } = new(ReferenceEqualityComparer.Instance);

        public override void Visit(Stmt? statement)
        {
            if (statement is DeleteStmt d)
            {
                Found.Add(d.Global);
            }

            base.Visit(statement);
        }
    }
}
