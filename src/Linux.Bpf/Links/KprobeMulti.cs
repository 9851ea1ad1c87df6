using System.Text;

namespace Linux.Bpf;

/// <summary>
/// Many kernel functions with one program, each with a cookie (Linux 5.18). The program must be loaded with
/// <see cref="AttachType.TraceKprobeMulti"/>, or <see cref="AttachType.TraceKprobeSession"/> (6.10) to run at entry and return.
/// Attaches at function entries only (it rides on ftrace); for places inside use <see cref="ProbePmu"/>.
/// </summary>
public static unsafe class KprobeMulti
{
    /// <summary>Attaches by address: the fast form, since the kernel need not look names up.</summary>
    /// <param name="program">A <see cref="ProgramType.KProbe"/> program with the expected attach type above.</param>
    /// <param name="addresses">Function entries.</param>
    /// <param name="cookies">One for each, or empty.</param>
    /// <param name="atReturn">Run at return.</param>
    public static BpfLink AttachAddresses(BpfProgram program, ReadOnlySpan<ulong> addresses, ReadOnlySpan<ulong> cookies = default, bool atReturn = false)
    {
        fixed (ulong* addressPointer = addresses, cookiePointer = cookies)
        {
            LinkCreateAttr attr = new() { KprobeAddrs = (ulong)addressPointer };
            return Attach(program, &attr, addresses.Length, cookies.Length, cookiePointer, atReturn);
        }
    }

    /// <summary>Attaches by name: needed where kallsyms hides addresses.</summary>
    public static BpfLink AttachNames(BpfProgram program, IReadOnlyList<string> functions, ReadOnlySpan<ulong> cookies = default, bool atReturn = false)
    {
        int bytes = 0;
        foreach (string f in functions)
            bytes += Encoding.UTF8.GetByteCount(f) + 1;
        byte[] text = new byte[bytes];
        ulong[] pointers = new ulong[functions.Count];
        fixed (byte* textPointer = text)
        fixed (ulong* pointerPointer = pointers, cookiePointer = cookies)
        {
            int at = 0;
            for (int i = 0; i < pointers.Length; i++)
            {
                pointers[i] = (ulong)(textPointer + at);
                at += Encoding.UTF8.GetBytes(functions[i], text.AsSpan(at)) + 1;
            }
            LinkCreateAttr attr = new() { KprobeSyms = (ulong)pointerPointer };
            return Attach(program, &attr, pointers.Length, cookies.Length, cookiePointer, atReturn);
        }
    }

    private static BpfLink Attach(BpfProgram program, LinkCreateAttr* attr, int count, int cookies, ulong* cookiePointer, bool atReturn)
    {
        string subject = $"{count} kernel functions of program \"{program.Name}\"";
        if (cookies != 0 && cookies != count)
            throw new BpfException(subject, $"attach with {cookies} cookies", Errno.EINVAL, "give one for each function, or none");
        attr->ProgFd = program.Fd;
        attr->AttachType = program.Spec.ExpectedAttachType;
        attr->KprobeFlags = atReturn ? 1u : 0;
        attr->KprobeCount = (uint)count;
        attr->KprobeCookies = (ulong)cookiePointer;
        return RawTracepoint.LinkCreate(program, attr, subject,
            hint: "a function may be absent or not traceable (see available_filter_functions), or the kernel lacks kprobe_multi (Linux 5.18)");
    }
}
