using Linux.Bpf;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Context;

/// <summary>
/// A packet at a hook of the network stack: <c>struct bpf_nf_ctx</c>, two typed pointers to the hook's state and to the packet. Such programs have few of the helpers that
/// tracing programs have. They may be interrupted by packets that arrive, so they claim their frames, and they let every packet go on.
/// </summary>
internal sealed class NetfilterContext : EventContext
{
    private const int State = 0, Packet = 8, Accept = 1;

    public override ProgramType Type => ProgramType.Netfilter;

    public override AttachType ExpectedAttachType => AttachType.Netfilter;

    public override bool IsPreemptible => true;

    public override bool HasTaskHelpers => false;

    public override int ExitValue => Accept;

    public override void Load(ProgramEmitter e, ContextExpr value, Reg to)
    {
        if (value.Value != ContextValue.TracepointArgument)
        {
            throw new BpfCannotException($"a packet has no {value.Value}", value.Span);
        }

        if (value.Index == 0)
        {
            e.Code.Emit(Instruction.Load(MemSize.DW, to, ProgramEmitter.Ctx, Packet));
            e.Launder(to);
            return;
        }

        // As the family of probes numbers them.
        var (member, size) = value.Index switch { 1 => ("in", 8), 2 => ("out", 8), 3 => ("hook", 1), _ => ("pf", 1) };
        var offset = e.Compilation.Offset(e.Compilation.Structure("nf_hook_state", value.Span), member, value.Span);
        e.Code.Emit(Instruction.Load(MemSize.DW, to, ProgramEmitter.Ctx, State));
        e.Code.Emit(Instruction.Load(size == 8 ? MemSize.DW : MemSize.B, to, to, offset));
        if (size == 8)
        {
            e.Launder(to);
        }
    }
}
