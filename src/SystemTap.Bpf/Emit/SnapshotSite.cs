namespace SystemTap.Bpf.Emit;

/// <summary>The maps of one foreach.</summary>
/// <param name="EntriesMap">Array of keys and values; −1 when the heap says all.</param>
/// <param name="HeapMap">One value: head and heap.</param>
/// <param name="Most">Entries there is room for.</param>
/// <param name="EntrySize">Bytes of an entry.</param>
/// <param name="Text">Where in the entry the string to sort by stands. Null when a long decides.</param>
internal sealed record SnapshotSite(int EntriesMap, int HeapMap, int Most, int EntrySize, (int Offset, int Capacity, bool Descending)? Text)
{
    /// <summary>Bytes in front of the parts of a heap map that has several: the offset of the part worked on.</summary>
    public const int LevelHead = 64;

    /// <summary>Activations that can be under way at once, a power of two; each has a part of both maps.</summary>
    public int Levels { get; init; } = 1;

    /// <summary>Bits of the size of a part of the heap map.</summary>
    public int LevelShift { get; init; }
}
