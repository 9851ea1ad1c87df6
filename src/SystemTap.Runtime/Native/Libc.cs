using System.Runtime.InteropServices;

namespace SystemTap.Runtime.Native;

/// <summary>The few calls of libc a session needs beyond what .NET offers. Results follow C: −1 with errno on failure.</summary>
internal static unsafe partial class Libc
{
    public const int Realtime = 0, Monotonic = 1, BootTime = 7;
    public const int SigInt = 2, SigQuit = 3, SigKill = 9, SigContinue = 18, SigTerminate = 15, SigHup = 1, SigPipe = 13;
    public const int OpenReadOnly = 0, OpenWriteOnly = 1, OpenReadWrite = 2, OpenNonBlock = 0x800, OpenCreate = 0x40, OpenTruncate = 0x200, OpenAppend = 0x400, OpenCloseOnExec = 0x80000;
    public const short PollIn = 1, PollOut = 4, PollError = 8, PollHangup = 16;
    public const int ErrorInterrupted = 4, ErrorAgain = 11, ErrorPipe = 32, ErrorNoDevice = 6;

    [StructLayout(LayoutKind.Sequential)]
    public struct TimeSpec
    {
        public long Seconds, Nanoseconds;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct PollFd
    {
        public int Fd;
        public short Events, Results;
    }

    [LibraryImport("libc")]
    private static partial int clock_gettime(int clock, TimeSpec* time);

    [LibraryImport("libc")]
    private static partial int clock_getres(int clock, TimeSpec* time);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ppoll(PollFd* fds, nuint count, TimeSpec* timeout, void* mask);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int eventfd(uint value, int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint read(int fd, byte* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    public static partial nint write(int fd, byte* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int close(int fd);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int open(string path, int flags, int mode);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int mkfifo(string path, uint mode);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int mkdir(string path, uint mode);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int memfd_create(string name, uint flags);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int access(string path, int mode);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int kill(int pid, int signal);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int waitpid(int pid, int* status, int options);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int posix_spawn(int* pid, string path, void* actions, void* attributes, byte** arguments, byte** environment);

    [LibraryImport("libc")]
    public static partial int posix_spawnattr_init(void* attributes);

    [LibraryImport("libc")]
    public static partial int posix_spawnattr_setflags(void* attributes, short flags);

    [LibraryImport("libc")]
    public static partial int posix_spawnattr_setsigmask(void* attributes, void* mask);

    [LibraryImport("libc")]
    public static partial int posix_spawnattr_setsigdefault(void* attributes, void* mask);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fcntl(int fd, int command, int argument);

    [LibraryImport("libc")]
    public static partial nint signal(int number, nint handler);

    [LibraryImport("libc")]
    public static partial uint getuid();

    [LibraryImport("libc")]
    public static partial uint getgid();

    [LibraryImport("libc")]
    public static partial int gettid();

    [LibraryImport("libc")]
    public static partial int sched_getcpu();

    [LibraryImport("libc", SetLastError = true)]
    public static partial long syscall(long number, long a, long b);

    [StructLayout(LayoutKind.Sequential)]
    public struct Limit
    {
        public ulong Soft, Hard;
    }

    [LibraryImport("libc", SetLastError = true)]
    public static partial int getrlimit(int resource, Limit* limit);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int setrlimit(int resource, Limit* limit);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int pipe2(int* fds, int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int dup2(int from, int to);

    [LibraryImport("libc")]
    public static partial int setsid();

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int unsetenv(string name);

    [LibraryImport("libc")]
    public static partial void _exit(int status);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint dlsym(nint handle, string symbol);

    [LibraryImport("libc")]
    public static partial int prctl(int option, ulong a, ulong b, ulong c, ulong d);

    /// <summary>The process's environment as C keeps it.</summary>
    public static byte** Environment() => *(byte***)dlsym(0, "environ");

    /// <summary>Nanoseconds of a clock.</summary>
    public static long Clock(int clock)
    {
        TimeSpec time;
        clock_gettime(clock, &time);
        return (time.Seconds * 1_000_000_000) + time.Nanoseconds;
    }

    /// <summary>Nanoseconds of a tick: the resolution of CLOCK_MONOTONIC_COARSE (6).</summary>
    public static long CoarseResolution()
    {
        TimeSpec time = default;
        clock_getres(6, &time);
        return (time.Seconds * 1_000_000_000) + time.Nanoseconds;
    }

    /// <summary>Waits for events; a negative timeout waits for ever. Returns the number of ready descriptors, 0 also when a signal came.</summary>
    public static int Poll(Span<PollFd> fds, long timeoutNs)
    {
        TimeSpec time = new() { Seconds = timeoutNs / 1_000_000_000, Nanoseconds = timeoutNs % 1_000_000_000 };
        fixed (PollFd* p = fds)
        {
            return Math.Max(0, ppoll(p, (nuint)fds.Length, timeoutNs < 0 ? null : &time, null));
        }
    }

    /// <summary>Writes all bytes; returns 0 or errno.</summary>
    public static int WriteAll(int fd, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* p = bytes)
        {
            var done = 0;
            while (done < bytes.Length)
            {
                var n = write(fd, p + done, (nuint)(bytes.Length - done));
                if (n >= 0)
                {
                    done += (int)n;
                    continue;
                }

                var error = Marshal.GetLastPInvokeError();
                if (error == ErrorAgain)
                {
                    // Somebody made our stdout non-blocking: wait until it takes more.
                    PollFd ready = new() { Fd = fd, Events = PollOut };
                    Poll(new Span<PollFd>(ref ready), 1_000_000_000);
                }
                else if (error != ErrorInterrupted)
                {
                    return error;
                }
            }
        }

        return 0;
    }
}
