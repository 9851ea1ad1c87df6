using System.Text;

namespace Linux.Bpf;

/// <summary>
/// Names in a BPF file system (usually <c>/sys/fs/bpf</c>) that keep maps, programs and links alive without a process. A detached session
/// must pin everything it needs: its links, its maps, and also its program arrays, which empty themselves when user space lets go. Linux 4.4; links 5.7.
/// </summary>
public static unsafe class Pin
{
    /// <summary>Gives the object behind the descriptor a name. Remove the file to let it go.</summary>
    /// <exception cref="BpfException">Not a BPF file system, the name exists, or not permitted.</exception>
    public static void Save(int fd, string path, IBpfSys? sys = null)
    {
        long result = Do(BpfCommand.ObjPin, fd, path, sys ?? LinuxBpfSys.Instance);
        if (result < 0)
            throw new BpfException($"pin \"{path}\"", "create", (int)-result, result switch
            {
                -Errno.EEXIST => "remove the old one first",
                -Errno.EINVAL or -Errno.EPERM => "the folder must be in a mounted bpf file system (mount -t bpf bpf /sys/fs/bpf)",
                _ => null,
            });
    }

    /// <summary>Opens the object of that name: a descriptor for <see cref="BpfMap.FromFd"/>, or a link's to close.</summary>
    public static KernelFd Open(string path, IBpfSys? sys = null)
    {
        sys ??= LinuxBpfSys.Instance;
        long result = Do(BpfCommand.ObjGet, 0, path, sys);
        if (result < 0)
            throw new BpfException($"pin \"{path}\"", "open", (int)-result);
        return new KernelFd(sys, (int)result);
    }

    private static long Do(BpfCommand command, int fd, string path, IBpfSys sys)
    {
        byte[] text = new byte[Encoding.UTF8.GetByteCount(path) + 1];
        Encoding.UTF8.GetBytes(path, text);
        fixed (byte* pointer = text)
        {
            ObjPinAttr attr = new() { PathName = (ulong)pointer, BpfFd = fd };
            return sys.Bpf(command, &attr, sizeof(ObjPinAttr));
        }
    }
}
