using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Context;
using SystemTap.Bpf.Deferral;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// The shape of a program: prologue (state, frame, lock), handler, exits; and script functions as static subprograms with arguments,
// locals and result at fixed places of the frame. R0 of a function is its status: 0 fine, 1 error, 2 stop, 3 `next`.

internal sealed partial class ProgramEmitter
{
    private Label _exit;

    /// <summary>Loads the context, tests the session's state. Code that follows runs only while the session runs.</summary>
    public void Begin(SourceSpan span)
    {
        BeginUnchecked(span);
        CheckState();
    }

    /// <summary>Loads the context. Until <see cref="CheckState"/> nothing may happen that anybody can see.</summary>
    public void BeginUnchecked(SourceSpan span)
    {
        At(span);
        _exit = _a.NewLabel();
        _context = _a.EmitOpen(Instruction.Mov(Ctx, Reg.R1));
        _a.UsesContext = _a.HandsContextOn = false;
    }

    /// <summary>Where the program takes its context over.</summary>
    private Action<Instruction>? _context;

    /// <summary>Ends the main program: a context nobody uses need not be kept.</summary>
    private void DropUnusedContext()
    {
        if (!_a.UsesContext && !_a.HandsContextOn)
        {
            // The kernel removes a jump to the next instruction.
            _context?.Invoke(Instruction.Jump(0));
        }
    }

    /// <summary>Label of the program's silent exit, for filters.</summary>
    public Label Exit => _exit;

    /// <summary>Looks up the frame, when the program has one.</summary>
    public void EnterFrame(HandlerNeeds needs)
    {
        _loops = needs.Loops;
        if (!_hasFrame)
        {
            // Two words of the stack take the place of the frame's head.
            _errorSite = TakeStack(8);
            _errorValue = TakeStack(8);
            return;
        }

        if (_event.IsPreemptible)
        {
            ClaimFrame();
        }
        else
        {
            LookupFrame(0, 1);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, _exit);
            Move(Frame, Reg.R0);
        }

        if (needs.ErrorText)
        {
            _errorText = TakeString(Capacities.BufferFor(_c.MaxText)).Memory.Offset;
        }

        GroupRecursion(needs.Functions);
        foreach (var function in needs.Functions)
        {
            for (var f = function; f is not null && !_functions.ContainsKey(f); f = f.NextOverload)
            {
                var group = GroupOf(f);
                var locals = new List<Local>();
                for (var i = 0; i < f.ParameterCount; i++)
                {
                    locals.Add(f.Locals[i]);
                }

                foreach (var local in LocalFinder.In(group is null ? _c.FunctionBodies.GetValueOrDefault(f) ?? f.Body : LiftedBody(group, f)))
                {
                    if (!locals.Contains(local))
                    {
                        locals.Add(local);
                    }
                }

                var slots = new LocalSlot[locals.Count];
                var first = _frameTop;
                for (var i = 0; i < slots.Length; i++)
                {
                    slots[i] = locals[i].Type == ScriptType.String
                        ? TakeString(Capacities.BufferFor(_c.Capacities.Of(locals[i])))
                        : new LocalSlot(TakeFrame(8), 0);
                }

                if (group is not null)
                {
                    group.Blocks[f] = (first, Math.Max(8, _frameTop - first));
                }

                LocalSlot? result = f.ReturnType switch
                {
                    ScriptType.Long => new LocalSlot(TakeFrame(8), 0),
                    ScriptType.String => TakeString(Capacities.BufferFor(_c.Capacities.Of(new CallExpr(f, [], f.Span)))),
                    _ => null,
                };
                _functions[f] = new FunctionFrame(f, group?.Driver ?? _a.Declare(ProgramBtfName(f.Name)), locals, slots, result);
            }
        }

        CompleteGroups();
    }

    /// <summary>Takes a free frame of this CPU; from here on every exit gives it back.</summary>
    private void ClaimFrame()
    {
        var claimed = _a.NewLabel();
        for (var slot = 0; slot < FrameSlots; slot++)
        {
            LookupFrame(slot, FrameSlots);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, _exit);
            Move(Frame, Reg.R0);
            _a.Emit(Instruction.Mov(Reg.R1, slot + 1));
            _a.Emit(Instruction.Atomic(AtomicOp.Xchg, MemSize.DW, Frame, FrameInUse, Reg.R1));
            _a.JumpIf(JumpOp.Eq, Reg.R1, 0, claimed);
        }

        Increment(ControlBlock.SkippedReentry);
        _a.Jump(_exit);
        _a.Bind(claimed);
        _noFrame = _exit;
        _exit = _a.NewLabel();
    }

    /// <summary>R0 = a frame of this CPU or 0.</summary>
    private void LookupFrame(int slot, int slots)
    {
        var mark = Marked();
        var key = TakeStack(8);
        if (_frameMap!.IsByNumber)
        {
            _a.Call(Helper.GetSmpProcessorId);
            _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R0, slots));
            _a.Emit(Instruction.Add64Imm(Reg.R0, slot));
            Save(MemSize.W, key, Reg.R0);
        }
        else
        {
            Put(MemSize.W, key, slot);
        }

        LookupKey(_frameMap.Id, key);
        Release(mark);
    }

    private Label? _noFrame;

    private static string ProgramBtfName(string name)
    {
        var text = new System.Text.StringBuilder(name.Length);
        foreach (var c in name)
        {
            text.Append(char.IsAsciiLetterOrDigit(c) || c == '_' ? c : '_');
        }

        return text.Length > 0 && char.IsAsciiDigit(text[0]) ? "_" + text : text.ToString();
    }

    /// <summary>One handler's body with its lock and its exits; control continues after it.</summary>
    /// <param name="probe">Whose it is.</param>
    /// <param name="body">Its statements.</param>
    /// <param name="locals">Locals of the body.</param>
    /// <param name="hasLoops">Some code of the program loops.</param>
    /// <param name="checkState">The session's state was not tested yet.</param>
    public void Handler(Probe probe, Stmt body, IReadOnlyCollection<Local> locals, bool hasLoops, bool checkState = false)
    {
        var before = _f;
        var stack = _f.Stack;
        _f = new FunctionState(null, null) { Stack = stack };
        _probeIndex = probe.Index;
        var mark = Marked();
        _f.ErrorExit = _f.ErrorTarget = _a.NewLabel();
        _f.FatalExit = _a.NewLabel();
        _f.End = _f.Next = _a.NewLabel();
        var done = _a.NewLabel();

        _lock = _c.Locks.Of(probe);
        var prefix = _lock is not null || checkState ? LockPrefix.Of(body) : null;
        var filtersFirst = checkState && prefix is { } filters && QuietFilters.AreQuiet(filters.Before, filters.Condition);
        if (checkState && !filtersFirst)
        {
            CheckState();
        }

        if (_lock is null && !filtersFirst)
        {
            prefix = null;
        }

        if (_lock is not null)
        {
            // On the stack the verifier knows what the word says, so nothing is checked on ways where it is 0. Code that gives the lock back early may stand in a
            // callback, which has a stack of its own.
            PlanLock(_c.Locks.ModeOf(probe));
            var unlocksEarly = LoweredSearch.Has<UnlockStmt>(body);
            _held = unlocksEarly ? TakeFrame(8) : prefix is not null ? TakeStack(8, onStack: true) : null;
            if (prefix is not null)
            {
                Store(_held!.Value, 0);
                if (unlocksEarly)
                {
                    PrepareUnlock();
                }
            }
            else
            {
                LockHandler(done);
            }
        }

        if (_hasFrame && hasLoops)
        {
            Store(new Mem(Frame, FrameActions), _c.Limits.MaxAction);
        }

        TellFunctions(body);
        ResetTextState(body);
        if (_depth is { } depth)
        {
            Store(depth, 0);
        }

        // Locals of the filters first: filtered events do not pay for the others.
        var early = filtersFirst ? LocalFinder.In(new BlockStmt([.. prefix!.Value.Before, .. prefix.Value.Condition is { } c ? (Stmt[])[new ExprStmt(c, c.Span)] : []], body.Span)) : locals;
        foreach (var local in locals)
        {
            LocalSlot slot;
            if (local.Type == ScriptType.String)
            {
                slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(local)));
            }
            else
            {
                slot = new LocalSlot(hasLoops && _hasFrame ? TakeFrame(8) : TakeStack(8), 0);
            }

            _f.Locals[local] = slot;
            if (ReferenceEquals(early, locals) || early.Contains(local))
            {
                ClearLocal(slot);
            }
        }

        if (prefix is { } split)
        {
            // Filtered events hold nothing, so they go past the unlock.
            var end = _f.End;
            _f.End = _f.Next = done;
            foreach (var statement in split.Before)
            {
                Statement(statement);
            }

            if (split.Condition is { } condition)
            {
                var here = Marked();
                Branch(condition, false, done);
                Release(here);
            }

            _f.End = _f.Next = end;
            if (filtersFirst)
            {
                CheckState();
                foreach (var local in locals)
                {
                    if (!early.Contains(local))
                    {
                        ClearLocal(_f.Locals[local]);
                    }
                }
            }

            if (!_a.IsAlive)
            {
                // The filters let nothing pass: nobody takes the lock.
                _lock = null;
            }
            else if (_lock is not null)
            {
                LockHandler(done);
            }

            body = split.Under;
        }

        Statement(body);
        At(probe.Span);
        _a.Bind(_f.End);
        if (_lock is not null)
        {
            Unlock();
        }

        _a.Jump(done);
        _a.Bind(_f.FatalExit);
        var quiet = _a.NewLabel();
        if (_a.IsAlive)
        {
            // abort() leaves no error behind.
            Load(Reg.R0, _errorSite);
            _a.JumpIf(JumpOp.Eq, Reg.R0, -1, quiet);
        }

        _a.Bind(_f.ErrorExit);
        ReportError(probe.Span);
        _a.Bind(quiet);
        if (_lock is not null)
        {
            Unlock();
        }

        _a.Bind(done);
        Release(mark);
        _f = before;
    }

    private void LockHandler(Label skipped)
    {
        Lock(skipped);
        if (_held is { } held)
        {
            Store(held, 1);
        }
    }

    /// <summary>Ends the main program and emits the functions it uses.</summary>
    public void End()
    {
        _a.Bind(_exit);
        if (_noFrame is { } noFrame)
        {
            Store(new Mem(Frame, FrameInUse), 0);
            _a.Bind(noFrame);
        }

        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.Exit();
        DropUnusedContext();
        _columns = [];
        while (_pending.Count > 0 || _pendingGroups.Count > 0)
        {
            if (_pending.TryDequeue(out var frame))
            {
                EmitFunction(frame);
            }
            else
            {
                EmitGroup(_pendingGroups.Dequeue());
            }
        }

        EndUnit();
        EmitRoutines();
        EmitMessageWriter();
        EmitLockWaiters();
        EmitSorters();
        EmitBucketAdders();
    }

    /// <summary>Calls a function; the result stands at its place in the frame until the next call.</summary>
    private LocalSlot? Call(CallExpr c)
    {
        var frame = _functions[c.Function];
        var candidates = new List<FunctionFrame>();
        foreach (var f in Overloads(c.Function))
        {
            candidates.Add(_functions[f]);
        }

        // Within a group the caller's temporaries do not survive the call: overloads then get the arguments evaluated again, from locals.
        var within = _f.Recursion is RecursionGroup own && candidates.Exists(f => own.Members.Contains(f.Function));
        var mark = Marked();
        var texts = new StringValue[c.Arguments.Count];
        var longs = new Temp?[c.Arguments.Count];
        if (!within)
        {
            Arguments(c, within, candidates.Count > 1, texts, longs);
        }

        var end = _a.NewLabel();
        for (var n = 0; n < candidates.Count; n++)
        {
            var f = candidates[n];
            var group = GroupOf(f.Function);
            var inGroup = group is not null && ReferenceEquals(group, _f.Recursion);
            if (within)
            {
                Arguments(c, within, overloaded: true, texts, longs);
            }

            At(c.Span);
            Descend(c.Span);
            var place = 0;
            if (inGroup && _a.IsAlive)
            {
                place = group!.Places.Count;
                group.Places.Add(_a.NewLabel());
                Push(group, place);
            }

            for (var i = 0; i < c.Arguments.Count; i++)
            {
                if (c.Arguments[i].Type == ScriptType.String)
                {
                    CopyToSlot(texts[i], f.Slots[i]);
                    continue;
                }

                if (longs[i] is { } temp)
                {
                    Get(Reg.R0, temp);
                }
                else
                {
                    Long(c.Arguments[i], Reg.R0);
                }

                Save(f.Slots[i].Memory, Reg.R0);
            }

            if (inGroup && _a.IsAlive)
            {
                Store(group!.Place, Number(group, f.Function));
                _a.Jump(group.EndOfStep);
                _a.BindJumpedToLater(group.Places[place]);
                Pop(group);
            }
            else if (group is not null)
            {
                Enter(group, f);
            }
            else
            {
                Enqueue(f);
                CallUnit(f.Subprogram);
            }

            Ascend();
            var notFine = _a.NewLabel();
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, notFine);
            if (!ReferenceEquals(f, frame) && f.Result is { } result)
            {
                Copy(frame.Result!.Value.Memory, result.Memory, result.Capacity > 0 ? 8 + Math.Min(result.Capacity, frame.Result.Value.Capacity) : 8);
                if (frame.Result.Value.Capacity > result.Capacity)
                {
                    Clear(frame.Result.Value.Memory.At(8 + result.Capacity), frame.Result.Value.Capacity - result.Capacity);
                }
            }

            _a.Jump(end);
            _a.Bind(notFine);
            if (!UsesNext(f.Function))
            {
                NoteCaller(c.Span);
                _a.JumpIf(JumpOp.Eq, Reg.R0, 1, _f.ErrorTarget);
                _a.Jump(_f.FatalExit);
                break;
            }

            // Status 3: `next` in the function, the next overload gets the same arguments.
            var goOn = _a.NewLabel();
            _a.JumpIf(JumpOp.Eq, Reg.R0, 3, goOn);
            NoteCaller(c.Span);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 1, _f.ErrorTarget);
            _a.Jump(_f.FatalExit);
            _a.Bind(goOn);
            if (n == candidates.Count - 1)
            {
                Raise("all functions exhausted", c.Span);
            }
        }

        _a.Bind(end);
        Release(mark);
        return frame.Result;
    }

    /// <summary>Evaluates the arguments of a call where they must not depend on the callee's places.</summary>
    private void Arguments(CallExpr c, bool within, bool overloaded, StringValue[] texts, Temp?[] longs)
    {
        // An argument that itself calls something must not overwrite arguments already in place: compute all first, then place them. Overloads get them
        // from here again, for the first function may have changed its parameters.
        for (var i = 0; i < c.Arguments.Count; i++)
        {
            if (c.Arguments[i].Type == ScriptType.String)
            {
                texts[i] = Text(c.Arguments[i]);
                if (within && texts[i].Literal is null)
                {
                    // The callee's places may be the caller's own.
                    var copy = TakeString(texts[i].Capacity);
                    CopyToSlot(texts[i], copy);
                    texts[i] = copy.AsString;
                }
            }
            else if (overloaded || !IsSimple(c.Arguments[i]) || KeyOrder.Matters([c.Arguments[i]], c.Arguments, i + 1))
            {
                Long(c.Arguments[i], Reg.R0);
                var temp = Temp.InMemory(TakeFrame(8));
                Put(temp, Reg.R0);
                longs[i] = temp;
            }
        }
    }

    private readonly HashSet<Function> _queued = new(ReferenceEqualityComparer.Instance);

    private void Enqueue(FunctionFrame frame)
    {
        // A call that cannot be reached is not written, and a function nobody calls is refused.
        if (_a.IsAlive && _queued.Add(frame.Function))
        {
            _pending.Enqueue(frame);
        }
    }

    private static bool UsesNext(Function f) => LoweredSearch.SaysNext(f.Body);

    private void EmitFunction(FunctionFrame frame)
    {
        var function = frame.Function;
        _f = new FunctionState(function, frame.Subprogram);
        _frameTop = _frameMost;
        At(function.Span);
        BeginUnit(frame.Subprogram);
        for (var i = 0; i < frame.Slots.Length; i++)
        {
            _f.Locals[frame.Locals[i]] = frame.Slots[i];
            if (i >= function.ParameterCount)
            {
                ClearLocal(frame.Slots[i]);
            }
        }

        if (frame.Result is { } result)
        {
            ClearLocal(result);
        }

        _f.ErrorTarget = _f.ErrorExit = _a.NewLabel();
        _f.FatalExit = _a.NewLabel();
        _f.End = _a.NewLabel();
        _f.Next = _a.NewLabel();
        Statement(_c.FunctionBodies.GetValueOrDefault(function) ?? function.Body);
        _a.Bind(_f.End);
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.Exit();
        _a.Bind(_f.ErrorExit);
        _a.Emit(Instruction.Mov(Reg.R0, 1));
        _a.Exit();
        _a.Bind(_f.FatalExit);
        _a.Emit(Instruction.Mov(Reg.R0, 2));
        _a.Exit();
        _a.Bind(_f.Next);
        _a.Emit(Instruction.Mov(Reg.R0, 3));
        _a.Exit();
    }
}
