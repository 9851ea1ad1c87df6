using System.Runtime.InteropServices;

namespace Linux.Bpf;

/// <summary>Kinds of events that are always there; <c>PERF_TYPE_*</c>. Other PMUs have a number in <c>/sys/bus/event_source/devices/NAME/type</c>.</summary>
public static class PerfType
{
    public const uint Hardware = 0, Software = 1, Tracepoint = 2, HardwareCache = 3, Raw = 4, Breakpoint = 5;
}

/// <summary>Software events, <c>PERF_COUNT_SW_*</c>. Clocks count nanoseconds.</summary>
public enum SoftwareEvent : ulong
{
    CpuClock = 0, TaskClock = 1, PageFaults = 2, ContextSwitches = 3, CpuMigrations = 4, PageFaultsMinor = 5, PageFaultsMajor = 6,
    AlignmentFaults = 7, EmulationFaults = 8, Dummy = 9, BpfOutput = 10, CgroupSwitches = 11,
}

/// <summary>What event to open; plain data.</summary>
public sealed record PerfEventSpec
{
    /// <summary>Name for messages.</summary>
    public required string Name { get; init; }
    /// <summary>A <see cref="PerfType"/> or a PMU's number.</summary>
    public uint Type { get; init; } = PerfType.Software;
    /// <summary>Event number within the type.</summary>
    public ulong Config { get; init; }
    /// <summary>Second config word (breakpoint address).</summary>
    public ulong Config1 { get; init; }
    /// <summary>Third config word (breakpoint length).</summary>
    public ulong Config2 { get; init; }
    /// <summary>Breakpoint access kind, <c>HW_BREAKPOINT_*</c>.</summary>
    public uint BreakpointType { get; init; }
    /// <summary>Events, or ns of a clock, per sample (a sample runs the program); 0 = only count.</summary>
    public ulong Period { get; init; }
    /// <summary>Samples per second instead of a period; limited by <c>kernel.perf_event_max_sample_rate</c>.</summary>
    public ulong Frequency { get; init; }
    /// <summary>Process or thread to watch; -1 = all on the CPU.</summary>
    public int Pid { get; init; } = -1;
    /// <summary>CPU to watch; -1 = wherever the process runs. Pid and CPU cannot both be -1.</summary>
    public int Cpu { get; init; } = -1;
    /// <summary>Count children made later too (a counter of one process only; such events cannot carry programs on all kernels).</summary>
    public bool Inherit { get; init; }
    /// <summary>Further flag bits.</summary>
    public PerfFlags Flags { get; init; }

    /// <summary>A clock that fires every so many nanoseconds on one CPU.</summary>
    public static PerfEventSpec Clock(int cpu, ulong periodNs) =>
        new() { Name = "cpu-clock", Config = (ulong)SoftwareEvent.CpuClock, Period = periodNs, Cpu = cpu };

    /// <summary>A software event.</summary>
    public static PerfEventSpec Software(SoftwareEvent e, ulong period, int pid, int cpu) =>
        new() { Name = NameOf(e), Config = (ulong)e, Period = period, Pid = pid, Cpu = cpu };

    private static string NameOf(SoftwareEvent e) => e switch
    {
        SoftwareEvent.CpuClock => "cpu-clock", SoftwareEvent.TaskClock => "task-clock", SoftwareEvent.PageFaults => "page-faults",
        SoftwareEvent.ContextSwitches => "context-switches", SoftwareEvent.CpuMigrations => "cpu-migrations",
        SoftwareEvent.PageFaultsMinor => "minor-faults", SoftwareEvent.PageFaultsMajor => "major-faults",
        SoftwareEvent.AlignmentFaults => "alignment-faults", SoftwareEvent.EmulationFaults => "emulation-faults",
        SoftwareEvent.Dummy => "dummy", SoftwareEvent.BpfOutput => "bpf-output", _ => "cgroup-switches",
    };
}

/// <summary>A counter's value.</summary>
/// <param name="Count">Events, or ns for clocks.</param>
/// <param name="EnabledNs">Time the event was enabled.</param>
/// <param name="RunningNs">Time it really counted; less than enabled when hardware counters are shared: scale by the quotient.</param>
public readonly record struct PerfCount(ulong Count, ulong EnabledNs, ulong RunningNs);

/// <summary>An open perf event: a counter, and a source of samples that run a program. Opened disabled; attaching enables it.</summary>
public sealed unsafe class PerfEvent : IDisposable
{
    // _IO('$', n) and _IOW('$', 8, __u32), linux/perf_event.h.
    private const uint IoEnable = 0x2400, IoDisable = 0x2401, IoSetBpf = 0x40042408;
    private readonly KernelFd _fd;

    private PerfEvent(string name, KernelFd fd) => (Name, _fd) = (name, fd);

    /// <summary>Name for messages.</summary>
    public string Name { get; }
    /// <summary>The descriptor; -1 once closed.</summary>
    public int Fd => _fd.Value;
    internal IBpfSys Sys => _fd.Sys;

    /// <summary>Opens the event, disabled.</summary>
    /// <exception cref="BpfException">The machine has no such event (often so for hardware events in virtual machines), or not permitted.</exception>
    public static PerfEvent Open(PerfEventSpec spec, IBpfSys? sys = null)
    {
        PerfEventAttr attr = new()
        {
            Type = spec.Type, Config = spec.Config, Config1 = spec.Config1, Config2 = spec.Config2, BreakpointType = spec.BreakpointType,
            SamplePeriod = spec.Frequency != 0 ? spec.Frequency : spec.Period,
            Flags = spec.Flags | PerfFlags.Disabled | (spec.Frequency != 0 ? PerfFlags.Frequency : 0) | (spec.Inherit ? PerfFlags.Inherit : 0),
            ReadFormat = 3, // TOTAL_TIME_ENABLED | TOTAL_TIME_RUNNING
        };
        return Open(spec.Name, attr, spec.Pid, spec.Cpu, sys ?? LinuxBpfSys.Instance);
    }

    internal static PerfEvent Open(string name, PerfEventAttr attr, int pid, int cpu, IBpfSys sys)
    {
        attr.Size = (uint)sizeof(PerfEventAttr);
        int fd = sys.PerfEventOpen(&attr, pid, cpu, -1);
        if (fd < 0)
            throw new BpfException($"perf event \"{name}\"", cpu >= 0 ? $"open on CPU {cpu}" : $"open for process {pid}", -fd, fd switch
            {
                -Errno.ENOENT or -Errno.EOPNOTSUPP => "this machine has no such event; virtual machines often lack hardware counters",
                -Errno.ENODEV => "the CPU is offline or the PMU is not there",
                -Errno.EPERM or -Errno.EACCES => "run as root or with CAP_PERFMON; see /proc/sys/kernel/perf_event_paranoid",
                -Errno.ESRCH => "the process has ended",
                _ => null,
            });
        return new PerfEvent(name, new KernelFd(sys, fd));
    }

    /// <summary>Starts counting.</summary>
    public void Enable() => Control(IoEnable, 0, "enable");
    /// <summary>Stops counting.</summary>
    public void Disable() => Control(IoDisable, 0, "disable");

    /// <summary>Reads the counter.</summary>
    public PerfCount Read()
    {
        ulong* words = stackalloc ulong[3];
        nint n = Sys.Read(Fd, words, 24);
        if (n != 24)
            throw new BpfException($"perf event \"{Name}\"", "read its counter", n < 0 ? (int)-n : Errno.EINVAL);
        return new PerfCount(words[0], words[1], words[2]);
    }

    /// <summary>
    /// Lets the program run at each sample and enables the event. With a BPF link and cookie where the kernel has it (5.15), else by
    /// ioctl, which has no cookie and closes with the event.
    /// </summary>
    /// <param name="program">Perf event, tracepoint or kprobe program, as the event demands.</param>
    /// <param name="cookie">What bpf_get_attach_cookie gives.</param>
    /// <returns>A link that owns this event: disposing it closes both.</returns>
    public BpfLink Attach(BpfProgram program, ulong cookie = 0)
    {
        string subject = $"perf event \"{Name}\"";
        LinkCreateAttr attr = new() { ProgFd = program.Fd, TargetFd = Fd, AttachType = AttachType.PerfEvent, PerfCookie = cookie };
        long fd = Sys.Bpf(BpfCommand.LinkCreate, &attr, sizeof(LinkCreateAttr));
        if (fd >= 0)
        {
            var link = new BpfLink(subject, new KernelFd(Sys, (int)fd), this);
            try
            {
                Enable();
            }
            catch (BpfException)
            {
                link.Dispose();
                throw;
            }
            return link;
        }
        // EINVAL is what kernels before 5.15 say; anything else is a refusal.
        if (fd != -Errno.EINVAL)
            throw new BpfException(subject, $"attach program \"{program.Name}\"", (int)-fd);
        if (cookie != 0)
            throw new BpfException(subject, $"attach program \"{program.Name}\" with a cookie", (int)-fd, "cookies need Linux 5.15");
        Control(IoSetBpf, program.Fd, $"attach program \"{program.Name}\"");
        Enable();
        return new BpfLink(subject, new KernelFd(Sys, -1), this);
    }

    private void Control(uint request, nint argument, string operation)
    {
        int result = Sys.Ioctl(Fd, request, argument);
        if (result < 0)
            throw new BpfException($"perf event \"{Name}\"", operation, -result);
    }

    /// <summary>Closes the event.</summary>
    public void Dispose() => _fd.Dispose();
}
