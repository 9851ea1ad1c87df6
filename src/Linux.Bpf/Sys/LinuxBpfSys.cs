using System.Runtime.InteropServices;

namespace Linux.Bpf;

/// <summary>
/// The running kernel. bpf and perf_event_open have no libc wrapper, so they go through syscall(2).
/// The .NET runtime suspends threads by real-time signals, and the verifier gives up with EAGAIN when a signal is
/// pending: both that and EINTR are retried here, a bounded number of times, so that a signal storm becomes an error and not a hang.
/// </summary>
public sealed unsafe partial class LinuxBpfSys : IBpfSys
{
    /// <summary>The one instance; it has no state but cached facts.</summary>
    public static LinuxBpfSys Instance { get; } = new();

    private const int Retries = 200;
    private static readonly (nint Bpf, nint Perf) Numbers = RuntimeInformation.ProcessArchitecture switch
    {
        Architecture.X64 => (321, 298),
        Architecture.S390x => (351, 331),
        Architecture.Ppc64le => (361, 319),
        _ => (280, 241), // The generic table: arm64, riscv64, loongarch64.
    };
    private int _possibleCpus;

    private LinuxBpfSys() { }

    /// <inheritdoc/>
    public long Bpf(BpfCommand command, void* attr, int size)
    {
        for (int attempt = 0; ; attempt++)
        {
            nint result = syscall(Numbers.Bpf, (nint)command, (nint)attr, size, 0, 0);
            if (result >= 0)
                return result;
            int errno = Marshal.GetLastPInvokeError();
            bool again = errno == Errno.EINTR || (errno == Errno.EAGAIN && command == BpfCommand.ProgLoad);
            if (!again || attempt >= Retries)
                return -errno;
        }
    }

    /// <inheritdoc/>
    public int PerfEventOpen(PerfEventAttr* attr, int pid, int cpu, int groupFd)
    {
        const int closeOnExec = 8;
        nint result = syscall(Numbers.Perf, (nint)attr, pid, cpu, groupFd, closeOnExec);
        return result >= 0 ? (int)result : -Marshal.GetLastPInvokeError();
    }

    /// <inheritdoc/>
    public int Ioctl(int fd, uint request, nint argument) => Result(ioctl(fd, request, argument));

    /// <inheritdoc/>
    public nint Mmap(nint address, nuint length, int protection, int flags, int fd, long offset)
    {
        nint result = mmap(address, length, protection, flags, fd, offset);
        return result != -1 ? result : -Marshal.GetLastPInvokeError();
    }

    /// <inheritdoc/>
    public int Munmap(nint address, nuint length) => Result(munmap(address, length));

    /// <inheritdoc/>
    public int Close(int fd) => Result(close(fd));

    /// <inheritdoc/>
    public nint Read(int fd, void* buffer, nuint length)
    {
        for (int attempt = 0; ; attempt++)
        {
            nint result = read(fd, buffer, length);
            if (result >= 0)
                return result;
            int errno = Marshal.GetLastPInvokeError();
            if (errno != Errno.EINTR || attempt >= Retries)
                return -errno;
        }
    }

    /// <inheritdoc/>
    public nint Write(int fd, void* buffer, nuint length)
    {
        nint result = write(fd, buffer, length);
        return result >= 0 ? result : -Marshal.GetLastPInvokeError();
    }

    /// <inheritdoc/>
    public int EpollCreate() => Result(epoll_create1(0x80000));

    /// <inheritdoc/>
    public int EpollAdd(int epollFd, int fd, ulong data)
    {
        EpollEvent e = default;
        e.Events = 1; // EPOLLIN
        e.Data = data;
        return Result(epoll_ctl(epollFd, 1, fd, &e));
    }

    /// <inheritdoc/>
    public int EpollWait(int epollFd, EpollEvent* events, int capacity, int timeoutMs) =>
        Result(epoll_wait(epollFd, events, capacity, timeoutMs));

    /// <inheritdoc/>
    public int EventFd() => Result(eventfd(0, 0x80800));

    /// <inheritdoc/>
    public int PossibleCpus
    {
        get
        {
            if (_possibleCpus == 0)
                _possibleCpus = CpuList.Count(ReadText("/sys/devices/system/cpu/possible") ?? "") is > 0 and int n ? n : Environment.ProcessorCount;
            return _possibleCpus;
        }
    }

    /// <inheritdoc/>
    public string? ReadText(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static int Result(int value) => value >= 0 ? value : -Marshal.GetLastPInvokeError();

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint syscall(nint number, nint a, nint b, nint c, nint d, nint e);
    [LibraryImport("libc", SetLastError = true)]
    private static partial int ioctl(int fd, nuint request, nint argument);
    [LibraryImport("libc", SetLastError = true)]
    private static partial nint mmap(nint address, nuint length, int protection, int flags, int fd, long offset);
    [LibraryImport("libc", SetLastError = true)]
    private static partial int munmap(nint address, nuint length);
    [LibraryImport("libc", SetLastError = true)]
    private static partial int close(int fd);
    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(int fd, void* buffer, nuint length);
    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(int fd, void* buffer, nuint length);
    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_create1(int flags);
    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_ctl(int epollFd, int operation, int fd, EpollEvent* e);
    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_wait(int epollFd, EpollEvent* events, int capacity, int timeoutMs);
    [LibraryImport("libc", SetLastError = true)]
    private static partial int eventfd(uint value, int flags);
}
