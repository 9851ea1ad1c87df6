using System.Runtime.CompilerServices;

namespace Linux.Bpf;

// Reading a BPF ring buffer
// -------------------------
// The kernel's side (kernel/bpf/ringbuf.c) is one ring for all CPUs. Programs reserve a record, fill it, and commit; records become
// visible in the order of reservation, so one slow program holds back those behind it. We are the only consumer.
//
// Memory, as mapped here:
//
//     page 0      consumer position, a 64-bit byte count that only grows; we write it                      (read-write mapping)
//     page 1      producer position, likewise; the kernel writes it                                        ┐ read-only mapping
//     page 2 …    the data, then the same data once more, so that a record that wraps is still one span    ┘
//
//     record      u32 length | busy bit 31 | discard bit 30;  u32 page offset (kernel's);  payload;  padding to 8 bytes
//
// The dance of memory orders: load the producer position with acquire, load a record's length with acquire (its busy bit is
// cleared with release after the payload was written), read the payload in place, and store the consumer position with release
// only when we are done with the payload, because the kernel may overwrite it from then on. Positions count bytes for ever; the
// place in the data is position modulo size.
//
// Commits: every store to the consumer position takes the cache line from the producers, so it is done once per batch: when a drain ends,
// when the handler stops it, or when an eighth of the ring has been read – a long drain must give space back while it works.
//
// Waking up: at ordinary rates the wake-up is what an event costs (8 µs here, against 0.5 µs without). So programs should
// send with NoWakeup and the reader look each 5–10 ms (RingPoller.Wait with a timeout); a program that must be heard at
// once (exit, error) sends with ForceWakeup. Both work with this class. With default flags the kernel wakes only if the
// consumer had caught up, judged by our position: hence the full barrier between storing it and looking again, else both
// sides could conclude the other one will act.
//
// Two ways to read. Drain pushes each record to a handler, a struct so that the call is inlined and nothing is allocated. TryPeek and
// Advance pull, for callers that merge several rings by time and must look at a head without taking it.
//
// Deliberately not done: sharing a reader between threads (one thread, no locks), overwrite mode (6.19; its reader must tolerate the
// producer overtaking it), and copying: the span a handler gets is the kernel's memory and is valid only during the call.

/// <summary>Receives records of a ring.</summary>
public interface IRingHandler
{
    /// <summary>Called for each record; the span is valid only during the call. False stops the drain after this record.</summary>
    bool OnRecord(ReadOnlySpan<byte> record);
}

/// <summary>Flags of <c>bpf_ringbuf_submit</c>, <c>_output</c> and <c>_discard</c>, for program generators.</summary>
[Flags]
public enum RingFlags { None = 0, NoWakeup = 1, ForceWakeup = 2 }

/// <summary>The reader of one ring buffer map. Not thread-safe. Linux 5.8.</summary>
public sealed unsafe class RingBuffer : IDisposable
{
    private const uint Busy = 1u << 31, Discarded = 1u << 30;
    private const int Header = 8;

    private readonly IBpfSys _sys;
    private readonly nuint _page, _readLength;
    private readonly ulong _mask, _batch;
    private byte* _consumer, _producer, _data;
    private ulong _position, _committed, _peeked;

    /// <summary>Maps the ring. The map may be disposed afterwards.</summary>
    /// <exception cref="BpfException">Not a ring buffer, or not enough memory to map it.</exception>
    public RingBuffer(BpfMap map)
    {
        _sys = map.Sys;
        Map = map;
        _page = (nuint)Environment.SystemPageSize;
        Size = map.Spec.MaxEntries;
        _mask = (ulong)Size - 1;
        _batch = (ulong)Size / 8;
        _readLength = _page + 2 * (nuint)Size;
        nint consumer = _sys.Mmap(0, _page, 3, 1, map.Fd, 0);
        if (consumer is < 0 and > -4096)
            throw new BpfException($"ring buffer \"{map.Name}\"", "map its consumer page", (int)-consumer);
        nint producer = _sys.Mmap(0, _readLength, 1, 1, map.Fd, (long)_page);
        if (producer is < 0 and > -4096)
        {
            _sys.Munmap(consumer, _page);
            throw new BpfException($"ring buffer \"{map.Name}\"", "map its data", (int)-producer);
        }
        _consumer = (byte*)consumer;
        _producer = (byte*)producer;
        _data = _producer + _page;
        _position = _committed = Volatile.Read(ref *(ulong*)_consumer);
    }

    /// <summary>The map read from.</summary>
    public BpfMap Map { get; }
    /// <summary>Bytes of the data area.</summary>
    public int Size { get; }
    /// <summary>Bytes reserved by programs and not yet read, headers included; some of it may still be under construction.</summary>
    public long Available => _consumer == null ? 0 : (long)(Volatile.Read(ref *(ulong*)_producer) - _position);
    /// <summary>Total bytes ever produced, headers included: tells whether anything new came since a moment.</summary>
    public ulong ProducerPosition => _producer == null ? 0 : Volatile.Read(ref *(ulong*)_producer);
    /// <summary>Total bytes read so far.</summary>
    public ulong ConsumerPosition => _position;

    /// <summary>
    /// Gives the handler all complete records, at most so many. Records made during the drain are read too. A handler that throws has not
    /// taken its record: the next drain gives it again.
    /// </summary>
    /// <returns>Number of records given.</returns>
    public int Drain<THandler>(ref THandler handler, int limit = int.MaxValue) where THandler : IRingHandler, allows ref struct
    {
        int count = 0;
        try
        {
            while (count < limit && TryPeek(out ReadOnlySpan<byte> record))
            {
                count++;
                bool more = handler.OnRecord(record);
                Advance();
                if (!more)
                    break;
            }
        }
        finally
        {
            Commit();
        }
        return count;
    }

    /// <summary>As <see cref="Drain{THandler}"/>, with a plain function and a state pointer.</summary>
    public int Drain(delegate*<void*, byte*, int, bool> handler, void* state, int limit = int.MaxValue)
    {
        var adapter = new PointerHandler(handler, state);
        return Drain(ref adapter, limit);
    }

    private readonly struct PointerHandler(delegate*<void*, byte*, int, bool> function, void* state) : IRingHandler
    {
        public bool OnRecord(ReadOnlySpan<byte> record)
        {
            fixed (byte* p = record)
                return function(state, p, record.Length);
        }
    }

    /// <summary>The next complete record without taking it; discarded ones are passed over. The span is valid until <see cref="Advance"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryPeek(out ReadOnlySpan<byte> record)
    {
        record = default;
        if (_consumer == null)
            return false;
        while (true)
        {
            if (_position == Volatile.Read(ref *(ulong*)_producer))
            {
                if (_position == _committed)
                    return false;
                // Give the space back, then look once more: see "Waking up" above.
                Commit();
                if (_position == Volatile.Read(ref *(ulong*)_producer))
                    return false;
            }
            byte* at = _data + (_position & _mask);
            uint header = Volatile.Read(ref *(uint*)at);
            if ((header & Busy) != 0)
                return false;
            int length = (int)(header & ~(Busy | Discarded));
            _peeked = ((ulong)length + Header + 7) & ~7UL;
            if ((header & Discarded) == 0)
            {
                record = new ReadOnlySpan<byte>(at + Header, length);
                return true;
            }
            Advance();
        }
    }

    /// <summary>Takes the record seen by <see cref="TryPeek"/>. Its memory goes back to the kernel at the next commit.</summary>
    public void Advance()
    {
        _position += _peeked;
        _peeked = 0;
        if (_position - _committed >= _batch)
            Commit();
    }

    /// <summary>Gives the space of the records taken so far back to the kernel.</summary>
    public void Commit()
    {
        if (_position == _committed || _consumer == null)
            return;
        Volatile.Write(ref *(ulong*)_consumer, _position);
        _committed = _position;
        Interlocked.MemoryBarrier();
    }

    /// <summary>Unmaps.</summary>
    public void Dispose()
    {
        if (_consumer == null)
            return;
        _sys.Munmap((nint)_consumer, _page);
        _sys.Munmap((nint)_producer, _readLength);
        _consumer = _producer = _data = null;
    }
}
