using Linux.Bpf;

namespace SystemTap.Tests.LinuxBpf;

/// <summary>A kernel of scripted answers, and a record of what it was asked. Passes on to the real one if told so.</summary>
internal sealed unsafe class FakeSys(IBpfSys? real = null) : IBpfSys
{
    public delegate long? Answer(BpfCommand command, void* attr, int size);

    public Answer OnBpf { get; set; } = (_, _, _) => null;
    public List<BpfCommand> Asked { get; } = [];
    public List<int> Closed { get; } = [];
    public Dictionary<string, string> Files { get; } = [];
    public int NextFd { get; set; } = 1000;

    public long Bpf(BpfCommand command, void* attr, int size)
    {
        Asked.Add(command);
        return OnBpf(command, attr, size) ?? real?.Bpf(command, attr, size) ?? NextFd++;
    }

    public int PerfEventOpen(PerfEventAttr* attr, int pid, int cpu, int groupFd) => NextFd++;
    public int Ioctl(int fd, uint request, nint argument) { Ioctls.Add(request); return 0; }
    public List<uint> Ioctls { get; } = [];
    public nint Mmap(nint address, nuint length, int protection, int flags, int fd, long offset) =>
        real?.Mmap(address, length, protection, flags, fd, offset) ?? -Errno.ENOSYS;
    public int Munmap(nint address, nuint length) => real?.Munmap(address, length) ?? 0;
    public int Close(int fd) { Closed.Add(fd); return real?.Close(fd) ?? 0; }
    public nint Read(int fd, void* buffer, nuint length) => -Errno.EBADF;
    public nint Write(int fd, void* buffer, nuint length) => -Errno.EBADF;
    public int EpollCreate() => NextFd++;
    public int EpollAdd(int epollFd, int fd, ulong data) => 0;
    public int EpollWait(int epollFd, EpollEvent* events, int capacity, int timeoutMs) => 0;
    public int EventFd() => -Errno.EMFILE;
    public int PossibleCpus => real?.PossibleCpus ?? 2;
    public string? ReadText(string path) => Files.GetValueOrDefault(path);
}
