using System.Globalization;
using System.Text;

namespace Linux.Bpf;

/// <summary>
/// Single probes through the <c>kprobe</c> and <c>uprobe</c> PMUs (Linux 4.17). The fallback where kprobe_multi or uprobe_multi do not
/// exist, and the only way to a place inside a kernel function. Since the fix of CVE-2025-38466 the uprobe PMU needs CAP_SYS_ADMIN; uprobe_multi does not.
/// </summary>
public static unsafe class ProbePmu
{
    /// <summary>Attaches to a kernel function or a place in it.</summary>
    /// <param name="program">A <see cref="ProgramType.KProbe"/> program.</param>
    /// <param name="function">Name in kallsyms.</param>
    /// <param name="offset">Bytes into the function; 0 for returns.</param>
    /// <param name="atReturn">Run when the function returns.</param>
    /// <param name="cookie">What bpf_get_attach_cookie gives.</param>
    public static BpfLink AttachKprobe(BpfProgram program, string function, ulong offset = 0, bool atReturn = false, ulong cookie = 0) =>
        Attach(program, "kprobe", function, function, offset, atReturn, 0, -1, cookie);

    /// <summary>Attaches to an address: needed where several functions share a name, and faster.</summary>
    /// <param name="program">A <see cref="ProgramType.KProbe"/> program.</param>
    /// <param name="address">The instruction; a function's first for returns.</param>
    /// <param name="shown">Name for messages.</param>
    /// <param name="atReturn">Run when the function returns.</param>
    /// <param name="cookie">What bpf_get_attach_cookie gives.</param>
    public static BpfLink AttachKprobe(BpfProgram program, ulong address, string shown, bool atReturn = false, ulong cookie = 0) =>
        Attach(program, "kprobe", shown, null, address, atReturn, 0, -1, cookie);

    /// <summary>Attaches to a place in a file that processes map and execute.</summary>
    /// <param name="program">A <see cref="ProgramType.KProbe"/> program.</param>
    /// <param name="path">The file.</param>
    /// <param name="offset">File offset of the instruction.</param>
    /// <param name="atReturn">Run when the function that starts there returns.</param>
    /// <param name="semaphoreOffset">File offset of a counter to raise while attached (SDT semaphores), 0 = none. Linux 4.20; at most 32 bits.</param>
    /// <param name="pid">Only this process; -1 = all.</param>
    /// <param name="cookie">What bpf_get_attach_cookie gives.</param>
    public static BpfLink AttachUprobe(BpfProgram program, string path, ulong offset, bool atReturn = false, ulong semaphoreOffset = 0, int pid = -1, ulong cookie = 0) =>
        Attach(program, "uprobe", string.Create(CultureInfo.InvariantCulture, $"{path}+0x{offset:x}"), path, offset, atReturn, semaphoreOffset, pid, cookie);

    private static BpfLink Attach(BpfProgram program, string pmu, string shown, string? target, ulong offset, bool atReturn, ulong semaphore, int pid, ulong cookie)
    {
        IBpfSys sys = program.Sys;
        if (!uint.TryParse((sys.ReadText($"/sys/bus/event_source/devices/{pmu}/type") ?? "").AsSpan().Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out uint type))
            throw new BpfException($"{pmu} \"{shown}\"", "attach", Errno.ENODEV, $"this kernel was built without {pmu}s");
        // The return bit's place is told by sysfs as "config:0".
        int bit = 0;
        if (sys.ReadText($"/sys/bus/event_source/devices/{pmu}/format/retprobe") is { } format && format.StartsWith("config:", StringComparison.Ordinal))
            _ = int.TryParse(format.AsSpan(7).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out bit);
        byte[] text = [];
        if (target is not null)
        {
            text = new byte[Encoding.UTF8.GetByteCount(target) + 1];
            Encoding.UTF8.GetBytes(target, text);
        }
        fixed (byte* pointer = text)
        {
            PerfEventAttr attr = new()
            {
                Type = type, Config = (atReturn ? 1UL << bit : 0) | (semaphore << 32), Config1 = (ulong)pointer, Config2 = offset,
                SamplePeriod = 1, Flags = PerfFlags.Disabled,
            };
            PerfEvent e = PerfEvent.Open($"{pmu} {shown}", attr, pid, pid >= 0 ? -1 : 0, sys);
            return AttachOwned(e, program, cookie);
        }
    }

    /// <summary>Attaches and hands the event over to the link, or closes it on failure.</summary>
    internal static BpfLink AttachOwned(PerfEvent e, BpfProgram program, ulong cookie)
    {
        try
        {
            return e.Attach(program, cookie);
        }
        catch (BpfException)
        {
            e.Dispose();
            throw;
        }
    }
}
