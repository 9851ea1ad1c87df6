using SystemTap.Bpf.Analysis;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

// A timer that prints the top of an array and empties it would hold the lock for sorting and printing: a millisecond for two thousand elements, as long as
// kernel handlers wait at most. But only taking the elements must be exclusive. So the end of such a handler is put into another order:
//
//     foreach (k in a- limit 10) printf("%s %d\n", k, a[k])          take the elements of a
//     delete a                                                  →    delete a
//                                                                    unlock
//                                                                    sort and print
//
// The part that is put into order reaches from the end of the handler back as far as each statement is one of
//   * a foreach whose body touches no global of kernel handlers but the visited element, whose value is taken with it;
//   * a reset: `delete` of a whole global, or a constant assigned to one;
//   * a statement that touches no global of kernel handlers and cannot leave the handler.
// Takings and resets keep their order and come first; the others keep theirs. What is taken depends on no local, so nothing else can tell the difference,
// except an error in a printing loop, which now comes after the resets.
//
// Works on the rewritten body of a handler that stap runs by request; such handlers never run at the same time, so the elements taken are safe without lock.

/// <summary>Takes the elements of a foreach; <see cref="VisitStmt"/> with the same token goes through them.</summary>
internal sealed class TakeStmt(ForeachStmt loop, IReadOnlyList<(StatisticKind Kind, Local Local)> captured, object token) : Stmt(loop.Span), IEngineNode
{
    public ForeachStmt Loop { get; } = loop;

    /// <summary>Extractors of the element that the body wants, and the variables that get them.</summary>
    public IReadOnlyList<(StatisticKind Kind, Local Local)> Captured { get; } = captured;

    public object Token { get; } = token;

    /// <inheritdoc/>
    public void VisitChildren(LoweredWalker walker)
    {
        walker.Visit(Loop.Slice);
        walker.Visit(Loop.Limit);
    }
}

/// <summary>Goes through the elements taken before.</summary>
internal sealed class VisitStmt(TakeStmt take) : Stmt(take.Span), IEngineNode
{
    public TakeStmt Take { get; } = take;

    /// <inheritdoc/>
    public void VisitChildren(LoweredWalker walker) => walker.Visit(Take.Loop);
}

/// <summary>Gives the handler's lock back before its end.</summary>
internal sealed class UnlockStmt(SourceSpan span) : Stmt(span), IEngineNode
{
    /// <inheritdoc/>
    public void VisitChildren(LoweredWalker walker)
    {
    }
}

/// <summary>Puts the end of a handler into the order above.</summary>
/// <param name="shared">By global index: kernel handlers touch it.</param>
/// <param name="capacities">Bounds of strings.</param>
internal sealed class EarlyUnlock(bool[] shared, Capacities capacities)
{
    private int _locals;

    /// <summary>The handler in the new order, or as it was.</summary>
    public Stmt Apply(Stmt body)
    {
        var statements = new List<Stmt>();
        Flatten(body, statements);
        var first = statements.Count;
        var loops = 0;
        var takes = new Dictionary<Stmt, TakeStmt>(ReferenceEqualityComparer.Instance);
        while (first > 0)
        {
            var s = statements[first - 1];
            if (s is ForeachStmt f && Take(f) is { } take)
            {
                takes[s] = take;
                loops++;
            }
            else if (!IsReset(s) && !IsFree(s))
            {
                break;
            }

            first--;
        }

        if (loops == 0)
        {
            return body;
        }

        var ordered = statements.GetRange(0, first);
        var later = new List<Stmt>();
        foreach (var s in statements.GetRange(first, statements.Count - first))
        {
            if (takes.TryGetValue(s, out var take))
            {
                ordered.Add(take);
                later.Add(new VisitStmt(take));
            }
            else
            {
                (IsReset(s) ? ordered : later).Add(s);
            }
        }

        ordered.Add(new UnlockStmt(body.Span));
        ordered.AddRange(later);
        return new BlockStmt(ordered, body.Span);
    }

    private static void Flatten(Stmt s, List<Stmt> into)
    {
        if (s is BlockStmt block)
        {
            foreach (var child in block.Statements)
            {
                Flatten(child, into);
            }
        }
        else
        {
            into.Add(s);
        }
    }

    private static bool IsReset(Stmt s) => s is DeleteStmt { Keys: null }
        or ExprStmt { Expression: AssignExpr { Place: GlobalPlace, Value: LongConst or StringConst } };

    private bool IsFree(Stmt s)
    {
        var walker = new FreeWalker(shared);
        walker.Visit(s);
        return walker.Free;
    }

    private TakeStmt? Take(ForeachStmt f)
    {
        if (f.OverBuckets || !IsConstant(f.Limit))
        {
            return null;
        }

        foreach (var key in f.Slice ?? [])
        {
            if (!IsConstant(key))
            {
                return null;
            }
        }

        var assigned = AssignmentCounter.In(f.Body);
        foreach (var key in f.Keys)
        {
            if (assigned.ContainsKey(key))
            {
                return null;
            }
        }

        if (f.Value is { } given && assigned.ContainsKey(given))
        {
            return null;
        }

        var replacer = new ElementReplacer(f, NewLocal);
        var body = replacer.Replace(f.Body);
        if (replacer.Value is { Type: ScriptType.String } text)
        {
            capacities.AtLeast(text, capacities.Of(f.Array));
        }

        if (!IsFree(body))
        {
            return null;
        }

        var loop = f.With(f.Keys, replacer.Value, f.Slice, f.Limit, f.BucketKeys, body);
        return new TakeStmt(loop, replacer.Captured, loop);
    }

    private static bool IsConstant(Expr? e) => e is null or LongConst or StringConst;

    private Local NewLocal(ScriptType type) => new(-1, $"_e{++_locals}", type);

    /// <summary>Replaces reads of the visited element by variables.</summary>
    private sealed class ElementReplacer(ForeachStmt loop, Func<ScriptType, Local> newLocal)
    {
        public Local? Value { get; private set; } = loop.Value;

        public List<(StatisticKind Kind, Local Local)> Captured { get; } = [];

        public Stmt Replace(Stmt s) => Mapper.Children(s, Replace, Replace);

        private Expr Replace(Expr e)
        {
            switch (e)
            {
                case ReadExpr { Place: ElementPlace p } when ReferenceEquals(p.Array, loop.Array) && IsVisited(p.Keys):
                    Value ??= newLocal(loop.Array.Type);
                    return new ReadExpr(new LocalPlace(Value), e.Span);
                case StatExpr s when ReferenceEquals(s.Aggregate, loop.Array) && IsVisited(s.Keys):
                    foreach (var (kind, known) in Captured)
                    {
                        if (kind == s.Kind)
                        {
                            return new ReadExpr(new LocalPlace(known), e.Span);
                        }
                    }

                    var local = newLocal(ScriptType.Long);
                    Captured.Add((s.Kind, local));
                    return new ReadExpr(new LocalPlace(local), e.Span);
                default:
                    return Mapper.Children(e, Replace);
            }
        }

        private bool IsVisited(IReadOnlyList<Expr> keys)
        {
            for (var i = 0; i < keys.Count; i++)
            {
                if (keys[i] is not ReadExpr { Place: LocalPlace p } || !ReferenceEquals(p.Local, loop.Keys[i]))
                {
                    return false;
                }
            }

            return true;
        }
    }

    private sealed class FreeWalker(bool[] shared) : CallingWalker
    {
        public bool Free { get; private set; } = true;

        public override void Visit(Stmt? statement)
        {
            Free &= statement switch
            {
                NextStmt => false,
                ForeachStmt s => !shared[s.Array.Index],
                DeleteStmt s => !shared[s.Global.Index],
                StatAddStmt s => !shared[s.Aggregate.Index],
                _ => true,
            };
            base.Visit(statement);
        }

        public override void Visit(Expr? expression)
        {
            Free &= expression switch
            {
                ReadExpr e => IsFree(e.Place),
                AssignExpr e => IsFree(e.Place),
                UpdateExpr e => IsFree(e.Place),
                InExpr e => !shared[e.Array.Index],
                StatExpr e => !shared[e.Aggregate.Index],
                BucketExpr e => !shared[e.Aggregate.Index],
                HistogramTextExpr e => !shared[e.Aggregate.Index],
                BucketsExpr e => !shared[e.Aggregate.Index],
                IntrinsicExpr e => e.Intrinsic.Id is not (IntrinsicId.Abort or IntrinsicId.Error),

                // Statements in an expression: only lowering makes them, and the replacer does not look into them.
                SequenceExpr => false,
                _ => true,
            };
            base.Visit(expression);
        }

        private bool IsFree(Place place) => place switch
        {
            GlobalPlace p => p.Global.IsReadOnly || !shared[p.Global.Index],
            ElementPlace p => !shared[p.Array.Index],
            _ => true,
        };
    }
}
