using Linux.Bpf;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Context;

/// <summary>
/// A BPF iterator over all tasks (Linux 5.8): runs the handlers of <c>process.begin</c> and <c>process.thread.begin</c> once for each process that is
/// already there when the session starts. It runs in stap, not in the process, so every "current task" built-in reads the task of the walk.
/// </summary>
/// <param name="functionId">BTF id of the kernel's function <c>bpf_iter_task</c>.</param>
internal sealed class TaskWalkContext(int functionId) : EventContext
{
    // struct bpf_iter__task: the walk's state, then the task.
    public const int TaskOffset = 8;

    public override ProgramType Type => ProgramType.Tracing;

    public override AttachType ExpectedAttachType => AttachType.TraceIter;

    public override int AttachBtfId => functionId;

    public override bool HasOwnTask => true;

    public override void LoadTask(ProgramEmitter e, Reg to) => e.Code.Emit(Instruction.Load(MemSize.DW, to, ProgramEmitter.Ctx, TaskOffset));

    public override void LongIntrinsic(ProgramEmitter e, IntrinsicExpr i)
    {
        if (i.Intrinsic.Id == IntrinsicId.UserInstructionPointer)
        {
            e.UserRegister(e.Compilation.Target.Architecture.InstructionPointer.Offset, i.Span);
            return;
        }

        base.LongIntrinsic(e, i);
    }

    public override void Load(ProgramEmitter e, ContextExpr value, Reg to) =>
        throw new BpfCannotException($"the begin of a process has no {value.Value}", value.Span);
}
