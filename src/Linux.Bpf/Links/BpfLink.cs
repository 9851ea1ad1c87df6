namespace Linux.Bpf;

/// <summary>
/// A program attached to something. Disposing detaches. A link is a BPF link, or for kernels and kinds without one, a perf event that
/// carries the program; a process that dies by any signal leaves neither.
/// </summary>
public sealed unsafe class BpfLink : IDisposable
{
    private readonly KernelFd _fd;
    private readonly PerfEvent? _event;

    internal BpfLink(string target, KernelFd fd, PerfEvent? owned = null) => (Target, _fd, _event) = (target, fd, owned);

    /// <summary>What it is attached to, for messages.</summary>
    public string Target { get; }
    /// <summary>Descriptor of the link.</summary>
    public int Fd => _fd.Value;
    internal IBpfSys Sys => _fd.Sys;

    /// <summary>
    /// Runs the kernel dropped at this attachment because the program, or another kprobe handler, was active on the CPU already. Kernel function
    /// probes only (kprobe_multi and perf links, Linux 6.7; always 0 before); null for kinds where the kernel keeps no such
    /// count per link: raw and typed tracepoints and trampolines count in <see cref="ProgramInfo.RecursionMisses"/>, uprobes and clocks nowhere.
    /// </summary>
    public ulong? Missed()
    {
        const int linkPerfEvent = 7, linkKprobeMulti = 8;          // enum bpf_link_type
        const int perfKprobe = 3, perfKretprobe = 4;               // enum bpf_perf_event_type
        if (Fd < 0)
            return null;
        // struct bpf_link_info: type, id, prog_id, then a union at byte 16.
        byte* info = stackalloc byte[128];
        new Span<byte>(info, 128).Clear();
        ObjInfoAttr attr = new() { Fd = Fd, InfoLen = 128, Info = (ulong)info };
        if (Sys.Bpf(BpfCommand.ObjGetInfoByFd, &attr, sizeof(ObjInfoAttr)) < 0)
            return null;
        uint kind = *(uint*)(info + 16);
        return *(uint*)info switch
        {
            linkKprobeMulti => *(ulong*)(info + 32),
            linkPerfEvent when kind is perfKprobe or perfKretprobe => *(ulong*)(info + 48),
            _ => null,
        };
    }

    /// <summary>Detaches.</summary>
    public void Dispose()
    {
        _fd.Dispose();
        _event?.Dispose();
    }
}
