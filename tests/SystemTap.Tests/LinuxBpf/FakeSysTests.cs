using System.Text;
using Linux.Bpf;
using Xunit;

namespace SystemTap.Tests.LinuxBpf;

/// <summary>Fall-backs and error paths, without root and without a kernel that misbehaves to order.</summary>
public unsafe class FakeSysTests
{
    private static readonly AssembledCode Trivial = new Assembler().Emit(Instruction.Mov(Reg.R0, 0)).Exit().Finish();

    [Fact]
    public void TheLogGrowsUntilItFits()
    {
        var sizes = new List<uint>();
        var sys = new FakeSys
        {
            OnBpf = (command, attr, _) =>
            {
                if (command != BpfCommand.ProgLoad)
                    return null;
                var load = (ProgLoadAttr*)attr;
                sizes.Add(load->LogSize);
                if (load->LogLevel == 0)
                    return -Errno.EACCES;
                if (load->LogSize < 1_000_000)
                    return -Errno.ENOSPC;
                Encoding.ASCII.GetBytes("5: (95) exit\nR0 !read_ok\nprocessed 1 insns\n\0").CopyTo(new Span<byte>((void*)load->LogBuf, 100));
                return -Errno.EACCES;
            },
        };
        var e = Assert.Throws<VerifierException>(() => BpfProgram.Load(new ProgramSpec("p", ProgramType.Xdp, Trivial), sys));
        Assert.Equal([0u, 65536, 262144, 1048576], sizes);
        Assert.Equal("5: (95) exit: R0 !read_ok", e.Summary);
        Assert.Null(e.Mark);
    }

    [Fact]
    public void ALoadThatSucceedsWithTheLogIsASuccess()
    {
        int loads = 0;
        var sys = new FakeSys { OnBpf = (command, _, _) => command == BpfCommand.ProgLoad && loads++ == 0 ? -Errno.EAGAIN : null };
        using BpfProgram program = BpfProgram.Load(new ProgramSpec("p", ProgramType.Xdp, Trivial), sys);
        Assert.Equal(1000, program.Fd);
    }

    [Fact]
    public void TheBtfDescriptorIsClosedAfterAFailedLoad()
    {
        var sys = new FakeSys { OnBpf = (command, _, _) => command == BpfCommand.ProgLoad ? -Errno.EPERM : null };
        var a = new Assembler { Mark = new SourceMark(0, 1, 1) };
        a.Emit(Instruction.Mov(Reg.R0, 0)).Exit();
        var e = Assert.Throws<BpfException>(() => BpfProgram.Load(new ProgramSpec("p", ProgramType.Xdp, a.Finish()) { Sources = [new SourceFile("s", "x")] }, sys));
        Assert.Contains("CAP_BPF", e.Message);
        Assert.Equal([1000], sys.Closed);
    }

    [Fact]
    public void PerfLinksFallBackToIoctlExceptWithACookie()
    {
        var sys = new FakeSys { OnBpf = (command, _, _) => command == BpfCommand.LinkCreate ? -Errno.EINVAL : null };
        using BpfProgram program = BpfProgram.Load(new ProgramSpec("p", ProgramType.PerfEvent, Trivial), sys);
        PerfEvent e = PerfEvent.Open(PerfEventSpec.Clock(0, 1000), sys);
        int fd = e.Fd;
        e.Attach(program).Dispose();
        Assert.Equal([0x40042408u, 0x2400u], sys.Ioctls);
        Assert.Contains(fd, sys.Closed);
        using PerfEvent second = PerfEvent.Open(PerfEventSpec.Clock(0, 1000), sys);
        Assert.Contains("5.15", Assert.Throws<BpfException>(() => second.Attach(program, 7)).Message);
    }

    [Theory]
    [InlineData(-Errno.EINVAL)]
    [InlineData(-Errno.ENOTSUPP)]
    public void BatchesFallBackToSingleOperations(int refusal)
    {
        Live.Need();
        var sys = new FakeSys(LinuxBpfSys.Instance)
        {
            OnBpf = (command, _, _) => command is >= BpfCommand.MapLookupBatch and <= BpfCommand.MapDeleteBatch ? refusal : null,
        };
        using BpfMap map = BpfMap.Create(new MapSpec("m", MapType.Hash, 4, 8, 100), sys);
        byte[] keys = new byte[400], values = new byte[800];
        for (int i = 0; i < 100; i++)
            (BitConverter.TryWriteBytes(keys.AsSpan(i * 4), i), BitConverter.TryWriteBytes(values.AsSpan(i * 8), (long)-i)).ToString();
        map.UpdateBatch(keys, values, 100);
        Assert.True(map.UsesBatchFallback);
        var cursor = new BatchCursor();
        byte[] k = new byte[28], v = new byte[56];
        var seen = new HashSet<int>();
        while (!cursor.Done)
            for (int i = 0, n = map.LookupBatch(cursor, k, v); i < n; i++)
            {
                Assert.True(seen.Add(BitConverter.ToInt32(k, i * 4)));
                Assert.Equal(-BitConverter.ToInt32(k, i * 4), BitConverter.ToInt64(v, i * 8));
            }
        Assert.Equal(100, seen.Count);
        Assert.Equal(10, map.DeleteBatch(keys, 10));
        Assert.Equal(0, map.DeleteBatch(keys, 10));
        cursor.Reset();
        int taken = 0;
        while (!cursor.Done)
            taken += map.LookupAndDeleteBatch(cursor, k, v);
        Assert.Equal(90, taken);
        Assert.Equal(4, sys.Asked.Count(c => c is >= BpfCommand.MapLookupBatch and <= BpfCommand.MapDeleteBatch)); // Each asked once.
    }

    [Fact]
    public void AFailedPollerClosesWhatItOpened()
    {
        var sys = new FakeSys();
        Assert.Throws<BpfException>(() => new RingPoller(sys));
        Assert.Equal([1000], sys.Closed);
    }

    [Fact]
    public void FeaturesWithoutPermissionAreInconclusiveAndAskedAgain()
    {
        var sys = new FakeSys { OnBpf = (_, _, _) => -Errno.EPERM };
        var features = new Features(_ => 1, sys);
        Assert.Equal(FeatureAnswer.Inconclusive, features.Get(KernelFeature.MayGoto));
        sys.OnBpf = (_, _, _) => null;
        Assert.Equal(FeatureAnswer.Yes, features.Get(KernelFeature.MayGoto));
        sys.OnBpf = (_, _, _) => -Errno.EINVAL;
        Assert.Equal(FeatureAnswer.Yes, features.Get(KernelFeature.MayGoto));
        Assert.Equal(FeatureAnswer.No, features.Get(KernelFeature.BpfLoop));
    }
}
