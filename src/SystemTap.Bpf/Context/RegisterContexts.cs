using Linux.Bpf;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Bpf.Context;

/// <summary>Events that come with a register set of the interrupted or calling code.</summary>
internal abstract class RegisterContext(Target target) : EventContext
{
    protected Target Target { get; } = target;

    public override bool HasRegisters => true;

    /// <summary>Loads a saved register, zero-extended from its size.</summary>
    public abstract void LoadRegister(ProgramEmitter e, Register register, Reg to);

    public override void LongIntrinsic(ProgramEmitter e, IntrinsicExpr i)
    {
        var architecture = Target.Architecture;
        switch (i.Intrinsic.Id)
        {
            case IntrinsicId.InstructionPointer or IntrinsicId.UserInstructionPointer:
                LoadRegister(e, architecture.InstructionPointer, Reg.R0);
                break;
            case IntrinsicId.RegisterByName or IntrinsicId.UserRegisterByName:
                var name = i.Arguments[0] is StringConst c ? c.Value
                    : throw new BpfCannotException("a register whose name is not a literal", i.Span, "write the name in quotes");
                LoadRegister(e, architecture.FindRegister(name) ?? throw new BpfCannotException($"register \"{name}\" does not exist on {architecture.Name}", i.Span), Reg.R0);
                break;
            case IntrinsicId.FunctionArgument:
                if (!e.TryConstant(i.Arguments[0], out var n) || n < 1 || n > Arguments.Length)
                {
                    throw new BpfCannotException($"argument numbers here are constants from 1 to {Arguments.Length}", i.Span);
                }

                LoadRegister(e, Arguments[(int)n - 1], Reg.R0);
                break;
            case IntrinsicId.UserMode:
                UserMode(e);
                break;
            default:
                base.LongIntrinsic(e, i);
                break;
        }
    }

    /// <summary>Registers of arguments in the event's calling convention.</summary>
    protected virtual ReadOnlySpan<Register> Arguments => Target.Architecture.CallArguments;

    private void UserMode(ProgramEmitter e)
    {
        // x86: the privilege bits of the code segment; arm64: exception level 0 in the saved state.
        var x86 = Target.Architecture.FindRegister("cs");
        var register = x86 ?? Target.Architecture.FindRegister("pstate") ?? throw new InvalidOperationException("no register tells user mode");
        LoadRegister(e, register, Reg.R0);
        e.Code.Emit(Instruction.Alu64(AluOp.And, Reg.R0, x86 is not null ? 3 : 15));
        var yes = e.Code.NewLabel();
        var end = e.Code.NewLabel();
        e.Code.JumpIf(JumpOp.Eq, Reg.R0, x86 is not null ? 3 : 0, yes);
        e.Code.Emit(Instruction.Mov(Reg.R0, 0));
        e.Code.Jump(end);
        e.Code.Bind(yes);
        e.Code.Emit(Instruction.Mov(Reg.R0, 1));
        e.Code.Bind(end);
    }

    protected static MemSize SizeOf(int bytes) => bytes switch
    {
        1 => MemSize.B,
        2 => MemSize.H,
        4 => MemSize.W,
        _ => MemSize.DW,
    };
}

/// <summary>Perf events and the profile timer: the context begins with the registers.</summary>
internal sealed class PerfContext(Target target) : RegisterContext(target)
{
    public override ProgramType Type => ProgramType.PerfEvent;

    public override bool? IsAlwaysUserMode => null;

    public override bool IsSimple(ContextExpr value) => true;

    public override void Load(ProgramEmitter e, ContextExpr value, Reg to)
    {
        if (value.Value != ContextValue.Register)
        {
            throw new BpfCannotException($"a perf event has no {value.Value}", value.Span);
        }

        e.Code.Emit(Instruction.Load(MemSize.DW, to, ProgramEmitter.Ctx, value.Index));
    }

    public override void LoadRegister(ProgramEmitter e, Register register, Reg to) =>
        e.Code.Emit(Instruction.Load(SizeOf(register.Size), to, ProgramEmitter.Ctx, register.Offset));

    public override void LongIntrinsic(ProgramEmitter e, IntrinsicExpr i)
    {
        if (i.Intrinsic.Id == IntrinsicId.UserInstructionPointer)
        {
            // The sample may have hit the kernel: the process's own place is what it saved on entering.
            e.UserRegister(Target.Architecture.InstructionPointer.Offset, i.Span);
            return;
        }

        base.LongIntrinsic(e, i);
    }
}

/// <summary>System calls, on the sys_enter and sys_exit tracepoints: argument 0 is the caller's registers, argument 1 the number or the result.</summary>
internal sealed class SyscallContext(Target target, bool isReturn, int attachBtfId) : RegisterContext(target)
{
    /// <summary>The handlers being made are of the 32-bit interface.</summary>
    public bool IsCompat { get; set; }

    /// <summary>Word that is not 0 when the call came through the 32-bit interface, for handlers of the native one, which serve both; null: it did not.</summary>
    public Mem? CompatWord { get; set; }

    public override ProgramType Type => attachBtfId != 0 ? ProgramType.Tracing : ProgramType.RawTracepoint;

    public override AttachType ExpectedAttachType => attachBtfId != 0 ? AttachType.TraceRawTp : AttachType.None;

    public override int AttachBtfId => attachBtfId;

    public override bool IsReturn => isReturn;

    public override bool? IsAlwaysUserMode => true;

    protected override ReadOnlySpan<Register> Arguments => IsCompat ? Target.Architecture.CompatSyscallArguments : Target.Architecture.SyscallArguments;

    public override bool IsSimple(ContextExpr value) => attachBtfId != 0 || value.Value == ContextValue.SyscallReturn || (value.Value == ContextValue.SyscallNumber && !isReturn);

    public override void Load(ProgramEmitter e, ContextExpr value, Reg to)
    {
        switch (value.Value)
        {
            case ContextValue.SyscallArgument:
                LoadArgument(e, value.Index, to);
                break;
            case ContextValue.SyscallNumber:
                LoadNumber(e, to);
                break;
            case ContextValue.SyscallReturn when isReturn:
                e.Code.Emit(Instruction.Load(MemSize.DW, to, ProgramEmitter.Ctx, 8));
                break;
            case ContextValue.Register:
                LoadRegister(e, new Register("", value.Index, 8, -1), to);
                break;
            default:
                throw new BpfCannotException($"a system call{(isReturn ? "'s return" : "")} has no {value.Value}", value.Span);
        }
    }

    /// <summary>The number: an argument at entry, a saved register at exit.</summary>
    public void LoadNumber(ProgramEmitter e, Reg to)
    {
        if (isReturn)
        {
            LoadRegister(e, Target.Architecture.SyscallNumber, to);
            e.Extend(to, 4, signed: true);
        }
        else
        {
            e.Code.Emit(Instruction.Load(MemSize.DW, to, ProgramEmitter.Ctx, 8));
        }
    }

    private void LoadArgument(ProgramEmitter e, int index, Reg to)
    {
        if (IsCompat || CompatWord is not { } word || e.InFunction)
        {
            LoadRegister(e, Arguments[index], to);
            return;
        }

        // The registers of 32-bit arguments are other ones, and their upper halves mean nothing.
        var compat = e.Code.NewLabel();
        var end = e.Code.NewLabel();
        e.LoadWord(to, word);
        e.Code.JumpIf(JumpOp.Ne, to, 0, compat);
        LoadRegister(e, Target.Architecture.SyscallArguments[index], to);
        e.Code.Jump(end);
        e.Code.Bind(compat);
        LoadRegister(e, Target.Architecture.CompatSyscallArguments[index], to);
        e.Code.Emit(Instruction.Mov32(to, to));
        e.Code.Bind(end);
    }

    public override void LongIntrinsic(ProgramEmitter e, IntrinsicExpr i)
    {
        if (i.Intrinsic.Id == IntrinsicId.FunctionArgument && !IsCompat && CompatWord is not null && e.TryConstant(i.Arguments[0], out var n) && n >= 1 && n <= Arguments.Length)
        {
            LoadArgument(e, (int)n - 1, Reg.R0);
            return;
        }

        if (i.Intrinsic.Id == IntrinsicId.ReturnValue && isReturn)
        {
            e.Code.Emit(Instruction.Load(MemSize.DW, Reg.R0, ProgramEmitter.Ctx, 8));
            return;
        }

        base.LongIntrinsic(e, i);
    }

    public override void LoadRegister(ProgramEmitter e, Register register, Reg to)
    {
        e.Code.Emit(Instruction.Load(MemSize.DW, to, ProgramEmitter.Ctx, 0));
        if (attachBtfId != 0 && register.Size == 8)
        {
            e.Code.Emit(Instruction.Load(MemSize.DW, to, to, register.Offset));
        }
        else if (attachBtfId != 0 && register.Offset % 8 == 0)
        {
            // The verifier knows pt_regs in words; parts are cut out here.
            e.Code.Emit(Instruction.Load(MemSize.DW, to, to, register.Offset));
            e.Extend(to, register.Size, signed: false);
        }
        else
        {
            e.ReadKernel(to, register.Offset, register.Size);
        }
    }
}
