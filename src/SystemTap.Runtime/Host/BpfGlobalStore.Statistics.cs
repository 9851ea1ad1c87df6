using System.Buffers.Binary;
using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Host;

// Snapshots of arrays, and aggregates merged over CPUs.
public sealed partial class BpfGlobalStore
{
    private const int BatchEntries = 512;

    public IReadOnlyList<ArrayEntry> Entries(Global array)
    {
        var (map, layout, size) = Place(array);
        if (map < 0)
        {
            return _host.Entries(array);
        }

        var result = new List<ArrayEntry>();
        Walk(_maps[map], layout.Size, size, (key, value) =>
        {
            if (_plan.Globals[array.Index] is GlobalStorage.StatisticsArray stat)
            {
                var decoded = DecodeKey(layout, key);
                var own = _host.Cell(array, decoded);
                result.Add(new ArrayEntry(decoded, default, Merged(array, stat.Layout, value, stat.Layout.Size + 8, 8, own), SequenceOf(value, stat.Layout.Size + 8)));
            }
            else
            {
                result.Add(new ArrayEntry(DecodeKey(layout, key), Decode(array, value[GlobalStorage.Array.ValueOffset..]), null, BinaryPrimitives.ReadInt64LittleEndian(value)));
            }
        });
        if (array.Type == ScriptType.Statistics)
        {
            AddOwn(array, result);
        }

        result.Sort(static (x, y) => x.Sequence.CompareTo(y.Sequence));
        return result;
    }

    public bool AddSample(Global aggregate, in ArrayKey? key, long sample)
    {
        switch (_plan.Globals[aggregate.Index])
        {
            case GlobalStorage.ScalarStatistics place when !KernelRuns:
            {
                Span<byte> zero = stackalloc byte[4];
                zero.Clear();
                var value = Buffer(_maps[place.MapId].ValueBytes);
                _maps[place.MapId].TryLookup(zero, value);
                AddTo(aggregate.Shape!, place.Layout, value.AsSpan(0, place.Layout.Size), sample);
                _maps[place.MapId].Update(zero, value);
                return true;
            }

            case GlobalStorage.StatisticsArray place when !KernelRuns && key is { } k:
            {
                Span<byte> bytes = stackalloc byte[place.Key.Size];
                EncodeKey(place.Key, k, bytes);
                var value = Buffer(_maps[place.MapId].ValueBytes);
                if (!_maps[place.MapId].TryLookup(bytes, value))
                {
                    value.AsSpan().Clear();
                }

                // The first CPU's part stands for stap; a part without an insertion number has never been used.
                var block = value.AsSpan(8, place.Layout.Size);
                if (BinaryPrimitives.ReadInt64LittleEndian(value) == 0)
                {
                    BinaryPrimitives.WriteInt64LittleEndian(value, NextSequence());
                    Initialize(place.Layout, block);
                }

                AddTo(aggregate.Shape!, place.Layout, block, sample);
                return Store(aggregate, place.MapId, bytes, value, UpdateMode.Any);
            }

            default:
                return _host.AddSample(aggregate, key, sample);
        }
    }

    public bool AddSamples(Global array, in ArrayKey key, StatCell samples) => _host.AddSamples(array, key, samples);

    public StatSnapshot? Statistics(Global aggregate, in ArrayKey? key)
    {
        switch (_plan.Globals[aggregate.Index])
        {
            case GlobalStorage.ScalarStatistics place:
            {
                Span<byte> zero = stackalloc byte[4];
                zero.Clear();
                var value = Buffer(_maps[place.MapId].ValueBytes);
                _maps[place.MapId].TryLookup(zero, value);
                return Merged(aggregate, place.Layout, value, place.Layout.Size, 0, _host.Cell(aggregate, null));
            }

            case GlobalStorage.StatisticsArray place when key is { } k:
            {
                Span<byte> bytes = stackalloc byte[place.Key.Size];
                EncodeKey(place.Key, k, bytes);
                var value = Buffer(_maps[place.MapId].ValueBytes);
                var own = _host.Cell(aggregate, k);
                if (_maps[place.MapId].TryLookup(bytes, value))
                {
                    return Merged(aggregate, place.Layout, value, place.Layout.Size + 8, 8, own);
                }

                return own is null ? null : StatCell.Merge(aggregate.Shape!, [own]);
            }

            default:
                return _host.Statistics(aggregate, key);
        }
    }

    // Elements only stap has added samples to.
    private void AddOwn(Global array, List<ArrayEntry> result)
    {
        var own = _host.Entries(array);
        if (own.Count == 0)
        {
            return;
        }

        var known = new HashSet<ArrayKey>(result.Count);
        foreach (var entry in result)
        {
            known.Add(entry.Key);
        }

        foreach (var entry in own)
        {
            if (!known.Contains(entry.Key))
            {
                result.Add(entry);
            }
        }
    }

    private static StatSnapshot Merged(Global aggregate, StatLayout layout, ReadOnlySpan<byte> value, int cpuSize, int offset, StatCell? own)
    {
        var shape = aggregate.Shape!;
        var cells = Cells(shape, layout, value, cpuSize, offset);
        if (own is { Count: > 0 })
        {
            cells.Add(own);
        }

        return StatCell.Merge(shape, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(cells));
    }

    /// <summary>The parts of all CPUs that have counted something.</summary>
    private static List<StatCell> Cells(StatisticShape shape, StatLayout layout, ReadOnlySpan<byte> value, int cpuSize, int offset)
    {
        var cells = new List<StatCell>();
        for (var at = 0; at + cpuSize <= value.Length; at += PerCpu.Stride(cpuSize))
        {
            if (ReadCell(shape, layout, value.Slice(at + offset, layout.Size)) is { } cell)
            {
                cells.Add(cell);
            }
        }

        return cells;
    }

    private static StatCell? ReadCell(StatisticShape shape, StatLayout layout, ReadOnlySpan<byte> block)
    {
        var count = Word(block, layout.Count, 0);
        if (count == 0)
        {
            return null;
        }

        var cell = new StatCell(shape)
        {
            Count = count,
            Sum = Word(block, layout.Sum, 0),
            Min = Word(block, layout.Min, long.MaxValue),
            Max = Word(block, layout.Max, long.MinValue),
            Mean = Word(block, layout.Variance, 0),
            SquaredDeviations = layout.Variance < 0 ? 0 : Word(block, layout.Variance + 8, 0),
        };
        for (var i = 0; layout.Buckets >= 0 && i < cell.Buckets.Length; i++)
        {
            cell.Buckets[i] = Word(block, layout.Buckets + (8 * i), 0);
        }

        return cell;
    }

    private static void AddTo(StatisticShape shape, StatLayout layout, Span<byte> block, long sample)
    {
        var cell = ReadCell(shape, layout, block) ?? new StatCell(shape);
        cell.Add(sample);
        Put(block, layout.Count, cell.Count);
        Put(block, layout.Sum, cell.Sum);
        Put(block, layout.Min, cell.Min);
        Put(block, layout.Max, cell.Max);
        if (layout.Variance >= 0)
        {
            Put(block, layout.Variance, cell.Mean);
            Put(block, layout.Variance + 8, cell.SquaredDeviations);
        }

        for (var i = 0; layout.Buckets >= 0 && i < cell.Buckets.Length; i++)
        {
            Put(block, layout.Buckets + (8 * i), cell.Buckets[i]);
        }
    }

    private static void Initialize(StatLayout layout, Span<byte> block)
    {
        block.Clear();
        Put(block, layout.Min, long.MaxValue);
        Put(block, layout.Max, long.MinValue);
    }

    private void ClearStatistics(GlobalStorage.ScalarStatistics place)
    {
        // All CPUs at once; a sample added in this very moment counts to before or is lost, as with any reset of per-CPU data.
        var map = _maps[place.MapId];
        var value = new byte[map.ValueBytes];
        for (var at = 0; at < value.Length; at += PerCpu.Stride(place.Layout.Size))
        {
            Initialize(place.Layout, value.AsSpan(at, place.Layout.Size));
        }

        Span<byte> zero = stackalloc byte[4];
        zero.Clear();
        map.Update(zero, value);
    }

    private static long SequenceOf(ReadOnlySpan<byte> value, int cpuSize)
    {
        var first = long.MaxValue;
        for (var at = 0; at + cpuSize <= value.Length; at += PerCpu.Stride(cpuSize))
        {
            var sequence = BinaryPrimitives.ReadInt64LittleEndian(value[at..]);
            first = sequence != 0 ? Math.Min(first, sequence) : first;
        }

        return first;
    }

    private static long Word(ReadOnlySpan<byte> block, int offset, long absent) => offset < 0 ? absent : BinaryPrimitives.ReadInt64LittleEndian(block[offset..]);

    private static void Put(Span<byte> block, int offset, long value)
    {
        if (offset >= 0)
        {
            BinaryPrimitives.WriteInt64LittleEndian(block[offset..], value);
        }
    }

    private delegate void OnElement(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value);

    private static void Walk(BpfMap map, int keySize, int valueSize, OnElement element)
    {
        var entries = Math.Clamp((1 << 20) / Math.Max(1, keySize + valueSize), 16, BatchEntries);
        var keys = new byte[entries * keySize];
        var values = new byte[entries * valueSize];
        var cursor = new BatchCursor();
        var seen = map.Spec.MaxEntries;
        while (!cursor.Done)
        {
            var count = map.LookupBatch(cursor, keys, values);
            if (cursor.BufferTooSmall)
            {
                keys = new byte[keys.Length * 2];
                values = new byte[values.Length * 2];
                continue;
            }

            for (var i = 0; i < count; i++)
            {
                element(keys.AsSpan(i * keySize, keySize), values.AsSpan(i * valueSize, valueSize));
            }

            seen -= count;
            if (seen < -map.Spec.MaxEntries)
            {
                // Elements come faster than we read them: a snapshot twice the map's size holds every one that was there.
                return;
            }
        }
    }

    private static void RemoveAll(BpfMap map, int keySize, int valueSize)
    {
        var keys = new List<byte[]>();
        Walk(map, keySize, valueSize, (key, _) => keys.Add(key.ToArray()));
        var flat = new byte[keys.Count * keySize];
        for (var i = 0; i < keys.Count; i++)
        {
            keys[i].CopyTo(flat, i * keySize);
        }

        map.DeleteBatch(flat, keys.Count);
    }
}
