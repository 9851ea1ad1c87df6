using System.Globalization;

namespace SystemTap.Targets;

/// <summary>The kernel's spelling of sets of processors: "0-3,8".</summary>
public static class CpuList
{
    private const int Limit = 1 << 16;

    /// <summary>Numbers named by a list, ascending as they stand; null when the text is not such a list.</summary>
    public static int[]? Parse(ReadOnlySpan<char> text)
    {
        var cpus = new List<int>();
        text = text.Trim();
        foreach (var range in text.Split(','))
        {
            var part = text[range];
            var dash = part.IndexOf('-');
            var low = dash < 0 ? part : part[..dash];
            var high = dash < 0 ? part : part[(dash + 1)..];
            if (!int.TryParse(low, NumberStyles.None, CultureInfo.InvariantCulture, out var first)
                || !int.TryParse(high, NumberStyles.None, CultureInfo.InvariantCulture, out var last)
                || last < first || last >= Limit)
                return null;
            for (; first <= last; first++)
                cpus.Add(first);
        }
        return [.. cpus];
    }

    /// <summary>Reads a list from sysfs; where it is absent, the fallback or as many processors as this program may use.</summary>
    internal static int[] Read(string? path, int[]? fallback = null)
    {
        try
        {
            if (path is not null && Parse(File.ReadAllText(path)) is { Length: > 0 } cpus)
                return cpus;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // sysfs is not mounted (a bare container): the processor count is the best answer left
        }
        if (fallback is not null)
            return fallback;
        var all = new int[Environment.ProcessorCount];
        for (var i = 0; i < all.Length; i++)
            all[i] = i;
        return all;
    }
}
