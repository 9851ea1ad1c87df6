namespace Linux.Bpf;

/// <summary>What a map shall be; plain data. <see cref="BpfMap.Create(MapSpec,IBpfSys)"/> makes it real.</summary>
public sealed record MapSpec
{
    /// <summary>A map of plain keys and values.</summary>
    public MapSpec(string name, MapType type, int keySize, int valueSize, int maxEntries, MapFlags flags = MapFlags.None)
    {
        (Name, Type, KeySize, ValueSize, MaxEntries, Flags) = (name, type, keySize, valueSize, maxEntries, flags);
    }

    /// <summary>Name in messages, and its first 15 bytes in the kernel.</summary>
    public string Name { get; init; }
    /// <summary>Kind of map.</summary>
    public MapType Type { get; init; }
    /// <summary>Bytes of a key; 4 for arrays, 0 for ring buffers and queues.</summary>
    public int KeySize { get; init; }
    /// <summary>Bytes of a value, of one CPU in per-CPU maps; 0 for ring buffers.</summary>
    public int ValueSize { get; init; }
    /// <summary>Most entries; for a ring buffer its bytes, a power of two and a multiple of the page size.</summary>
    public int MaxEntries { get; init; }
    /// <summary>Creation flags.</summary>
    public MapFlags Flags { get; init; }
    /// <summary>Shape of the inner maps of a map of maps.</summary>
    public MapSpec? InnerMap { get; init; }
    /// <summary>BTF that describes key and value; needed by local storage and by locks in values. 0 = none.</summary>
    public int BtfFd { get; init; }
    /// <summary>Type id of the key in that BTF.</summary>
    public int BtfKeyTypeId { get; init; }
    /// <summary>Type id of the value in that BTF.</summary>
    public int BtfValueTypeId { get; init; }
    /// <summary>Type-specific extra word (hash functions of a bloom filter, address of an arena).</summary>
    public ulong MapExtra { get; init; }

    /// <summary>A ring buffer of so many bytes. Linux 5.8.</summary>
    public static MapSpec Ring(string name, int bytes) => new(name, MapType.RingBuf, 0, 0, bytes);
    /// <summary>Global data: an array of one element that programs reach by address and user space by mapping. Linux 5.5.</summary>
    public static MapSpec GlobalData(string name, int bytes) => new(name, MapType.Array, 4, bytes, 1, MapFlags.Mmapable);
}
