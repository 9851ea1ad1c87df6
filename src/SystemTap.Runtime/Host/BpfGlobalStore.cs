using System.Buffers.Binary;
using System.Text;
using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Host;

// The globals of a BPF session as stap's own handlers see them, on the maps kernel handlers use. How each kind is kept atomic against them:
//
//  - Scalars lie in mapped memory: plain loads, Interlocked adds and exchanges, other operators by compare-and-exchange. Strings of more than
//    eight bytes are read twice until both readings agree.
//  - Elements of hash maps: the bpf(2) calls copy whole values, so "look up, add, update" would lose a kernel handler's ++ in between. While kernel
//    handlers run, an update is therefore done in place by a small program inside the kernel (ElementUpdater), run by request.
//    Before and after (begin, end), when no handler runs, plain calls do. Assignments replace the element whole: they are equal to having come
//    after whatever was added before them. No lock is ever held from user space.
//  - Aggregates are per CPU, and bpf(2) can only write all CPUs' parts at once. So samples added by stap while kernel handlers run go to a part of
//    its own (in memory) that is merged whenever the aggregate is read, exactly like one more CPU. Kernel handlers that read an aggregate do not see
//    that part; samples added in begin are written to the map and are seen.
//  - Iteration takes a snapshot by batches and sorts it by insertion number. Elements that come or go meanwhile may be in it or not; values may be of
//    slightly different moments. `delete a` removes what it finds until the map is empty once.

/// <summary>Globals on the maps of a BPF session.</summary>
public sealed partial class BpfGlobalStore : IGlobalStore, IDisposable
{
    private readonly BpfPlan _plan;
    private readonly BpfMap[] _maps;
    private readonly MappedMemory? _data;
    private readonly MemoryGlobalStore _host;
    private readonly Dictionary<int, ElementUpdater> _updaters = [];

    /// <summary>For the loader: the maps by id, and the data map's memory when there is one.</summary>
    public BpfGlobalStore(BpfPlan plan, BpfMap[] maps, MappedMemory? data)
    {
        (_plan, _maps, _data) = (plan, maps, data);
        _host = new MemoryGlobalStore(plan.Program.Globals) { NextSequence = data is null ? null : NextSequence };
    }

    /// <summary>True while kernel handlers may run.</summary>
    public bool KernelRuns { get; set; }

    public Value Read(Global scalar)
    {
        if (_plan.Globals[scalar.Index] is not GlobalStorage.Scalar place)
        {
            return _host.Read(scalar);
        }

        return scalar.Type == ScriptType.String ? ReadText(place) : Volatile.Read(ref _data!.Word(place.Offset));
    }

    public void Write(Global scalar, Value value)
    {
        if (_plan.Globals[scalar.Index] is not GlobalStorage.Scalar place)
        {
            _host.Write(scalar, value);
        }
        else if (scalar.Type == ScriptType.String)
        {
            Encode(value.Text ?? "", _data!.Span.Slice(place.Offset, place.Capacity));
        }
        else
        {
            Volatile.Write(ref _data!.Word(place.Offset), value.Long);
        }
    }

    public long Update(Global scalar, BinaryOperator op, long operand)
    {
        if (_plan.Globals[scalar.Index] is not GlobalStorage.Scalar place)
        {
            return _host.Update(scalar, op, operand);
        }

        ref var word = ref _data!.Word(place.Offset);
        if (op is BinaryOperator.Add or BinaryOperator.Subtract)
        {
            var by = op == BinaryOperator.Add ? operand : -operand;
            return Interlocked.Add(ref word, by) - by;
        }

        while (true)
        {
            var old = Volatile.Read(ref word);
            if (Interlocked.CompareExchange(ref word, Arithmetic.Apply(op, old, operand, default), old) == old)
            {
                return old;
            }
        }
    }

    public bool TryRead(Global array, in ArrayKey key, out Value value)
    {
        if (_plan.Globals[array.Index] is not GlobalStorage.Array place)
        {
            return _host.TryRead(array, key, out value);
        }

        Span<byte> bytes = stackalloc byte[place.Key.Size];
        var element = ElementBuffer(place);
        EncodeKey(place.Key, key, bytes);
        if (_maps[place.MapId].TryLookup(bytes, element))
        {
            value = Decode(array, element.AsSpan(GlobalStorage.Array.ValueOffset));
            return true;
        }

        value = array.Type == ScriptType.String ? "" : 0;
        return false;
    }

    public bool Write(Global array, in ArrayKey key, Value value)
    {
        if (_plan.Globals[array.Index] is not GlobalStorage.Array place)
        {
            return _host.Write(array, key, value);
        }

        Span<byte> bytes = stackalloc byte[place.Key.Size];
        EncodeKey(place.Key, key, bytes);
        var map = _maps[place.MapId];
        var element = ElementBuffer(place);
        var known = map.TryLookup(bytes, element);
        if (!known)
        {
            element.AsSpan().Clear();
            BinaryPrimitives.WriteInt64LittleEndian(element, NextSequence());
        }

        var text = element.AsSpan(GlobalStorage.Array.ValueOffset);
        if (array.Type == ScriptType.String)
        {
            Encode(value.Text ?? "", text[..place.ValueCapacity]);
        }
        else
        {
            BinaryPrimitives.WriteInt64LittleEndian(text, value.Long);
        }

        return Store(array, place.MapId, bytes, element, UpdateMode.Any);
    }

    public bool Update(Global array, in ArrayKey key, BinaryOperator op, long operand, out long oldValue)
    {
        if (_plan.Globals[array.Index] is not GlobalStorage.Array place)
        {
            return _host.Update(array, key, op, operand, out oldValue);
        }

        Span<byte> bytes = stackalloc byte[place.Key.Size];
        EncodeKey(place.Key, key, bytes);
        var map = _maps[place.MapId];
        var element = ElementBuffer(place);
        while (true)
        {
            if (KernelRuns && Updater(place).Apply(bytes, op, operand, out oldValue))
            {
                return true;
            }

            if (KernelRuns || !map.TryLookup(bytes, element))
            {
                oldValue = 0;
                element.AsSpan().Clear();
                BinaryPrimitives.WriteInt64LittleEndian(element, NextSequence());
                BinaryPrimitives.WriteInt64LittleEndian(element.AsSpan(GlobalStorage.Array.ValueOffset), Arithmetic.Apply(op, 0, operand, default));
                switch (TryStore(array, place.MapId, bytes, element, UpdateMode.NoExist))
                {
                    case 0: return true;
                    case -Errno.EEXIST: continue;
                    default: return false;
                }
            }

            oldValue = BinaryPrimitives.ReadInt64LittleEndian(element.AsSpan(GlobalStorage.Array.ValueOffset));
            var next = Arithmetic.Apply(op, oldValue, operand, default);
            BinaryPrimitives.WriteInt64LittleEndian(element.AsSpan(GlobalStorage.Array.ValueOffset), next);
            return Store(array, place.MapId, bytes, element, UpdateMode.Any);
        }
    }

    public bool Contains(Global array, in ArrayKey key)
    {
        var (map, layout, size) = Place(array);
        if (map < 0)
        {
            return _host.Contains(array, key);
        }

        Span<byte> bytes = stackalloc byte[layout.Size];
        EncodeKey(layout, key, bytes);
        return _maps[map].TryLookup(bytes, Buffer(size)) || (array.Type == ScriptType.Statistics && _host.Contains(array, key));
    }

    public void Delete(Global array, in ArrayKey key)
    {
        var (map, layout, _) = Place(array);
        if (map >= 0)
        {
            Span<byte> bytes = stackalloc byte[layout.Size];
            EncodeKey(layout, key, bytes);
            _maps[map].Delete(bytes);
        }

        _host.Delete(array, key);
    }

    public void Clear(Global global)
    {
        switch (_plan.Globals[global.Index])
        {
            case GlobalStorage.Scalar place when global.Type == ScriptType.String:
                _data!.Span.Slice(place.Offset, place.Capacity).Clear();
                break;
            case GlobalStorage.Scalar place:
                Volatile.Write(ref _data!.Word(place.Offset), 0);
                break;
            case GlobalStorage.ScalarStatistics place:
                ClearStatistics(place);
                break;
            case GlobalStorage.Array or GlobalStorage.StatisticsArray:
                var (map, layout, size) = Place(global);
                RemoveAll(_maps[map], layout.Size, size);
                break;
        }

        _host.Clear(global);
    }

    public void Dispose()
    {
        foreach (var updater in _updaters.Values)
        {
            updater.Dispose();
        }

        _updaters.Clear();
    }

    private long NextSequence() => Interlocked.Increment(ref _data!.Word(ControlBlock.Sequence));

    /// <summary>Map, key layout and bytes of an element (all CPUs); map −1 when the array lives in stap.</summary>
    private (int Map, KeyLayout Layout, int Size) Place(Global array) => _plan.Globals[array.Index] switch
    {
        GlobalStorage.Array a => (a.MapId, a.Key, _maps[a.MapId].ValueBytes),
        GlobalStorage.StatisticsArray s => (s.MapId, s.Key, _maps[s.MapId].ValueBytes),
        _ => (-1, NoKey, 0),
    };

    private static readonly KeyLayout NoKey = new([], []);

    private ElementUpdater Updater(GlobalStorage.Array place)
    {
        if (!_updaters.TryGetValue(place.MapId, out var updater))
        {
            updater = new ElementUpdater(_maps[place.MapId]);
            _updaters.Add(place.MapId, updater);
        }

        return updater;
    }

    private byte[] ElementBuffer(GlobalStorage.Array place) => Buffer(_maps[place.MapId].ValueBytes);

    private byte[] _buffer = [];

    // One buffer for look-ups: nothing calls back while it is in use.
    private byte[] Buffer(int size)
    {
        if (_buffer.Length != size)
        {
            _buffer = new byte[size];
        }

        return _buffer;
    }

    private bool Store(Global array, int map, ReadOnlySpan<byte> key, ReadOnlySpan<byte> element, UpdateMode mode) =>
        TryStore(array, map, key, element, mode) == 0;

    // A full `%` array drops its oldest element and tries again.
    private int TryStore(Global array, int map, ReadOnlySpan<byte> key, ReadOnlySpan<byte> element, UpdateMode mode)
    {
        for (var attempt = 0; ; attempt++)
        {
            var result = _maps[map].TryUpdate(key, element, mode);
            if (result != -Errno.E2BIG || !array.Wraps || attempt == 16 || !DropOldest(array))
            {
                return result;
            }
        }
    }

    private bool DropOldest(Global array)
    {
        var entries = Entries(array);
        if (entries.Count == 0)
        {
            return false;
        }

        Delete(array, entries[0].Key);
        return true;
    }

    private Value ReadText(GlobalStorage.Scalar place)
    {
        Span<byte> first = stackalloc byte[place.Capacity];
        Span<byte> second = stackalloc byte[place.Capacity];
        for (var i = 0; i < 8; i++)
        {
            _data!.Span.Slice(place.Offset, place.Capacity).CopyTo(first);
            Interlocked.MemoryBarrier();
            _data.Span.Slice(place.Offset, place.Capacity).CopyTo(second);
            if (first.SequenceEqual(second))
            {
                break;
            }
        }

        return DecodeText(first);
    }

    private static Value Decode(Global array, ReadOnlySpan<byte> bytes) =>
        array.Type == ScriptType.String ? DecodeText(bytes) : BinaryPrimitives.ReadInt64LittleEndian(bytes);

    private static string DecodeText(ReadOnlySpan<byte> bytes)
    {
        var end = bytes.IndexOf((byte)0);
        return Encoding.Latin1.GetString(end < 0 ? bytes : bytes[..end]);
    }

    /// <summary>Zero-padded, cut so that at least one NUL remains.</summary>
    private static void Encode(string text, Span<byte> room)
    {
        var cut = text.AsSpan(0, Math.Min(text.Length, room.Length - 1));
        Encoding.Latin1.GetBytes(cut, room);
        room[cut.Length..].Clear();
    }

    private static void EncodeKey(KeyLayout layout, in ArrayKey key, Span<byte> bytes)
    {
        var at = 0;
        for (var i = 0; i < layout.Types.Count; i++)
        {
            var room = bytes.Slice(at, layout.Capacities[i]);
            if (layout.Types[i] == ScriptType.String)
            {
                Encode(key.Parts[i].Text ?? "", room);
            }
            else
            {
                BinaryPrimitives.WriteInt64LittleEndian(room, key.Parts[i].Long);
            }

            at += layout.Capacities[i];
        }
    }

    private static ArrayKey DecodeKey(KeyLayout layout, ReadOnlySpan<byte> bytes)
    {
        var parts = new Value[layout.Types.Count];
        var at = 0;
        for (var i = 0; i < parts.Length; i++)
        {
            var part = bytes.Slice(at, layout.Capacities[i]);
            parts[i] = layout.Types[i] == ScriptType.String ? DecodeText(part) : BinaryPrimitives.ReadInt64LittleEndian(part);
            at += layout.Capacities[i];
        }

        return new ArrayKey(parts);
    }
}
