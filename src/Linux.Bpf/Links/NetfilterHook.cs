namespace Linux.Bpf;

/// <summary>A hook of the network stack, in the network namespace of the caller (Linux 6.4 with CONFIG_NETFILTER_BPF_LINK). The program decides what becomes of each packet: 1 lets it go on.</summary>
public static unsafe class NetfilterHook
{
    private const int MostTries = 256;

    /// <summary>
    /// Attaches a <see cref="ProgramType.Netfilter"/> program. No two programs may share a hook's priority, so where one is taken the next is used: later programs run later.
    /// </summary>
    /// <param name="program">The program.</param>
    /// <param name="family">NFPROTO_IPV4 (2) or NFPROTO_IPV6 (10).</param>
    /// <param name="hook">Number of the hook, from 0 (pre-routing) to 4 (post-routing).</param>
    /// <param name="priority">Smaller ones come first. The two ends of the range are the kernel's own.</param>
    public static BpfLink Attach(BpfProgram program, int family, int hook, int priority)
    {
        string subject = $"netfilter hook {hook} of family {family}";
        int wanted = Math.Clamp(priority, int.MinValue + 1, int.MaxValue - 1);
        long fd;
        int tries = 0;
        do
        {
            LinkCreateAttr attr = new()
            {
                ProgFd = program.Fd, AttachType = AttachType.Netfilter, NetfilterFamily = (uint)family, NetfilterHook = (uint)hook,
                NetfilterPriority = (int)Math.Min((long)wanted + tries, int.MaxValue - 1),
            };
            fd = program.Sys.Bpf(BpfCommand.LinkCreate, &attr, sizeof(LinkCreateAttr));
        }
        while (fd == -Errno.EBUSY && ++tries < MostTries);
        if (fd < 0)
            throw new BpfException(subject, "attach", (int)-fd, fd switch
            {
                -Errno.EBUSY => "the priorities from the wanted one on are taken: give another with .priority(\"N\")",
                -Errno.EINVAL => "this kernel cannot attach programs to that hook",
                _ => null,
            });
        return new BpfLink(subject, new KernelFd(program.Sys, (int)fd));
    }
}
