using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Binding;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;

namespace SystemTap.Semantics.Lowering;

/// <summary>Lowers what <c>@entry</c> saves: statements that store at the entry, and statements that fetch in front of the return handler.</summary>
/// <remarks>
/// <c>@entry(e)</c>: an extra probe at the entry point stores e in an array keyed by thread; the return handler's first statements fetch and
/// delete it. Where a thread can be inside the function more than once (kernel and user functions, not system calls) a second key is the level, 0 for the outermost call. Only
/// further levels are counted, in an array of their own: a function that is not inside itself costs one look-up there.
/// All expansions of one written probe share arrays by position and type: <c>syscall.*.return</c> needs one array, not 350, because
/// a thread is in one system call at a time. A second probe of the same definition on the same event gets arrays of its own.
/// <para>
/// A call that began before the session has stored nothing: its return is not the handler's business, as with SystemTap's return probes, which are armed at the entry.
/// So the handler ends when there is no depth or element.
/// </para>
/// <para>
/// Programs that throw leave functions without returning. Their files are probed at the <c>ret</c> instructions (UserFunctionSpec.ReturnSites), so the stack pointer
/// tells which levels are left over: it is stored with each. At an entry, levels at or below it on the stack were left. At a <c>ret</c> the
/// stack pointer is above all of its own frame and below that of its callers, wherever in their prologues the entries were probed: of the levels below
/// it the outermost is its own, those within were left; without any, its entry was not seen.
/// </para>
/// </remarks>
internal sealed class EntrySaving(ProgramBuilder program)
{
    private readonly Dictionary<(ProbeDefinition?, int Repeat, int Slot, ScriptType), Global> _entryArrays = [];
    private readonly Dictionary<(ProbeDefinition?, string Point), int> _repeats = [];
    private readonly Dictionary<(ProbeDefinition?, int Repeat), Global> _depths = [];
    private readonly Dictionary<(ProbeDefinition?, int Repeat), Global> _stacks = [];

    /// <summary>Puts the fetching statements in front of the handler's. The body of the entry probe and the lowering that has its locals; null when nothing is saved.</summary>
    public (BodyLowering Lowering, Stmt Body)? Save(BodyUnit unit, IReadOnlyList<EntryUse> entries, List<Stmt> handler)
    {
        var point = unit.Probe!.Point;
        var entryPoint = point.Context.EntryPoint!;
        var span = unit.UserBlock?.Span ?? default;
        var repeatKey = (unit.Definition, entryPoint.PointText);
        var repeat = _repeats[repeatKey] = _repeats.GetValueOrDefault(repeatKey, -1) + 1;
        if (!entries.Any(IsLowered))
        {
            return null;
        }

        var tid = new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.Tid), [], span);
        if (entryPoint.Spec is not (SyscallSpec or TracepointSpec) && point.Spec is not UserFunctionSpec { ReturnSites: not null })
        {
            return SaveByLevel(unit, entries, handler, repeat, tid, span);
        }

        var levels = entryPoint.Spec is SyscallSpec or TracepointSpec ? null
            : new Levels(DepthOf(unit.Definition, repeat), tid, span)
            {
                Stack = StackOf(unit.Definition, repeat),
                StackPointer = new ContextExpr(ContextValue.Register, program.Session.Input.Target.Architecture.StackPointer.Offset, span),
            };
        Expr[] keys = levels?.Keys ?? [tid];
        var fetch = new List<Stmt>();
        var store = new List<Stmt>();
        var arrays = new List<Global>();
        BodyLowering? lowering = null;
        Local? firstTemporary = null;
        foreach (var use in entries.Where(IsLowered))
        {
            var temporary = use.Temporary!;
            firstTemporary ??= temporary;
            var array = ArrayOf(unit.Definition, repeat, arrays.Count, temporary.Type, keys.Length);
            arrays.Add(array);
            var place = new ElementPlace(array, keys);
            fetch.Add(new ExprStmt(new AssignExpr(new LocalPlace(temporary), new ReadExpr(place, span), span), span));
            fetch.Add(new DeleteStmt(array, keys, span));
            lowering = use.EntryUnit.Lowering = lowering?.ForUnit(use.EntryUnit) ?? new BodyLowering(program, use.EntryUnit);
            store.Add(new ExprStmt(new AssignExpr(place, lowering.Lower(use.Operand), use.Operand.Span), use.Operand.Span));
        }

        if (levels is not null)
        {
            levels.Enter(store, arrays);
            levels.Leave(fetch, arrays);
        }
        else
        {
            fetch.Insert(1, NextIfNeverStored(firstTemporary!, new InExpr(arrays[0], keys, span), span));
        }

        handler.InsertRange(0, fetch);
        return (lowering!, new BlockStmt(store, span));
    }

    /// <summary>For functions that are left by returning only: the outermost call's values have level 0 and are found without counting.</summary>
    private (BodyLowering Lowering, Stmt Body) SaveByLevel(BodyUnit unit, IReadOnlyList<EntryUse> entries, List<Stmt> handler, int repeat, Expr tid, SourceSpan span)
    {
        var depth = DepthOf(unit.Definition, repeat);
        var (fetch, store) = (new List<Stmt>(), new List<Stmt>());
        var left = new LevelLocals(unit.Lowering!, span);
        BodyLowering? lowering = null;
        LevelLocals? entered = null;
        var slot = 0;
        foreach (var use in entries.Where(IsLowered))
        {
            var temporary = use.Temporary!;
            var isFirst = slot == 0;
            var array = ArrayOf(unit.Definition, repeat, slot++, temporary.Type, 2);
            lowering = use.EntryUnit.Lowering = lowering?.ForUnit(use.EntryUnit) ?? new BodyLowering(program, use.EntryUnit);
            var value = lowering.Lower(use.Operand);
            entered ??= new LevelLocals(lowering, span);
            var place = new ElementPlace(array, entered.Keys);
            if (isFirst)
            {
                store.Add(Set(new LocalPlace(entered.Thread), tid));
                store.Add(Set(new LocalPlace(entered.Level), new LongConst(0, span)));
                store.Add(new IfStmt(new InExpr(array, [entered.Keys[0], new LongConst(0, span)], span),
                    Set(new LocalPlace(entered.Level), new BinaryExpr(BinaryOperator.Add, new ReadExpr(new ElementPlace(depth, [entered.Keys[0]]), span), new LongConst(1, span), span)), null, span));
                if (MayFail(value))
                {
                    // The level must be there also when its value cannot be read.
                    store.Add(Set(place, temporary.Type == ScriptType.Long ? new LongConst(0, span) : new StringConst("", span)));
                    store.Add(Count());
                }
            }

            store.Add(new ExprStmt(new AssignExpr(place, value, use.Operand.Span), use.Operand.Span));
            if (isFirst && !MayFail(value))
            {
                store.Add(Count());
            }

            fetch.Add(Set(new LocalPlace(temporary), new ReadExpr(new ElementPlace(array, left.Keys), span)));
            if (isFirst)
            {
                fetch.Add(NextIfNeverStored(temporary, new InExpr(array, left.Keys, span), span));
            }

            fetch.Add(new DeleteStmt(array, left.Keys, span));
        }

        fetch.Insert(0, Set(new LocalPlace(left.Thread), tid));
        fetch.Insert(1, Set(new LocalPlace(left.Level), new ReadExpr(new ElementPlace(depth, [left.Keys[0]]), span)));
        fetch.Add(new IfStmt(left.Keys[1],
            new IfStmt(new BinaryExpr(BinaryOperator.Greater, left.Keys[1], new LongConst(1, span), span),
                Set(new ElementPlace(depth, [left.Keys[0]]), new BinaryExpr(BinaryOperator.Subtract, left.Keys[1], new LongConst(1, span), span)),
                new DeleteStmt(depth, [left.Keys[0]], span), span),
            null, span));
        handler.InsertRange(0, fetch);
        return (lowering!, new BlockStmt(store, span));

        ExprStmt Set(Place to, Expr value) => new(new AssignExpr(to, value, span), span);

        IfStmt Count() => new(entered!.Keys[1], Set(new ElementPlace(depth, [entered.Keys[0]]), entered.Keys[1]), null, span);
    }

    private static bool MayFail(Expr e) => e switch
    {
        LongConst or StringConst or ContextExpr => false,
        ReadExpr { Place: not ElementPlace } => false,
        UnaryExpr u => MayFail(u.Operand),
        BinaryExpr { Operator: not (BinaryOperator.Divide or BinaryOperator.Modulo) } b => MayFail(b.Left) || MayFail(b.Right),
        IntrinsicExpr i => i.Intrinsic.Has(IntrinsicTraits.Fallible) || i.Arguments.Any(MayFail),
        CallExpr c => !c.Function.IsPure || c.Arguments.Any(MayFail),
        _ => true,
    };

    /// <summary>Thread and level of a handler's call.</summary>
    private sealed class LevelLocals
    {
        public LevelLocals(BodyLowering lowering, SourceSpan span)
        {
            Thread = lowering.NewTemporary("__thread" + lowering.Locals.Count, ScriptType.Long);
            Level = lowering.NewTemporary("__level" + lowering.Locals.Count, ScriptType.Long);
            Keys = [new ReadExpr(new LocalPlace(Thread), span), new ReadExpr(new LocalPlace(Level), span)];
        }

        public Local Thread { get; }

        public Local Level { get; }

        public Expr[] Keys { get; }
    }

    // Uses that were found but never lowered are in code that was removed.
    private static bool IsLowered(EntryUse use) => use.Temporary is not null;

    // Only a value of 0 or "" can be one that was never stored: the usual case costs no look-up more.
    private static IfStmt NextIfNeverStored(Local fetched, InExpr isStored, SourceSpan span)
    {
        var read = new ReadExpr(new LocalPlace(fetched), span);
        Expr isNothing = fetched.Type == ScriptType.String
            ? new StringCompareExpr(BinaryOperator.Equal, read, new StringConst("", span), span)
            : new UnaryExpr(UnaryOperator.Not, read, span);
        return new IfStmt(new LogicalExpr(isAnd: true, isNothing, new UnaryExpr(UnaryOperator.Not, isStored, span), span), new NextStmt(span), null, span);
    }

    private Global StackOf(ProbeDefinition? definition, int repeat)
    {
        if (!_stacks.TryGetValue((definition, repeat), out var stack))
        {
            _stacks[(definition, repeat)] = stack = program.AddSynthetic("__entry_stack_" + _stacks.Count, ScriptType.Long, [ScriptType.Long, ScriptType.Long]);
        }

        return stack;
    }

    private Global ArrayOf(ProbeDefinition? definition, int repeat, int slot, ScriptType type, int keyCount)
    {
        // Different arity cannot meet under one key: a definition's expansions with depth use other slots.
        var key = (definition, repeat * 2 + keyCount - 1, slot, type);
        if (!_entryArrays.TryGetValue(key, out var array))
        {
            _entryArrays[key] = array = program.AddSynthetic("__entry_" + _entryArrays.Count, type, keyCount == 1 ? [ScriptType.Long] : [ScriptType.Long, ScriptType.Long]);
        }

        return array;
    }

    private Global DepthOf(ProbeDefinition? definition, int repeat)
    {
        if (!_depths.TryGetValue((definition, repeat), out var depth))
        {
            _depths[(definition, repeat)] = depth = program.AddSynthetic("__entry_depth_" + _depths.Count, ScriptType.Long, [ScriptType.Long]);
        }

        return depth;
    }

    /// <summary>The levels a thread is in the function at, where it may be in it more than once.</summary>
    private sealed class Levels
    {
        private readonly Global _depth;
        private readonly Expr _tid;
        private readonly SourceSpan _span;

        public Levels(Global depth, Expr tid, SourceSpan span)
        {
            (_depth, _tid, _span) = (depth, tid, span);
            Keys = [tid, new ReadExpr(Depth, span)];
        }

        /// <summary>Where each level's stack pointer is kept.</summary>
        public required Global Stack { get; init; }

        /// <summary>The stack pointer of the event.</summary>
        public required Expr StackPointer { get; init; }

        /// <summary>Of the element that the current level saves in: thread, depth.</summary>
        public Expr[] Keys { get; }

        private ElementPlace Depth => new(_depth, [_tid]);

        /// <summary>Puts in front of the storing statements what begins a level.</summary>
        public void Enter(List<Stmt> store, IReadOnlyList<Global> arrays)
        {
            store.InsertRange(0,
            [
                DropLeft(Stack, arrays, beyond: 0),
                new ExprStmt(new UpdateExpr(Depth, BinaryOperator.Add, new LongConst(1, _span), yieldsOld: false, _span), _span),
                new ExprStmt(new AssignExpr(new ElementPlace(Stack, Keys), StackPointer, _span), _span),
            ]);
        }

        /// <summary>Puts around the fetching statements the test whether the entry was seen, and what ends its level.</summary>
        public void Leave(List<Stmt> fetch, IReadOnlyList<Global> arrays)
        {
            fetch.Add(new DeleteStmt(Stack, Keys, _span));
            var unseen = new LogicalExpr(isAnd: false, new BinaryExpr(BinaryOperator.LessOrEqual, new ReadExpr(Depth, _span), new LongConst(0, _span), _span),
                new BinaryExpr(BinaryOperator.Greater, new ReadExpr(new ElementPlace(Stack, Keys), _span), StackPointer, _span), _span);
            fetch.InsertRange(0, [DropLeft(Stack, arrays, beyond: 1), new IfStmt(unseen, new NextStmt(_span), null, _span)]);
            fetch.Add(new IfStmt(
                new BinaryExpr(BinaryOperator.LessOrEqual, new UpdateExpr(Depth, BinaryOperator.Subtract, new LongConst(1, _span), yieldsOld: false, _span), new LongConst(0, _span), _span),
                new DeleteStmt(_depth, [_tid], _span), null, _span));
        }

        /// <summary>Drops the last level while it, or the one before it when that is <paramref name="beyond"/>, is not above the stack pointer.</summary>
        private LoopStmt DropLeft(Global stack, IReadOnlyList<Global> arrays, int beyond)
        {
            var body = new List<Stmt> { new DeleteStmt(stack, Keys, _span) };
            foreach (var array in arrays)
            {
                body.Add(new DeleteStmt(array, Keys, _span));
            }

            body.Add(new ExprStmt(new UpdateExpr(Depth, BinaryOperator.Subtract, new LongConst(1, _span), yieldsOld: false, _span), _span));
            Expr number = beyond == 0 ? Keys[1] : new BinaryExpr(BinaryOperator.Subtract, Keys[1], new LongConst(beyond, _span), _span);
            return new LoopStmt(
                new LogicalExpr(isAnd: true, new BinaryExpr(BinaryOperator.Greater, new ReadExpr(Depth, _span), new LongConst(beyond, _span), _span),
                    new BinaryExpr(BinaryOperator.LessOrEqual, new ReadExpr(new ElementPlace(stack, [_tid, number]), _span), StackPointer, _span), _span),
                new BlockStmt(body, _span), null, _span);
        }
    }
}
