using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Binding;
using SystemTap.Semantics.Elaboration;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;

namespace SystemTap.Semantics.Lowering;

/// <summary>
/// Makes the probes of the program: condition, then what <c>@entry</c> saved, then the blocks. <c>next</c> in any block leaves the
/// handler, so blocks are simply joined: SystemTap's epilogues are skipped by <c>next</c> too.
/// </summary>
/// <remarks>
/// <c>@entry(e)</c>: an extra probe at the entry point stores e in an array keyed by thread; the return handler's first statements fetch and
/// delete it. Where a thread can be inside the function more than once (kernel and user functions, not system calls) a second key counts the depth.
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
internal sealed class HandlerAssembly(ProgramBuilder program)
{
    private readonly Dictionary<(ProbeDefinition?, int Repeat, int Slot, ScriptType), Global> _entryArrays = [];
    private readonly Dictionary<(ProbeDefinition?, string Point), int> _repeats = [];
    private readonly Dictionary<(ProbeDefinition?, int Repeat), Global> _depths = [];
    private readonly Dictionary<(ProbeDefinition?, int Repeat), Global> _stacks = [];

    public void Add(BodyUnit unit)
    {
        var session = program.Session;
        var probe = unit.Probe!;
        var lowering = unit.Lowering ??= new BodyLowering(program, unit);
        var statements = lowering.LowerBlocks();
        if (statements.Count == 0 && session.IsOptimizing && probe.Point.Spec is not PerfSpec { CounterName: not null } && unit.UserBlock is { } block && block.Span.Source is not { IsTapset: true })
        {
            session.Diagnostics.Warn("semantic.elided-probe", unit.Definition?.Span ?? block.Span, $"side-effect-free probe '{probe.Name}'", "its handler does nothing");
        }

        var condition = Condition(unit, lowering);
        var span = unit.UserBlock?.Span ?? default;
        if (unit.Entries is { } entries && statements.Count > 0)
        {
            AddEntries(unit, entries, lowering, statements, condition);
        }

        Stmt body = statements.Count == 1 ? statements[0] : new BlockStmt(statements, span);
        if (condition is not null && statements.Count > 0)
        {
            body = new IfStmt(condition, body, null, condition.Span);
        }

        var spec = probe.Point.Spec;
        if (spec is ProcfsSpec { IsWrite: false } procfs && unit.Scope.GetValueOrDefault("$value") is LocalSymbol value)
        {
            spec = procfs with { Value = lowering.LocalOf(value) };
        }

        Add(new Probe
        {
            Index = program.Probes.Count,
            Spec = spec,
            PointText = probe.Point.PointText,
            Name = probe.Name,
            Locals = lowering.Locals,
            Body = body,
            Condition = condition,
            Span = unit.Definition?.Span ?? span,
        }, probe, isSynthetic: false);
    }

    private void Add(Probe probe, ExpandedProbe source, bool isSynthetic)
    {
        program.Probes.Add(probe);
        var aliases = new string[source.Aliases.Count];
        for (var i = 0; i < aliases.Length; i++)
        {
            aliases[i] = source.Aliases[i].Alias.Names.Count > 0 ? source.Aliases[i].Alias.Names[0].ToString() : "";
        }

        program.Origins.Add(new ProbeOrigin(probe, aliases, isSynthetic));
    }

    private Expr? Condition(BodyUnit unit, BodyLowering lowering)
    {
        Expr? all = null;
        foreach (var condition in unit.Conditions)
        {
            var one = lowering.Lower(condition);
            all = all is null ? one : Fold.Logical(isAnd: true, all, one, condition.Span, program.Session.IsOptimizing);
        }

        return all is LongConst { Value: not 0 } ? null : all;
    }

    private void AddEntries(BodyUnit unit, List<EntryUse> entries, BodyLowering lowering, List<Stmt> statements, Expr? condition)
    {
        var probe = unit.Probe!;
        var entryPoint = probe.Point.Context.EntryPoint!;
        var span = unit.UserBlock?.Span ?? default;
        var repeatKey = (unit.Definition, entryPoint.PointText);
        var repeat = _repeats[repeatKey] = _repeats.GetValueOrDefault(repeatKey, -1) + 1;
        var nests = entryPoint.Spec is not (SyscallSpec or TracepointSpec);
        var fetch = new List<Stmt>();
        var store = new List<Stmt>();
        var tid = new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.Tid), [], span);
        BodyLowering? entryLowering = null;
        Global? depth = null, stack = null;
        Expr[]? keys = null;
        ElementPlace? first = null;
        var arrays = new List<Global>();
        var slot = 0;
        foreach (var use in entries)
        {
            // Found but never lowered: only in code that was removed.
            if (use.Temporary is not { } temporary)
            {
                continue;
            }

            if (keys is null && nests)
            {
                depth = DepthOf(unit.Definition, repeat);
                var level = new ElementPlace(depth, [tid]);
                keys = [tid, new ReadExpr(level, span)];
                if (probe.Point.Spec is UserFunctionSpec { ReturnSites: not null })
                {
                    stack = StackOf(unit.Definition, repeat);
                    arrays.Add(stack);
                }

                store.Add(new ExprStmt(new UpdateExpr(level, BinaryOperator.Add, new LongConst(1, span), yieldsOld: false, span), span));
                if (stack is not null)
                {
                    store.Add(new ExprStmt(new AssignExpr(new ElementPlace(stack, keys), StackPointer(span), span), span));
                }
            }

            keys ??= [tid];
            var array = ArrayOf(unit.Definition, repeat, slot++, temporary.Type, keys.Length);
            var place = new ElementPlace(array, keys);
            first ??= place;
            arrays.Add(array);
            fetch.Add(new ExprStmt(new AssignExpr(new LocalPlace(temporary), new ReadExpr(place, span), span), span));
            fetch.Add(new DeleteStmt(array, keys, span));
            entryLowering = use.EntryUnit.Lowering = entryLowering?.ForUnit(use.EntryUnit) ?? new BodyLowering(program, use.EntryUnit);
            store.Add(new ExprStmt(new AssignExpr(place, entryLowering.Lower(use.Operand), use.Operand.Span), use.Operand.Span));
        }

        if (entryLowering is null)
        {
            return;
        }

        if (depth is not null)
        {
            var level = new ElementPlace(depth, [tid]);
            if (stack is not null)
            {
                store.Insert(0, DropLeft(depth, stack, arrays, keys!, beyond: 0, span));
                fetch.Add(new DeleteStmt(stack, keys, span));
            }

            Expr unseen = new BinaryExpr(BinaryOperator.LessOrEqual, new ReadExpr(level, span), new LongConst(0, span), span);
            if (stack is not null)
            {
                unseen = new LogicalExpr(isAnd: false, unseen, new BinaryExpr(BinaryOperator.Greater, new ReadExpr(new ElementPlace(stack, keys!), span), StackPointer(span), span), span);
            }

            fetch.Insert(0, new IfStmt(unseen, new NextStmt(span), null, span));
            if (stack is not null)
            {
                fetch.Insert(0, DropLeft(depth, stack, arrays, keys!, beyond: 1, span));
            }

            fetch.Add(new IfStmt(
                new BinaryExpr(BinaryOperator.LessOrEqual, new UpdateExpr(level, BinaryOperator.Subtract, new LongConst(1, span), yieldsOld: false, span), new LongConst(0, span), span),
                new DeleteStmt(depth, [tid], span), null, span));
        }

        if (depth is null && first is not null)
        {
            // Only a value of 0 or "" can be one that was never stored: the usual case costs no look-up more.
            var temporary = ((LocalPlace)((AssignExpr)((ExprStmt)fetch[0]).Expression).Place).Local;
            var read = new ReadExpr(new LocalPlace(temporary), span);
            Expr isNothing = temporary.Type == ScriptType.String
                ? new StringCompareExpr(BinaryOperator.Equal, read, new StringConst("", span), span)
                : new UnaryExpr(UnaryOperator.Not, read, span);
            fetch.Insert(1, new IfStmt(
                new LogicalExpr(isAnd: true, isNothing, new UnaryExpr(UnaryOperator.Not, new InExpr(first.Array, keys!, span), span), span), new NextStmt(span), null, span));
        }

        statements.InsertRange(0, fetch);
        Stmt body = new BlockStmt(store, span);
        Add(new Probe
        {
            Index = program.Probes.Count,
            Spec = entryPoint.Spec,
            PointText = entryPoint.PointText,
            Name = probe.Name,
            Locals = entryLowering.Locals,
            Body = condition is null ? body : new IfStmt(condition, body, null, condition.Span),
            Condition = condition,
            Span = unit.Definition?.Span ?? span,
        }, probe, isSynthetic: true);
    }

    /// <summary>Drops the last level while it, or the one before it when that is <paramref name="beyond"/>, is not above the stack pointer.</summary>
    private LoopStmt DropLeft(Global depth, Global stack, List<Global> arrays, Expr[] keys, int beyond, SourceSpan span)
    {
        var level = new ElementPlace(depth, [keys[0]]);
        var body = new List<Stmt>();
        foreach (var array in arrays)
        {
            body.Add(new DeleteStmt(array, keys, span));
        }

        body.Add(new ExprStmt(new UpdateExpr(level, BinaryOperator.Subtract, new LongConst(1, span), yieldsOld: false, span), span));
        Expr number = beyond == 0 ? keys[1] : new BinaryExpr(BinaryOperator.Subtract, keys[1], new LongConst(beyond, span), span);
        return new LoopStmt(
            new LogicalExpr(isAnd: true, new BinaryExpr(BinaryOperator.Greater, new ReadExpr(level, span), new LongConst(beyond, span), span),
                new BinaryExpr(BinaryOperator.LessOrEqual, new ReadExpr(new ElementPlace(stack, [keys[0], number]), span), StackPointer(span), span), span),
            new BlockStmt(body, span), null, span);
    }

    private ContextExpr StackPointer(SourceSpan span) => new(ContextValue.Register, program.Session.Input.Target.Architecture.StackPointer.Offset, span);

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
}
