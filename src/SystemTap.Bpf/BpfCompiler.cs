using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Bpf;

/// <summary>Pass 3.</summary>
public static class BpfCompiler
{
    /// <summary>Translates a program.</summary>
    public static BpfPlan Compile(LoweredProgram program, Target target, BpfOptions options)
    {
        if (program.Probes.FirstOrDefault(p => p.Spec.RunsInKernel) is { } kernel)
        {
            throw new BpfCannotException("not merged yet", kernel.Span);
        }

        return new BpfPlan
        {
            Program = program, Maps = [], Programs = [], Globals = program.Globals.Select(g => (GlobalStorage)new GlobalStorage.HostOnly(g)).ToArray(),
            PrintSites = [], ErrorSites = [], HostProbes = program.Probes, DataMap = -1, RingMap = -1, DataSize = 0,
        };
    }
}
