namespace Linux.Bpf;

// The ring of a perf event: page 0 is struct perf_event_mmap_page, whose data_head (byte 1024) the kernel advances and whose data_tail (1032) we do; then
// 2^n pages of data. Records wrap, so one that does is copied. Header: u32 type, u16 misc, u16 size.

/// <summary>Receives records of a perf ring.</summary>
public interface IPerfRecordHandler
{
    /// <summary>Called for each record; the span (without its header) is valid only during the call.</summary>
    void OnRecord(uint type, ushort misc, ReadOnlySpan<byte> body);
}

/// <summary>What processes do to their address space, as the kernel announces it (Linux 3.12; on one CPU).</summary>
/// <remarks>
/// Records of kinds <see cref="Mmap2"/> (executable mappings only), <see cref="Comm"/> (exec only), <see cref="Fork"/> and <see cref="Exit"/>; at the end of each stand the pid and
/// tid (u32 each) and CLOCK_MONOTONIC in ns (u64), see <see cref="SampleIdSize"/>.
/// </remarks>
public sealed unsafe class PerfRing : IDisposable
{
    public const uint Lost = 2, Comm = 3, Exit = 4, Fork = 7, Mmap2 = 10;

    /// <summary>Bit of misc in <see cref="Comm"/> records: by exec.</summary>
    public const ushort MiscCommExec = 1 << 13;

    /// <summary>Bytes at a record's end: pid, tid, time.</summary>
    public const int SampleIdSize = 16;

    private const int Header = 8, HeadOffset = 1024, TailOffset = 1032;
    private readonly PerfEvent _event;
    private readonly byte* _page;
    private readonly nuint _length;
    private readonly int _size;
    private byte[] _copy = new byte[512];

    private PerfRing(PerfEvent e, byte* page, nuint length, int size)
    {
        _event = e;
        _page = page;
        _length = length;
        _size = size;
    }

    /// <summary>Records that did not fit.</summary>
    public long LostRecords { get; private set; }

    /// <summary>Opens the announcements of one CPU and starts them.</summary>
    /// <param name="cpu">The CPU.</param>
    /// <param name="pages">Pages of data, a power of two.</param>
    /// <param name="sys">The kernel; the running one if null.</param>
    public static PerfRing OpenMappings(int cpu, int pages = 64, IBpfSys? sys = null)
    {
        sys ??= LinuxBpfSys.Instance;
        const ulong sampleTidTime = 1 << 1 | 1 << 2;
        var attr = new PerfEventAttr
        {
            Type = PerfType.Software,
            Config = (ulong)SoftwareEvent.Dummy,
            SampleType = sampleTidTime,
            Flags = PerfFlags.Disabled | PerfFlags.Mmap | PerfFlags.Comm | PerfFlags.Task | PerfFlags.SampleIdAll | PerfFlags.Mmap2 | PerfFlags.CommExec | PerfFlags.UseClockId,
            ClockId = 1,
        };
        var e = PerfEvent.Open("mappings of processes", attr, -1, cpu, sys);
        var page = (nuint)Environment.SystemPageSize;
        var length = page * (nuint)(pages + 1);
        var memory = sys.Mmap(0, length, 3, 1, e.Fd, 0);
        if (memory is < 0 and > -4096)
        {
            e.Dispose();
            throw new BpfException("perf event \"mappings of processes\"", "map its ring", (int)-memory, "see /proc/sys/kernel/perf_event_mlock_kb");
        }
        e.Enable();
        return new PerfRing(e, (byte*)memory, length, (int)page * pages);
    }

    /// <summary>Gives the handler all records there are.</summary>
    public void Drain(IPerfRecordHandler handler)
    {
        var head = Volatile.Read(ref *(ulong*)(_page + HeadOffset));
        var tail = *(ulong*)(_page + TailOffset);
        var data = _page + Environment.SystemPageSize;
        while (tail < head)
        {
            var at = (int)(tail % (ulong)_size);
            var type = *(uint*)(data + at);
            var misc = *(ushort*)(data + at + 4);
            int size = *(ushort*)(data + at + 6);
            if (size < Header)
                break;
            if (at + size <= _size)
            {
                Give(new ReadOnlySpan<byte>(data + at + Header, size - Header));
            }
            else
            {
                if (_copy.Length < size)
                    _copy = new byte[size];
                var first = _size - at;
                new ReadOnlySpan<byte>(data + at, first).CopyTo(_copy);
                new ReadOnlySpan<byte>(data, size - first).CopyTo(_copy.AsSpan(first));
                Give(_copy.AsSpan(Header, size - Header));
            }
            tail += (ulong)size;

            void Give(ReadOnlySpan<byte> body)
            {
                if (type == Lost)
                    LostRecords += body.Length >= 16 ? BitConverter.ToInt64(body[8..]) : 1;
                else
                    handler.OnRecord(type, misc, body);
            }
        }
        Volatile.Write(ref *(ulong*)(_page + TailOffset), tail);
    }

    /// <summary>Stops the announcements.</summary>
    public void Dispose()
    {
        if (_event.Fd < 0)
            return;
        _event.Sys.Munmap((nint)_page, _length);
        _event.Dispose();
    }
}
