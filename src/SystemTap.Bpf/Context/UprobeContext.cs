using Linux.Bpf;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Bpf.Context;

/// <summary>A place in user code, or the return of a function there: the context is the process's registers.</summary>
/// <param name="target">The machine.</param>
/// <param name="isReturn">At the return.</param>
/// <param name="multi">Attached by uprobe_multi.</param>
/// <param name="stack">Where arguments on the stack begin; null: as at a function's first instruction.</param>
internal sealed class UprobeContext(Target target, bool isReturn, bool multi, StackArguments? stack) : RegisterContext(target)
{
    public override ProgramType Type => ProgramType.KProbe;

    public override AttachType ExpectedAttachType => multi ? AttachType.TraceUprobeMulti : AttachType.None;

    public override bool IsReturn => isReturn;

    public override bool? IsAlwaysUserMode => true;

    public override bool IsPreemptible => true;

    public override bool IsSimple(ContextExpr value) => value.Value != ContextValue.FunctionArgument || value.Index < InRegisters;

    private int InRegisters => stack is { Width: < 8 } ? 0 : Target.Architecture.CallArguments.Length;

    public override void Load(ProgramEmitter e, ContextExpr value, Reg to)
    {
        switch (value.Value)
        {
            case ContextValue.Register:
                e.Code.Emit(Instruction.Load(MemSize.DW, to, ProgramEmitter.Ctx, value.Index));
                break;
            case ContextValue.FunctionArgument when !isReturn:
                Argument(e, value.Index, to, value.Span);
                break;
            case ContextValue.FunctionReturn when isReturn:
                LoadRegister(e, Target.Architecture.ReturnValue, to);
                break;
            default:
                throw new BpfCannotException($"a user-space probe has no {value.Value}", value.Span);
        }
    }

    public override void LoadRegister(ProgramEmitter e, Register register, Reg to) =>
        e.Code.Emit(Instruction.Load(SizeOf(register.Size), to, ProgramEmitter.Ctx, register.Offset));

    public override void LongIntrinsic(ProgramEmitter e, IntrinsicExpr i)
    {
        switch (i.Intrinsic.Id)
        {
            case IntrinsicId.FunctionArgument when e.TryConstant(i.Arguments[0], out var n) && n is >= 1 and <= 32 && !isReturn:
                Argument(e, (int)n - 1, Reg.R0, i.Span);
                break;
            case IntrinsicId.ReturnValue when isReturn:
                LoadRegister(e, Target.Architecture.ReturnValue, Reg.R0);
                break;
            default:
                base.LongIntrinsic(e, i);
                break;
        }
    }

    /// <summary>An argument by the calling convention: a register, or a word of the stack.</summary>
    private void Argument(ProgramEmitter e, int index, Reg to, Language.Text.SourceSpan span)
    {
        var architecture = Target.Architecture;
        if (index < InRegisters)
        {
            LoadRegister(e, architecture.CallArguments[index], to);
            return;
        }

        e.Code.Emit(Instruction.Load(MemSize.DW, Reg.R0, ProgramEmitter.Ctx, stack?.Register ?? architecture.StackPointer.Offset));
        var width = stack?.Width ?? 8;
        e.ReadUserWord(Reg.R0, (stack?.Displacement ?? architecture.StackArgumentsOffset) + (width * (index - InRegisters)), width, span);
        if (to != Reg.R0)
        {
            e.Code.Emit(Instruction.Mov(to, Reg.R0));
        }
    }
}
