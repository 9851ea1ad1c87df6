namespace Linux.Bpf;

/// <summary>
/// BPF iterators: a program that is run once for each object of a kind (task, map element, …) while user space reads (Linux 5.8).
/// The program is <see cref="ProgramType.Tracing"/> with <see cref="AttachType.TraceIter"/>, and the BTF id of <c>bpf_iter_KIND</c>.
/// </summary>
public static unsafe class Iterator
{
    /// <summary>Attaches; nothing runs until <see cref="Run"/>.</summary>
    /// <param name="program">The program.</param>
    /// <param name="info">Bytes of <c>union bpf_iter_link_info</c> (the map, or the task, to walk), or empty.</param>
    public static BpfLink Attach(BpfProgram program, ReadOnlySpan<byte> info = default)
    {
        fixed (byte* pointer = info)
        {
            LinkCreateAttr attr = new() { ProgFd = program.Fd, AttachType = AttachType.TraceIter, IterInfo = (ulong)pointer, IterInfoLen = (uint)info.Length };
            return RawTracepoint.LinkCreate(program, &attr, $"iterator \"{program.Name}\"");
        }
    }

    /// <summary>Walks all objects once and gives what the program wrote with <c>bpf_seq_write</c> or <c>bpf_seq_printf</c>.</summary>
    public static byte[] Run(BpfLink link)
    {
        IterCreateAttr attr = new() { LinkFd = link.Fd };
        long fd = link.Sys.Bpf(BpfCommand.IterCreate, &attr, sizeof(IterCreateAttr));
        if (fd < 0)
            throw new BpfException(link.Target, "start", (int)-fd);
        using var owned = new KernelFd(link.Sys, (int)fd);
        using var all = new MemoryStream();
        byte[] buffer = new byte[16384];
        while (true)
        {
            nint n;
            fixed (byte* p = buffer)
                n = link.Sys.Read(owned.Value, p, (nuint)buffer.Length);
            if (n == -Errno.EAGAIN)
                continue; // The walk paused to be fair to others.
            if (n < 0)
                throw new BpfException(link.Target, "read", (int)-n);
            if (n == 0)
                return all.ToArray();
            all.Write(buffer, 0, (int)n);
        }
    }
}
