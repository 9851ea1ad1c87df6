namespace SystemTap.Targets;

/// <summary>Looks into lists that are sorted by where their elements begin.</summary>
internal static class Sorted
{
    /// <summary>How many elements begin at an address or before it: the last of them is the one that may hold it.</summary>
    /// <param name="list">In ascending order.</param>
    /// <param name="address">What is looked for.</param>
    /// <param name="start">Where an element begins.</param>
    public static int CountUpTo<T>(ReadOnlySpan<T> list, ulong address, Func<T, ulong> start)
    {
        var low = 0;
        var high = list.Length;
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (start(list[middle]) <= address)
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }
}
