using Linux.Bpf;
using SystemTap.Bpf;
using SystemTap.Targets;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Cli.Driver;

internal sealed partial class SessionDriver
{
    /// <summary>What the running kernel answers, asked by loading tiny programs (about 50 µs each); nothing is asked when no handler runs in the kernel.</summary>
    private BpfFeatures KernelFeatures(LoweredProgram program)
    {
        if (!program.Probes.Any(p => p.Spec.RunsInKernel))
        {
            return BpfFeatures.Modern;
        }

        var btf = _target.KernelBtf;
        var features = new Features(name => btf.FindFunctionId(name), typedefId: name => btf.Find(BtfKind.Typedef, name)?.Id ?? 0);
        var hasUserProbes = program.Probes.Any(p => p.Spec is UserFunctionSpec);
        var functions = program.Probes.Any(p => p.Spec is KernelFunctionSpec);
        return new BpfFeatures
        {
            WriteUser = !hasUserProbes || features.Has(KernelFeature.WriteUser),
            MayGoto = features.Has(KernelFeature.MayGoto),
            BpfLoop = features.Has(KernelFeature.BpfLoop),
            InstructionSetV4 = features.Has(KernelFeature.CpuV4),
            TypedTracepoints = features.Has(KernelFeature.TpBtf),
            UprobeMulti = !hasUserProbes || features.Has(KernelFeature.UprobeMulti),
            UprobeMultiPid = !hasUserProbes || features.Has(KernelFeature.PreemptDisable), // of the same release
            Trampolines = functions && features.Has(KernelFeature.FentryAttach),
            Kprobes = functions && features.Has(KernelFeature.KprobePmu),
            KprobeMulti = functions && features.Has(KernelFeature.KprobeMulti),
        };
    }
}
