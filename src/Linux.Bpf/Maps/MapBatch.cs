namespace Linux.Bpf;

/// <summary>
/// Place of a walk over a map by batches. Reusable after <see cref="Reset"/>. The kernel's own position (a bucket number in hashes, a key
/// elsewhere) is opaque.
/// </summary>
public sealed class BatchCursor
{
    internal byte[] Position = [];
    internal byte[] Next = [];

    /// <summary>True when the walk has reached the end.</summary>
    public bool Done { get; internal set; }
    /// <summary>
    /// True when one hash bucket holds more entries than the caller's buffers: nothing was read; call again with larger ones.
    /// </summary>
    public bool BufferTooSmall { get; internal set; }
    internal bool Started { get; set; }

    /// <summary>Back to the beginning.</summary>
    public void Reset() => (Done, Started, BufferTooSmall) = (false, false, false);
}

public sealed unsafe partial class BpfMap
{
    // Which of the batch commands this map's type refused, so that it is not asked again.
    private int _noBatch;

    /// <summary>True once the kernel has refused a batch command for this map type and single operations are used instead.</summary>
    public bool UsesBatchFallback => _noBatch != 0;

    /// <summary>
    /// Reads the next entries into keys and values, as many as both can hold. Entries changed meanwhile may be seen twice or not at all.
    /// Kernels or types without batches are walked key by key. Linux 5.6.
    /// </summary>
    /// <returns>Entries read; the walk is over when <see cref="BatchCursor.Done"/>.</returns>
    public int LookupBatch(BatchCursor cursor, Span<byte> keys, Span<byte> values) => Batch(BpfCommand.MapLookupBatch, cursor, keys, values);

    /// <summary>As <see cref="LookupBatch"/>, removing what is read. For hashes; in the fallback an entry changed between look-up and removal is lost in that change.</summary>
    public int LookupAndDeleteBatch(BatchCursor cursor, Span<byte> keys, Span<byte> values) => Batch(BpfCommand.MapLookupAndDeleteBatch, cursor, keys, values);

    /// <summary>Inserts or replaces so many entries.</summary>
    public void UpdateBatch(ReadOnlySpan<byte> keys, ReadOnlySpan<byte> values, int count, UpdateMode mode = UpdateMode.Any)
    {
        CheckBatch(keys.Length, values.Length, count);
        int done = 0;
        if (Allowed(BpfCommand.MapUpdateBatch))
            fixed (byte* k = keys, v = values)
            {
                MapBatchAttr attr = new() { MapFd = Fd, Keys = (ulong)k, Values = (ulong)v, Count = (uint)count, ElemFlags = (ulong)mode };
                long result = Sys.Bpf(BpfCommand.MapUpdateBatch, &attr, sizeof(MapBatchAttr));
                if (result >= 0)
                    return;
                if (!Unsupported(BpfCommand.MapUpdateBatch, result))
                    BpfException.Check(result, "map", Name, $"update entry {attr.Count} of a batch of {count}");
            }
        for (; done < count; done++)
            Update(keys.Slice(done * Spec.KeySize, Spec.KeySize), values.Slice(done * ValueBytes, ValueBytes), mode);
    }

    /// <summary>Removes so many keys; absent ones are passed over.</summary>
    /// <returns>Number removed.</returns>
    public int DeleteBatch(ReadOnlySpan<byte> keys, int count)
    {
        CheckBatch(keys.Length, int.MaxValue, count);
        int at = 0, removed = 0;
        if (Allowed(BpfCommand.MapDeleteBatch))
            fixed (byte* k = keys)
                while (at < count)
                {
                    MapBatchAttr attr = new() { MapFd = Fd, Keys = (ulong)(k + (long)at * Spec.KeySize), Count = (uint)(count - at) };
                    long result = Sys.Bpf(BpfCommand.MapDeleteBatch, &attr, sizeof(MapBatchAttr));
                    if (result >= 0)
                        return removed + count - at;
                    if (Unsupported(BpfCommand.MapDeleteBatch, result))
                        break;
                    if (result != -Errno.ENOENT)
                        BpfException.Check(result, "map", Name, "delete a batch");
                    // The kernel stops at the first absent key and says how many came before it.
                    removed += (int)attr.Count;
                    at += (int)attr.Count + 1;
                }
        for (; at < count; at++)
            if (Delete(keys.Slice(at * Spec.KeySize, Spec.KeySize)))
                removed++;
        return removed;
    }

    private int Batch(BpfCommand command, BatchCursor cursor, Span<byte> keys, Span<byte> values)
    {
        cursor.BufferTooSmall = false;
        if (cursor.Done)
            return 0;
        int capacity = Math.Min(keys.Length / Spec.KeySize, ValueBytes == 0 ? int.MaxValue : values.Length / ValueBytes);
        CheckBatch(keys.Length, values.Length, Math.Max(capacity, 1));
        int state = Math.Max(Spec.KeySize, 8);
        if (cursor.Position.Length < state)
            (cursor.Position, cursor.Next) = (new byte[state], new byte[state]);
        if (!Allowed(command))
            return Walk(command, cursor, keys, values, capacity);

        fixed (byte* k = keys, v = values, from = cursor.Position, to = cursor.Next)
        {
            MapBatchAttr attr = new()
            {
                MapFd = Fd, Keys = (ulong)k, Values = (ulong)v, Count = (uint)capacity,
                InBatch = cursor.Started ? (ulong)from : 0, OutBatch = (ulong)to,
            };
            long result = Sys.Bpf(command, &attr, sizeof(MapBatchAttr));
            if (!cursor.Started && Unsupported(command, result))
                return Walk(command, cursor, keys, values, capacity);
            if (result == -Errno.ENOSPC)
            {
                cursor.BufferTooSmall = true;
                return 0;
            }
            if (result is < 0 and not -Errno.ENOENT)
                BpfException.Check(result, "map", Name, "read a batch");
            (cursor.Position, cursor.Next) = (cursor.Next, cursor.Position);
            cursor.Started = true;
            cursor.Done = result == -Errno.ENOENT;
            return (int)attr.Count;
        }
    }

    // Single operations in place of a batch: the position is the last key read. When removing, the first key is always next.
    private int Walk(BpfCommand command, BatchCursor cursor, Span<byte> keys, Span<byte> values, int capacity)
    {
        bool remove = command == BpfCommand.MapLookupAndDeleteBatch;
        int size = Spec.KeySize, count = 0;
        while (count < capacity)
        {
            Span<byte> key = keys.Slice(count * size, size);
            ReadOnlySpan<byte> previous = remove || !cursor.Started ? default : cursor.Position.AsSpan(0, size);
            if (!NextKey(previous, key))
            {
                cursor.Done = true;
                break;
            }
            cursor.Started = true;
            key.CopyTo(cursor.Position);
            if (!TryLookup(key, values.Slice(count * ValueBytes, ValueBytes)))
                continue; // Removed between the two calls.
            if (remove && !Delete(key))
                continue;
            count++;
        }
        return count;
    }

    private bool Allowed(BpfCommand command) => (_noBatch & (1 << (command - BpfCommand.MapLookupBatch))) == 0;

    private bool Unsupported(BpfCommand command, long result)
    {
        if (result is not (-Errno.ENOTSUPP or -Errno.EOPNOTSUPP or -Errno.EINVAL))
            return false;
        _noBatch |= 1 << (command - BpfCommand.MapLookupBatch);
        return true;
    }

    private void CheckBatch(int keys, int values, int count)
    {
        if ((long)count * Spec.KeySize > keys || (long)count * ValueBytes > values)
            throw new BpfException($"map \"{Name}\"", $"work on a batch of {count} entries in {keys} bytes of keys and {values} of values", Errno.EINVAL, "give larger buffers");
    }
}
