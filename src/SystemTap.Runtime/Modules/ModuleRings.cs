using System.Runtime.InteropServices;

namespace SystemTap.Runtime.Modules;

/// <summary>What a session does with the records of a module.</summary>
internal interface IModuleRecords
{
    /// <summary>One record, made on <paramref name="cpu"/>; pieces of one print come one after the other, all but the last with <paramref name="more"/>.</summary>
    void Take(int cpu, int type, ReadOnlySpan<byte> bytes, bool more);
}

/// <summary>
/// Reads a module's per-CPU rings in the order of the records' numbers. A number that is missing was given to a record that is still being written: it is
/// waited for, a moment at most, for the handler that writes it may be interrupted by one that wrote a later record into the same ring.
/// </summary>
internal sealed unsafe class ModuleRings : IDisposable
{
    private const int HeadAt = 0, TailAt = 64, RecordHeader = 16;
    private readonly byte* _base;
    private readonly nuint _bytes;
    private readonly int _cpus;
    private readonly ulong _ringBytes;
    private readonly nuint _each;
    private ulong _next;
    private long _gapSince;
    private int _piecesOf = -1;
    private byte[] _wrapped = new byte[8192];

    public ModuleRings(int control, in ModuleTransport.Info info)
    {
        _cpus = (int)info.Cpus;
        _ringBytes = info.RingBytes;
        _each = (nuint)(_ringBytes + (ulong)Environment.SystemPageSize);
        _bytes = _each * (nuint)_cpus;
        _base = (byte*)ModuleTransport.mmap(null, _bytes, 3 /* read, write */, 1 /* shared */, control, 0);
        if (_base == (byte*)-1)
        {
            throw new ModuleException($"the module's output buffers cannot be mapped: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    /// <summary>Records below this number are written or gone: of a session that ran without a reader. Their gaps are not waited for.</summary>
    public ulong Settled { get; set; }

    /// <summary>
    /// Hands over what is there. <paramref name="final"/>: nobody writes any more, so nothing is waited for. Records from number <paramref name="end"/> on stay. Yields how many it were.
    /// </summary>
    public int Drain(IModuleRecords to, bool final, ulong end = ulong.MaxValue)
    {
        var taken = 0;
        while (true)
        {
            var (cpu, number) = Oldest();
            if (cpu < 0 || (number >= end && _piecesOf < 0))
            {
                return taken;
            }

            if (_piecesOf >= 0 && cpu != _piecesOf && HasRecord(_piecesOf, out _))
            {
                cpu = _piecesOf;
            }
            else if (number != _next && number >= Settled && !final && _piecesOf < 0)
            {
                var now = Environment.TickCount64;
                _gapSince = _gapSince == 0 ? now : _gapSince;
                if (now - _gapSince < 30)
                {
                    return taken;
                }
            }

            _gapSince = 0;
            _next = Math.Max(_next, number + 1);
            TakeFrom(cpu, to);
            taken++;
        }
    }

    public void Dispose()
    {
        _ = ModuleTransport.munmap(_base, _bytes);
    }

    private byte* Page(int cpu) => _base + (_each * (nuint)cpu);

    private bool HasRecord(int cpu, out ulong number)
    {
        var page = Page(cpu);
        ulong head = Volatile.Read(ref *(ulong*)(page + HeadAt)), tail = *(ulong*)(page + TailAt);
        number = 0;
        if (head == tail)
        {
            return false;
        }

        // Records are aligned to 8 bytes: the two halves of a header can be on both ends of the ring.
        number = *(ulong*)(page + Environment.SystemPageSize + ((tail + 8) & (_ringBytes - 1)));
        return true;
    }

    private (int Cpu, ulong Number) Oldest()
    {
        var (best, least) = (-1, ulong.MaxValue);
        for (var cpu = 0; cpu < _cpus; cpu++)
        {
            if (HasRecord(cpu, out var number) && number < least)
            {
                (best, least) = (cpu, number);
            }
        }

        return (best, least);
    }

    private void TakeFrom(int cpu, IModuleRecords to)
    {
        var page = Page(cpu);
        var data = page + Environment.SystemPageSize;
        var mask = _ringBytes - 1;
        var tail = *(ulong*)(page + TailAt);
        var head = data + (tail & mask);
        int bytes = *(int*)head, type = *(ushort*)(head + 4);
        var more = *(ushort*)(head + 6) != 0;
        var from = (tail + RecordHeader) & mask;
        if (from + (ulong)bytes <= _ringBytes)
        {
            to.Take(cpu, type, new ReadOnlySpan<byte>(data + from, bytes), more);
        }
        else
        {
            if (_wrapped.Length < bytes)
            {
                _wrapped = new byte[bytes];
            }

            var first = (int)(_ringBytes - from);
            new ReadOnlySpan<byte>(data + from, first).CopyTo(_wrapped);
            new ReadOnlySpan<byte>(data, bytes - first).CopyTo(_wrapped.AsSpan(first));
            to.Take(cpu, type, _wrapped.AsSpan(0, bytes), more);
        }

        _piecesOf = more ? cpu : -1;
        Volatile.Write(ref *(ulong*)(page + TailAt), tail + (((ulong)(RecordHeader + bytes) + 7) & ~7UL));
    }
}
