using System.Diagnostics;
using System.Runtime.InteropServices;
using Linux.Bpf;
using Xunit;

namespace SystemTap.Tests.LinuxBpf;

[Collection("kernel")]
public partial class LinkTests
{
    [LibraryImport("libc")]
    private static partial int getppid();

    // Adds one to data[0] whenever this process runs it, and keeps the cookie in data[1] if asked.
    private static ProgramSpec Counter(BpfMap data, ProgramType type, bool cookie = false, bool anyProcess = false)
    {
        var a = new Assembler();
        Label other = a.NewLabel();
        a.Emit(Instruction.Mov(Reg.R6, Reg.R1));
        if (!anyProcess)
        {
            a.Call(Helper.GetCurrentPidTgid).Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 32));
            a.JumpIf(JumpOp.Ne, Reg.R0, Environment.ProcessId, other);
        }
        a.LdMapValue(Reg.R7, data, 0).Emit(Instruction.Mov(Reg.R2, 1)).Emit(Instruction.Atomic(AtomicOp.Add, MemSize.DW, Reg.R7, 0, Reg.R2));
        if (cookie)
            a.Emit(Instruction.Mov(Reg.R1, Reg.R6)).Call(Helper.GetAttachCookie).Emit(Instruction.Store(MemSize.DW, Reg.R7, 8, Reg.R0));
        a.Bind(other).Emit(Instruction.Mov(Reg.R0, 0)).Exit();
        return new ProgramSpec("counter", type, a.Finish());
    }

    private static void CountsSystemCalls(ProgramSpec spec, MappedMemory memory, Func<BpfProgram, BpfLink> attach)
    {
        using BpfProgram program = BpfProgram.Load(spec);
        long before = memory.Word(0);
        using (BpfLink link = attach(program))
        {
            for (int i = 0; i < 5000; i++)
                getppid();
            Assert.Null(link.Missed());
        }
        long counted = memory.Word(0) - before;
        Assert.InRange(counted, 5000, 5000 + 5000); // Other threads of this process make a few calls too.
        long after = memory.Word(0);
        for (int i = 0; i < 1000; i++)
            getppid();
        Assert.Equal(after, memory.Word(0)); // Detached means detached.
    }

    [Fact]
    public void RawTracepointCountsCalls()
    {
        Live.Need();
        using BpfMap data = BpfMap.Create(MapSpec.GlobalData("data", 16));
        using MappedMemory memory = data.Map();
        CountsSystemCalls(Counter(data, ProgramType.RawTracepoint), memory, p => RawTracepoint.Attach(p, "sys_enter"));
    }

    [Fact]
    public void TypedTracepointCountsCallsWithAndWithoutCookie()
    {
        Live.Need();
        int id = Live.BtfId("btf_trace_sys_enter", 8);
        Assert.SkipWhen(id == 0, "no BTF of the kernel");
        using BpfMap data = BpfMap.Create(MapSpec.GlobalData("data", 16));
        using MappedMemory memory = data.Map();
        ProgramSpec spec = Counter(data, ProgramType.Tracing, cookie: true) with { ExpectedAttachType = AttachType.TraceRawTp, AttachBtfId = id };
        CountsSystemCalls(spec, memory, p => RawTracepoint.AttachTyped(p));
        Assert.Equal(0, memory.Word(8));
        CountsSystemCalls(spec, memory, p => RawTracepoint.AttachTyped(p, 77));
        Assert.Equal(77, memory.Word(8));
    }

    [Fact]
    public void RawTracepointCookieArrives()
    {
        Live.Need();
        Assert.SkipUnless(new Features().Has(KernelFeature.RawTpCookie), "no cookies on raw tracepoints here (Linux 6.10)");
        using BpfMap data = BpfMap.Create(MapSpec.GlobalData("data", 16));
        using MappedMemory memory = data.Map();
        CountsSystemCalls(Counter(data, ProgramType.RawTracepoint, cookie: true), memory, p => RawTracepoint.Attach(p, "sys_enter", 1234));
        Assert.Equal(1234, memory.Word(8));
    }

    [Fact]
    public void AnUnknownTracepointIsNamed()
    {
        Live.Need();
        using BpfProgram program = Live.Load(ProgramType.RawTracepoint, a => a.Emit(Instruction.Mov(Reg.R0, 0)).Exit());
        var e = Assert.Throws<BpfException>(() => RawTracepoint.Attach(program, "nothing_like_it"));
        Assert.StartsWith("tracepoint \"nothing_like_it\": cannot attach:", e.Message);
    }

    [Fact]
    public void ClockTimersFireOnEachCpu()
    {
        Live.Need();
        using BpfMap data = BpfMap.Create(MapSpec.GlobalData("data", 16));
        using MappedMemory memory = data.Map();
        using BpfProgram program = BpfProgram.Load(Counter(data, ProgramType.PerfEvent, cookie: true, anyProcess: true));
        foreach (int cpu in CpuList.Online())
        {
            long before = memory.Word(0);
            using BpfLink link = PerfEvent.Open(PerfEventSpec.Clock(cpu, 1_000_000)).Attach(program, (ulong)(100 + cpu));
            Assert.True(SpinWait.SpinUntil(() => memory.Word(0) > before + 5, 5000), "the clock did not fire");
            Assert.Equal(100 + cpu, memory.Word(8));
        }
    }

    [Fact]
    public void CountersCountFaultsAndTime()
    {
        Live.Need();
        using PerfEvent faults = PerfEvent.Open(PerfEventSpec.Software(SoftwareEvent.PageFaults, 0, 0, -1));
        using PerfEvent clock = PerfEvent.Open(PerfEventSpec.Software(SoftwareEvent.TaskClock, 0, 0, -1));
        faults.Enable();
        clock.Enable();
        unsafe
        {
            const int bytes = 1 << 20;
            nint memory = LinuxBpfSys.Instance.Mmap(0, bytes, 3, 0x22, -1, 0);
            for (int i = 0; i < bytes; i += 4096)
                ((byte*)memory)[i] = 1;
            LinuxBpfSys.Instance.Munmap(memory, bytes);
        }
        faults.Disable();
        clock.Disable();
        Assert.True(faults.Read().Count >= 1); // Huge pages may make one fault of all of it.
        PerfCount time = clock.Read();
        Assert.True(time.Count > 0 && time.RunningNs == time.EnabledNs);
        Assert.Equal(time, clock.Read()); // Stopped.
    }

    [Fact]
    public void AnEventTheMachineLacksIsExplained()
    {
        Live.Need();
        var e = Assert.Throws<BpfException>(() => PerfEvent.Open(new PerfEventSpec { Name = "none", Type = 12345, Cpu = 0 }));
        Assert.StartsWith("perf event \"none\": cannot open on CPU 0:", e.Message);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void UprobesFire(bool multi, bool atReturn)
    {
        Live.Need();
        KernelFeature need = multi ? KernelFeature.UprobeMulti : KernelFeature.UprobePmu;
        Assert.SkipUnless(new Features().Has(need), $"needs {Features.Name(need)} (Linux {Features.Since(need)})");
        (string path, ulong offset) = LocateInLibc("getppid");
        using BpfMap data = BpfMap.Create(MapSpec.GlobalData("data", 16));
        using MappedMemory memory = data.Map();
        ProgramSpec spec = Counter(data, ProgramType.KProbe, cookie: true) with { ExpectedAttachType = multi ? AttachType.TraceUprobeMulti : AttachType.None };
        using BpfProgram program = BpfProgram.Load(spec);
        using (multi
            ? UprobeMulti.Attach(program, path, [offset], [55], atReturn: atReturn)
            : ProbePmu.AttachUprobe(program, path, offset, atReturn, cookie: 55))
            for (int i = 0; i < 100; i++)
                getppid();
        Assert.Equal((100, 55), (memory.Word(0), memory.Word(8)));
        getppid();
        Assert.Equal(100, memory.Word(0));
    }

    // File offset of a libc function: its address against the mapping it lies in.
    private static (string Path, ulong Offset) LocateInLibc(string name)
    {
        nint libc = NativeLibrary.Load("libc.so.6");
        ulong address = (ulong)NativeLibrary.GetExport(libc, name);
        foreach (string line in File.ReadLines("/proc/self/maps"))
        {
            string[] parts = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            string[] range = parts[0].Split('-');
            ulong low = Convert.ToUInt64(range[0], 16), high = Convert.ToUInt64(range[1], 16);
            if (address >= low && address < high)
                return (parts[5], address - low + Convert.ToUInt64(parts[2], 16));
        }
        throw new InvalidOperationException(name + " is not mapped");
    }

    [Fact]
    public void ClassicTracepointFires()
    {
        Live.Need();
        int id = ClassicTracepoint.Id("syscalls", "sys_enter_getppid");
        Assert.SkipWhen(id < 0, "tracefs is not mounted");
        using BpfMap data = BpfMap.Create(MapSpec.GlobalData("data", 16));
        using MappedMemory memory = data.Map();
        using BpfProgram program = BpfProgram.Load(Counter(data, ProgramType.Tracepoint));
        using (ClassicTracepoint.Attach(program, "syscalls", "sys_enter_getppid"))
            for (int i = 0; i < 100; i++)
                getppid();
        Assert.Equal(100, memory.Word(0));
    }

    [Fact]
    public void ClassicTracepointWithoutTracefsSaysWhatToDo()
    {
        Live.Need();
        using BpfProgram program = Live.Load(ProgramType.Tracepoint, a => a.Emit(Instruction.Mov(Reg.R0, 0)).Exit());
        var e = Assert.Throws<BpfException>(() => ClassicTracepoint.Attach(program, "nosystem", "noevent"));
        Assert.Contains("mount tracefs", e.Message);
    }

    [Fact]
    public void IteratorsWalkTasks()
    {
        Live.Need();
        int id = Live.Kfunc("bpf_iter_task");
        Assert.SkipWhen(id == 0, "this kernel has no task iterator");
        // ctx: { struct bpf_iter_meta *meta; struct task_struct *task; }; meta->seq is its first member. Writes 8 bytes a task.
        AssembledCode code = new Assembler().Emit(Instruction.Load(MemSize.DW, Reg.R1, Reg.R1, 0)).Emit(Instruction.Load(MemSize.DW, Reg.R1, Reg.R1, 0))
            .Emit(Instruction.Store(MemSize.DW, Reg.R10, -8, 1)).Emit(Instruction.Mov(Reg.R2, Reg.R10)).Emit(Instruction.Add64Imm(Reg.R2, -8))
            .Emit(Instruction.Mov(Reg.R3, 8)).Call(Helper.SeqWrite).Emit(Instruction.Mov(Reg.R0, 0)).Exit().Finish();
        using BpfProgram program = BpfProgram.Load(new ProgramSpec("tasks", ProgramType.Tracing, code) { ExpectedAttachType = AttachType.TraceIter, AttachBtfId = id });
        using BpfLink link = Iterator.Attach(program);
        byte[] output = Iterator.Run(link);
        Assert.True(output.Length >= 8 * 10 && output.Length % 8 == 0, $"{output.Length} bytes");
        Assert.Equal(1, output[0]);
    }

    [Fact]
    public void KernelFunctionProbesAttachOrExplain()
    {
        Live.Need();
        var features = new Features(Live.Kfunc);
        using BpfProgram multi = BpfProgram.Load(new ProgramSpec("k", ProgramType.KProbe, new Assembler().Emit(Instruction.Mov(Reg.R0, 0)).Exit().Finish())
        {
            ExpectedAttachType = AttachType.TraceKprobeMulti,
        });
        if (features.Has(KernelFeature.KprobeMulti))
            KprobeMulti.AttachNames(multi, ["do_exit"], [1]).Dispose();
        else
            Assert.Contains("kprobe_multi", Assert.Throws<BpfException>(() => KprobeMulti.AttachNames(multi, ["do_exit"], [1])).Message);
        if (!features.Has(KernelFeature.KprobePmu))
            Assert.Contains("built without kprobes", Assert.Throws<BpfException>(() => ProbePmu.AttachKprobe(multi, "do_exit")).Message);
    }
}
