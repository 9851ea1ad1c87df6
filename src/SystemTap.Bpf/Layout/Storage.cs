using System.Buffers.Binary;
using System.Text;
using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Layout;

/// <summary>
/// Lays out globals: scalars one after the other in the data map behind the control block, arrays in hash maps, aggregates in per-CPU maps.
/// </summary>
internal sealed class Storage
{
    /// <summary>Bytes of elements above which a hash map allocates as it goes: reserving them would cost start-up time and memory.</summary>
    private const long LargestReserved = 8 << 20;

    /// <summary>Bytes of an array's keys together; the kernel allows some more, 4 MB with the value.</summary>
    private const int LargestKey = 64 << 10;

    /// <summary>Bytes of a key from which a table of counts finds it by a hash: the kernel would hash all of it, which takes longer than the rest.</summary>
    private const int SmallestHashed = 32;

    /// <summary>Bytes of a key up to which it is found by a hash: the code for it has no loop.</summary>
    private const int LargestHashed = 1024;

    /// <summary>A value of a per-CPU map may not be larger (PCPU_MIN_UNIT_SIZE).</summary>
    public const int LargestPerCpu = 32 << 10;

    private Storage(GlobalStorage[] globals, byte[] data) => (Globals, Data) = (globals, data);

    public GlobalStorage[] Globals { get; }

    /// <summary>First content of the data map.</summary>
    public byte[] Data { get; }

    public static Storage Of(LoweredProgram program, Placement placement, Capacities capacities, Locks locks, MapTable maps, int cpus)
    {
        var storage = new GlobalStorage[program.Globals.Count];
        var end = ControlBlock.Size;
        foreach (var g in program.Globals)
        {
            if (placement.KernelUse[g.Index] == GlobalUse.None)
            {
                storage[g.Index] = new GlobalStorage.HostOnly(g);
            }
            else if (g.IsArray)
            {
                storage[g.Index] = OfArray(g, capacities, maps, cpus);
            }
            else if (g.Type == ScriptType.Statistics)
            {
                storage[g.Index] = OfScalarStatistics(g, maps);
            }
            else
            {
                var capacity = g.Type == ScriptType.String ? Capacities.BufferFor(capacities.Of(g)) : 8;
                storage[g.Index] = new GlobalStorage.Scalar(g, end, capacity);
                end += capacity;
            }
        }

        var data = new byte[PlaceLocks(locks, end, cpus)];
        foreach (var s in storage)
        {
            if (s is GlobalStorage.Scalar { Global: var g } scalar)
            {
                var to = data.AsSpan(scalar.Offset, scalar.Capacity);
                if (g.Type == ScriptType.Long)
                {
                    BinaryPrimitives.WriteInt64LittleEndian(to, g.InitialLong);
                }
                else
                {
                    Encoding.Latin1.GetBytes(g.InitialString, to);
                }
            }
        }

        return new Storage(storage, data);
    }

    /// <summary>
    /// Gives locks their places: the first word is the control block's, the others and all counts of shared holders stand behind the scalars, each on a
    /// cache line of its own. Returns the end.
    /// </summary>
    private static int PlaceLocks(Locks locks, int end, int cpus)
    {
        var line = LockWord.Stride;
        var next = (end + line - 1) / line * line;
        var used = end;
        var isFirst = true;
        foreach (var word in locks.Words)
        {
            word.Offset = isFirst ? ControlBlock.Lock : next;
            next += isFirst ? 0 : line;
            isFirst = false;
            if (word.HasShared)
            {
                word.SharedOffset = next;
                next += line * cpus;
            }

            used = Math.Max(end, next);
        }

        return used;
    }

    private static GlobalStorage OfArray(Global g, Capacities capacities, MapTable maps, int cpus)
    {
        var sizes = new int[g.KeyTypes.Count];
        for (var i = 0; i < sizes.Length; i++)
        {
            sizes[i] = g.KeyTypes[i] == ScriptType.Long ? 8 : Capacities.BufferFor(capacities.OfKey(g, i));
        }

        var key = new KeyLayout(g.KeyTypes, sizes);
        if (key.Size > LargestKey)
        {
            throw new BpfCannotException($"array \"{g.Name}\": its keys take {key.Size} bytes", g.Span, "use fewer or shorter string keys, or lower MAXSTRINGLEN");
        }

        var byHash = g.OnlyGrows && key.Size is >= SmallestHashed and <= LargestHashed;
        var keySize = byHash ? 8 : key.Size;
        if (g.Type == ScriptType.Statistics)
        {
            var array = new GlobalStorage.StatisticsArray(g, maps.Reserve(g.Name), key, StatLayout.For(g.Shape ?? new StatisticShape { Count = true }), byHash);
            maps.Complete(array.MapId, MapType.PerCpuHash, keySize, array.ValueSize, g.MaxEntries, Flags(g, ((long)keySize + array.ValueSize) * cpus));
            return array;
        }

        var value = g.Type == ScriptType.Long ? 8 : Capacities.BufferFor(capacities.Of(g));
        var size = GlobalStorage.Array.ValueOffset + value + (byHash ? key.Size : 0);
        return new GlobalStorage.Array(g, maps.Add(g.Name, MapType.Hash, keySize, size, g.MaxEntries, Flags(g, (long)keySize + size)), key, value, byHash);
    }

    private static MapFlags Flags(Global g, long element) => g.MaxEntries * element > LargestReserved ? MapFlags.NoPrealloc : MapFlags.None;

    private static GlobalStorage.ScalarStatistics OfScalarStatistics(Global g, MapTable maps)
    {
        var layout = StatLayout.For(g.Shape ?? new StatisticShape { Count = true });
        var contents = new byte[layout.Size];
        StatBlock.Initialize(layout, contents);
        return new(g, maps.Add(g.Name, MapType.PerCpuArray, 4, layout.Size, 1, MapFlags.None, contents), layout);
    }
}

/// <summary>The block of one CPU's statistics.</summary>
public static class StatBlock
{
    /// <summary>Writes an empty block: minimum and maximum start at the ends of the range.</summary>
    public static void Initialize(StatLayout layout, Span<byte> block)
    {
        block[..layout.Size].Clear();
        if (layout.Min >= 0)
        {
            BinaryPrimitives.WriteInt64LittleEndian(block[layout.Min..], long.MaxValue);
        }

        if (layout.Max >= 0)
        {
            BinaryPrimitives.WriteInt64LittleEndian(block[layout.Max..], long.MinValue);
        }
    }
}

/// <summary>Maps of the plan while it is made.</summary>
internal sealed class MapTable
{
    private readonly List<MapPlan> _maps = [];

    public IReadOnlyList<MapPlan> Maps => _maps;

    /// <summary>Adds a map; returns its id.</summary>
    public int Add(string name, MapType type, int keySize, int valueSize, int maxEntries, MapFlags flags = MapFlags.None, byte[]? contents = null, bool isConstant = false)
    {
        _maps.Add(new MapPlan(_maps.Count, name, (uint)type, keySize, valueSize, maxEntries, (uint)flags) { Contents = contents, IsConstant = isConstant });
        return _maps.Count - 1;
    }

    /// <summary>Sets what the user is told when the kernel finds a map too large.</summary>
    public void WhenTooLarge(int id, string message) => _maps[id] = _maps[id] with { WhenTooLarge = message };

    /// <summary>Reserves an id for a map whose size is known later.</summary>
    public int Reserve(string name) => Add(name, MapType.Array, 4, 8, 1);

    /// <summary>Completes a reserved map.</summary>
    public void Complete(int id, MapType type, int keySize, int valueSize, int maxEntries, MapFlags flags = MapFlags.None, byte[]? contents = null, bool isConstant = false) =>
        _maps[id] = new MapPlan(id, _maps[id].Name, (uint)type, keySize, valueSize, maxEntries, (uint)flags) { Contents = contents, IsConstant = isConstant };
}
