using System.Runtime.InteropServices;

namespace SystemTap.Runtime.Modules;

// The C side is runtime/kernel/transport.h; Version changes with every change of either.

/// <summary>Structures and requests shared with script modules.</summary>
internal static unsafe partial class ModuleTransport
{
    public const int Version = 7;

    /// <summary>Kinds of records in the rings.</summary>
    public const int Output = 0, Warning = 1, Error = 2, System = 3, Switch = 4, Stack = 5;

    /// <summary>States of a session.</summary>
    public const uint Loaded = 0, Starting = 1, Running = 2, Stopping = 3, Ending = 4, Ended = 5;

    /// <summary>ioctl requests.</summary>
    public const uint GetInfo = 0x80000000 | 72 << 16 | 's' << 8 | 1, Start = 0x40000000 | 72 << 16 | 's' << 8 | 2, Stop = 's' << 8 | 3,
        GetStatus = 0x80000000 | 192 << 16 | 's' << 8 | 4, Detach = 0x40000000 | 4 << 16 | 's' << 8 | 5, Exit = 's' << 8 | 6,
        GetNames = 0x40000000 | 16 << 16 | 's' << 8 | 7, SetPlaces = 0x40000000 | 16 << 16 | 's' << 8 | 8,
        GetGlobals = 0x40000000 | 16 << 16 | 's' << 8 | 9, SetGlobal = 0x40000000 | 32 << 16 | 's' << 8 | 10,
        Take = 0x80000000 | 24 << 16 | 's' << 8 | 11;

    [StructLayout(LayoutKind.Sequential)]
    public struct Info
    {
        public uint Transport, Cpus;
        public ulong RingBytes;
        public uint Probes, State;
        public uint UserStacks, MaxBackTrace;
        public ulong Bulk;
        public ulong SymbolBytes, SymbolFunctions;
        public ulong GlobalBytes, MaxString;
    }

    /// <summary>A buffer of ours.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct List
    {
        public ulong Address, Bytes;
    }

    /// <summary>A value for a global.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Setting
    {
        public ulong Global;
        public long Number;
        public ulong Text, TextBytes;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct StartRequest
    {
        public ulong Target, StapPid, Uid, PidNamespace, UserNamespace;
        public long ZoneOffset;
        public fixed byte ZoneName[16];
        public ulong SuppressErrors;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Status
    {
        public uint State, Errors, Failed, Suppressed;
        public fixed uint Skipped[8];
        public ulong Lost, Cuts;
        public fixed byte FirstCut[128];
    }

    /// <summary>The rings of a session that had no reader, taken over.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Taken
    {
        public ulong Settled, Overwritten, Lost;
    }

    /// <summary>Why probes were skipped, by index in <see cref="Status.Skipped"/>; the words of the report.</summary>
    public static readonly string[] SkipReasons =
    [
        "Skipped due to global lock contention: ", "Skipped due to reentrancy: ", "Skipped due to low stack: ", "Skipped by the kernel because a kprobe was running on that CPU: ",
        "Skipped due to missed kretprobe (raise KRETACTIVE or use .maxactive): ", "Skipped due to memory shortage: ",
    ];

    [LibraryImport("libc", SetLastError = true)]
    public static partial int ioctl(int fd, nuint request, void* argument);

    [LibraryImport("libc", SetLastError = true)]
    public static partial void* mmap(void* address, nuint bytes, int protection, int flags, int fd, long offset);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int munmap(void* address, nuint bytes);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial long syscall(long number, long fd, string parameters, long flags);

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial long syscall_name(long number, string name, long flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int flock(int fd, int operation);

    /// <summary>finit_module(2) and delete_module(2) of this architecture.</summary>
    public static (long Load, long Remove) ModuleCalls => RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? (273, 106) : (313, 176);
}
