using System.Runtime.InteropServices;

namespace Linux.Bpf;

/// <summary>Bits of <c>perf_event_attr</c>'s flag word (<c>linux/perf_event.h</c>), those used here.</summary>
[Flags]
public enum PerfFlags : ulong
{
    None = 0,
    Disabled = 1 << 0,
    /// <summary>Children of the task are counted too.</summary>
    Inherit = 1 << 1,
    Pinned = 1 << 2,
    ExcludeUser = 1 << 4,
    ExcludeKernel = 1 << 5,
    ExcludeHypervisor = 1 << 6,
    ExcludeIdle = 1 << 7,
    /// <summary>SamplePeriod is a frequency in Hz.</summary>
    Frequency = 1 << 10,
    /// <summary>Executable mappings are announced.</summary>
    Mmap = 1 << 8,
    /// <summary>Changes of a task's name are announced.</summary>
    Comm = 1 << 9,
    EnableOnExec = 1 << 12,
    /// <summary>Forks and exits are announced.</summary>
    Task = 1 << 13,
    /// <summary>Announcements end with the fields of the sample type.</summary>
    SampleIdAll = 1 << 18,
    /// <summary>Mappings with device and inode (Linux 3.12).</summary>
    Mmap2 = 1 << 23,
    /// <summary>Names that come from exec are marked.</summary>
    CommExec = 1 << 24,
    /// <summary>Times are of the clock in ClockId (Linux 4.1).</summary>
    UseClockId = 1 << 25,
}

/// <summary><c>struct perf_event_attr</c>, version 5 (112 bytes, accepted since Linux 4.1).</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public struct PerfEventAttr
{
    public uint Type;
    public uint Size;
    public ulong Config;
    /// <summary>Events (or ns for clocks) per sample, or Hz with <see cref="PerfFlags.Frequency"/>.</summary>
    public ulong SamplePeriod;
    public ulong SampleType, ReadFormat;
    public PerfFlags Flags;
    public uint WakeupEvents, BreakpointType;
    /// <summary>Address of a breakpoint; for probe PMUs, pointer to function name or file path.</summary>
    public ulong Config1;
    /// <summary>Length of a breakpoint; for probe PMUs, address or offset.</summary>
    public ulong Config2;
    public ulong BranchSampleType, SampleRegsUser;
    public uint SampleStackUser;
    public int ClockId;
    public ulong SampleRegsIntr;
    public uint AuxWatermark;
    public ushort SampleMaxStack;
    private readonly ushort _reserved;
}
