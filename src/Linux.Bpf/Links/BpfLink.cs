namespace Linux.Bpf;

/// <summary>
/// A program attached to something. Disposing detaches. A link is a BPF link, or for kernels and kinds without one, a perf event that
/// carries the program; a process that dies by any signal leaves neither.
/// </summary>
public sealed class BpfLink : IDisposable
{
    private readonly KernelFd _fd;
    private readonly PerfEvent? _event;

    internal BpfLink(string target, KernelFd fd, PerfEvent? owned = null) => (Target, _fd, _event) = (target, fd, owned);

    /// <summary>What it is attached to, for messages.</summary>
    public string Target { get; }
    /// <summary>Descriptor of the link.</summary>
    public int Fd => _fd.Value;
    internal IBpfSys Sys => _fd.Sys;

    /// <summary>Detaches.</summary>
    public void Dispose()
    {
        _fd.Dispose();
        _event?.Dispose();
    }
}
