using Linux.Bpf;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Context;

/// <summary>One kind of event: the program type it needs and how its values are reached from R6. One subclass for each mechanism.</summary>
internal abstract class EventContext
{
    public abstract ProgramType Type { get; }

    public virtual AttachType ExpectedAttachType => AttachType.None;

    /// <summary>attach_btf_id of typed programs, else 0.</summary>
    public virtual int AttachBtfId => 0;

    public virtual bool IsReturn => false;

    /// <summary>The event comes with a register set.</summary>
    public virtual bool HasRegisters => false;

    /// <summary>Known before the event: it always or never interrupts user code; null when only the event can tell.</summary>
    public virtual bool? IsAlwaysUserMode => false;

    /// <summary>Pointers in the context are typed: loads through them need no helper.</summary>
    public virtual bool IsTyped => false;

    /// <summary>The program can be preempted by itself or another on the same CPU: it claims its frame.</summary>
    public virtual bool IsPreemptible => false;

    /// <summary>The handler is about a task that is not the running one (a walk over all tasks): <see cref="LoadTask"/> finds it, and user memory is out of reach.</summary>
    public virtual bool HasOwnTask => false;

    /// <summary>Loads the typed pointer of <see cref="HasOwnTask"/>; null at the end of the walk.</summary>
    public virtual void LoadTask(ProgramEmitter e, Reg to) => throw new InvalidOperationException("this event has no task of its own");

    /// <summary>The kernel's helpers that tell ids and name of the running task, and walk stacks, may be called; else the task's structure is read.</summary>
    public virtual bool HasTaskHelpers => true;

    /// <summary>What the program returns to the kernel.</summary>
    public virtual int ExitValue => 0;

    /// <summary>Reading the value destroys no other register.</summary>
    public virtual bool IsSimple(ContextExpr value) => false;

    /// <summary>Loads a value of the event, not yet extended to its size.</summary>
    public abstract void Load(ProgramEmitter e, ContextExpr value, Reg to);

    /// <summary>Built-ins that depend on the event, into R0. What this kind of event has not is a run-time error, as in handlers that stap runs.</summary>
    public virtual void LongIntrinsic(ProgramEmitter e, IntrinsicExpr i)
    {
        switch (i.Intrinsic.Id)
        {
            case IntrinsicId.RegisterByName or IntrinsicId.UserRegisterByName when i.Arguments[0] is StringConst name:
                e.Fail($"register '{name.Value}' is not available: this probe has no registers", i.Span);
                break;
            case IntrinsicId.FunctionArgument:
                e.Fail("function arguments are not available in this kind of probe", i.Span);
                break;
            case IntrinsicId.InstructionPointer:
                e.Fail("the instruction pointer is not available: this probe has no registers", i.Span);
                break;
            default:
                throw new BpfCannotException($"the built-in \"{i.Intrinsic.Name}\" needs registers, and this probe has none", i.Span);
        }
    }
}

/// <summary>A kernel tracepoint: raw, or typed (tp_btf) when the handler follows pointers.</summary>
/// <param name="name">Without system.</param>
/// <param name="attachBtfId">Id of the <c>btf_trace_NAME</c> typedef; 0: raw.</param>
internal sealed class TracepointContext(string name, int attachBtfId) : EventContext
{
    public string Name { get; } = name;

    public override ProgramType Type => attachBtfId != 0 ? ProgramType.Tracing : ProgramType.RawTracepoint;

    public override AttachType ExpectedAttachType => attachBtfId != 0 ? AttachType.TraceRawTp : AttachType.None;

    public override int AttachBtfId => attachBtfId;

    public override bool IsTyped => attachBtfId != 0;

    public override bool IsSimple(ContextExpr value) => value.Value == ContextValue.TracepointArgument;

    public override void Load(ProgramEmitter e, ContextExpr value, Reg to)
    {
        if (value.Value != ContextValue.TracepointArgument)
        {
            throw new BpfCannotException($"a tracepoint has no {value.Value}", value.Span);
        }

        e.Code.Emit(Instruction.Load(MemSize.DW, to, ProgramEmitter.Ctx, 8 * value.Index));
        if (IsTyped && value.Size == 8)
        {
            e.Launder(to);
        }
    }

    public override void LongIntrinsic(ProgramEmitter e, IntrinsicExpr i)
    {
        if (i.Intrinsic.Id == IntrinsicId.UserInstructionPointer)
        {
            e.UserRegister(e.Compilation.Target.Architecture.InstructionPointer.Offset, i.Span);
            return;
        }

        base.LongIntrinsic(e, i);
    }
}

/// <summary>No event at all: stap runs the program by request, in its own context.</summary>
internal sealed class RequestContext : EventContext
{
    public override ProgramType Type => ProgramType.RawTracepoint;

    public override void Load(ProgramEmitter e, ContextExpr value, Reg to) =>
        throw new BpfCannotException("a value of an event in a handler without one", value.Span);
}
