using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;

namespace SystemTap.Bpf.Emit;

// Taking and leaving a handler's lock; see Locks for who takes which side.
//
//   word      0, or 1 + the CPU of the exclusive holder (or of one that waits for the shared holders to leave)
//   shared[c] holders of the shared side that came on CPU c
//
// Shared: raise the own CPU's count, then look at the word; when it is not 0, lower the count again and wait. Exclusive: put the own number into the
// word, then wait until all counts are 0. Both steps are full barriers, so at least one side sees the other. A writer that waits keeps new
// shared holders out; a shared holder never waits while it holds, hence no deadlock. The count that was raised is lowered through the same pointer,
// even if the program moved to another CPU meanwhile.
//
// Waiting ends by the clock after MAXTRYLOCK times TRYLOCKDELAY, as in SystemTap. It ends at once when the holder is this very CPU: the present
// program has interrupted it, and it cannot go on before we return. A lock not had is a skipped probe, counted.

internal sealed partial class ProgramEmitter
{
    private LockWord? _lock;
    private LockMode _lockMode;
    private Mem _sharedWord;
    private Mem? _held;
    private readonly Dictionary<(LockWord, LockMode), Subprogram> _lockWaiters = [];

    private int LastCpu => _c.Target.PossibleCpuCount - 1;

    /// <summary>Before the handler's code: the side it will take, and a place for the address of the count that it raises (an address can only be kept on the stack).</summary>
    private void PlanLock(LockMode mode)
    {
        _lockMode = mode;
        if (mode == LockMode.Shared)
        {
            _sharedWord = TakeStack(8, onStack: true);
        }
    }

    /// <summary>Takes the handler's lock or counts a skip and goes to <paramref name="skipped"/>.</summary>
    private void Lock(Label skipped)
    {
        var mode = _lockMode;
        var taken = _a.NewLabel();
        _a.Call(Helper.GetSmpProcessorId);
        if (mode == LockMode.Shared)
        {
            var fail = _a.NewLabel();
            Move(Reg.R2, Reg.R0);
            _a.JumpIf(JumpOp.Gt, Reg.R2, LastCpu, fail);
            _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R2, 6));
            DataAddress(Reg.R1, _lock!.SharedOffset);
            _a.Emit(Instruction.Add64(Reg.R1, Reg.R2));
            Save(_sharedWord, Reg.R1);
            _a.Emit(Instruction.Mov(Reg.R2, 1));
            _a.Emit(Instruction.Atomic(AtomicOp.FetchAdd, MemSize.DW, Reg.R1, 0, Reg.R2));
            DataAddress(Reg.R3, _lock.Offset);
            Load(Reg.R2, new Mem(Reg.R3, 0));
            _a.JumpIf(JumpOp.Eq, Reg.R2, 0, taken);
            Move(Reg.R2, Reg.R1);
            Move(Reg.R1, Reg.R0);
            _a.Emit(Instruction.Add64Imm(Reg.R1, 1));
            _a.Call(Waiter(mode));
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, taken);
            _a.Bind(fail);
        }
        else if (_lock!.HasShared)
        {
            Move(Reg.R1, Reg.R0);
            _a.Emit(Instruction.Add64Imm(Reg.R1, 1));
            _a.Call(Waiter(mode));
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, taken);
        }
        else
        {
            Move(Reg.R2, Reg.R0);
            _a.Emit(Instruction.Add64Imm(Reg.R2, 1));
            _a.Emit(Instruction.Mov(Reg.R0, 0));
            DataAddress(Reg.R3, _lock.Offset);
            _a.Emit(Instruction.Atomic(AtomicOp.CmpXchg, MemSize.DW, Reg.R3, 0, Reg.R2));
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, taken);
            Move(Reg.R1, Reg.R2);
            _a.Call(Waiter(mode));
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, taken);
        }

        Increment(ControlBlock.SkippedLock);
        _a.Jump(skipped);
        _a.Bind(taken);
    }

    /// <summary>
    /// For ways to the end that do not take the lock: the verifier does not know that nothing is given back there, so there must be a valid address to give it back at.
    /// </summary>
    private void PrepareUnlock()
    {
        if (_lockMode == LockMode.Shared)
        {
            DataAddress(Reg.R1, _lock!.SharedOffset);
            Save(_sharedWord, Reg.R1);
        }
    }

    /// <summary>Gives the lock back before the handler's end: from now on the word says that there is nothing to give back.</summary>
    private void UnlockEarly()
    {
        if (_lock is not null)
        {
            Unlock();
            Store(_held!.Value, 0);
        }
    }

    private void Unlock()
    {
        var free = _a.NewLabel();
        if (_held is { } held)
        {
            Load(Reg.R0, held);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, free);
        }

        Release();
        _a.Bind(free);
    }

    private void Release()
    {
        if (_lockMode == LockMode.Shared)
        {
            Load(Reg.R1, _sharedWord);
            _a.Emit(Instruction.Mov(Reg.R2, -1));
            _a.Emit(Instruction.Atomic(AtomicOp.FetchAdd, MemSize.DW, Reg.R1, 0, Reg.R2));
            return;
        }

        DataAddress(Reg.R1, _lock!.Offset);
        ReleaseWord(Reg.R1);
    }

    private void ReleaseWord(Reg word)
    {
        if (_c.Target.Architecture.Name == "x86_64")
        {
            // Stores are releases there.
            _a.Emit(Instruction.Store(MemSize.DW, word, 0, 0));
        }
        else
        {
            _a.Emit(Instruction.Mov(Reg.R2, 0));
            _a.Emit(Instruction.Atomic(AtomicOp.Xchg, MemSize.DW, word, 0, Reg.R2));
        }
    }

    private Subprogram Waiter(LockMode mode)
    {
        if (!_lockWaiters.TryGetValue((_lock!, mode), out var waiter))
        {
            _lockWaiters[(_lock!, mode)] = waiter = _a.Declare($"wait_{(mode == LockMode.Shared ? "shared" : "exclusive")}_{_lockWaiters.Count}");
        }

        return waiter;
    }

    private void EmitLockWaiters()
    {
        foreach (var ((word, mode), waiter) in _lockWaiters)
        {
            EmitLockWaiter(word, mode, waiter);
        }
    }

    // What a waiter remembers between rounds, on its stack: when to give up, who it is, its shared word, how far it is, and how it ended.
    private const int WaitDeadline = 0, WaitSelf = 8, WaitShared = 16, WaitPhase = 24, WaitResult = 32, WaitSize = 40;

    /// <summary>R1: 1 + own CPU; R2: the own shared word, already raised (shared side). R0 becomes 0 when the lock was had.</summary>
    private void EmitLockWaiter(LockWord word, LockMode mode, Subprogram waiter)
    {
        _f = new FunctionState(null, waiter);
        _a.Begin(waiter);
        var state = TakeStack(WaitSize, onStack: true);
        Save(state.At(WaitSelf), Reg.R1);
        Store(state.At(WaitPhase), 0);
        Store(state.At(WaitResult), 1);
        if (mode == LockMode.Shared)
        {
            Save(state.At(WaitShared), Reg.R2);
            _a.Emit(Instruction.Mov(Reg.R1, -1));
            _a.Emit(Instruction.Atomic(AtomicOp.FetchAdd, MemSize.DW, Reg.R2, 0, Reg.R1));
        }

        _a.Call(Helper.KtimeGetNs);
        _a.LdImm64(Reg.R1, (long)_c.Limits.MaxTryLock * _c.Limits.TryLockDelay * 1000);
        _a.Emit(Instruction.Add64(Reg.R0, Reg.R1));
        Save(state.At(WaitDeadline), Reg.R0);
        if (_c.Features.MayGoto)
        {
            var leave = _a.NewLabel();
            var top = _a.Here();
            _a.MayGoto(leave);
            LockRound(word, mode, state, leave);
            _a.Jump(top);
            _a.Bind(leave);
        }
        else if (_c.Features.BpfLoop)
        {
            var round = _a.Declare(waiter.Name + "_round");
            _a.LdImm64(Reg.R1, 1 << 23);
            _a.LdFunc(Reg.R2, round);
            Address(Reg.R3, state);
            _a.Emit(Instruction.Mov(Reg.R4, 0));
            _a.Call(Helper.Loop);
            _a.BeginAside(round, static _ => throw new InvalidOperationException("a lock's round leaves for nowhere"));
            var leave = _a.NewLabel();
            Move(Reg.R6, Reg.R2);
            LockRound(word, mode, new Mem(Reg.R6, 0), leave);
            _a.Emit(Instruction.Mov(Reg.R0, 0));
            _a.Exit();
            _a.Bind(leave);
            _a.Emit(Instruction.Mov(Reg.R0, 1));
            _a.Exit();
            _a.EndAside();
        }
        else
        {
            LockRound(word, mode, state, _a.Here());
        }

        Load(Reg.R0, state.At(WaitResult));
        if (mode == LockMode.Exclusive)
        {
            // Time ran out (or the loop's own budget) while waiting for shared holders: the word is ours, give it back.
            var fine = _a.NewLabel();
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, fine);
            Load(Reg.R3, state.At(WaitPhase));
            _a.JumpIf(JumpOp.Eq, Reg.R3, 0, fine);
            DataAddress(Reg.R1, word.Offset);
            ReleaseWord(Reg.R1);
            _a.Emit(Instruction.Mov(Reg.R0, 1));
            _a.Bind(fine);
        }

        _a.Exit();
    }

    /// <summary>One try. Goes to <paramref name="leave"/> when the matter is settled, falls through to try again.</summary>
    private void LockRound(LockWord word, LockMode mode, Mem state, Label leave)
    {
        var again = _a.NewLabel();
        var had = _a.NewLabel();
        DataAddress(Reg.R3, word.Offset);
        Load(Reg.R0, new Mem(Reg.R3, 0));
        Load(Reg.R1, state.At(WaitSelf));
        if (mode == LockMode.Shared)
        {
            _a.JumpIf(JumpOp.Eq, Reg.R0, Reg.R1, leave);
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, again);
            Load(Reg.R4, state.At(WaitShared));
            _a.Emit(Instruction.Mov(Reg.R2, 1));
            _a.Emit(Instruction.Atomic(AtomicOp.FetchAdd, MemSize.DW, Reg.R4, 0, Reg.R2));
            Load(Reg.R0, new Mem(Reg.R3, 0));
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, had);
            _a.Emit(Instruction.Mov(Reg.R2, -1));
            _a.Emit(Instruction.Atomic(AtomicOp.FetchAdd, MemSize.DW, Reg.R4, 0, Reg.R2));
            _a.Jump(again);
        }
        else
        {
            var mine = _a.NewLabel();
            Load(Reg.R2, state.At(WaitPhase));
            _a.JumpIf(JumpOp.Ne, Reg.R2, 0, mine);
            _a.JumpIf(JumpOp.Eq, Reg.R0, Reg.R1, leave);
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, again);
            Move(Reg.R2, Reg.R1);
            _a.Emit(Instruction.Atomic(AtomicOp.CmpXchg, MemSize.DW, Reg.R3, 0, Reg.R2));
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, again);
            Store(state.At(WaitPhase), 1);
            _a.Bind(mine);
            if (word.HasShared)
            {
                // A shared holder on this CPU was interrupted by us.
                Load(Reg.R2, state.At(WaitSelf));
                _a.Emit(Instruction.Add64Imm(Reg.R2, -1));
                _a.JumpIf(JumpOp.Gt, Reg.R2, LastCpu, leave);
                _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R2, 6));
                DataAddress(Reg.R1, word.SharedOffset);
                _a.Emit(Instruction.Add64(Reg.R1, Reg.R2));
                Load(Reg.R0, new Mem(Reg.R1, 0));
                _a.JumpIf(JumpOp.Ne, Reg.R0, 0, leave);
                DataAddress(Reg.R1, word.SharedOffset);
                for (var cpu = 0; cpu <= LastCpu; cpu++)
                {
                    Load(Reg.R2, new Mem(Reg.R1, 0));
                    _a.Emit(Instruction.Alu64(AluOp.Or, Reg.R0, Reg.R2));
                    _a.Emit(Instruction.Add64Imm(Reg.R1, LockWord.Stride));
                }

                _a.JumpIf(JumpOp.Eq, Reg.R0, 0, had);
            }
            else
            {
                _a.Jump(had);
            }
        }

        _a.Bind(again);
        _a.Call(Helper.KtimeGetNs);
        Load(Reg.R1, state.At(WaitDeadline));
        _a.JumpIf(JumpOp.Ge, Reg.R0, Reg.R1, leave);
        var next = _a.NewLabel();
        _a.Jump(next);
        _a.Bind(had);
        Store(state.At(WaitResult), 0);
        _a.Jump(leave);
        _a.Bind(next);
    }
}
