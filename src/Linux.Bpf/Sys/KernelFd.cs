namespace Linux.Bpf;

/// <summary>
/// Owner of one kernel descriptor. There is deliberately no finalizer: a probe that detaches when the collector happens to run would
/// be a mystery, so lifetimes are explicit, and process exit closes the rest.
/// </summary>
public sealed class KernelFd(IBpfSys sys, int fd) : IDisposable
{
    private int _fd = fd;

    /// <summary>The descriptor; -1 once closed.</summary>
    public int Value => _fd;
    /// <summary>The seam it came from.</summary>
    public IBpfSys Sys { get; } = sys;

    /// <summary>Closes once; further calls do nothing.</summary>
    public void Dispose()
    {
        int fd = Interlocked.Exchange(ref _fd, -1);
        if (fd >= 0)
            Sys.Close(fd);
    }
}
