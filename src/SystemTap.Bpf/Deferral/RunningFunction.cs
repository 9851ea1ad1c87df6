using SystemTap.Bpf.Analysis;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Bpf.Deferral;

/// <summary>
/// <c>probefunc()</c> in samples (perf events, the profile timer, watchpoints): there is no probed function, so it is the one that was running, by its address,
/// in the process or in the kernel.
/// </summary>
internal static class RunningFunction
{
    public static LoweredProgram Apply(LoweredProgram program, Architecture architecture)
    {
        Probe[]? probes = null;
        for (var i = 0; i < program.Probes.Count; i++)
        {
            var p = program.Probes[i];
            if (p.Spec is not (PerfSpec or ProfileSpec or WatchpointSpec))
            {
                continue;
            }

            var found = false;
            Expr Map(Expr e)
            {
                if (e is IntrinsicExpr { Intrinsic.Id: IntrinsicId.ProbeFunction } f)
                {
                    found = true;
                    var user = new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.UserSymbolName),
                        [new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.Pid), [], f.Span), new ContextExpr(ContextValue.Register, architecture.InstructionPointer.Offset, f.Span)], f.Span);
                    var kernel = new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.SymbolName), [new ContextExpr(ContextValue.Register, architecture.InstructionPointer.Offset, f.Span)], f.Span);
                    return new ConditionalExpr(new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.UserMode), [], f.Span), user, kernel, f.Span);
                }

                if (e is SequenceExpr q)
                {
                    var inner = new Stmt[q.Statements.Count];
                    for (var n = 0; n < inner.Length; n++)
                    {
                        inner[n] = MapStatement(q.Statements[n]);
                    }

                    return new SequenceExpr(inner, Map(q.Value), q.Span);
                }

                return Mapper.Children(e, Map);
            }

            Stmt MapStatement(Stmt s) => Mapper.Children(s, Map, MapStatement);

            var body = MapStatement(p.Body);
            if (found)
            {
                probes ??= [.. program.Probes];
                probes[i] = p.With(body);
            }
        }

        return probes is null ? program : program.WithProbes(probes);
    }
}
