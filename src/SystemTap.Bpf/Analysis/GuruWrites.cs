using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

/// <summary>Finds writes to memory in handlers that stap runs: only a module has the kernel's memory, and no traced process is current there.</summary>
internal sealed class GuruWrites : CallingWalker
{
    /// <exception cref="BpfCannotException">One of the handlers writes.</exception>
    public static void Refuse(IReadOnlyList<Probe> probes)
    {
        var walker = new GuruWrites();
        foreach (var probe in probes)
        {
            walker.Visit(probe.Body);
        }
    }

    /// <summary>What a built-in does that only a module can.</summary>
    public static string What(IntrinsicId id) => id switch
    {
        IntrinsicId.Delay => "waiting inside a handler",
        IntrinsicId.Panic => "stopping the machine",
        IntrinsicId.DumpStack => "writing the stack to the kernel log",
        IntrinsicId.SetFunctionArgument => "changing an argument of the probed function",
        IntrinsicId.WriteRegister => "changing a value that is in a register",
        _ => "changing what the probed function returns",
    };

    public override void Visit(Expr? expression)
    {
        switch (expression)
        {
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.WriteKernel } i:
                throw new BpfCannotException("writing to kernel memory: BPF programs cannot", i.Span, "run with --runtime=kernel");
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.WriteUser } i:
                throw new BpfCannotException("writing to user memory in a handler that no event of a process runs", i.Span, "write in a probe of the process");
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.RaiseSignal } i:
                throw new BpfCannotException("a signal to the current thread in a handler that no event of a thread runs", i.Span, "call raise() in a probe of the thread");
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.Panic or IntrinsicId.DumpStack or IntrinsicId.SetFunctionArgument or IntrinsicId.SetReturnValue or IntrinsicId.WriteRegister } i:
                throw new BpfCannotException(What(i.Intrinsic.Id) + ": BPF programs cannot", i.Span, "run with --runtime=kernel");
        }

        base.Visit(expression);
    }
}
