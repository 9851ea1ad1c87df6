using System.Runtime.InteropServices;
using Linux.Bpf;
using Xunit;

namespace SystemTap.Tests.LinuxBpf;

[Collection("kernel")]
public class MapTests
{
    [Theory]
    [InlineData(MapType.Hash)]
    [InlineData(MapType.LruHash)]
    [InlineData(MapType.Array)]
    public void SetGetWalkDelete(MapType type)
    {
        Live.Need();
        using BpfMap map = BpfMap.Create(new MapSpec("things", type, 4, 8, 16));
        for (uint i = 0; i < 8; i++)
            map.Update(i, i * 100L);
        Assert.True(map.TryLookup(3u, out long value));
        Assert.Equal(300, value);
        var keys = new HashSet<uint>();
        byte[] key = new byte[4];
        for (bool more = map.NextKey(default, key); more; more = map.NextKey((byte[])key.Clone(), key))
            keys.Add(BitConverter.ToUInt32(key));
        Assert.Equal(type == MapType.Array ? 16 : 8, keys.Count);
        if (type == MapType.Array)
            return;
        Assert.True(map.Delete(3u));
        Assert.False(map.Delete(3u));
        Assert.False(map.TryLookup(3u, out value));
        Assert.Equal(-Errno.EEXIST, map.TryUpdate(Live.Key(4), Live.Value(1), UpdateMode.NoExist));
        Assert.Equal(-Errno.ENOENT, map.TryUpdate(Live.Key(3), Live.Value(1), UpdateMode.Exist));
    }

    [Fact]
    public void AFullHashSaysSo()
    {
        Live.Need();
        using BpfMap map = BpfMap.Create(new MapSpec("small", MapType.Hash, 4, 8, 2));
        map.Update(1u, 1L);
        map.Update(2u, 2L);
        var e = Assert.Throws<BpfException>(() => map.Update(3u, 3L));
        Assert.StartsWith("map \"small\": cannot update:", e.Message);
        Assert.Contains("E2BIG", e.Message);
        Assert.Contains("full (2 entries)", e.Message);
    }

    [Fact]
    public void ShortSpansAreRefusedBeforeTheKernelWrites()
    {
        Live.Need();
        using BpfMap map = BpfMap.Create(new MapSpec("m", MapType.Hash, 4, 8, 2));
        Assert.Throws<BpfException>(() => map.TryLookup(new byte[3], new byte[8]));
        Assert.Throws<BpfException>(() => map.TryLookup(new byte[4], new byte[7]));
    }

    [Theory]
    [InlineData(MapType.PerCpuHash)]
    [InlineData(MapType.PerCpuArray)]
    [InlineData(MapType.LruPerCpuHash)]
    public void PerCpuValuesHaveASlotForEachCpu(MapType type)
    {
        Live.Need();
        using BpfMap map = BpfMap.Create(new MapSpec("percpu", type, 4, 12, 4));
        int cpus = LinuxBpfSys.Instance.PossibleCpus;
        Assert.Equal(16 * cpus, map.ValueBytes);
        byte[] values = new byte[map.ValueBytes];
        for (int cpu = 0; cpu < cpus; cpu++)
            BitConverter.TryWriteBytes(PerCpu.Slot(values.AsSpan(), 12, cpu), (long)(cpu + 1));
        map.Update(Live.Key(1), values);
        byte[] back = new byte[map.ValueBytes];
        Assert.True(map.TryLookup(Live.Key(1), back));
        Assert.Equal(cpus * (cpus + 1) / 2, PerCpu.Sum(back, 12));
    }

    [Theory]
    [InlineData(MapType.Hash)]
    [InlineData(MapType.PerCpuHash)]
    [InlineData(MapType.LpmTrie)]
    [InlineData(MapType.Array)]
    public void BatchesSeeEveryEntryOnce(MapType type)
    {
        Live.Need();
        const int n = 500;
        bool trie = type == MapType.LpmTrie;
        var spec = new MapSpec("batch", type, trie ? 8 : 4, 8, n, trie ? MapFlags.NoPrealloc : MapFlags.None);
        using BpfMap map = BpfMap.Create(spec);
        byte[] keys = new byte[n * spec.KeySize], values = new byte[n * map.ValueBytes];
        for (int i = 0; i < n; i++)
        {
            BitConverter.TryWriteBytes(keys.AsSpan(i * spec.KeySize), trie ? 32 : i);
            if (trie)
                BitConverter.TryWriteBytes(keys.AsSpan(i * 8 + 4), i);
            BitConverter.TryWriteBytes(values.AsSpan(i * map.ValueBytes), (long)i * 3);
        }
        map.UpdateBatch(keys, values, n);

        var cursor = new BatchCursor();
        byte[] someKeys = new byte[64 * spec.KeySize], someValues = new byte[64 * map.ValueBytes];
        var seen = new Dictionary<int, long>();
        while (!cursor.Done)
        {
            int got = map.LookupBatch(cursor, someKeys, someValues);
            Assert.False(cursor.BufferTooSmall);
            for (int i = 0; i < got; i++)
                seen.Add(BitConverter.ToInt32(someKeys, i * spec.KeySize + spec.KeySize - 4), BitConverter.ToInt64(someValues, i * map.ValueBytes));
        }
        Assert.Equal(n, seen.Count);
        Assert.All(seen, pair => Assert.Equal(pair.Key * 3L, pair.Value));
        if (type == MapType.Array)
            return;

        Assert.Equal(n - 300, map.DeleteBatch(keys.AsSpan(300 * spec.KeySize), n - 300));
        Assert.Equal(100, map.DeleteBatch(keys.AsSpan(200 * spec.KeySize), 200)); // Half of these are gone already.
        cursor.Reset();
        int taken = 0;
        while (!cursor.Done)
            taken += map.LookupAndDeleteBatch(cursor, someKeys, someValues);
        Assert.Equal(200, taken);
        Assert.False(map.NextKey(default, new byte[spec.KeySize]));
    }

    [Fact]
    public void GlobalDataIsSharedThroughTheMapping()
    {
        Live.Need();
        using BpfMap map = BpfMap.Create(MapSpec.GlobalData("data", 24));
        using MappedMemory memory = map.Map();
        memory.Word(8) = 41;
        using BpfProgram program = Live.Load(ProgramType.RawTracepoint, a => a
            .LdMapValue(Reg.R1, map, 8).Emit(Instruction.Mov(Reg.R2, 1))
            .Emit(Instruction.Atomic(AtomicOp.FetchAdd, MemSize.DW, Reg.R1, 0, Reg.R2))
            .Emit(Instruction.Mov(Reg.R0, Reg.R2)).Exit());
        Assert.Equal(41, program.TestRun(default).ReturnValue);
        Assert.Equal(42, memory.Word(8));
        Assert.Throws<BpfException>(() => memory.Word(20));
    }

    [Fact]
    public void FrozenMapsRefuseWrites()
    {
        Live.Need();
        using BpfMap map = BpfMap.Create(new MapSpec("ro", MapType.Array, 4, 8, 1, MapFlags.ReadOnlyProgram));
        map.Update(0u, 7L);
        map.Freeze();
        Assert.Contains("EPERM", Assert.Throws<BpfException>(() => map.Update(0u, 8L)).Message);
        Assert.True(map.TryLookup(0u, out long value));
        Assert.Equal(7, value);
    }

    [Theory]
    [InlineData(MapType.ArrayOfMaps)]
    [InlineData(MapType.HashOfMaps)]
    public void InnerMapsCanBeSwapped(MapType type)
    {
        Live.Need();
        var innerSpec = new MapSpec("inner", MapType.Hash, 4, 8, 8);
        using BpfMap outer = BpfMap.Create(new MapSpec("outer", type, 4, 4, 2) { InnerMap = innerSpec });
        using BpfMap first = BpfMap.Create(innerSpec), second = BpfMap.Create(innerSpec);
        outer.SetFd(0, first.Fd);
        Assert.True(outer.TryLookup(0u, out uint id));
        Assert.Equal(first.Id, id);
        outer.SetFd(0, second.Fd);
        Assert.True(outer.TryLookup(0u, out id));
        using BpfMap again = BpfMap.FromId(id);
        second.Update(5u, 55L);
        Assert.True(again.TryLookup(5u, out long value));
        Assert.Equal(55, value);
    }

    [Fact]
    public void QueuesAndStacksTakeOut()
    {
        Live.Need();
        foreach (MapType type in new[] { MapType.Queue, MapType.Stack })
        {
            using BpfMap map = BpfMap.Create(new MapSpec("q", type, 0, 8, 4));
            map.Update(default, Live.Value(1));
            map.Update(default, Live.Value(2));
            byte[] value = new byte[8];
            Assert.True(map.TryLookupAndDelete(default, value));
            Assert.Equal(type == MapType.Queue ? 1 : 2, BitConverter.ToInt64(value));
            Assert.True(map.TryLookupAndDelete(default, value));
            Assert.False(map.TryLookupAndDelete(default, value));
        }
    }

    [Fact]
    public void ImpossibleMapsSayWhy()
    {
        Live.Need();
        var e = Assert.Throws<BpfException>(() => BpfMap.Create(new MapSpec("bad", (MapType)999, 4, 8, 1)));
        Assert.StartsWith("map \"bad\": cannot create:", e.Message);
        Assert.Contains("type 999", e.Message);
    }
}
