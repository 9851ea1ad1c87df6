using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

/// <summary>
/// Splits the arguments of one print into leaves (evaluated by the kernel, sent) and the rest (evaluated by stap over the leaves).
/// </summary>
internal sealed class PrintSplitter
{
    private readonly List<Expr> _longs = [], _strings = [];
    private readonly List<LeafHole> _holes = [];

    // Leaves get their numbers last, because longs stand before strings in a record.
    private sealed class LeafHole(Expr value, bool isString, int position)
    {
        public Expr Value { get; } = value;

        public bool IsString { get; } = isString;

        public int Position { get; } = position;
    }

    private sealed class HoleExpr(LeafHole hole) : Expr(hole.Value.Type, hole.Value.Span)
    {
        public LeafHole Hole { get; } = hole;
    }

    /// <summary>Splits the arguments; leaves come out in record order.</summary>
    public static (Expr[] Arguments, Expr[] Leaves) Split(IReadOnlyList<Expr> arguments)
    {
        var splitter = new PrintSplitter();
        var rewritten = new Expr[arguments.Count];
        for (var i = 0; i < rewritten.Length; i++)
        {
            rewritten[i] = splitter.Rewrite(arguments[i]);
        }

        for (var i = 0; i < rewritten.Length; i++)
        {
            rewritten[i] = splitter.Number(rewritten[i]);
        }

        return (rewritten, splitter.Leaves);
    }

    /// <summary>What is sent, numbers first.</summary>
    public Expr[] Leaves => [.. _longs, .. _strings];

    /// <summary>Takes the leaves out of an expression; they get their numbers by <see cref="NumberOne"/> when all are known.</summary>
    public Expr Rewrite(Expr e)
    {
        if (Purity.IsConstant(e))
        {
            return e;
        }

        if (Purity.IsDeferrable(e))
        {
            return Mapper.Children(e, Rewrite);
        }

        return Leaf(e);
    }

    private HoleExpr Leaf(Expr e)
    {
        foreach (var known in _holes)
        {
            if (Same(known.Value, e))
            {
                return new HoleExpr(known);
            }
        }

        var isString = e.Type == ScriptType.String;
        var list = isString ? _strings : _longs;
        var hole = new LeafHole(e, isString, list.Count);
        list.Add(e);
        _holes.Add(hole);
        return new HoleExpr(hole);
    }

    private Expr Number(Expr e) => NumberOne(e) ?? Mapper.Children(e, Number);

    /// <summary>The leaf an expression stands for; null when it is none.</summary>
    public LeafExpr? NumberOne(Expr e) => e is HoleExpr h
        ? new LeafExpr(h.Hole.IsString ? _longs.Count + h.Hole.Position : h.Hole.Position, e.Type, e.Span)
        : null;

    private static bool Same(Expr a, Expr b) => ReferenceEquals(a, b) || (a, b) switch
    {
        (ReadExpr { Place: LocalPlace x }, ReadExpr { Place: LocalPlace y }) => ReferenceEquals(x.Local, y.Local),
        (ContextExpr x, ContextExpr y) => x.Value == y.Value && x.Index == y.Index && x.Size == y.Size && x.IsSigned == y.IsSigned,
        (IntrinsicExpr { Arguments.Count: 0 } x, IntrinsicExpr { Arguments.Count: 0 } y) => x.Intrinsic.Id == y.Intrinsic.Id && x.Intrinsic.Has(IntrinsicTraits.Stable),
        _ => false,
    };
}

/// <summary>What may be evaluated later and elsewhere.</summary>
internal static class Purity
{
    public static bool IsConstant(Expr e) => e is LongConst or StringConst
        || (e is IntrinsicExpr { Arguments.Count: 0 } i && (i.Intrinsic.Has(IntrinsicTraits.SessionConstant)
            || i.Intrinsic.Id is IntrinsicId.ProbePointText or IntrinsicId.ProbeName or IntrinsicId.ProbeType));

    /// <summary>The operation itself can be left to stap, given its operands' values. (Operands are looked at one by one.)</summary>
    public static bool IsDeferrable(Expr e) => e switch
    {
        BinaryExpr { Operator: BinaryOperator.Divide or BinaryOperator.Modulo } b => b.Right is LongConst { Value: not 0 },
        BinaryExpr or UnaryExpr or StringCompareExpr or ConcatExpr or LeafExpr or HistogramLeafExpr => true,

        // Both branches' leaves are read before the choice is made: only when reading cannot fail.
        ConditionalExpr c => IsQuiet(c.WhenTrue) && IsQuiet(c.WhenFalse),
        LogicalExpr l => IsQuiet(l.Right),
        FormatExpr f => IsPlainFormat(f.Segments),
        IntrinsicExpr i => i.Intrinsic.Has(IntrinsicTraits.Deferrable),
        CallExpr c => IsDeferrable(c.Function),
        _ => false,
    };

    /// <summary>No memory is read while formatting.</summary>
    public static bool IsPlainFormat(IReadOnlyList<FormatSegment> segments)
    {
        foreach (var s in segments)
        {
            if (s.Conversion is FormatConversion.Memory or FormatConversion.MemoryHex)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Evaluating it has no effect and cannot fail.</summary>
    public static bool IsQuiet(Expr e)
    {
        var walker = new QuietWalker();
        walker.Visit(e);
        return walker.Quiet;
    }

    /// <summary>The function's result depends on its arguments only, and stap can compute it.</summary>
    public static bool IsDeferrable(Function f)
    {
        if (f.NextOverload is not null || f.IsRecursive)
        {
            return false;
        }

        var walker = new DeferrableWalker();
        walker.Visit(f.Body);
        return walker.Deferrable;
    }

    private sealed class QuietWalker : LoweredWalker
    {
        private readonly HashSet<Function> _active = new(ReferenceEqualityComparer.Instance);

        public bool Quiet { get; private set; } = true;

        public override void Visit(Expr? expression)
        {
            Quiet &= expression switch
            {
                RegexExpr { Regex.NeedsGroups: true } => false,
                AssignExpr or UpdateExpr or SequenceExpr or DerefExpr or RawBytesExpr or StatExpr or BucketExpr or HistogramTextExpr or BucketsExpr => false,
                BinaryExpr { Operator: BinaryOperator.Divide or BinaryOperator.Modulo } b => b.Right is LongConst { Value: not 0 },
                IntrinsicExpr i => i.Intrinsic.Has(IntrinsicTraits.Pure) && !i.Intrinsic.Has(IntrinsicTraits.Fallible),
                CallExpr c => c.Function.IsPure || IsDeferrable(c.Function),
                _ => true,
            };
            base.Visit(expression);
        }
    }

    private sealed class DeferrableWalker : LoweredWalker
    {
        public bool Deferrable { get; private set; } = true;

        public override void Visit(Stmt? statement)
        {
            Deferrable &= statement is not (PrintStmt or SendStmt or StatAddStmt or DeleteStmt or ForeachStmt or TryStmt or LoopStmt or NextStmt);
            base.Visit(statement);
        }

        public override void Visit(Expr? expression)
        {
            Deferrable &= expression switch
            {
                AssignExpr { Place: not LocalPlace } or UpdateExpr { Place: not LocalPlace } => false,
                ReadExpr { Place: not LocalPlace and not GlobalPlace { Global.IsReadOnly: true } } => false,
                DerefExpr or ContextExpr or StatExpr or BucketExpr or HistogramTextExpr or InExpr or RegexExpr => false,
                BinaryExpr { Operator: BinaryOperator.Divide or BinaryOperator.Modulo } b => b.Right is LongConst { Value: not 0 },
                IntrinsicExpr i => i.Intrinsic.Has(IntrinsicTraits.Deferrable),
                FormatExpr f => IsPlainFormat(f.Segments),
                CallExpr c => Purity.IsDeferrable(c.Function),
                _ => true,
            };
            base.Visit(expression);
        }
    }
}
