using Linux.Bpf;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Bpf.Context;

// Kernel functions come to a program in two ways.
//   kprobe (also kprobe_multi): the registers at the function's first instruction, or after its return. Works everywhere kprobes do; a return has no arguments.
//   trampoline (fentry, fexit, LSM): the arguments as 64-bit words, at the exit followed by the result; typed, so that pointers are followed without a helper.

/// <summary>A kprobe or kretprobe: the context is the register set.</summary>
/// <param name="target">The machine.</param>
/// <param name="spec">The place.</param>
/// <param name="isMulti">One program for many functions (kprobe_multi).</param>
internal sealed class KernelProbeContext(Target target, KernelFunctionSpec spec, bool isMulti) : RegisterContext(target)
{
    public override ProgramType Type => ProgramType.KProbe;

    public override AttachType ExpectedAttachType => isMulti ? AttachType.TraceKprobeMulti : AttachType.None;

    public override bool IsReturn => spec.IsReturn;

    public override bool IsSimple(ContextExpr value) => value.Value != ContextValue.FunctionArgument || value.Index < Arguments.Length;

    public override void Load(ProgramEmitter e, ContextExpr value, Reg to)
    {
        switch (value.Value)
        {
            case ContextValue.FunctionArgument when !spec.IsReturn && value.Index < Arguments.Length:
                LoadRegister(e, Arguments[value.Index], to);
                break;
            case ContextValue.FunctionArgument when !spec.IsReturn:
                LoadRegister(e, Target.Architecture.StackPointer, to);
                e.ReadKernel(to, Target.Architecture.StackArgumentsOffset + 8 * (value.Index - Arguments.Length), 8);
                break;
            case ContextValue.FunctionReturn when spec.IsReturn:
                LoadRegister(e, Target.Architecture.ReturnValue, to);
                break;
            case ContextValue.Register:
                LoadRegister(e, new Register("", value.Index, 8, -1), to);
                break;
            default:
                throw new BpfCannotException($"a kernel function's {(spec.IsReturn ? "return" : "entry")} has no {value.Value}", value.Span);
        }
    }

    public override void LoadRegister(ProgramEmitter e, Register register, Reg to) =>
        e.Code.Emit(Instruction.Load(SizeOf(register.Size), to, ProgramEmitter.Ctx, register.Offset));

    public override void LongIntrinsic(ProgramEmitter e, IntrinsicExpr i)
    {
        switch (i.Intrinsic.Id)
        {
            case IntrinsicId.ReturnValue when spec.IsReturn:
                LoadRegister(e, Target.Architecture.ReturnValue, Reg.R0);
                break;
            case IntrinsicId.FunctionArgument when spec.IsReturn:
                throw new BpfCannotException("the arguments are gone when a function returns", i.Span, "take them at the entry: @entry(long_arg(N))");
            case IntrinsicId.FunctionArgument when e.TryConstant(i.Arguments[0], out var n) && n > Arguments.Length && n < 32:
                LoadRegister(e, Target.Architecture.StackPointer, Reg.R0);
                e.ReadKernel(Reg.R0, Target.Architecture.StackArgumentsOffset + (8 * ((int)n - 1 - Arguments.Length)), 8);
                break;
            case IntrinsicId.InstructionPointer when spec.Offset == 0:
                KernelFunctionAddress.Emit(e);
                break;
            case IntrinsicId.UserInstructionPointer:
                e.UserRegister(Target.Architecture.InstructionPointer.Offset, i.Span);
                break;
            default:
                base.LongIntrinsic(e, i);
                if (i.Intrinsic.Id == IntrinsicId.InstructionPointer && Target.Architecture.Name == "x86_64")
                {
                    // The breakpoint's trap leaves the pointer one byte behind it.
                    e.Code.Emit(Instruction.Add64Imm(Reg.R0, -1));
                }

                break;
        }
    }
}

/// <summary>fentry, fexit or an LSM hook: the context is the argument words, at an exit the result behind them.</summary>
/// <param name="target">The machine.</param>
/// <param name="spec">The function; its BTF id is what the program attaches to.</param>
/// <param name="argumentCount">Words of arguments.</param>
internal sealed class TrampolineContext(Target target, KernelFunctionSpec spec, int argumentCount) : EventContext
{
    public override ProgramType Type => spec.Kind == KernelAttachKind.Lsm ? ProgramType.Lsm : ProgramType.Tracing;

    public override AttachType ExpectedAttachType =>
        spec.Kind == KernelAttachKind.Lsm ? AttachType.LsmMac : spec.IsReturn ? AttachType.TraceFExit : AttachType.TraceFEntry;

    public override int AttachBtfId => spec.BtfFunction;

    public override bool IsReturn => spec.IsReturn;

    public override bool IsTyped => true;

    public override bool IsSimple(ContextExpr value) => true;

    public override void Load(ProgramEmitter e, ContextExpr value, Reg to)
    {
        var word = value.Value switch
        {
            ContextValue.FunctionArgument when value.Index < argumentCount && !spec.IsReturn => value.Index,
            ContextValue.FunctionReturn when spec.IsReturn => argumentCount,
            _ => throw new BpfCannotException($"a kernel function's {(spec.IsReturn ? "return" : "entry")} has no {value.Value}", value.Span),
        };
        e.Code.Emit(Instruction.Load(MemSize.DW, to, ProgramEmitter.Ctx, 8 * word));
        if (value.Size == 8)
        {
            e.Launder(to);
        }
    }

    public override void LongIntrinsic(ProgramEmitter e, IntrinsicExpr i)
    {
        switch (i.Intrinsic.Id)
        {
            case IntrinsicId.ReturnValue when spec.IsReturn:
                e.Code.Emit(Instruction.Load(MemSize.DW, Reg.R0, ProgramEmitter.Ctx, 8 * argumentCount));
                e.Launder(Reg.R0);
                break;
            case IntrinsicId.FunctionArgument when spec.IsReturn:
                throw new BpfCannotException("the arguments are gone when a function returns", i.Span, "take them at the entry: @entry(long_arg(N))");
            case IntrinsicId.FunctionArgument when e.TryConstant(i.Arguments[0], out var n) && n >= 1 && n <= argumentCount:
                e.Code.Emit(Instruction.Load(MemSize.DW, Reg.R0, ProgramEmitter.Ctx, 8 * ((int)n - 1)));
                e.Launder(Reg.R0);
                break;
            case IntrinsicId.FunctionArgument:
                throw new BpfCannotException($"function \"{spec.Symbol}\" has {argumentCount} arguments", i.Span, "give a constant number of one of them");
            case IntrinsicId.InstructionPointer:
                KernelFunctionAddress.Emit(e);
                break;
            case IntrinsicId.UserInstructionPointer:
                e.UserRegister(target.Architecture.InstructionPointer.Offset, i.Span);
                break;
            default:
                base.LongIntrinsic(e, i);
                break;
        }
    }
}

/// <summary>The probed function's own address, whatever the attach kind.</summary>
internal static class KernelFunctionAddress
{
    public static void Emit(ProgramEmitter e)
    {
        e.Code.Emit(Instruction.Mov(Reg.R1, ProgramEmitter.Ctx));
        e.Code.Call(Helper.GetFuncIp);
    }
}
