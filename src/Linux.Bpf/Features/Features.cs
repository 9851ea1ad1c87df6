namespace Linux.Bpf;

/// <summary>
/// Answers what this kernel can do, by trying it: distributions back-port features, and configurations remove them, so version numbers decide
/// nothing here and appear in messages only. Each probe is a program of a few instructions or a harmless call (30–200 µs), made
/// when first asked and remembered. Thread-safe: at worst a probe is made twice.
/// </summary>
public sealed class Features
{
    private readonly FeatureAnswer[] _answers = new FeatureAnswer[FeatureTable.Count];
    private readonly FeatureProbes _probes;

    /// <summary>Probes for one kernel.</summary>
    /// <param name="kfuncId">Gives the vmlinux BTF id of a kernel function by name, 0 if there is none. Without it, features that are kfuncs stay inconclusive.</param>
    /// <param name="sys">The kernel; the running one if null.</param>
    /// <param name="typedefId">Likewise for typedefs (<c>btf_trace_NAME</c>); without it <see cref="KernelFeature.TpBtf"/> stays inconclusive.</param>
    public Features(Func<string, int>? kfuncId = null, IBpfSys? sys = null, Func<string, int>? typedefId = null) =>
        _probes = new FeatureProbes(sys ?? LinuxBpfSys.Instance, kfuncId, typedefId);

    /// <summary>The answer, probing if not known yet.</summary>
    public FeatureAnswer Get(KernelFeature feature)
    {
        FeatureAnswer answer = _answers[(int)feature];
        if (answer == FeatureAnswer.Inconclusive)
            _answers[(int)feature] = answer = _probes.Run(feature);
        return answer;
    }

    /// <summary>True only if the kernel did it.</summary>
    public bool Has(KernelFeature feature) => Get(feature) == FeatureAnswer.Yes;

    /// <summary>Sets an answer, for tests of fall-backs and for answers kept from an earlier run.</summary>
    public void Assume(KernelFeature feature, FeatureAnswer answer) => _answers[(int)feature] = answer;

    /// <summary>
    /// Whether programs of this type may call the kfunc. Not remembered. The call is tried with zeros as arguments: the kernel
    /// checks permission (EACCES) before arguments (EINVAL).
    /// </summary>
    public FeatureAnswer KfuncAllowed(string name, ProgramType type) => _probes.KfuncAllowed(name, type);

    /// <summary>Name for messages, such as <c>may_goto</c>.</summary>
    public static string Name(KernelFeature feature) => FeatureTable.Name(feature);

    /// <summary>First kernel release with it, for messages, such as <c>6.9</c>.</summary>
    public static string Since(KernelFeature feature) => FeatureTable.Since(feature);
}

/// <summary>Names and first releases; for messages and tests only.</summary>
internal static class FeatureTable
{
    private static readonly (string Name, string Since)[] Rows = Make();

    internal static int Count => Rows.Length;
    internal static string Name(KernelFeature f) => Rows[(int)f].Name;
    internal static string Since(KernelFeature f) => Rows[(int)f].Since;

    private static (string, string)[] Make()
    {
        var rows = new (string, string)[(int)KernelFeature.WriteUser + 1];
        rows[(int)KernelFeature.MayGoto] = ("may_goto", "6.9");
        rows[(int)KernelFeature.BpfLoop] = ("bpf_loop", "5.17");
        rows[(int)KernelFeature.ForEachMapElem] = ("bpf_for_each_map_elem", "5.13");
        rows[(int)KernelFeature.IterNum] = ("bpf_iter_num", "6.4");
        rows[(int)KernelFeature.CpuV4] = ("cpu v4 instructions", "6.6");
        rows[(int)KernelFeature.AtomicFetch] = ("atomic fetch instructions", "5.12");
        rows[(int)KernelFeature.LoadAcquire] = ("load-acquire instructions", "6.15");
        rows[(int)KernelFeature.RingBuf] = ("ring buffer", "5.8");
        rows[(int)KernelFeature.RingBufOverwrite] = ("overwriting ring buffer", "6.19");
        rows[(int)KernelFeature.PreemptDisable] = ("bpf_preempt_disable", "6.10");
        rows[(int)KernelFeature.LocalIrqSave] = ("bpf_local_irq_save", "6.14");
        rows[(int)KernelFeature.StringKfuncs] = ("string kfuncs", "6.17");
        rows[(int)KernelFeature.StrCaseCmp] = ("bpf_strcasecmp", "6.18");
        rows[(int)KernelFeature.RdonlyCast] = ("bpf_rdonly_cast", "6.2");
        rows[(int)KernelFeature.KprobeMulti] = ("kprobe_multi", "5.18");
        rows[(int)KernelFeature.UprobeMulti] = ("uprobe_multi", "6.6");
        rows[(int)KernelFeature.KprobePmu] = ("kprobes", "4.17");
        rows[(int)KernelFeature.UprobePmu] = ("uprobes", "4.17");
        rows[(int)KernelFeature.FentryAttach] = ("fentry", "5.5");
        rows[(int)KernelFeature.TpBtf] = ("tp_btf", "5.5");
        rows[(int)KernelFeature.RawTpCookie] = ("raw tracepoint cookie", "6.10");
        rows[(int)KernelFeature.PerfLink] = ("perf event link", "5.15");
        rows[(int)KernelFeature.MapValueAccess] = ("direct map values", "5.2");
        rows[(int)KernelFeature.MmapableArray] = ("mapped arrays", "5.5");
        rows[(int)KernelFeature.BatchOps] = ("map batch operations", "5.6");
        rows[(int)KernelFeature.BtfFuncInfo] = ("BTF function info", "5.0");
        rows[(int)KernelFeature.GlobalFunctions] = ("global functions", "5.6");
        rows[(int)KernelFeature.MemoryKeys] = ("map keys in the memory a global function got", "6.2");
        rows[(int)KernelFeature.TaskStorage] = ("task storage", "5.11");
        rows[(int)KernelFeature.PrivateStack] = ("private stack", "6.13");
        rows[(int)KernelFeature.SyscallPrograms] = ("SYSCALL programs", "5.14");
        rows[(int)KernelFeature.NetfilterPrograms] = ("netfilter programs", "6.4");
        rows[(int)KernelFeature.KprobeSession] = ("kprobe session", "6.10");
        rows[(int)KernelFeature.UprobeSession] = ("uprobe session", "6.13");
        rows[(int)KernelFeature.WriteUser] = ("bpf_probe_write_user", "4.8");
        return rows;
    }
}
