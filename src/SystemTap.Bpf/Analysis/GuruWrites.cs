using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Analysis;

/// <summary>Finds writes to memory in handlers that stap runs: only a module has the kernel's memory, and no traced process is current there.</summary>
internal sealed class GuruWrites : LoweredWalker
{
    private readonly HashSet<Function> _seen = new(ReferenceEqualityComparer.Instance);

    /// <exception cref="BpfCannotException">One of the handlers writes.</exception>
    public static void Refuse(IReadOnlyList<Probe> probes)
    {
        var walker = new GuruWrites();
        foreach (var probe in probes)
        {
            walker.Visit(probe.Body);
        }
    }

    public override void Visit(Expr? expression)
    {
        switch (expression)
        {
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.WriteKernel } i:
                throw new BpfCannotException("writing to kernel memory: BPF programs cannot", i.Span, "run with --runtime=kernel");
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.WriteUser } i:
                throw new BpfCannotException("writing to user memory in a handler that no event of a process runs", i.Span, "write in a probe of the process");
            case CallExpr c:
                for (var f = c.Function; f is not null && _seen.Add(f); f = f.NextOverload)
                {
                    Visit(f.Body);
                }

                break;
        }

        base.Visit(expression);
    }
}
