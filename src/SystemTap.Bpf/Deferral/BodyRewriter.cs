using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Deferral;

// Leaving text to stap
// --------------------
// A tapset alias prepares much that most scripts only print: argstr = sprintf("%s, %s, …", …), flags_str = table_flags(…), name = "openat". Formatting in
// the kernel is slow, and some of it impossible there. So, before code is made for a body, it is rewritten:
//
//   1. Forward substitution. A local assigned exactly once is remembered with its value, as an expression over things that cannot change any more: constants,
//      values of the event, stable built-ins, and temporaries. What cannot be left to stap inside that value – a read of memory, of a global, of the
//      clock – is taken out into a temporary, assigned where the original assignment stood, so errors and values stay those of that moment. The remembered
//      value is valid as long as the assignment dominates: entries made in a branch, loop or try end with it.
//   2. Inlining. A small function that ends in texts stap could make (user_string_quoted: read, then escape) is expanded in place: its reads
//      become temporaries, its `return`s set a selector, and the value is a choice by selector between what was returned.
//   3. Prints get the remembered values instead of the locals and are split into leaves (sent) and the rest (PrintSplitter).
//   4. Assignments to locals that nothing in the kernel reads any more are removed, again and again until none is left.
//
// Other uses of a local (conditions, keys) read it as before: then it is computed in the kernel as well.

/// <summary>Rewrites handlers and functions for the kernel; see above.</summary>
internal sealed partial class BodyRewriter(Compilation compilation)
{
    /// <summary>Nodes beyond which a remembered value is not copied into further uses.</summary>
    private const int LargestValue = 400;

    private const int LargestInline = 12;

    private Dictionary<Local, int> _assignments = new(ReferenceEqualityComparer.Instance);
    private HashSet<Local> _frozen = new(ReferenceEqualityComparer.Instance);
    private int _temporaries;

    public Stmt Rewrite(Stmt body)
    {
        _assignments = AssignmentCounter.In(body);
        _frozen = new HashSet<Local>(ReferenceEqualityComparer.Instance);
        var result = Statement(body, new Scope(null));
        return DeadAssignments.Remove(result);
    }

    private sealed class Scope(Scope? outer)
    {
        private readonly Dictionary<Local, Expr> _values = new(ReferenceEqualityComparer.Instance);

        public Expr? Find(Local local)
        {
            for (var s = this; s is not null; s = s.Outer)
            {
                if (s._values.TryGetValue(local, out var value))
                {
                    return value;
                }
            }

            return null;
        }

        private Scope? Outer { get; } = outer;

        public void Set(Local local, Expr value) => _values[local] = value;
    }

    // ---- statements ------------------------------------------------------------------------------------------------------

    private Stmt Statement(Stmt s, Scope scope)
    {
        switch (s)
        {
            case BlockStmt b:
                var list = new List<Stmt>(b.Statements.Count);
                foreach (var child in b.Statements)
                {
                    list.Add(Statement(child, scope));
                }

                return new BlockStmt(list, b.Span);
            case PrintStmt p:
                return Print(p.Segments, p.Arguments, scope, p.Span);
            case ExprStmt { Expression: IntrinsicExpr { Intrinsic.Id: IntrinsicId.Log } log }:
                return Print([new FormatSegment(FormatConversion.String, ""), new FormatSegment(FormatConversion.Literal, "\n")], log.Arguments, scope, log.Span);
            case ExprStmt { Expression: AssignExpr { Place: LocalPlace { Local: var local } } a } when _assignments.GetValueOrDefault(local) == 1:
                return Assignment(local, a, scope);
            case IfStmt i:
                return new IfStmt(Use(i.Condition, scope), Statement(i.Then, new Scope(scope)), i.Else is { } e ? Statement(e, new Scope(scope)) : null, i.Span);
            case LoopStmt l:
                var inner = new Scope(scope);
                var condition = l.Condition is { } c ? Use(c, scope) : null;
                var body = Statement(l.Body, inner);

                // `continue` may skip assignments of the body: the step sees only what held before the loop.
                return new LoopStmt(condition, body, l.Step is { } step ? Use(step, scope) : null, l.Span);
            case TryStmt t:
                return new TryStmt(Statement(t.Body, new Scope(scope)), t.Message, Statement(t.Handler, new Scope(scope)), t.Span);
            case HostStmt h:
                return Host(h, scope);
            case ForeachStmt:
                var within = new Scope(scope);
                return Mapper.Children(s, e => Use(e, scope), child => Statement(child, within));
            default:
                return Mapper.Children(s, e => Use(e, scope), child => Statement(child, new Scope(scope)));
        }
    }

    private BlockStmt Assignment(Local local, AssignExpr a, Scope scope)
    {
        var before = new List<Stmt>();
        var value = Settle(Substitute(a.Value, scope), before, scope, keepReads: false);
        if (NodeCounter.Count(value) <= LargestValue)
        {
            scope.Set(local, value);
        }

        before.Add(new ExprStmt(new AssignExpr(a.Place, value, a.Span), a.Span));
        return new BlockStmt(before, a.Span);
    }

    private Stmt Print(IReadOnlyList<FormatSegment> segments, IReadOnlyList<Expr> arguments, Scope scope, SourceSpan span)
    {
        var prepared = new List<Stmt>();
        if (!Purity.IsPlainFormat(segments))
        {
            arguments = TakeMemory(segments, arguments, prepared, scope, span);
        }

        // With effects among the arguments, everything is taken at its turn; else reads stay in the record's making.
        var quiet = true;
        foreach (var argument in arguments)
        {
            quiet &= !EffectFinder.In(argument);
        }

        var before = prepared;
        var settled = new Expr[arguments.Count];
        for (var i = 0; i < settled.Length; i++)
        {
            settled[i] = Settle(Substitute(arguments[i], scope), before, scope, keepReads: quiet);
        }

        var (rewritten, leaves) = PrintSplitter.Split(settled);
        var types = new ScriptType[leaves.Length];
        for (var i = 0; i < types.Length; i++)
        {
            types[i] = leaves[i].Type;
        }

        var site = new PrintSite(compilation.PrintSites.Count, segments, rewritten, types, span);
        compilation.PrintSites.Add(site);
        before.Add(new SendStmt(site, leaves, span));
        return before.Count == 1 ? before[0] : new BlockStmt(before, span);
    }

    /// <summary>%m and %M: the handler takes the bytes, stap shows them.</summary>
    private Expr[] TakeMemory(IReadOnlyList<FormatSegment> segments, IReadOnlyList<Expr> arguments, List<Stmt> before, Scope scope, SourceSpan span)
    {
        var result = arguments.ToArray();
        var next = 0;
        foreach (var s in segments)
        {
            if (s.Conversion == FormatConversion.Literal)
            {
                continue;
            }

            next += s.WidthKind == FormatSize.Dynamic ? 1 : 0;
            int? precision = s.PrecisionKind == FormatSize.Dynamic ? next++ : null;
            var value = next++;
            if (s.Conversion is not (FormatConversion.Memory or FormatConversion.MemoryHex))
            {
                continue;
            }

            Expr count = new LongConst(s.PrecisionKind == FormatSize.Fixed ? s.Precision : 1, result[value].Span);
            if (precision is { } p)
            {
                // Used twice: by the handler for the number of bytes, and by the format.
                count = result[p] = Settle(Substitute(result[p], scope), before, scope, keepReads: false);
            }

            result[value] = new RawBytesExpr(result[value], count, s.Flag == FormatFlag.Alternate, span)
            {
                Conversion = s.Conversion == FormatConversion.Memory ? 'm' : 'M',
            };
        }

        return result;
    }

    // ---- expressions -----------------------------------------------------------------------------------------------------

    /// <summary>An expression the kernel computes: only remembered constants and values of the event replace locals.</summary>
    private Expr Use(Expr e, Scope scope)
    {
        switch (e)
        {
            case ReadExpr { Place: LocalPlace p } when scope.Find(p.Local) is LongConst or StringConst or ContextExpr or ColumnExpr:
                return scope.Find(p.Local)!;
            case SequenceExpr s:
                var list = new List<Stmt>();
                foreach (var child in s.Statements)
                {
                    list.Add(Statement(child, scope));
                }

                return new SequenceExpr(list, Use(s.Value, scope), s.Span);
            default:
                return Mapper.Children(e, child => Use(child, scope));
        }
    }

    /// <summary>An expression that may be left to stap: remembered values replace locals.</summary>
    private Expr Substitute(Expr e, Scope scope)
    {
        switch (e)
        {
            case ReadExpr { Place: LocalPlace p } when scope.Find(p.Local) is { } value:
                return value;
            case SequenceExpr:
                return Use(e, scope);
            default:
                return Mapper.Children(e, child => Substitute(child, scope));
        }
    }

    /// <summary>
    /// The value over things that do not change any more. What must happen now is appended to <paramref name="before"/>. With
    /// <paramref name="keepReads"/>, reads without effects stay in place because the value is used at once.
    /// </summary>
    private Expr Settle(Expr e, List<Stmt> before, Scope scope, bool keepReads)
    {
        if (Purity.IsConstant(e) || (IsSettled(e) && !IsStack(e)))
        {
            return e;
        }

        if (e is HistogramTextExpr histogram)
        {
            // The kernel sends the buckets, stap draws them. They are taken with the record, also after other arguments' effects.
            return new HistogramLeafExpr(histogram.Aggregate, new BucketsExpr(histogram.Aggregate, histogram.Keys, histogram.Span), histogram.Span);
        }

        if (e is IntrinsicExpr { Intrinsic.Id: IntrinsicId.UserBufferQuoted or IntrinsicId.KernelBufferQuoted } quoted)
        {
            // The kernel sends the bytes, stap quotes them.
            e = new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.EscapeText),
                [new RawBytesExpr(quoted.Arguments[0], quoted.Arguments[1], quoted.Intrinsic.Id == IntrinsicId.UserBufferQuoted, e.Span), quoted.Arguments[2], new LongConst(1, e.Span)], e.Span);
        }

        if (IsStack(e) && e is IntrinsicExpr stack)
        {
            // The kernel sends addresses or the stack itself, stap makes the text.
            e = StackForStap(stack);
        }

        if (e is CallExpr call && TryInline(call, before, scope, keepReads) is { } inlined)
        {
            return inlined;
        }

        if (Purity.IsDeferrable(e))
        {
            return Mapper.Children(e, child => Settle(child, before, scope, keepReads));
        }

        return keepReads ? e : Temporary(e, before);
    }

    private static bool IsStack(Expr e) => e is IntrinsicExpr { Intrinsic.Id: IntrinsicId.KernelStack or IntrinsicId.UserStack or IntrinsicId.UserStackFrom };

    private bool IsSettled(Expr e) => e switch
    {
        ContextExpr or ColumnExpr => true,
        ReadExpr { Place: LocalPlace p } => _frozen.Contains(p.Local),
        IntrinsicExpr { Arguments.Count: 0 } i => i.Intrinsic.Has(IntrinsicTraits.Stable) && i.Intrinsic.Has(IntrinsicTraits.Pure) && !i.Intrinsic.Has(IntrinsicTraits.Fallible),
        _ => false,
    };

    private ReadExpr Temporary(Expr value, List<Stmt> before)
    {
        var local = NewLocal(value.Type);
        if (value.Type == ScriptType.String)
        {
            compilation.Capacities.AtLeast(local, compilation.Capacities.Of(value));
        }

        _frozen.Add(local);
        before.Add(new ExprStmt(new AssignExpr(new LocalPlace(local), value, value.Span), value.Span));
        return new ReadExpr(new LocalPlace(local), value.Span);
    }

    private Local NewLocal(ScriptType type) => new(-1, $"_t{++_temporaries}", type);

    // ---- inlining --------------------------------------------------------------------------------------------------------

    private Expr? TryInline(CallExpr call, List<Stmt> before, Scope scope, bool keepReads)
    {
        var f = call.Function;
        if (f.ReturnType != ScriptType.String || f.IsRecursive || f.NextOverload is not null || Purity.IsDeferrable(f)
            || !InlineTest.Accepts(f.Body, LargestInline))
        {
            return null;
        }

        // Parameters and locals become fresh; a parameter that is never assigned simply is its argument.
        var assigned = AssignmentCounter.In(f.Body);
        var names = new Dictionary<Local, Expr>(ReferenceEqualityComparer.Instance);
        var places = new Dictionary<Local, Local>(ReferenceEqualityComparer.Instance);
        for (var i = 0; i < f.Locals.Count; i++)
        {
            var old = f.Locals[i];
            if (i < f.ParameterCount && !assigned.ContainsKey(old))
            {
                names[old] = Settle(call.Arguments[i], before, scope, keepReads: false);
                continue;
            }

            var fresh = NewLocal(old.Type);
            compilation.Capacities.AtLeast(fresh, compilation.Capacities.Of(old));
            places[old] = fresh;
            Expr start = i < f.ParameterCount ? call.Arguments[i] : old.Type == ScriptType.Long ? new LongConst(0, call.Span) : new StringConst("", call.Span);
            before.Add(new ExprStmt(new AssignExpr(new LocalPlace(fresh), start, call.Span), call.Span));
        }

        var selector = NewLocal(ScriptType.Long);
        _frozen.Add(selector);
        var region = new RegionStmt(call.Span);
        var inliner = new Inliner(this, names, places, selector, region, call.Span);
        before.Add(new ExprStmt(new AssignExpr(new LocalPlace(selector), new LongConst(0, call.Span), call.Span), call.Span));
        region.Body = inliner.Statement(f.Body, new Scope(null));
        before.Add(region);

        Expr value = new StringConst("", call.Span);
        var read = new ReadExpr(new LocalPlace(selector), call.Span);
        for (var n = 0; n < inliner.Returned.Count; n++)
        {
            value = new ConditionalExpr(new BinaryExpr(BinaryOperator.Equal, read, new LongConst(n + 1, call.Span), call.Span), inliner.Returned[n], value, call.Span);
        }

        return value;
    }

    /// <summary>Copies a function's body with other locals, and returns turned into selections.</summary>
    private sealed class Inliner(BodyRewriter owner, Dictionary<Local, Expr> names, Dictionary<Local, Local> places, Local selector, RegionStmt region, SourceSpan span)
    {
        public List<Expr> Returned { get; } = [];

        public Stmt Statement(Stmt s, Scope scope)
        {
            switch (s)
            {
                case ReturnStmt r:
                    var before = new List<Stmt>();
                    if (r.Value is { } value)
                    {
                        Returned.Add(owner.Settle(Expression(value), before, scope, keepReads: false));
                        before.Add(new ExprStmt(new AssignExpr(new LocalPlace(selector), new LongConst(Returned.Count, span), r.Span), r.Span));
                    }

                    before.Add(new LeaveStmt(region, r.Span));
                    return new BlockStmt(before, r.Span);
                case TryStmt { Message: { } message } t:
                    return new TryStmt(Statement(t.Body, scope), places[message], Statement(t.Handler, scope), t.Span);
                default:
                    return Mapper.Children(s, Expression, child => Statement(child, scope));
            }
        }

        private Expr Expression(Expr e) => e switch
        {
            ReadExpr { Place: LocalPlace p } => names.TryGetValue(p.Local, out var value) ? value : new ReadExpr(new LocalPlace(places[p.Local]), e.Span),
            AssignExpr { Place: LocalPlace p } a => new AssignExpr(new LocalPlace(places[p.Local]), Expression(a.Value), a.Span),
            UpdateExpr { Place: LocalPlace p } u => new UpdateExpr(new LocalPlace(places[p.Local]), u.Operator, Expression(u.Operand), u.YieldsOld, u.Span),
            _ => Mapper.Children(e, Expression),
        };
    }
}

/// <summary>Functions worth expanding: few statements, no loops, no effects beyond their own locals.</summary>
internal sealed class InlineTest : LoweredWalker
{
    private bool _fine = true;
    private int _statements;

    public static bool Accepts(Stmt body, int most)
    {
        var test = new InlineTest();
        test.Visit(body);
        return test._fine && test._statements <= most;
    }

    public override void Visit(Stmt? statement)
    {
        _statements += statement is null or BlockStmt ? 0 : 1;
        _fine &= statement is not (LoopStmt or ForeachStmt or PrintStmt or NextStmt or DeleteStmt or StatAddStmt or RegionStmt);
        base.Visit(statement);
    }

    public override void Visit(Expr? expression)
    {
        _fine &= expression is not (AssignExpr { Place: not LocalPlace } or UpdateExpr { Place: not LocalPlace } or SequenceExpr or EmbeddedCExpr or CallExpr { Function.IsRecursive: true });
        base.Visit(expression);
    }
}
