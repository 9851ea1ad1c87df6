using System.Globalization;

namespace Linux.Bpf;

/// <summary>Sets of CPUs as sysfs spells them: <c>0-3,8,10-11</c>.</summary>
public static class CpuList
{
    /// <summary>Highest CPU number plus one; 0 if the text is not a CPU list. (Per-CPU values are indexed by number up to the last possible CPU.)</summary>
    public static int Count(string text)
    {
        int count = 0;
        foreach (int cpu in Parse(text))
            count = Math.Max(count, cpu + 1);
        return count;
    }

    /// <summary>The CPU numbers in order; stops at the first malformed part.</summary>
    public static List<int> Parse(string text)
    {
        var cpus = new List<int>();
        foreach (Range part in text.AsSpan().Trim().Split(','))
        {
            ReadOnlySpan<char> range = text.AsSpan().Trim()[part];
            int dash = range.IndexOf('-');
            ReadOnlySpan<char> low = dash < 0 ? range : range[..dash], high = dash < 0 ? range : range[(dash + 1)..];
            if (!int.TryParse(low, NumberStyles.None, CultureInfo.InvariantCulture, out int first) ||
                !int.TryParse(high, NumberStyles.None, CultureInfo.InvariantCulture, out int last) || last > 65535)
                break;
            for (int cpu = first; cpu <= last; cpu++)
                cpus.Add(cpu);
        }
        return cpus;
    }

    /// <summary>CPUs that run now; perf events can be opened on these only.</summary>
    public static List<int> Online(IBpfSys? sys = null)
    {
        List<int> cpus = Parse((sys ?? LinuxBpfSys.Instance).ReadText("/sys/devices/system/cpu/online") ?? "");
        if (cpus.Count == 0)
            cpus.Add(0);
        return cpus;
    }
}
