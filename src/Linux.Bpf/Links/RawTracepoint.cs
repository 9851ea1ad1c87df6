using System.Text;

namespace Linux.Bpf;

/// <summary>
/// Raw tracepoints: the cheapest way to a tracepoint to attach, run and detach, with unprocessed arguments (Linux 4.17). The typed form
/// (<c>tp_btf</c>, a <see cref="ProgramType.Tracing"/> program with <see cref="AttachType.TraceRawTp"/>, Linux 5.5) names its tracepoint at load.
/// Prefer both to classic tracepoint events, each of which takes about 70 ms to close.
/// </summary>
public static unsafe class RawTracepoint
{
    /// <summary>Attaches a raw tracepoint program by the tracepoint's bare name, such as <c>sys_enter</c>.</summary>
    /// <param name="program">A <see cref="ProgramType.RawTracepoint"/> program.</param>
    /// <param name="name">Name without the subsystem.</param>
    /// <param name="cookie">What bpf_get_attach_cookie gives; other than 0 needs Linux 6.10.</param>
    public static BpfLink Attach(BpfProgram program, string name, ulong cookie = 0)
    {
        Span<byte> text = stackalloc byte[Encoding.UTF8.GetMaxByteCount(name.Length) + 1];
        text.Clear();
        Encoding.UTF8.GetBytes(name, text);
        fixed (byte* pointer = text)
            return Open(program, (ulong)pointer, name, cookie);
    }

    /// <summary>
    /// Whether the kernel lets BPF programs see a tracepoint: some are declared where it makes no table entry for them. Nothing is attached: <paramref name="trial"/> is a program
    /// that reads an argument no tracepoint has, so the kernel looks the name up and then refuses the program.
    /// </summary>
    /// <param name="trial">A raw tracepoint program that reads the twelfth argument.</param>
    /// <param name="name">Name without the subsystem.</param>
    public static bool Exists(BpfProgram trial, string name)
    {
        try
        {
            Attach(trial, name).Dispose();
            return true;
        }
        catch (BpfException e)
        {
            return e.ErrorNumber != Errno.ENOENT;
        }
    }

    /// <summary>Attaches a typed (tp_btf) program to the tracepoint it was loaded for.</summary>
    /// <param name="program">A <see cref="ProgramType.Tracing"/> program.</param>
    /// <param name="cookie">What bpf_get_attach_cookie gives; other than 0 uses LINK_CREATE (Linux 5.18).</param>
    public static BpfLink AttachTyped(BpfProgram program, ulong cookie = 0)
    {
        if (cookie == 0)
            return Open(program, 0, program.Name, 0);
        LinkCreateAttr attr = new() { ProgFd = program.Fd, AttachType = program.Spec.ExpectedAttachType, TracingCookie = cookie };
        return LinkCreate(program, &attr, $"tracepoint of program \"{program.Name}\"");
    }

    internal static BpfLink LinkCreate(BpfProgram program, LinkCreateAttr* attr, string subject, PerfEvent? owned = null, string? hint = null)
    {
        long fd = program.Sys.Bpf(BpfCommand.LinkCreate, attr, sizeof(LinkCreateAttr));
        if (fd < 0)
            throw new BpfException(subject, "attach", (int)-fd, hint);
        return new BpfLink(subject, new KernelFd(program.Sys, (int)fd), owned);
    }

    private static BpfLink Open(BpfProgram program, ulong name, string shown, ulong cookie)
    {
        RawTracepointAttr attr = new() { Name = name, ProgFd = program.Fd, Cookie = cookie };
        long fd = program.Sys.Bpf(BpfCommand.RawTracepointOpen, &attr, sizeof(RawTracepointAttr));
        string subject = $"tracepoint \"{shown}\"";
        if (fd < 0)
            throw new BpfException(subject, "attach", (int)-fd, fd switch
            {
                -Errno.ENOENT => "this kernel has no tracepoint of that name",
                -Errno.E2BIG when cookie != 0 => "cookies on raw tracepoints need Linux 6.10",
                _ => null,
            });
        return new BpfLink(subject, new KernelFd(program.Sys, (int)fd));
    }
}
