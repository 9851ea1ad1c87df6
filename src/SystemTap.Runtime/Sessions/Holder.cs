using System.Buffers.Binary;
using System.Runtime.InteropServices;
using SystemTap.Runtime.Native;

namespace SystemTap.Runtime.Sessions;

// What stands still until every probe is live
// -------------------------------------------
// The command of -c must exist before its first instruction runs: its pid is the target, and probes are attached meanwhile. A managed process must not run code in a forked child, so something
// else has to wait there. A shell would do ("kill -STOP $$; exec …"), but it is a program with libraries of its own: the calls it makes between the two would be taken for the command's, by
// every probe of a shared library. So this is a program of fifteen instructions without any library, in memory only:
//
//     kill(getpid(), SIGSTOP);  execve(argv[1], argv + 2, environment);  exit(126);

/// <summary>A file in memory whose program stops itself and then becomes the program that its arguments name. Linux 3.17.</summary>
internal sealed unsafe class Holder : IDisposable
{
    private const ulong LoadedAt = 0x10000;
    private const int HeaderSize = 64 + 56;
    private const int InvalidArgument = 22;
    private const uint CloseOnExec = 1, Executable = 0x10;

    private static ReadOnlySpan<byte> X64 =>
    [
        0xb8, 0x27, 0, 0, 0, // mov $getpid, %eax
        0x0f, 0x05, // syscall
        0x89, 0xc7, // mov %eax, %edi
        0xbe, 0x13, 0, 0, 0, // mov $SIGSTOP, %esi
        0xb8, 0x3e, 0, 0, 0, // mov $kill, %eax
        0x0f, 0x05, // syscall
        0x48, 0x8b, 0x04, 0x24, // mov (%rsp), %rax               argc
        0x48, 0x8b, 0x7c, 0x24, 0x10, // mov 16(%rsp), %rdi       argv[1]
        0x48, 0x8d, 0x74, 0x24, 0x18, // lea 24(%rsp), %rsi       argv + 2
        0x48, 0x8d, 0x54, 0xc4, 0x10, // lea 16(%rsp,%rax,8), %rdx
        0xb8, 0x3b, 0, 0, 0, // mov $execve, %eax
        0x0f, 0x05, // syscall
        0xbf, 0x7e, 0, 0, 0, // mov $126, %edi
        0xb8, 0xe7, 0, 0, 0, // mov $exit_group, %eax
        0x0f, 0x05, // syscall
    ];

    private static ReadOnlySpan<uint> Arm64 =>
    [
        0xd2801588, // mov x8, #getpid
        0xd4000001, // svc #0
        0xd2800261, // mov x1, #SIGSTOP
        0xd2801028, // mov x8, #kill
        0xd4000001, // svc #0
        0xf9400be0, // ldr x0, [sp, #16]           argv[1]
        0x910063e1, // add x1, sp, #24             argv + 2
        0xf94003e2, // ldr x2, [sp]                argc
        0x8b226fe2, // add x2, sp, x2, lsl #3
        0x91004042, // add x2, x2, #16
        0xd2801ba8, // mov x8, #execve
        0xd4000001, // svc #0
        0xd2800fc0, // mov x0, #126
        0xd2800bc8, // mov x8, #exit_group
        0xd4000001, // svc #0
    ];

    private readonly int _file;

    private Holder(int file) => _file = file;

    /// <summary>Its path as other processes of the same user see it.</summary>
    public string Path => $"/proc/{Environment.ProcessId}/fd/{_file}";

    /// <summary>Makes the file; null where memory cannot be executed or for other machines.</summary>
    public static Holder? Create()
    {
        if (Image() is not { } image)
        {
            return null;
        }

        // Before 6.3 the kernel knows no flag for it: every such file can be executed.
        var file = Libc.memfd_create("stap-hold", CloseOnExec | Executable);
        if (file < 0 && Marshal.GetLastPInvokeError() == InvalidArgument)
        {
            file = Libc.memfd_create("stap-hold", CloseOnExec);
        }

        if (file < 0)
        {
            return null;
        }

        fixed (byte* bytes = image)
        {
            if (Libc.write(file, bytes, (nuint)image.Length) == image.Length)
            {
                return new Holder(file);
            }
        }

        Libc.close(file);
        return null;
    }

    /// <inheritdoc/>
    public void Dispose() => Libc.close(_file);

    private static byte[]? Image()
    {
        var code = RuntimeInformation.ProcessArchitecture switch
        {
            Architecture.X64 => X64,
            Architecture.Arm64 => MemoryMarshal.AsBytes(Arm64),
            _ => default,
        };
        if (code.IsEmpty)
        {
            return null;
        }

        // Elf64_Ehdr and one Elf64_Phdr, see elf(5).
        var image = new byte[HeaderSize + code.Length];
        ReadOnlySpan<byte> identity = [0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1];
        identity.CopyTo(image);
        Short(16, 2); // ET_EXEC
        Short(18, (ushort)(RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 62 : 183));
        Short(20, 1);
        Long(24, LoadedAt + HeaderSize);
        Long(32, 64); // where the program header is
        Short(52, 64);
        Short(54, 56);
        Short(56, 1);
        Short(64, 1); // PT_LOAD
        Short(68, 5); // readable, executable
        Long(80, LoadedAt);
        Long(88, LoadedAt);
        Long(96, (ulong)image.Length);
        Long(104, (ulong)image.Length);
        Long(112, 0x10000);
        code.CopyTo(image.AsSpan(HeaderSize));
        return image;

        void Short(int at, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(at), value);
        void Long(int at, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(at), value);
    }
}
