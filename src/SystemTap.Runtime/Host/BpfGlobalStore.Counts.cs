using System.Buffers.Binary;
using System.Text;
using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Runtime.Host.Nodes;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Host;

// Tables in which the kernel counts for arrays of stap (see SystemTap.Bpf's KernelCounts). Their elements only grow, so what has come since is the difference to what was
// taken before; the key of the array, which may mean a text of many names, is made once for each element.
public sealed partial class BpfGlobalStore
{
    private sealed class Taken(ArrayKey key)
    {
        public ArrayKey Key { get; } = key;

        public long Sum { get; set; }

        public StatCell? Cell { get; set; }
    }

    private sealed record Found(CountTable Table, string Key, long Sum, StatCell? Cell, long Sequence);

    private readonly Dictionary<(CountTable, string), Taken> _taken = [];

    /// <summary>Adds what the kernel has counted since to the arrays it counts for, in the order in which the elements came.</summary>
    /// <param name="keysOf">Makes keys.</param>
    /// <param name="onError">Gets an error that the addition would have raised; says whether the session goes on, since no addition comes after the error that ended it.</param>
    public void TakeCounts(Func<CountTable, CountKeys> keysOf, Func<CountTable, RuntimeError, bool> onError)
    {
        var found = new List<Found>();
        foreach (var table in _plan.CountTables)
        {
            var (map, layout, size) = Place(table.Table);
            if (map < 0)
            {
                continue;
            }

            Walk(_maps[map], _maps[map].Spec.KeySize, size, (key, value) =>
            {
                switch (_plan.Globals[table.Table.Index])
                {
                    case GlobalStorage.StatisticsArray aggregates:
                        AddParts(found, table, aggregates, key, value);
                        break;
                    case GlobalStorage.Array array:
                        var whole = array.ByHash ? value.Slice(array.KeyOffset, layout.Size) : key;
                        var sum = BinaryPrimitives.ReadInt64LittleEndian(value[GlobalStorage.Array.ValueOffset..]);
                        found.Add(new Found(table, Encoding.Latin1.GetString(whole), sum, null, BinaryPrimitives.ReadInt64LittleEndian(value)));
                        break;
                }
            });
        }

        found.Sort(static (x, y) => x.Sequence.CompareTo(y.Sequence));
        foreach (var f in found)
        {
            try
            {
                Take(f, keysOf);
            }
            catch (RuntimeError error)
            {
                if (!onError(f.Table, error))
                {
                    return;
                }
            }
        }
    }

    // What the CPUs have of one element. By hash, each CPU has the key of its own: one element for each that differs.
    private static void AddParts(List<Found> found, CountTable table, GlobalStorage.StatisticsArray aggregates, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        var first = found.Count;
        for (var at = 0; at + aggregates.ValueSize <= value.Length; at += PerCpu.Stride(aggregates.ValueSize))
        {
            var part = value.Slice(at, aggregates.ValueSize);
            if (ReadCell(table.Array.Shape!, aggregates.Layout, part.Slice(GlobalStorage.StatisticsArray.BlockOffset, aggregates.Layout.Size)) is not { } cell)
            {
                continue;
            }

            var text = Encoding.Latin1.GetString(aggregates.ByHash ? part.Slice(aggregates.KeyOffset, aggregates.Key.Size) : key);
            var sequence = BinaryPrimitives.ReadInt64LittleEndian(part);
            var same = found.FindIndex(first, f => f.Key == text);
            if (same < 0)
            {
                var total = new StatCell(table.Array.Shape!);
                total.Add(cell);
                found.Add(new Found(table, text, 0, total, sequence));
            }
            else
            {
                found[same].Cell!.Add(cell);
                found[same] = found[same] with { Sequence = Math.Min(found[same].Sequence, sequence) };
            }
        }
    }

    private void Take(Found found, Func<CountTable, CountKeys> keysOf)
    {
        var array = found.Table.Array;
        var isNew = !_taken.TryGetValue((found.Table, found.Key), out var taken);
        if (taken is null)
        {
            taken = new Taken(MakeKey(found, keysOf(found.Table)));
            _taken.Add((found.Table, found.Key), taken);
        }

        bool fits;
        if (found.Cell is { } cell)
        {
            var since = taken.Cell is { } before ? cell.Since(before) : cell;
            taken.Cell = cell;
            fits = since.Count == 0 || AddSamples(array, taken.Key, since);
        }
        else
        {
            var since = found.Sum - taken.Sum;
            taken.Sum = found.Sum;
            fits = (since == 0 && !isNew) || Update(array, taken.Key, BinaryOperator.Add, since, out _);
        }

        if (!fits)
        {
            throw ArrayErrors.Overflow(array, found.Table.Span);
        }
    }

    private ArrayKey MakeKey(Found found, CountKeys keys)
    {
        var (_, layout, _) = Place(found.Table.Table);
        var at = 0;
        Span<byte> word = stackalloc byte[8];
        for (var i = 0; i < layout.Types.Count; i++)
        {
            var part = found.Key.AsSpan(at, layout.Capacities[i]);
            at += layout.Capacities[i];
            if (layout.Types[i] == ScriptType.Long)
            {
                Encoding.Latin1.GetBytes(part, word);
                keys.Longs[i] = BinaryPrimitives.ReadInt64LittleEndian(word);
            }
            else if (found.Table.Stacks[i])
            {
                // Whole words up to the last that is an address: zeros follow.
                keys.Texts[i] = new string(part[..((part.TrimEnd('\0').Length + 7) & ~7)]);
            }
            else
            {
                var end = part.IndexOf('\0');
                keys.Texts[i] = new string(end < 0 ? part : part[..end]);
            }
        }

        return keys.Make();
    }
}
