using SystemTap.Semantics.Probes.Families;

namespace SystemTap.Semantics.Probes;

/// <summary>All ways of spelling native probe points.</summary>
public static class ProbeFamilies
{
    /// <summary>The families in the order of listings.</summary>
    public static readonly IReadOnlyList<ProbeFamily> All =
    [
        new SessionFamily(),
        new TimerFamily(),
        new ProfileFamily(),
        new KernelFunctionFamily(),
        new KernelCalleeFamily(),
        new KernelStatementFamily(),
        new KprobeFamily(),
        new KernelDataFamily(),
        new LsmFamily(),
        new KernelTraceFamily(),
        new SyscallFamily(),
        new ProcessFamily(),
        new UserFunctionFamily(),
        new UserCalleeFamily(),
        new UserStatementFamily(),
        new UserMarkFamily(),
        new UserPltFamily(),
        new PerfFamily(),
        new ProcfsFamily(),
        new NetfilterFamily(),
        .. UnavailableFamily.All,
    ];
}
