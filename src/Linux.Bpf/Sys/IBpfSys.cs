using System.Runtime.InteropServices;

namespace Linux.Bpf;

/// <summary>
/// The seam under every system call of this library: tests put a fake here and run loaders without root.
/// Every method gives the result, or the negated errno; none throws.
/// </summary>
public unsafe interface IBpfSys
{
    /// <summary>bpf(2). EINTR and the EAGAIN that a signal causes inside the verifier are retried.</summary>
    long Bpf(BpfCommand command, void* attr, int size);
    /// <summary>perf_event_open(2) with FD_CLOEXEC.</summary>
    int PerfEventOpen(PerfEventAttr* attr, int pid, int cpu, int groupFd);
    /// <summary>ioctl(2) with a number or pointer argument.</summary>
    int Ioctl(int fd, uint request, nint argument);
    /// <summary>mmap(2); a negative result between -4095 and -1 is an errno.</summary>
    nint Mmap(nint address, nuint length, int protection, int flags, int fd, long offset);
    /// <summary>munmap(2).</summary>
    int Munmap(nint address, nuint length);
    /// <summary>close(2).</summary>
    int Close(int fd);
    /// <summary>read(2).</summary>
    nint Read(int fd, void* buffer, nuint length);
    /// <summary>write(2).</summary>
    nint Write(int fd, void* buffer, nuint length);
    /// <summary>epoll_create1(EPOLL_CLOEXEC).</summary>
    int EpollCreate();
    /// <summary>epoll_ctl(EPOLL_CTL_ADD) for input.</summary>
    int EpollAdd(int epollFd, int fd, ulong data);
    /// <summary>epoll_wait(2); -EINTR is given back, since the caller owns the deadline.</summary>
    int EpollWait(int epollFd, EpollEvent* events, int capacity, int timeoutMs);
    /// <summary>eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK).</summary>
    int EventFd();
    /// <summary>Number of CPUs that could ever appear: the length of per-CPU values.</summary>
    int PossibleCpus { get; }
    /// <summary>The small text file, or null if it cannot be read (sysfs facts, such as the type number of a PMU).</summary>
    string? ReadText(string path);
}

/// <summary><c>struct epoll_event</c>; packed on x86-64 only.</summary>
[StructLayout(LayoutKind.Sequential, Size = 16)]
public struct EpollEvent
{
    private uint _w0, _w1, _w2, _w3;
    private static bool Packed => RuntimeInformation.ProcessArchitecture == Architecture.X64;

    /// <summary>Bytes of one event for this architecture.</summary>
    public static int Stride => Packed ? 12 : 16;
    /// <summary>EPOLLIN and friends.</summary>
    public uint Events { readonly get => _w0; set => _w0 = value; }
    /// <summary>What was given at EPOLL_CTL_ADD.</summary>
    public ulong Data
    {
        readonly get => Packed ? _w1 | ((ulong)_w2 << 32) : _w2 | ((ulong)_w3 << 32);
        set
        {
            if (Packed) (_w1, _w2) = ((uint)value, (uint)(value >> 32));
            else (_w2, _w3) = ((uint)value, (uint)(value >> 32));
        }
    }
}
