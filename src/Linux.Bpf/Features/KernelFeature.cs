namespace Linux.Bpf;

/// <summary>What a kernel may or may not be able to do; asked of <see cref="Features"/>.</summary>
public enum KernelFeature
{
    /// <summary>Loops with a run-time budget.</summary>
    MayGoto,
    /// <summary>The <c>bpf_loop</c> helper with a callback.</summary>
    BpfLoop,
    /// <summary>The <c>bpf_for_each_map_elem</c> helper.</summary>
    ForEachMapElem,
    /// <summary>Number iterators (kfuncs <c>bpf_iter_num_*</c>).</summary>
    IterNum,
    /// <summary>Signed division, sign-extending loads and moves, 32-bit jumps.</summary>
    CpuV4,
    /// <summary>Fetching atomics, exchange and compare-exchange.</summary>
    AtomicFetch,
    /// <summary>Load-acquire and store-release.</summary>
    LoadAcquire,
    /// <summary>Ring buffer maps.</summary>
    RingBuf,
    /// <summary>Ring buffers that overwrite their oldest records.</summary>
    RingBufOverwrite,
    /// <summary>kfuncs <c>bpf_preempt_disable</c> and <c>bpf_preempt_enable</c>.</summary>
    PreemptDisable,
    /// <summary>kfuncs <c>bpf_local_irq_save</c> and <c>bpf_local_irq_restore</c>.</summary>
    LocalIrqSave,
    /// <summary>kfuncs <c>bpf_strlen</c>, <c>bpf_strcmp</c>, <c>bpf_strstr</c>.</summary>
    StringKfuncs,
    /// <summary>kfunc <c>bpf_strcasecmp</c>.</summary>
    StrCaseCmp,
    /// <summary>kfunc <c>bpf_rdonly_cast</c>.</summary>
    RdonlyCast,
    /// <summary>Attaching one program to many kernel functions.</summary>
    KprobeMulti,
    /// <summary>Attaching one program to many user-space places.</summary>
    UprobeMulti,
    /// <summary>Single kprobes through the PMU.</summary>
    KprobePmu,
    /// <summary>Single uprobes through the PMU.</summary>
    UprobePmu,
    /// <summary>Attaching to kernel functions by trampoline.</summary>
    FentryAttach,
    /// <summary>Typed tracepoints (<c>tp_btf</c>).</summary>
    TpBtf,
    /// <summary>Cookies on raw tracepoints.</summary>
    RawTpCookie,
    /// <summary>BPF links on perf events, with cookies.</summary>
    PerfLink,
    /// <summary>Map values reached by address.</summary>
    MapValueAccess,
    /// <summary>Arrays mapped into user space.</summary>
    MmapableArray,
    /// <summary>Batch operations on hashes.</summary>
    BatchOps,
    /// <summary>BTF function and line records of programs.</summary>
    BtfFuncInfo,
    /// <summary>Global functions, verified once.</summary>
    GlobalFunctions,
    /// <summary>Memory a global function got as an argument may be a map's key.</summary>
    MemoryKeys,
    /// <summary>Task local storage.</summary>
    TaskStorage,
    /// <summary>512 bytes of stack for each frame instead of all frames together, in tracing programs.</summary>
    PrivateStack,
    /// <summary>Programs that run only by request (SYSCALL).</summary>
    SyscallPrograms,
    /// <summary>Programs at the hooks of the network stack.</summary>
    NetfilterPrograms,
    /// <summary>One program at entry and return of many kernel functions, with a word kept between.</summary>
    KprobeSession,
    /// <summary>One program at entry and return of many user-space functions.</summary>
    UprobeSession,
    /// <summary>The <c>bpf_probe_write_user</c> helper: needs CAP_SYS_ADMIN in the first user namespace.</summary>
    WriteUser,
}

/// <summary>Answer of a probe.</summary>
public enum FeatureAnswer
{
    /// <summary>Not asked, or could not be decided (not permitted, out of memory, no resolver for kfunc names); asked again next time.</summary>
    Inconclusive,
    /// <summary>The kernel refused.</summary>
    No,
    /// <summary>The kernel did it.</summary>
    Yes,
}
