using System.Text;

namespace Linux.Bpf;

/// <summary>
/// Many places of one file with one program, each with a cookie (Linux 6.6). The program must be loaded with
/// <see cref="AttachType.TraceUprobeMulti"/>, or <see cref="AttachType.TraceUprobeSession"/> (6.13) to run at entry and return.
/// </summary>
public static unsafe class UprobeMulti
{
    /// <summary>Attaches.</summary>
    /// <param name="program">A <see cref="ProgramType.KProbe"/> program with the expected attach type above.</param>
    /// <param name="path">The file.</param>
    /// <param name="offsets">File offsets of instructions.</param>
    /// <param name="cookies">One for each offset, or empty.</param>
    /// <param name="semaphoreOffsets">File offset of an SDT semaphore for each place (0 = none), or empty.</param>
    /// <param name="atReturn">Run when the functions return.</param>
    /// <param name="pid">Only this process; 0 = all.</param>
    public static BpfLink Attach(BpfProgram program, string path, ReadOnlySpan<ulong> offsets, ReadOnlySpan<ulong> cookies = default,
        ReadOnlySpan<ulong> semaphoreOffsets = default, bool atReturn = false, int pid = 0)
    {
        string subject = $"uprobes in \"{path}\"";
        if ((!cookies.IsEmpty && cookies.Length != offsets.Length) || (!semaphoreOffsets.IsEmpty && semaphoreOffsets.Length != offsets.Length))
            throw new BpfException(subject, $"attach {offsets.Length} places with {cookies.Length} cookies and {semaphoreOffsets.Length} semaphores", Errno.EINVAL, "give one for each place, or none");
        byte[] text = new byte[Encoding.UTF8.GetByteCount(path) + 1];
        Encoding.UTF8.GetBytes(path, text);
        fixed (byte* pathPointer = text)
        fixed (ulong* offsetPointer = offsets, cookiePointer = cookies, semaphorePointer = semaphoreOffsets)
        {
            LinkCreateAttr attr = new()
            {
                ProgFd = program.Fd, AttachType = program.Spec.ExpectedAttachType,
                UprobePath = (ulong)pathPointer, UprobeOffsets = (ulong)offsetPointer, UprobeRefCtrOffsets = (ulong)semaphorePointer,
                UprobeCookies = (ulong)cookiePointer, UprobeCount = (uint)offsets.Length, UprobeFlags = atReturn ? 1u : 0, UprobePid = pid,
            };
            return RawTracepoint.LinkCreate(program, &attr, subject, hint: File.Exists(path) ? null : "the file is not there");
        }
    }
}
