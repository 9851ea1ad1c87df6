using Linux.Bpf;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Bpf.Emit;

// Tasks by number. bpf_task_from_pid is not allowed in raw tracepoint and kprobe programs, so the tree of the first pid namespace is read by hand: every task's struct pid names
// that namespace at level 0, its IDR is an xarray whose leaves are struct pid, and the first task linked there is the thread.

internal sealed partial class ProgramEmitter
{
    /// <summary>R0 = address of the task_struct with a thread id, 0 when there is none.</summary>
    private void TaskFromPid(IntrinsicExpr i)
    {
        Long(i.Arguments[0], Reg.R2);
        At(i.Span);
        var span = i.Span;
        var (task, pid, upid, space) = (_c.Structure("task_struct", span), _c.Structure("pid", span), _c.Structure("upid", span), _c.Structure("pid_namespace", span));
        var node = _c.Structure("xa_node", span);
        var root = _c.Offset(space, "idr", span) + _c.Offset(_c.Structure("idr", span), "idr_rt", span) + _c.Offset(_c.Structure("xarray", span), "xa_head", span);
        var fan = (int)((node.FindMember("slots") ?? throw Cannot("this kernel's xa_node has no slots", span)).Type.Size / 8);
        var (shiftAt, slots) = (_c.Offset(node, "shift", span), _c.Offset(node, "slots", span));
        CallRoutine("task_from_pid", () =>
        {
            EnterRoutine();
            Move(Reg.R8, Reg.R2);
            var none = _a.NewLabel();
            var leaf = _a.NewLabel();
            _a.JumpIf(JumpOp.SLe, Reg.R8, 0, none);
            _a.Call(Helper.GetCurrentTask);
            ReadKernel(Reg.R0, _c.Offset(task, "thread_pid", span), 8);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, none);
            ReadKernel(Reg.R0, _c.Offset(pid, "numbers", span) + _c.Offset(upid, "ns", span), 8);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, none);
            ReadKernel(Reg.R0, root, 8);
            Move(Reg.R9, Reg.R0);

            // A node is tagged 2; six bits a level are enough for 31 bits in six levels.
            for (var level = 0; level < (fan == 64 ? 6 : 8); level++)
            {
                Move(Reg.R0, Reg.R9);
                _a.Emit(Instruction.Alu64(AluOp.And, Reg.R0, 3));
                _a.JumpIf(JumpOp.Ne, Reg.R0, 2, level == 0 ? none : leaf);
                _a.JumpIf(JumpOp.Le, Reg.R9, 4096, none);
                Move(Reg.R0, Reg.R9);
                ReadKernel(Reg.R0, shiftAt - 2, 1);
                _a.Emit(Instruction.Alu64(AluOp.And, Reg.R0, 63));
                Move(Reg.R1, Reg.R8);
                _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R1, Reg.R0));
                if (level == 0)
                {
                    _a.JumpIf(JumpOp.Ge, Reg.R1, fan, none);
                }

                _a.Emit(Instruction.Alu64(AluOp.And, Reg.R1, fan - 1));
                _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R1, 3));
                Move(Reg.R0, Reg.R9);
                _a.Emit(Instruction.Add64(Reg.R0, Reg.R1));
                ReadKernel(Reg.R0, slots - 2, 8);
                Move(Reg.R9, Reg.R0);
            }

            _a.Bind(leaf);
            Move(Reg.R0, Reg.R9);
            _a.Emit(Instruction.Alu64(AluOp.And, Reg.R0, 3));
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, none);
            _a.JumpIf(JumpOp.Eq, Reg.R9, 0, none);
            Move(Reg.R0, Reg.R9);
            ReadKernel(Reg.R0, _c.Offset(pid, "tasks", span), 8);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, none);
            _a.Emit(Instruction.Add64Imm(Reg.R0, -_c.Offset(task, "pid_links", span)));
            _a.Exit();
            _a.Bind(none);
            LeaveRoutine();
        });
    }
}
