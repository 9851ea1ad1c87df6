namespace Linux.Bpf;

/// <summary>
/// Waits for any of several rings, or for <see cref="Wake"/> from another thread. Only records sent with a wake-up end the wait early;
/// for the rest give a timeout of a few milliseconds and drain when it ends. One thread waits; any thread may wake.
/// </summary>
public sealed unsafe class RingPoller : IDisposable
{
    private const int Capacity = 16;
    private const ulong WakeTag = ulong.MaxValue;

    private readonly IBpfSys _sys;
    private readonly KernelFd _epoll, _wake;
    private readonly List<RingBuffer> _rings = [];

    /// <summary>An empty poller.</summary>
    public RingPoller(IBpfSys? sys = null)
    {
        _sys = sys ?? LinuxBpfSys.Instance;
        _epoll = new KernelFd(_sys, (int)BpfException.Check(_sys.EpollCreate(), "ring poller", "epoll", "create"));
        int wake = _sys.EventFd();
        _wake = new KernelFd(_sys, wake);
        int added = wake < 0 ? wake : _sys.EpollAdd(_epoll.Value, wake, WakeTag);
        if (added < 0)
        {
            Dispose();
            throw new BpfException("ring poller \"epoll\"", "create its wake-up descriptor", -added);
        }
    }

    /// <summary>Waits for this ring too. The ring stays the caller's; its map must be open now.</summary>
    public void Add(RingBuffer ring)
    {
        BpfException.Check(_sys.EpollAdd(_epoll.Value, ring.Map.Fd, (ulong)_rings.Count), "ring buffer", ring.Map.Name, "wait for it");
        _rings.Add(ring);
    }

    /// <summary>Waits at most so long; -1 = for ever. Time spent in signal handlers is not given back.</summary>
    public WaitResult Wait(int timeoutMs)
    {
        byte* events = stackalloc byte[Capacity * sizeof(EpollEvent)];
        long deadline = timeoutMs < 0 ? long.MaxValue : Environment.TickCount64 + timeoutMs;
        int count;
        while ((count = _sys.EpollWait(_epoll.Value, (EpollEvent*)events, Capacity, timeoutMs)) == -Errno.EINTR)
            if (timeoutMs > 0)
                timeoutMs = (int)Math.Max(0, deadline - Environment.TickCount64);
        if (count < 0)
            throw new BpfException("ring poller \"epoll\"", "wait", -count);
        WaitResult result = WaitResult.Timeout;
        for (int i = 0; i < count; i++)
        {
            ulong tag = ((EpollEvent*)(events + i * EpollEvent.Stride))->Data;
            if (tag == WakeTag)
            {
                ulong ignored;
                _sys.Read(_wake.Value, &ignored, 8);
                result |= WaitResult.Woken;
            }
            else
            {
                result |= WaitResult.Records;
            }
        }
        return result;
    }

    /// <summary>Ends the current or next wait. Safe from any thread, but not while another disposes the poller.</summary>
    public void Wake()
    {
        ulong one = 1;
        int fd = _wake.Value;
        if (fd >= 0)
            _sys.Write(fd, &one, 8);
    }

    /// <summary>Drains every ring, in the order added.</summary>
    public int Drain<THandler>(ref THandler handler) where THandler : IRingHandler, allows ref struct
    {
        int total = 0;
        foreach (RingBuffer ring in _rings)
            total += ring.Drain(ref handler);
        return total;
    }

    /// <summary>Closes the poller; the rings stay open.</summary>
    public void Dispose()
    {
        _wake.Dispose();
        _epoll.Dispose();
    }
}

/// <summary>Why a wait ended; several may hold.</summary>
[Flags]
public enum WaitResult
{
    /// <summary>Nothing happened.</summary>
    Timeout = 0,
    /// <summary>A ring signalled records.</summary>
    Records = 1,
    /// <summary><see cref="RingPoller.Wake"/> was called.</summary>
    Woken = 2,
}
