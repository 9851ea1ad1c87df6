using Linux.Bpf;
using SystemTap.Bpf.Context;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Who the handler is about: the running task, or the one a walk over all tasks has come to. All built-ins ask here.

internal sealed partial class ProgramEmitter
{
    /// <summary>R0 = task_struct: a typed pointer when the kernel can give one, else an address.</summary>
    /// <returns>True when loads through R0 need no helper.</returns>
    public bool CurrentTask()
    {
        if (_event.HasOwnTask)
        {
            WalkedTask();
            return true;
        }

        var typed = _c.Features.CurrentTaskBtf;
        _a.Call(typed ? Helper.GetCurrentTaskBtf : Helper.GetCurrentTask);
        return typed;
    }

    /// <summary>R0 = address of the walked task as a number, which scripts may calculate with.</summary>
    private void TaskAddress()
    {
        Move(Reg.R0, Ctx);
        ReadKernel(Reg.R0, TaskWalkContext.TaskOffset, 8);
    }

    /// <summary>R0 = thread-group id in the upper half, thread id in the lower.</summary>
    public void CurrentIds()
    {
        if (!ReadsTask)
        {
            _a.Call(Helper.GetCurrentPidTgid);
            return;
        }

        var task = _c.Structure("task_struct", default);
        WalkedTask();
        LoadField(Reg.R1, Reg.R0, _c.Offset(task, "pid", default), 4, typed: true);
        LoadField(Reg.R0, Reg.R0, _c.Offset(task, "tgid", default), 4, typed: true);
        _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R0, 32));
        _a.Emit(Instruction.Alu64(AluOp.Or, Reg.R0, Reg.R1));
    }

    /// <summary>R0 = user or group id.</summary>
    private void CurrentOwner(bool group)
    {
        if (!ReadsTask)
        {
            _a.Call(Helper.GetCurrentUidGid);
            if (group)
            {
                _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 32));
            }
            else
            {
                _a.Emit(Instruction.Mov32(Reg.R0, Reg.R0));
            }

            return;
        }

        WalkedTask();
        _a.Emit(Instruction.Load(MemSize.DW, Reg.R0, Reg.R0, _c.Offset(_c.Structure("task_struct", default), "cred", default)));
        ReadKernel(Reg.R0, _c.Offset(_c.Structure("cred", default), group ? "gid" : "uid", default), 4);
    }

    /// <summary>The task's name into 16 bytes.</summary>
    private void CurrentName(Mem to)
    {
        // Keys and comparisons look at all 16 bytes: what follows the name must be zero. The helpers leave it alone, bpf_get_current_comm in 6.1 at least.
        Clear(to, 16);
        if (!ReadsTask)
        {
            Address(Reg.R1, to);
            _a.Emit(Instruction.Mov(Reg.R2, 16));
            _a.Call(Helper.GetCurrentComm);
            return;
        }

        WalkedTask();
        Move(Reg.R3, Reg.R0);
        _a.Emit(Instruction.Add64Imm(Reg.R3, _c.Offset(_c.Structure("task_struct", default), "comm", default)));
        Address(Reg.R1, to);
        _a.Emit(Instruction.Mov(Reg.R2, 16));
        _a.Call(Helper.ProbeReadKernelStr);
    }

    /// <summary>What the handler is about is read from the task's structure, not asked of the kernel.</summary>
    private bool ReadsTask => _event.HasOwnTask || !_event.HasTaskHelpers;

    // The pointer of the context may be null at the walk's end, and the verifier wants to see that tested after each load.
    private void WalkedTask()
    {
        if (!_event.HasOwnTask)
        {
            _a.Call(Helper.GetCurrentTaskBtf);
            return;
        }

        var there = _a.NewLabel();
        _event.LoadTask(this, Reg.R0);
        _a.JumpIf(JumpOp.Ne, Reg.R0, 0, there);
        if (_walkFilter)
        {
            _a.Jump(Exit);
        }
        else
        {
            Leave();
        }

        _a.Bind(there);
    }

    // 0 on a CPU that came after the start: nothing counts there.
    private void PerfCounter(IntrinsicExpr i)
    {
        var mark = Marked();
        var value = TakeStack(24);
        var number = TakeStack(8);
        Long(i.Arguments[0], Reg.R0);
        _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R0, _c.Target.PossibleCpuCount));
        Save(number, Reg.R0);
        _a.Call(Helper.GetSmpProcessorId);
        Load(Reg.R2, number);
        _a.Emit(Instruction.Add64(Reg.R2, Reg.R0));
        LoadMap(Reg.R1, _c.CounterMap);
        Address(Reg.R3, value);
        _a.Emit(Instruction.Mov(Reg.R4, 24));
        _a.Call(Helper.PerfEventReadValue);
        var fails = _a.NewLabel();
        var end = _a.NewLabel();
        _a.JumpIf(JumpOp.Ne, Reg.R0, 0, fails);
        Load(Reg.R0, value);
        _a.Jump(end);
        _a.Bind(fails);
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.Bind(end);
        Release(mark);
    }

    /// <summary>The ranges of a user namespace (a handful) as comparisons.</summary>
    private void NamespaceId(IntrinsicExpr i)
    {
        if (!TryConstant(i.Arguments[0], out var kind))
        {
            throw Cannot("a kind of id that is no constant", i.Span);
        }

        var ranges = kind == 0 ? _c.Options.UserIds : _c.Options.GroupIds;
        Long(i.Arguments[1], Reg.R0);
        if (ranges.Count > 64)
        {
            throw Cannot($"a user namespace with {ranges.Count} ranges of ids", i.Span);
        }

        var end = _a.NewLabel();
        foreach (var range in ranges)
        {
            var next = _a.NewLabel();
            Move(Reg.R1, Reg.R0);
            _a.LdImm64(Reg.R2, -range.Outside);
            _a.Emit(Instruction.Add64(Reg.R1, Reg.R2));
            _a.LdImm64(Reg.R2, range.Count);
            _a.JumpIf(JumpOp.Ge, Reg.R1, Reg.R2, next);
            _a.LdImm64(Reg.R2, range.Inside);
            _a.Emit(Instruction.Add64(Reg.R1, Reg.R2));
            Move(Reg.R0, Reg.R1);
            _a.Jump(end);
            _a.Bind(next);
        }

        _a.LdImm64(Reg.R0, 65534);
        _a.Bind(end);
    }

    /// <summary>Calls the reading helper. On a walk the user memory would be stap's own, so it counts as not there.</summary>
    private void ReadMemory(bool user, Helper helper)
    {
        if (user && _event.HasOwnTask)
        {
            _a.Emit(Instruction.Mov(Reg.R0, -14 /* EFAULT */));
        }
        else
        {
            _a.Call(helper);
        }
    }

    private bool _walkFilter;

    /// <summary>Code of a filter, before the frame is entered: it leaves by <see cref="Exit"/>.</summary>
    public void Filter(Action code)
    {
        _walkFilter = true;
        code();
        _walkFilter = false;
    }
}
