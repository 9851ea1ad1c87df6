using System.Globalization;

namespace Linux.Bpf;

/// <summary>
/// Tracepoint events by id, with the argument layout of tracefs' <c>format</c> file. Closing such an event makes the kernel wait for a grace
/// period, about 70 ms each: prefer <see cref="RawTracepoint"/> wherever its arguments will do. Linux 4.7.
/// </summary>
public static class ClassicTracepoint
{
    private static readonly string[] Roots = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

    /// <summary>The event's id from tracefs, or -1 if tracefs is not mounted or has no such event.</summary>
    public static int Id(string system, string name, IBpfSys? sys = null)
    {
        sys ??= LinuxBpfSys.Instance;
        foreach (string root in Roots)
            if (sys.ReadText($"{root}/events/{system}/{name}/id") is { } text &&
                int.TryParse(text.AsSpan().Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out int id))
                return id;
        return -1;
    }

    /// <summary>Attaches a <see cref="ProgramType.Tracepoint"/> program. One event suffices for all CPUs: the program runs wherever the tracepoint is hit.</summary>
    public static BpfLink Attach(BpfProgram program, string system, string name, ulong cookie = 0)
    {
        int id = Id(system, name, program.Sys);
        if (id < 0)
            throw new BpfException($"tracepoint \"{system}:{name}\"", "find its id", Errno.ENOENT, "mount tracefs at /sys/kernel/tracing, or check the name");
        return Attach(program, id, $"{system}:{name}", cookie);
    }

    /// <summary>Attaches by the event's number.</summary>
    public static BpfLink Attach(BpfProgram program, int id, string name, ulong cookie = 0)
    {
        PerfEvent e = PerfEvent.Open(new PerfEventSpec { Name = name, Type = PerfType.Tracepoint, Config = (ulong)id, Period = 1, Cpu = 0 }, program.Sys);
        return ProbePmu.AttachOwned(e, program, cookie);
    }
}
