namespace Linux.Bpf;

/// <summary>
/// fentry and fexit: a kernel function through a BPF trampoline, with typed arguments and about a tenth of a kprobe's cost
/// (Linux 5.5 on x86-64, 6.0 on arm64). The function is named by BTF id at load (<see cref="ProgramSpec.AttachBtfId"/>). Each detach waits a
/// grace period: for more than about eight functions use <see cref="KprobeMulti"/>.
/// </summary>
public static unsafe class Trampoline
{
    /// <summary>Attaches a <see cref="ProgramType.Tracing"/> program loaded for fentry, fexit or fmod_ret.</summary>
    /// <param name="program">The program.</param>
    /// <param name="cookie">What bpf_get_attach_cookie gives; needs Linux 5.18.</param>
    public static BpfLink Attach(BpfProgram program, ulong cookie = 0)
    {
        LinkCreateAttr attr = new() { ProgFd = program.Fd, AttachType = program.Spec.ExpectedAttachType, TracingCookie = cookie };
        string subject = $"function of program \"{program.Name}\"";
        long fd = program.Sys.Bpf(BpfCommand.LinkCreate, &attr, sizeof(LinkCreateAttr));
        if (fd == -Errno.EINVAL && cookie == 0)
        {
            // Kernels before 5.18 attach these by RAW_TRACEPOINT_OPEN only.
            RawTracepointAttr open = new() { ProgFd = program.Fd };
            fd = program.Sys.Bpf(BpfCommand.RawTracepointOpen, &open, sizeof(RawTracepointAttr));
        }
        if (fd < 0)
            throw new BpfException(subject, "attach", (int)-fd, fd switch
            {
                -Errno.EBUSY => "the function is already patched by something else",
                -Errno.EPERM => "this kernel refuses function trampolines; use a kprobe or a tracepoint",
                _ => null,
            });
        return new BpfLink(subject, new KernelFd(program.Sys, (int)fd));
    }
}
