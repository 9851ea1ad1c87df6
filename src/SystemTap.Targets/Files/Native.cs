using System.Runtime.InteropServices;

namespace SystemTap.Targets;

/// <summary>The few C-library calls for which .NET has no equivalent.</summary>
internal static partial class Native
{
    /// <summary>Returns -1 on failure.</summary>
    [LibraryImport("libc", SetLastError = true)]
    public static partial nint mmap(nint address, nuint length, int protection, int flags, int descriptor, nint offset);

    /// <summary><paramref name="buffer"/> is struct utsname: six NUL-terminated fields of 65 bytes.</summary>
    [LibraryImport("libc", SetLastError = true)]
    public static unsafe partial int uname(byte* buffer);

    [LibraryImport("libc", SetLastError = true)]
    public static unsafe partial int clock_getres(int clock, long* secondsAndNanoseconds);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int close(int descriptor);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static unsafe partial int statx(int folder, string path, int flags, uint mask, byte* result);

    /// <summary>Device and inode of a file (links followed): what the kernel tells of a mapping too. Null when it cannot be reached.</summary>
    public static unsafe FileId? IdOf(string path)
    {
        const int currentFolder = -100, inodeOffset = 32, deviceOffset = 136;
        const uint inode = 0x100;
        var result = stackalloc byte[256];
        return statx(currentFolder, path, 0, inode, result) == 0
            ? new FileId(*(uint*)(result + deviceOffset), *(uint*)(result + deviceOffset + 4), *(ulong*)(result + inodeOffset))
            : null;
    }

    // The mount calls of 5.2; glibc wraps them only since 2.36, so they go through syscall(2).
    // All architectures share their numbers.
    private const long FsOpenNumber = 430, FsConfigNumber = 431, FsMountNumber = 432;
    private const int CloseOnExec = 1, ConfigCommandCreate = 6;

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static unsafe partial long Syscall(long number, nint a, nint b, nint c, nint d, nint e);

    /// <summary>
    /// Mounts a file system without giving it a place in any tree. The descriptor is the only way to it,
    /// and closing that unmounts it. Needs CAP_SYS_ADMIN and 5.2. Returns -1 when refused.
    /// </summary>
    public static unsafe int MountDetached(ReadOnlySpan<byte> typeWithNul)
    {
        fixed (byte* type = typeWithNul)
        {
            var context = (int)Syscall(FsOpenNumber, (nint)type, CloseOnExec, 0, 0, 0);
            if (context < 0)
                return -1;
            var mount = -1;
            if (Syscall(FsConfigNumber, context, ConfigCommandCreate, 0, 0, 0) == 0)
                mount = (int)Syscall(FsMountNumber, context, CloseOnExec, 0, 0, 0);
            _ = close(context);
            return mount;
        }
    }
}
