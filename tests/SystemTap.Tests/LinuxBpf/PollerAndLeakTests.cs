using Linux.Bpf;
using Xunit;

namespace SystemTap.Tests.LinuxBpf;

[Collection("kernel")]
public class PollerAndLeakTests
{
    private struct Counter : IRingHandler
    {
        public int N;
        public bool OnRecord(ReadOnlySpan<byte> record) { N++; return true; }
    }

    [Fact]
    public void WakingSendsAndQuietSends()
    {
        Live.Need();
        using BpfMap a = BpfMap.Create(MapSpec.Ring("a", 4096)), b = BpfMap.Create(MapSpec.Ring("b", 4096));
        using BpfProgram quiet = RingBufferTests.Sender(a, RingFlags.NoWakeup), loud = RingBufferTests.Sender(b, RingFlags.ForceWakeup);
        using RingBuffer ringA = new(a), ringB = new(b);
        using var poller = new RingPoller();
        poller.Add(ringA);
        poller.Add(ringB);
        var counter = new Counter();
        Assert.Equal(WaitResult.Timeout, poller.Wait(0));
        RingBufferTests.Send(quiet, 1);
        Assert.Equal(WaitResult.Timeout, poller.Wait(20));
        Assert.Equal(1, poller.Drain(ref counter));
        RingBufferTests.Send(quiet, 1);
        RingBufferTests.Send(loud, 2);
        Assert.Equal(WaitResult.Records, poller.Wait(5000));
        Assert.Equal(2, poller.Drain(ref counter));
        Assert.Equal(WaitResult.Timeout, poller.Wait(0));
    }

    [Fact]
    public void AnotherThreadCanEndTheWait()
    {
        Live.Need();
        using var poller = new RingPoller();
        var thread = new Thread(() => { Thread.Sleep(20); poller.Wake(); });
        thread.Start();
        Assert.Equal(WaitResult.Woken, poller.Wait(10_000));
        thread.Join();
        Assert.Equal(WaitResult.Timeout, poller.Wait(0));
    }

    [Fact]
    public void NothingStaysOpenAndNoProgramStaysLoaded()
    {
        Live.Need();
        var ids = new List<uint>();
        Session(ids); // Warms up what .NET itself opens.
        var before = Live.KernelDescriptors();
        Session(ids);
        Assert.Equal(before, Live.KernelDescriptors());
        // Programs are freed after a grace period.
        Assert.True(SpinWait.SpinUntil(() => !ids.Exists(StillLoaded), 10_000), "a program is still loaded");
    }

    [Fact]
    public void PinsKeepMapsAlive()
    {
        Live.Need();
        Assert.SkipUnless(File.ReadAllText("/proc/mounts").Contains(" /sys/fs/bpf bpf "), "no bpf file system at /sys/fs/bpf");
        string path = "/sys/fs/bpf/systemtap_test_" + Environment.ProcessId;
        try
        {
            using (BpfMap map = BpfMap.Create(new MapSpec("pinned", MapType.Hash, 4, 8, 4)))
            {
                map.Update(1u, 11L);
                Pin.Save(map.Fd, path);
                Assert.Contains("EEXIST", Assert.Throws<BpfException>(() => Pin.Save(map.Fd, path)).Message);
            }
            using BpfMap again = BpfMap.FromFd(Pin.Open(path).Value);
            Assert.True(again.TryLookup(1u, out long value));
            Assert.Equal(("pinned", 11), (again.Name, value));
        }
        finally
        {
            File.Delete(path);
        }
        Assert.Contains("ENOENT", Assert.Throws<BpfException>(() => Pin.Open(path)).Message);
    }

    [Fact]
    public void PinningElsewhereIsExplained()
    {
        Live.Need();
        using BpfMap map = BpfMap.Create(new MapSpec("pinned", MapType.Hash, 4, 8, 4));
        Assert.Contains("mount -t bpf", Assert.Throws<BpfException>(() => Pin.Save(map.Fd, "/tmp/systemtap_no_pin_" + Environment.ProcessId)).Message);
    }

    private static void Session(List<uint> ids)
    {
        using BpfMap map = BpfMap.Create(MapSpec.Ring("ring", 4096));
        using BpfProgram program = RingBufferTests.Sender(map, RingFlags.NoWakeup);
        ids.Add(program.Info().Id);
        using var ring = new RingBuffer(map);
        using var poller = new RingPoller();
        poller.Add(ring);
        using (BpfLink link = RawTracepoint.Attach(program, "sys_enter"))
            Thread.Sleep(1);
        using BpfProgram timer = Live.Load(ProgramType.PerfEvent, a => a.Emit(Instruction.Mov(Reg.R0, 0)).Exit());
        ids.Add(timer.Info().Id);
        using (PerfEvent.Open(PerfEventSpec.Clock(0, 1_000_000)).Attach(timer))
            Thread.Sleep(1);
        using BpfMap nested = BpfMap.Create(new MapSpec("outer", MapType.ArrayOfMaps, 4, 4, 1) { InnerMap = new MapSpec("inner", MapType.Hash, 4, 8, 1) });
        var features = new Features(Live.Kfunc);
        foreach (KernelFeature f in Enum.GetValues<KernelFeature>())
            features.Get(f);
        try
        {
            Live.Load(ProgramType.RawTracepoint, a => a.Exit());
        }
        catch (VerifierException)
        {
            ids.Add(0); // Expected: R0 was never written.
        }
        Assert.Contains(0u, ids);
    }

    private static unsafe bool StillLoaded(uint id)
    {
        IdAttr attr = new() { Id = id };
        long fd = LinuxBpfSys.Instance.Bpf(BpfCommand.ProgGetFdById, &attr, sizeof(IdAttr));
        if (fd >= 0)
            LinuxBpfSys.Instance.Close((int)fd);
        return fd >= 0;
    }
}
