using System.Runtime.CompilerServices;

namespace Linux.Bpf;

/// <summary>
/// A map in the kernel. Keys and values are bytes in host order; nothing is allocated per call. In per-CPU maps a value is one
/// slot per possible CPU, each rounded up to 8 bytes: see <see cref="ValueBytes"/> and <see cref="PerCpu"/>.
/// </summary>
public sealed unsafe partial class BpfMap : IDisposable
{
    private readonly KernelFd _fd;

    private BpfMap(MapSpec spec, KernelFd fd)
    {
        (Spec, _fd) = (spec, fd);
        IsPerCpu = spec.Type is MapType.PerCpuArray or MapType.PerCpuHash or MapType.LruPerCpuHash or MapType.PerCpuCgroupStorage;
        ValueBytes = IsPerCpu ? PerCpu.Stride(spec.ValueSize) * fd.Sys.PossibleCpus
            : spec.Type is MapType.ArrayOfMaps or MapType.HashOfMaps or MapType.ProgArray or MapType.PerfEventArray ? 4 : spec.ValueSize;
    }

    /// <summary>What it was made from.</summary>
    public MapSpec Spec { get; }
    /// <summary>Name given at creation.</summary>
    public string Name => Spec.Name;
    /// <summary>The descriptor; -1 once closed.</summary>
    public int Fd => _fd.Value;
    /// <summary>True if a value is one slot per possible CPU.</summary>
    public bool IsPerCpu { get; }
    /// <summary>Bytes a value takes in the calls of this class: all CPUs of a per-CPU map.</summary>
    public int ValueBytes { get; }
    internal IBpfSys Sys => _fd.Sys;

    /// <summary>Creates the map.</summary>
    /// <exception cref="BpfException">Refused: not permitted, out of memory, or a type or flag this kernel does not have.</exception>
    public static BpfMap Create(MapSpec spec, IBpfSys? sys = null)
    {
        sys ??= LinuxBpfSys.Instance;
        using BpfMap? inner = spec.InnerMap is null ? null : Create(spec.InnerMap, sys);
        MapCreateAttr attr = default;
        attr.MapType = spec.Type;
        attr.KeySize = (uint)spec.KeySize;
        attr.ValueSize = (uint)spec.ValueSize;
        attr.MaxEntries = (uint)spec.MaxEntries;
        attr.MapFlags = spec.Flags;
        attr.MapName = ObjectName.From(spec.Name);
        attr.InnerMapFd = inner?.Fd ?? 0;
        attr.BtfFd = spec.BtfFd;
        attr.BtfKeyTypeId = (uint)spec.BtfKeyTypeId;
        attr.BtfValueTypeId = (uint)spec.BtfValueTypeId;
        attr.MapExtra = spec.MapExtra;
        long fd = sys.Bpf(BpfCommand.MapCreate, &attr, sizeof(MapCreateAttr));
        BpfException.Check(fd, "map", spec.Name, "create", fd switch
        {
            -Errno.EINVAL => $"this kernel may not have the map type, or a size is out of range (type {(uint)spec.Type}, key {spec.KeySize}, value {spec.ValueSize}, entries {spec.MaxEntries})",
            -Errno.E2BIG => $"key {spec.KeySize} bytes, value {spec.ValueSize} bytes, {spec.MaxEntries} entries are more than this map type allows",
            _ => null,
        });
        return new BpfMap(spec, new KernelFd(sys, (int)fd));
    }

    /// <summary>Takes over a descriptor that is already open; sizes are asked of the kernel.</summary>
    public static BpfMap FromFd(int fd, IBpfSys? sys = null)
    {
        sys ??= LinuxBpfSys.Instance;
        MapInfoData info = ReadInfo(sys, fd, "?");
        var spec = new MapSpec(info.Name.ToString(), info.Type, (int)info.KeySize, (int)info.ValueSize, (int)info.MaxEntries, info.Flags);
        return new BpfMap(spec, new KernelFd(sys, fd));
    }

    /// <summary>Opens a map by its kernel id (an inner map's id is what a look-up in the outer map gives).</summary>
    public static BpfMap FromId(uint id, IBpfSys? sys = null)
    {
        sys ??= LinuxBpfSys.Instance;
        IdAttr attr = new() { Id = id };
        long fd = sys.Bpf(BpfCommand.MapGetFdById, &attr, sizeof(IdAttr));
        BpfException.Check(fd, "map id", id.ToString(System.Globalization.CultureInfo.InvariantCulture), "open");
        return FromFd((int)fd, sys);
    }

    /// <summary>The kernel's id of this map.</summary>
    public uint Id => ReadInfo(Sys, Fd, Name).Id;

    private static MapInfoData ReadInfo(IBpfSys sys, int fd, string name)
    {
        MapInfoData info = default;
        ObjInfoAttr attr = new() { Fd = fd, InfoLen = (uint)sizeof(MapInfoData), Info = (ulong)&info };
        BpfException.Check(sys.Bpf(BpfCommand.ObjGetInfoByFd, &attr, sizeof(ObjInfoAttr)), "map", name, "read its description");
        return info;
    }

    /// <summary>Copies the value out; false if the key is absent.</summary>
    public bool TryLookup(ReadOnlySpan<byte> key, Span<byte> value) =>
        Element(BpfCommand.MapLookupElem, key, value, "look up", 0);

    /// <summary>Copies the value out and removes the entry; false if absent. Hash types since Linux 5.14, queues and stacks since 4.20.</summary>
    public bool TryLookupAndDelete(ReadOnlySpan<byte> key, Span<byte> value) =>
        Element(BpfCommand.MapLookupAndDeleteElem, key, value, "take out", 0);

    /// <summary>Inserts or replaces.</summary>
    /// <exception cref="BpfException">E2BIG: the map is full; EEXIST or ENOENT by the mode.</exception>
    public void Update(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, UpdateMode mode = UpdateMode.Any)
    {
        long result = TryUpdate(key, value, mode);
        BpfException.Check(result, "map", Name, "update", result == -Errno.E2BIG ? $"it is full ({Spec.MaxEntries} entries)" : null);
    }

    /// <summary>Inserts or replaces; gives 0 or the negated errno.</summary>
    public int TryUpdate(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, UpdateMode mode = UpdateMode.Any)
    {
        CheckSizes(key.Length, value.Length);
        fixed (byte* k = key, v = value)
        {
            MapElemAttr attr = new() { MapFd = Fd, Key = (ulong)k, Value = (ulong)v, Flags = (ulong)mode };
            return (int)Sys.Bpf(BpfCommand.MapUpdateElem, &attr, sizeof(MapElemAttr));
        }
    }

    /// <summary>Removes; false if the key is absent.</summary>
    public bool Delete(ReadOnlySpan<byte> key)
    {
        CheckSizes(key.Length, ValueBytes);
        fixed (byte* k = key)
        {
            MapElemAttr attr = new() { MapFd = Fd, Key = (ulong)k };
            return Found(Sys.Bpf(BpfCommand.MapDeleteElem, &attr, sizeof(MapElemAttr)), "delete from");
        }
    }

    /// <summary>
    /// The key after the given one in the kernel's order; an empty span asks for the first. False at the end. If the key was
    /// deleted meanwhile, a hash starts again from its first key.
    /// </summary>
    public bool NextKey(ReadOnlySpan<byte> key, Span<byte> next)
    {
        CheckSizes(next.Length, ValueBytes);
        fixed (byte* k = key, n = next)
        {
            MapElemAttr attr = new() { MapFd = Fd, Key = key.IsEmpty ? 0 : (ulong)k, Value = (ulong)n };
            return Found(Sys.Bpf(BpfCommand.MapGetNextKey, &attr, sizeof(MapElemAttr)), "walk");
        }
    }

    /// <summary>Makes the map read-only for user space, for good. With <see cref="MapFlags.ReadOnlyProgram"/> the verifier then takes its content as constant. Linux 5.2.</summary>
    public void Freeze()
    {
        MapElemAttr attr = new() { MapFd = Fd };
        BpfException.Check(Sys.Bpf(BpfCommand.MapFreeze, &attr, sizeof(MapElemAttr)), "map", Name, "freeze", "unmap writable mappings first");
    }

    // ---- conveniences for fixed-size keys ----

    /// <summary>Bytes of a value or key type.</summary>
    public static ReadOnlySpan<byte> Bytes<T>(in T value) where T : unmanaged =>
        new(Unsafe.AsPointer(ref Unsafe.AsRef(in value)), sizeof(T));

    /// <summary>Look-up by a typed key.</summary>
    public bool TryLookup<TKey, TValue>(TKey key, out TValue value) where TKey : unmanaged where TValue : unmanaged
    {
        TValue copy = default;
        bool found = TryLookup(new ReadOnlySpan<byte>(&key, sizeof(TKey)), new Span<byte>(&copy, sizeof(TValue)));
        value = copy;
        return found;
    }

    /// <summary>Update by a typed key and value.</summary>
    public void Update<TKey, TValue>(TKey key, TValue value, UpdateMode mode = UpdateMode.Any) where TKey : unmanaged where TValue : unmanaged =>
        Update(new ReadOnlySpan<byte>(&key, sizeof(TKey)), new ReadOnlySpan<byte>(&value, sizeof(TValue)), mode);

    /// <summary>Delete by a typed key.</summary>
    public bool Delete<TKey>(TKey key) where TKey : unmanaged => Delete(new ReadOnlySpan<byte>(&key, sizeof(TKey)));

    /// <summary>Puts an inner map, a program or a perf event into a slot of an outer map, program array or event array.</summary>
    public void SetFd(uint index, int fd) => Update(index, fd);

    private bool Element(BpfCommand command, ReadOnlySpan<byte> key, Span<byte> value, string operation, ulong flags)
    {
        CheckSizes(key.Length, value.Length);
        fixed (byte* k = key, v = value)
        {
            MapElemAttr attr = new() { MapFd = Fd, Key = (ulong)k, Value = (ulong)v, Flags = flags };
            return Found(Sys.Bpf(command, &attr, sizeof(MapElemAttr)), operation);
        }
    }

    private bool Found(long result, string operation)
    {
        if (result >= 0)
            return true;
        if (result == -Errno.ENOENT)
            return false;
        throw new BpfException($"map \"{Name}\"", operation, (int)-result);
    }

    // The kernel trusts the sizes it was told at creation: a short span here would be a wild write.
    private void CheckSizes(int key, int value)
    {
        if (key != Spec.KeySize)
            throw new BpfException($"map \"{Name}\"", $"use a key of {key} bytes where keys have {Spec.KeySize}", Errno.EINVAL);
        if (value < ValueBytes)
            throw new BpfException($"map \"{Name}\"", $"use a value of {value} bytes where values have {ValueBytes}", Errno.EINVAL);
    }

    /// <summary>Closes our descriptor; the map lives while programs or other descriptors hold it.</summary>
    public void Dispose() => _fd.Dispose();
}
