using System.Runtime.InteropServices;
using System.Text;
using Linux.Bpf;
using Xunit;

namespace SystemTap.Tests.LinuxBpf;

/// <summary>What the tests on the running kernel share.</summary>
internal static unsafe class Live
{
    /// <summary>Skips with the reason when this process may not use bpf(2).</summary>
    public static void Need()
    {
        MapCreateAttr attr = new() { MapType = MapType.Array, KeySize = 4, ValueSize = 8, MaxEntries = 1 };
        long fd = LinuxBpfSys.Instance.Bpf(BpfCommand.MapCreate, &attr, sizeof(MapCreateAttr));
        if (fd >= 0)
            LinuxBpfSys.Instance.Close((int)fd);
        else
            Assert.Skip($"bpf(2) cannot be used here: {Errno.Name((int)-fd)}");
    }

    public static BpfProgram Load(ProgramType type, Action<Assembler> body, string name = "test")
    {
        var a = new Assembler();
        body(a);
        return BpfProgram.Load(new ProgramSpec(name, type, a.Finish()));
    }

    public static byte[] Key(uint value) => BitConverter.GetBytes(value);
    public static byte[] Value(long value) => BitConverter.GetBytes(value);

    /// <summary>
    /// How many descriptors of each kind of BPF and perf object this process has open, sorted by kind. Pipes and files are left out: child processes of
    /// earlier tests end when they like. Objects that an earlier test left to the finalizers are closed first.
    /// </summary>
    public static IReadOnlyList<(string Kind, int Count)> KernelDescriptors()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        var counts = new SortedDictionary<string, int>(StringComparer.Ordinal);
        foreach (var path in Directory.GetFiles("/proc/self/fd"))
        {
            var target = new FileInfo(path).LinkTarget ?? "";
            if (target.Contains("bpf", StringComparison.Ordinal) || target.Contains("perf_event", StringComparison.Ordinal) || target.Contains("btf", StringComparison.Ordinal))
                counts[target] = counts.GetValueOrDefault(target) + 1;
        }
        return [.. counts.Select(c => (c.Key, c.Value))];
    }

    /// <summary>A small BTF look-up for the tests only: the first id of a kind and name in vmlinux; 0 if none.</summary>
    public static int BtfId(string name, int kind)
    {
        byte[] blob = Blob.Value;
        if (blob.Length == 0)
            return 0;
        int typeOff = 24 + BitConverter.ToInt32(blob, 8), typeLen = BitConverter.ToInt32(blob, 12), strOff = 24 + BitConverter.ToInt32(blob, 16);
        byte[] wanted = Encoding.ASCII.GetBytes(name + "\0");
        int id = 0;
        for (int at = typeOff; at < typeOff + typeLen;)
        {
            id++;
            uint info = BitConverter.ToUInt32(blob, at + 4);
            int k = (int)(info >> 24) & 31, vlen = (int)(info & 0xffff);
            if (k == kind && blob.AsSpan(strOff + BitConverter.ToInt32(blob, at)).StartsWith(wanted))
                return id;
            at += 12 + k switch { 1 or 14 or 17 => 4, 3 => 12, 4 or 5 or 15 or 19 => 12 * vlen, 6 or 13 => 8 * vlen, _ => 0 };
        }
        return 0;
    }

    public static int Kfunc(string name) => BtfId(name, 12);

    private static readonly Lazy<byte[]> Blob = new(() => File.Exists("/sys/kernel/btf/vmlinux") ? File.ReadAllBytes("/sys/kernel/btf/vmlinux") : []);
}

/// <summary>Live tests look at process-wide facts (descriptors, programs), so they run one at a time.</summary>
[CollectionDefinition("kernel", DisableParallelization = true)]
public class KernelCollection;
