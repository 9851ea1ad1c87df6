using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Host;

/// <summary>
/// Globals in stap's own memory: sessions without kernel programs, and the globals no kernel handler touches. One thread, no locks.
/// Arrays are a dictionary over entries chained in insertion order, so that iteration, deletion and dropping the oldest are all cheap.
/// </summary>
public sealed class MemoryGlobalStore : IGlobalStore
{
    private sealed class Entry(ArrayKey key)
    {
        public readonly ArrayKey Key = key;
        public long Long;
        public string Text = "";
        public StatCell? Cell;
        public long Sequence;
        public Entry? Previous, Next;
    }

    private sealed class Table
    {
        public readonly Dictionary<ArrayKey, Entry> ByKey = [];
        public Entry? First, Last;

        public void Append(Entry entry)
        {
            ByKey.Add(entry.Key, entry);
            entry.Previous = Last;
            _ = Last is null ? First = entry : Last.Next = entry;
            Last = entry;
        }

        public void Remove(Entry entry)
        {
            ByKey.Remove(entry.Key);
            _ = entry.Previous is null ? First = entry.Next : entry.Previous.Next = entry.Next;
            _ = entry.Next is null ? Last = entry.Previous : entry.Next.Previous = entry.Previous;
        }

        public void Clear()
        {
            ByKey.Clear();
            First = Last = null;
        }
    }

    private readonly long[] _longs;
    private readonly string[] _texts;
    private readonly StatCell?[] _cells;
    private readonly Table?[] _tables;
    private long _sequence;

    /// <summary>Where insertion numbers come from, when not from here.</summary>
    internal Func<long>? NextSequence { get; init; }

    /// <summary>Creates all globals with their first values.</summary>
    public MemoryGlobalStore(IReadOnlyList<Global> globals)
    {
        _longs = new long[globals.Count];
        _texts = new string[globals.Count];
        _cells = new StatCell?[globals.Count];
        _tables = new Table?[globals.Count];
        foreach (var global in globals)
        {
            _longs[global.Index] = global.InitialLong;
            _texts[global.Index] = global.InitialString;
            if (global.IsArray)
            {
                _tables[global.Index] = new Table();
            }
            else if (global.Type == ScriptType.Statistics)
            {
                _cells[global.Index] = new StatCell(global.Shape!);
            }
        }
    }

    public Value Read(Global scalar) => scalar.Type == ScriptType.String ? _texts[scalar.Index] : _longs[scalar.Index];

    public void Write(Global scalar, Value value)
    {
        if (scalar.Type == ScriptType.String)
        {
            _texts[scalar.Index] = value.Text ?? "";
        }
        else
        {
            _longs[scalar.Index] = value.Long;
        }
    }

    public long Update(Global scalar, BinaryOperator op, long operand)
    {
        var old = _longs[scalar.Index];
        _longs[scalar.Index] = Arithmetic.Apply(op, old, operand, default);
        return old;
    }

    public bool TryRead(Global array, in ArrayKey key, out Value value)
    {
        if (_tables[array.Index]!.ByKey.TryGetValue(key, out var entry))
        {
            value = array.Type == ScriptType.String ? entry.Text : entry.Long;
            return true;
        }

        value = array.Type == ScriptType.String ? "" : 0;
        return false;
    }

    public bool Write(Global array, in ArrayKey key, Value value)
    {
        if (Element(array, key) is not { } entry)
        {
            return false;
        }

        entry.Long = value.Long;
        entry.Text = value.Text ?? "";
        return true;
    }

    public bool Update(Global array, in ArrayKey key, BinaryOperator op, long operand, out long oldValue)
    {
        // The operator comes first: an error (division by 0) must not leave a new element behind.
        var known = _tables[array.Index]!.ByKey.GetValueOrDefault(key);
        oldValue = known?.Long ?? 0;
        var value = Arithmetic.Apply(op, oldValue, operand, default);
        if ((known ?? Element(array, key)) is not { } entry)
        {
            return false;
        }

        entry.Long = value;
        return true;
    }

    public bool Contains(Global array, in ArrayKey key) => _tables[array.Index]!.ByKey.ContainsKey(key);

    public void Delete(Global array, in ArrayKey key)
    {
        var table = _tables[array.Index]!;
        if (table.ByKey.TryGetValue(key, out var entry))
        {
            table.Remove(entry);
        }
    }

    public void Clear(Global global)
    {
        if (_tables[global.Index] is { } table)
        {
            table.Clear();
        }
        else if (global.Type == ScriptType.Statistics)
        {
            _cells[global.Index] = new StatCell(global.Shape!);
        }
        else
        {
            _longs[global.Index] = 0;
            _texts[global.Index] = "";
        }
    }

    public IReadOnlyList<ArrayEntry> Entries(Global array)
    {
        var table = _tables[array.Index]!;
        var result = new List<ArrayEntry>(table.ByKey.Count);
        for (var entry = table.First; entry is not null; entry = entry.Next)
        {
            var value = array.Type == ScriptType.String ? (Value)entry.Text : entry.Long;
            result.Add(new ArrayEntry(entry.Key, value, Snapshot(array, entry.Cell), entry.Sequence));
        }

        return result;
    }

    public bool AddSample(Global aggregate, in ArrayKey? key, long sample)
    {
        if (key is { } k)
        {
            if (Element(aggregate, k) is not { } entry)
            {
                return false;
            }

            (entry.Cell ??= new StatCell(aggregate.Shape!)).Add(sample);
            return true;
        }

        _cells[aggregate.Index]!.Add(sample);
        return true;
    }

    public bool AddSamples(Global array, in ArrayKey key, StatCell samples)
    {
        if (Element(array, key) is not { } entry)
        {
            return false;
        }

        (entry.Cell ??= new StatCell(array.Shape!)).Add(samples);
        return true;
    }

    public StatSnapshot? Statistics(Global aggregate, in ArrayKey? key) => Snapshot(aggregate, Cell(aggregate, key));

    /// <summary>The raw aggregate, for merging with kernel parts; null when there is no such element.</summary>
    internal StatCell? Cell(Global aggregate, in ArrayKey? key) => key is { } k
        ? _tables[aggregate.Index]!.ByKey.GetValueOrDefault(k)?.Cell
        : _cells[aggregate.Index];

    private static StatSnapshot? Snapshot(Global aggregate, StatCell? cell) => cell is null ? null : StatCell.Merge(aggregate.Shape!, [cell]);

    // Finds or creates; null when full. The caller may reuse the key's memory, so a stored key is a copy.
    private Entry? Element(Global array, in ArrayKey key)
    {
        var table = _tables[array.Index]!;
        if (table.ByKey.TryGetValue(key, out var entry))
        {
            return entry;
        }

        if (table.ByKey.Count >= array.MaxEntries)
        {
            if (!array.Wraps || table.First is null)
            {
                return null;
            }

            table.Remove(table.First);
        }

        entry = new Entry(new ArrayKey([.. key.Parts])) { Sequence = NextSequence?.Invoke() ?? ++_sequence };
        table.Append(entry);
        return entry;
    }
}
