using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Context;
using SystemTap.Bpf.Deferral;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// The shape of a program: prologue (state, frame, lock), handlers, exits.

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

        PlaceFunctions(needs.Functions);
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

        _a.Emit(Instruction.Mov(Reg.R0, _event.ExitValue));
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
}
