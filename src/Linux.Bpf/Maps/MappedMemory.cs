namespace Linux.Bpf;

/// <summary>A map's memory shared with the kernel. Words up to 8 bytes are read and written whole; anything larger may be torn by running programs.</summary>
public sealed unsafe class MappedMemory : IDisposable
{
    private readonly IBpfSys _sys;
    private readonly nuint _mapped;
    private nint _address;

    internal MappedMemory(IBpfSys sys, nint address, nuint mapped, int length)
    {
        (_sys, _address, _mapped, Length) = (sys, address, mapped, length);
    }

    /// <summary>Usable bytes.</summary>
    public int Length { get; }
    /// <summary>First byte; null once disposed.</summary>
    public byte* Pointer => (byte*)_address;
    /// <summary>The bytes; empty once disposed. Must not be used after disposal.</summary>
    public Span<byte> Span => _address == 0 ? default : new(Pointer, Length);

    /// <summary>A 64-bit word for atomic access; the offset must be a multiple of 8.</summary>
    public ref long Word(int offset)
    {
        if (_address == 0 || (uint)offset > (uint)(Length - 8) || (offset & 7) != 0)
            throw new BpfException("mapped memory", $"reach a word at offset {offset} of {Length}", Errno.EINVAL);
        return ref *(long*)(Pointer + offset);
    }

    /// <summary>Unmaps.</summary>
    public void Dispose()
    {
        nint address = Interlocked.Exchange(ref _address, 0);
        if (address != 0)
            _sys.Munmap(address, _mapped);
    }
}

public sealed unsafe partial class BpfMap
{
    /// <summary>Maps a <see cref="MapFlags.Mmapable"/> array into memory: element i starts at i × (value size rounded up to 8). Linux 5.5.</summary>
    /// <param name="writable">False for frozen maps.</param>
    public MappedMemory Map(bool writable = true)
    {
        long length = (long)PerCpu.Stride(Spec.ValueSize) * Spec.MaxEntries;
        long page = Environment.SystemPageSize;
        nuint rounded = (nuint)((length + page - 1) / page * page);
        nint address = Sys.Mmap(0, rounded, writable ? 3 : 1, 1 /* MAP_SHARED */, Fd, 0);
        if (address is < 0 and > -4096)
            throw new BpfException($"map \"{Name}\"", "map into memory", (int)-address, address == -Errno.ENOTSUPP || address == -Errno.EINVAL
                ? "only arrays created with the Mmapable flag can be mapped" : null);
        return new MappedMemory(Sys, address, rounded, checked((int)length));
    }
}
