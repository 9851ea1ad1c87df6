using System.Runtime.CompilerServices;
using Linux.Bpf;
using Xunit;

namespace SystemTap.Tests.LinuxBpf;

/// <summary>Sizes and offsets of what is handed to the kernel, worked out by hand from linux/bpf.h and linux/perf_event.h.</summary>
public unsafe class LayoutTests
{
    private static int Offset<T, F>(ref T s, ref F field) => (int)Unsafe.ByteOffset(ref Unsafe.As<T, byte>(ref s), ref Unsafe.As<F, byte>(ref field));

    [Fact]
    public void Sizes()
    {
        Assert.Equal(80, sizeof(MapCreateAttr));
        Assert.Equal(32, sizeof(MapElemAttr));
        Assert.Equal(56, sizeof(MapBatchAttr));
        Assert.Equal(152, sizeof(ProgLoadAttr));
        Assert.Equal(80, sizeof(ProgTestRunAttr));
        Assert.Equal(64, sizeof(LinkCreateAttr));
        Assert.Equal(40, sizeof(BtfLoadAttr));
        Assert.Equal(24, sizeof(RawTracepointAttr));
        Assert.Equal(232, sizeof(ProgInfoData));
        Assert.Equal(112, sizeof(PerfEventAttr));
    }

    [Fact]
    public void Offsets()
    {
        ProgLoadAttr p = default;
        Assert.Equal(48, Offset(ref p, ref p.ProgName));
        Assert.Equal(68, Offset(ref p, ref p.ExpectedAttachType));
        Assert.Equal(80, Offset(ref p, ref p.FuncInfo));
        Assert.Equal(96, Offset(ref p, ref p.LineInfo));
        Assert.Equal(108, Offset(ref p, ref p.AttachBtfId));
        Assert.Equal(120, Offset(ref p, ref p.FdArray));
        Assert.Equal(140, Offset(ref p, ref p.LogTrueSize));
        MapCreateAttr m = default;
        Assert.Equal(28, Offset(ref m, ref m.MapName));
        Assert.Equal(48, Offset(ref m, ref m.BtfFd));
        Assert.Equal(64, Offset(ref m, ref m.MapExtra));
        ProgTestRunAttr t = default;
        Assert.Equal(32, Offset(ref t, ref t.Repeat));
        Assert.Equal(48, Offset(ref t, ref t.CtxIn));
        Assert.Equal(64, Offset(ref t, ref t.Flags));
        PerfEventAttr e = default;
        Assert.Equal(40, Offset(ref e, ref e.Flags));
        Assert.Equal(56, Offset(ref e, ref e.Config1));
        Assert.Equal(108, Offset(ref e, ref e.SampleMaxStack));
    }

    [Theory]
    [InlineData("0-3\n", 4)]
    [InlineData("0", 1)]
    [InlineData("0,2-5,9", 10)]
    [InlineData("", 0)]
    [InlineData("x", 0)]
    public void CpuLists(string text, int count) => Assert.Equal(count, CpuList.Count(text));

    [Theory]
    [InlineData(1, "EPERM")]
    [InlineData(524, "ENOTSUPP")]
    [InlineData(9999, "errno 9999")]
    public void ErrorsHaveNames(int errno, string name)
    {
        Assert.Equal(name, Errno.Name(errno));
        Assert.Contains(name, new BpfException("map \"m\"", "create", errno).Message);
    }

    [Fact]
    public void ObjectNamesKeepWhatTheKernelAllows() => Assert.Equal("a_b.c_d12345678", ObjectName.From("a b.c$d123456789").ToString());

    [Theory]
    [InlineData("0: (85) call x#1\nR1 type=scalar expected=fp\nprocessed 1 insns (limit 1000000)\n", "0: (85) call x#1: R1 type=scalar expected=fp", 0)]
    [InlineData("func#0 @0\n12: (95) exit\nunreachable insn 3\n", "unreachable insn 3", 12)]
    [InlineData("", "", -1)]
    public void VerifierLogsAreSummed(string log, string summary, int slot)
    {
        Assert.Equal(summary, VerifierLog.Summary(log));
        Assert.Equal(slot, VerifierLog.LastInstruction(log));
    }
}
