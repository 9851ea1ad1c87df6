using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Runtime.Host.Nodes;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Regex;

namespace SystemTap.Runtime.Host;

// Turns lowered trees into executable ones: one small object per node whose single virtual method does the work. Why this form:
//  - Native AOT has no run-time code generation, so delegates from expression trees would be interpreted;
//  - a switch over the lowered tree tests types again at every visit and has no place for what is worked out once (an operator's specialised
//    form, a regex's table, a key's types);
//  - a virtual call costs about what a delegate call does, but a node needs no closure object beside it and shows its class in a profile.
// Integer operations allocate nothing; strings are .NET strings with one byte per char, as everywhere in the system.

/// <summary>Makes handlers and functions executable.</summary>
internal sealed class NodeCompiler(LoweredProgram program)
{
    private readonly Dictionary<Function, CompiledFunction> _functions = [];
    private readonly Dictionary<RegexPattern, RegexProgram> _regexes = [];
    private readonly Queue<CompiledFunction> _pending = new();
    private int _maxNesting;

    /// <summary>Compiles a handler and everything it calls.</summary>
    public Act Handler(Probe probe)
    {
        var body = Statement(probe.Body);
        CompilePending();
        return body;
    }

    /// <summary>Compiles the arguments of a print made by a kernel handler.</summary>
    public FormatNode Print(PrintSite site)
    {
        var node = Format(site.Segments, site.Arguments, new FormatExpr(site.Segments, site.Arguments, site.Span));
        CompilePending();
        return node;
    }

    /// <summary>Compiles a statement that stap runs for a kernel handler.</summary>
    public Act Body(PrintSite site)
    {
        var body = Statement(site.Body!);
        CompilePending();
        return body;
    }

    /// <summary>Compiles the keys of counts taken from a table of the kernel.</summary>
    public KeyNodes Keys(CountTable table)
    {
        var keys = Keys(table.Array, table.Keys)!;
        CompilePending();
        return keys;
    }

    /// <summary>Most nested calls.</summary>
    public int MaxNesting() => _maxNesting == 0 ? _maxNesting = CallDepth.Of(program) : _maxNesting;

    private void CompilePending()
    {
        while (_pending.TryDequeue(out var next))
        {
            next.Body = Statement(next.Function.Body);
            next.NextOverload = next.Function.NextOverload is { } overload ? Function(overload) : null;
        }
    }

    private CompiledFunction Function(Function function)
    {
        if (!_functions.TryGetValue(function, out var compiled))
        {
            compiled = new CompiledFunction(function);
            _functions.Add(function, compiled);
            _pending.Enqueue(compiled);
        }

        return compiled;
    }

    private Act[] Statements(IReadOnlyList<Stmt> statements)
    {
        var acts = new Act[statements.Count];
        for (var i = 0; i < acts.Length; i++)
        {
            acts[i] = Statement(statements[i]);
        }

        return acts;
    }

    private Act Statement(Stmt statement) => statement switch
    {
        BlockStmt s => s.Statements.Count == 1 ? Statement(s.Statements[0]) : new BlockAct(Statements(s.Statements), s.Span),
        ExprStmt { Expression.Type: ScriptType.String } s => new TextAct(Expression(s.Expression), s.Span),
        ExprStmt s => new LongAct(Expression(s.Expression), s.Span),
        IfStmt s => new IfAct(Expression(s.Condition), Statement(s.Then), s.Else is null ? null : Statement(s.Else), s.Span),
        LoopStmt s => new LoopAct(s.Condition is null ? null : Expression(s.Condition), Statement(s.Body), s.Step is null ? null : Dropped(s.Step), s.Span),
        ForeachStmt { OverBuckets: true } s => new BucketsAct(s, Keys(s.Array, s.BucketKeys), s.Limit is null ? null : Expression(s.Limit), Statement(s.Body)),
        ForeachStmt s => new ForeachAct(s, s.Slice is null ? null : Pattern(s.Array, s.Slice), s.Limit is null ? null : Expression(s.Limit), Statement(s.Body)),
        BreakStmt s => new JumpAct(Flow.Break, s.Span),
        ContinueStmt s => new JumpAct(Flow.Continue, s.Span),
        NextStmt s => new JumpAct(Flow.Next, s.Span),
        ReturnStmt s => new ReturnAct(s.Value is null ? null : Expression(s.Value), s.Value?.Type ?? ScriptType.Void, s.Span),
        DeleteStmt { Keys: null } s => new ClearAct(s.Global, s.Span),
        DeleteStmt s when AllGiven(s.Keys) is { } keys => new DeleteAct(s.Global, Keys(s.Global, keys)!, s.Span),
        DeleteStmt s => new DeletePatternAct(s.Global, Pattern(s.Global, s.Keys), s.Span),
        StatAddStmt s => new StatAddAct(s.Aggregate, Keys(s.Aggregate, s.Keys), Expression(s.Value), s.Span),
        TryStmt s => new TryAct(Statement(s.Body), s.Message?.Index ?? -1, Statement(s.Handler), s.Span),
        PrintStmt s => new PrintAct(Format(s.Segments, s.Arguments, null, s.Span), s.Span),
        _ => throw new NotSupportedException($"statement {statement.GetType().Name} has no host form"),
    };

    // The step of a loop: not a statement of its own for MAXACTION, its iteration is counted already.
    private Act Dropped(Expr step) => new DroppedAct(Expression(step), step.Type == ScriptType.String, step.Span);

    private sealed class DroppedAct(Node node, bool isText, SystemTap.Language.Text.SourceSpan span) : Act(span)
    {
        public override Flow Run(Machine m)
        {
            _ = isText ? node.Text(m).Length : node.Long(m);
            return Flow.Normal;
        }
    }

    private static Expr[]? AllGiven(IReadOnlyList<Expr?> keys)
    {
        var given = new Expr[keys.Count];
        for (var i = 0; i < given.Length; i++)
        {
            if (keys[i] is not { } key)
            {
                return null;
            }

            given[i] = key;
        }

        return given;
    }

    private KeyNodes? Keys(Global global, IReadOnlyList<Expr> keys) => keys.Count == 0 ? null : new KeyNodes(Expressions(keys), global.KeyTypes);

    private KeyPattern Pattern(Global array, IReadOnlyList<Expr?> keys)
    {
        var nodes = new Node?[keys.Count];
        for (var i = 0; i < nodes.Length; i++)
        {
            nodes[i] = keys[i] is { } key ? Expression(key) : null;
        }

        return new KeyPattern(nodes, array.KeyTypes);
    }

    private Node[] Expressions(IReadOnlyList<Expr> expressions)
    {
        var nodes = new Node[expressions.Count];
        for (var i = 0; i < nodes.Length; i++)
        {
            nodes[i] = Expression(expressions[i]);
        }

        return nodes;
    }

    private FormatNode Format(IReadOnlyList<FormatSegment> segments, IReadOnlyList<Expr> arguments, FormatExpr? origin, SystemTap.Language.Text.SourceSpan span = default)
    {
        var isText = new bool[arguments.Count];
        for (var i = 0; i < isText.Length; i++)
        {
            isText[i] = arguments[i].Type == ScriptType.String;
        }

        return new FormatNode([.. segments], Expressions(arguments), isText, origin?.Span ?? span);
    }

    private Node Expression(Expr expression) => expression switch
    {
        LongConst e => new LongConstNode(e.Value, e.Span),
        StringConst e => new TextConstNode(e.Value.Length >= program.Limits.MaxStringLength ? e.Value[..(program.Limits.MaxStringLength - 1)] : e.Value, e.Span),
        ReadExpr { Place: LocalPlace p } e => p.Type == ScriptType.String ? new LocalTextNode(p.Local.Index, e.Span) : new LocalLongNode(p.Local.Index, e.Span),
        ReadExpr { Place: GlobalPlace p } e => new GlobalReadNode(p.Global, e.Span),
        ReadExpr { Place: ElementPlace p } e => new ElementReadNode(p.Array, Keys(p.Array, p.Keys)!, e.Span),
        AssignExpr { Place: LocalPlace p } e => new LocalAssignNode(p.Local.Index, p.Type == ScriptType.String, Expression(e.Value), e.Span),
        AssignExpr { Place: GlobalPlace p } e => new GlobalAssignNode(p.Global, Expression(e.Value), e.Span),
        AssignExpr { Place: ElementPlace p } e => new ElementAssignNode(p.Array, Keys(p.Array, p.Keys)!, Expression(e.Value), e.Span),
        UpdateExpr { Place: LocalPlace p } e => new LocalUpdateNode(p.Local.Index, e.Operator, Expression(e.Operand), e.YieldsOld, e.Span),
        UpdateExpr { Place: GlobalPlace p } e => new GlobalUpdateNode(p.Global, e.Operator, Expression(e.Operand), e.YieldsOld, e.Span),
        UpdateExpr { Place: ElementPlace p } e => new ElementUpdateNode(p.Array, Keys(p.Array, p.Keys)!, e.Operator, Expression(e.Operand), e.YieldsOld, e.Span),
        BinaryExpr e => Binary(e, Expression(e.Left), Expression(e.Right)),
        StringCompareExpr e => new TextCompareNode(e.Operator, Expression(e.Left), Expression(e.Right), e.Span),
        LogicalExpr { IsAnd: true } e => new AndNode(Expression(e.Left), Expression(e.Right), e.Span),
        LogicalExpr e => new OrNode(Expression(e.Left), Expression(e.Right), e.Span),
        UnaryExpr e => new UnaryNode(e.Operator, Expression(e.Operand), e.Span),
        ConditionalExpr e => new ConditionalNode(Expression(e.Condition), Expression(e.WhenTrue), Expression(e.WhenFalse), e.Span),
        ConcatExpr e => new ConcatNode(Expressions(e.Parts), e.Span),
        InExpr e when AllGiven(e.Keys) is { } keys => new InNode(e.Array, Keys(e.Array, keys)!, e.Span),
        InExpr e => new InPatternNode(e.Array, Pattern(e.Array, e.Keys), e.Span),
        CallExpr e => new CallNode(Function(e.Function), Expressions(e.Arguments), e.Span),
        IntrinsicExpr e => IntrinsicNode.Create(e.Intrinsic, Expressions(e.Arguments), e.Span),
        ContextExpr { Value: ContextValue.ProcfsValue } e => new ProcfsValueNode(e.Span),
        ContextExpr e => new NoContextNode("a value of the event", e.Span),
        DerefExpr e => new DerefNode(Expression(e.Address), e.Size, e.IsSigned, e.IsUser, e.BitShift, e.BitWidth, e.MemberName, e.Span),
        FormatExpr e => Format(e.Segments, e.Arguments, e),
        HistogramTextExpr e => new HistogramTextNode(e.Aggregate, Keys(e.Aggregate, e.Keys), e.Span),
        StatExpr e => new StatNode(e.Kind, e.Aggregate, Keys(e.Aggregate, e.Keys), e.Span),
        BucketExpr e => new BucketNode(e.Aggregate, Keys(e.Aggregate, e.Keys), Expression(e.Index), e.Span),
        RegexExpr e => new RegexNode(Expression(e.Subject), Regex(e.Regex), e.Regex.NeedsGroups, e.IsNegated, e.Span),
        SequenceExpr e => new SequenceNode(Statements(e.Statements), Expression(e.Value), e.Span),
        LeafExpr e => new LeafNode(e.Index, e.Span),
        HistogramLeafExpr e => new HistogramLeafNode(e.Aggregate.Shape!, Expression(e.Buckets), e.Span),
        _ => throw new NotSupportedException($"expression {expression.GetType().Name} has no host form"),
    };

    private static Node Binary(BinaryExpr e, Node left, Node right) => e.Operator switch
    {
        BinaryOperator.Add => new AddNode(left, right, e.Span),
        BinaryOperator.Subtract => new SubtractNode(left, right, e.Span),
        BinaryOperator.Less => new LessNode(left, right, e.Span),
        BinaryOperator.Equal => new EqualNode(left, right, e.Span),
        _ => new BinaryNode(e.Operator, left, right, e.Span),
    };

    private RegexProgram Regex(RegexPattern pattern)
    {
        if (!_regexes.TryGetValue(pattern, out var compiled))
        {
            compiled = RegexProgram.Compile(pattern.Pattern);
            _regexes.Add(pattern, compiled);
        }

        return compiled;
    }
}
