using System.Runtime.InteropServices;
using Linux.Bpf;
using Xunit;

namespace SystemTap.Tests.LinuxBpf;

[Collection("kernel")]
public class ProgramTests
{
    private static readonly SourceFile Script = new("demo.stp", "global x\nprobe begin {\n  x = wild()\n}\n");

    [Fact]
    public void RefusedCodeNamesTheScriptLine()
    {
        Live.Need();
        var a = new Assembler { Mark = new SourceMark(0, 2, 7) };
        a.LdImm64(Reg.R6, 0x1122334455667788);
        a.Mark = new SourceMark(0, 3, 3);
        a.Emit(Instruction.Load(MemSize.DW, Reg.R0, Reg.R6, 0)).Exit();
        var spec = new ProgramSpec("demo", ProgramType.RawTracepoint, a.Finish()) { Sources = [Script] };
        var e = Assert.Throws<VerifierException>(() => BpfProgram.Load(spec));
        Assert.Equal(2, e.Slot);
        Assert.Equal(new SourceMark(0, 3, 3), e.Mark);
        Assert.Contains("R6", e.Summary);
        Assert.Contains("x = wild()", e.Log);           // Through BTF line info, by the kernel itself.
        Assert.StartsWith("program \"demo\": refused by the kernel's verifier: ", e.Message);
        Assert.Contains("demo.stp:3:3: x = wild()", e.Message);
        Assert.Equal(Errno.EACCES, e.ErrorNumber);
    }

    [Fact]
    public void AFaultInsideAFunctionIsFoundToo()
    {
        Live.Need();
        var a = new Assembler { Mark = new SourceMark(0, 1, 1) };
        Subprogram f = a.Declare("helper_function", FuncLinkage.Global, FuncParam.Scalar, FuncParam.Memory(16));
        a.Emit(Instruction.Store(MemSize.DW, Reg.R10, -8, 0)).Emit(Instruction.Store(MemSize.DW, Reg.R10, -16, 0));
        a.Emit(Instruction.Mov(Reg.R1, 1)).Emit(Instruction.Mov(Reg.R2, Reg.R10)).Emit(Instruction.Add64Imm(Reg.R2, -16));
        a.Call(f).Exit();
        a.Begin(f);
        a.Mark = new SourceMark(0, 3, 9);
        a.Emit(Instruction.Load(MemSize.DW, Reg.R0, Reg.R2, 8)).Exit();   // The pointer may be null.
        var e = Assert.Throws<VerifierException>(() => BpfProgram.Load(new ProgramSpec("demo", ProgramType.RawTracepoint, a.Finish()) { Sources = [Script] }));
        Assert.Equal(3, e.Mark?.Line);
        Assert.Equal(f.Slot, e.Slot);
    }

    [Fact]
    public void GlobalFunctionsTakeNumbersMemoryAndContext()
    {
        Live.Need();
        foreach (ProgramType type in new[] { ProgramType.RawTracepoint, ProgramType.KProbe, ProgramType.PerfEvent, ProgramType.Xdp, ProgramType.Tracepoint })
        {
            var a = new Assembler();
            Subprogram f = a.Declare("f", FuncLinkage.Global, FuncParam.Scalar, FuncParam.Memory(16), FuncParam.Context);
            Label absent = a.NewLabel();
            a.Emit(Instruction.Mov(Reg.R3, Reg.R1));
            a.Emit(Instruction.Store(MemSize.DW, Reg.R10, -8, 40)).Emit(Instruction.Store(MemSize.DW, Reg.R10, -16, 0));
            a.Emit(Instruction.Mov(Reg.R1, 2)).Emit(Instruction.Mov(Reg.R2, Reg.R10)).Emit(Instruction.Add64Imm(Reg.R2, -16));
            a.Call(f).Exit();
            a.Begin(f).Emit(Instruction.Mov(Reg.R0, -1)).JumpIf(JumpOp.Eq, Reg.R2, 0, absent);
            a.Emit(Instruction.Load(MemSize.DW, Reg.R0, Reg.R2, 8)).Emit(Instruction.Add64(Reg.R0, Reg.R1)).Bind(absent).Exit();
            using BpfProgram program = BpfProgram.Load(new ProgramSpec("globals", type, a.Finish()));
            if (type == ProgramType.RawTracepoint)
                Assert.Equal(42, program.TestRun(default).ReturnValue);
        }
    }

    [Fact]
    public void ANonNullPointerNeedsNoTest()
    {
        Live.Need();
        foreach (bool tagged in new[] { true, false })
        {
            var a = new Assembler();
            Subprogram f = a.Declare("f", FuncLinkage.Global, FuncParam.Memory(8, nonNull: tagged));
            a.Emit(Instruction.Store(MemSize.DW, Reg.R10, -8, 6)).Emit(Instruction.Mov(Reg.R1, Reg.R10)).Emit(Instruction.Add64Imm(Reg.R1, -8)).Call(f).Exit();
            a.Begin(f).Emit(Instruction.Load(MemSize.DW, Reg.R0, Reg.R1, 0)).Exit();
            using BpfProgram? program = BpfProgram.TryLoad(new ProgramSpec("p", ProgramType.RawTracepoint, a.Finish()), out int errno);
            Assert.SkipWhen(tagged && program is null, "no arg:nonnull here (Linux 6.8)");
            Assert.Equal(tagged, errno == 0);
            Assert.Equal(tagged ? 6 : null, program?.TestRun(default).ReturnValue);
        }
    }

    [Fact]
    public void CallbacksRun()
    {
        Live.Need();
        using BpfMap data = BpfMap.Create(MapSpec.GlobalData("data", 8));
        var a = new Assembler();
        Subprogram callback = a.Declare("callback");
        a.Emit(Instruction.Mov(Reg.R1, 1000)).LdFunc(Reg.R2, callback).Emit(Instruction.Mov(Reg.R3, 0)).Emit(Instruction.Mov(Reg.R4, 0)).Call(Helper.Loop).Exit();
        a.Begin(callback).LdMapValue(Reg.R2, data, 0).Emit(Instruction.Atomic(AtomicOp.Add, MemSize.DW, Reg.R2, 0, Reg.R1)).Emit(Instruction.Mov(Reg.R0, 0)).Exit();
        using BpfProgram program = BpfProgram.Load(new ProgramSpec("loop", ProgramType.RawTracepoint, a.Finish()));
        Assert.Equal(1000, program.TestRun(default).ReturnValue);
        using MappedMemory memory = data.Map();
        Assert.Equal(499500, memory.Word(0));
    }

    [Fact]
    public void SymbolicMapsAreResolvedAtLoad()
    {
        Live.Need();
        using BpfMap data = BpfMap.Create(MapSpec.GlobalData("data", 8));
        AssembledCode code = new Assembler().LdMapValue(Reg.R1, "the data", 0).Emit(Instruction.Load(MemSize.DW, Reg.R0, Reg.R1, 0)).Exit().Finish();
        var spec = new ProgramSpec("symbols", ProgramType.RawTracepoint, code);
        Assert.Contains("\"the data\"", Assert.Throws<BpfException>(() => BpfProgram.Load(spec)).Message);
        using BpfProgram program = BpfProgram.Load(spec with { ResolveMap = symbol => Equals(symbol, "the data") ? data : throw new InvalidOperationException() });
        data.Update(0u, 9L);
        Assert.Equal(9, program.TestRun(default).ReturnValue);
    }

    [Fact]
    public void AHugeVerifierLogIsGivenWhole()
    {
        Live.Need();
        var b = new Assembler();
        b.Emit(Instruction.Mov(Reg.R2, 0));
        for (int i = 0; i < 20000; i++)
            b.Emit(Instruction.Alu64(AluOp.Xor, Reg.R2, i & 1));
        b.Emit(Instruction.Load(MemSize.DW, Reg.R0, Reg.R2, 0)).Exit();
        var e = Assert.Throws<VerifierException>(() => BpfProgram.Load(new ProgramSpec("long", ProgramType.RawTracepoint, b.Finish())));
        Assert.True(e.Log.Length > 200_000, $"only {e.Log.Length} characters");
        Assert.Equal(20001, e.Slot);
        Assert.Contains("R2 invalid mem access", e.Summary);
    }

    [Fact]
    public void SyscallProgramsGiveTheirContextBack()
    {
        Live.Need();
        AssembledCode code = new Assembler().Emit(Instruction.Load(MemSize.DW, Reg.R2, Reg.R1, 0)).Emit(Instruction.Add64Imm(Reg.R2, 1))
            .Emit(Instruction.Store(MemSize.DW, Reg.R1, 8, Reg.R2)).Emit(Instruction.Mov(Reg.R0, 5)).Exit().Finish();
        using BpfProgram program = BpfProgram.Load(new ProgramSpec("sys", ProgramType.Syscall, code) { Flags = ProgramFlags.Sleepable });
        byte[] context = new byte[16];
        context[0] = 41;
        byte[] after = new byte[16];
        TestRunResult result = program.TestRun(new TestRunInput { Context = context, ContextOut = after });
        Assert.Equal((5, 42, 0), (result.ReturnValue, (int)after[8], (int)context[8]));
        Assert.Equal(5, program.TestRun(new TestRunInput { Context = new byte[16] }).ReturnValue);
        // In place, too.
        program.TestRun(new TestRunInput { Context = context, ContextOut = context });
        Assert.Equal(42, context[8]);
    }

    [Theory]
    [InlineData(ProgramType.Xdp)]
    [InlineData(ProgramType.SocketFilter)]
    public void PacketProgramsAreTimed(ProgramType type)
    {
        Live.Need();
        using BpfProgram program = Live.Load(type, a => a.Emit(Instruction.Mov(Reg.R0, 2)).Exit());
        TestRunResult result = program.TestRun(new TestRunInput { Data = new byte[64], Repeat = 1000 });
        Assert.Equal(2, result.ReturnValue);
        Assert.InRange(result.DurationNs, 0, 100_000);
    }

    [Fact]
    public void RunsOnTheCpuAskedFor()
    {
        Live.Need();
        using BpfProgram program = Live.Load(ProgramType.RawTracepoint, a => a.Call(Helper.GetSmpProcessorId).Exit());
        foreach (int cpu in CpuList.Online())
            Assert.Equal(cpu, program.TestRun(new TestRunInput { Cpu = cpu }).ReturnValue);
    }

    [Fact]
    public void InfoAndStatistics()
    {
        Live.Need();
        using KernelFd stats = BpfStats.Enable();
        using BpfProgram program = Live.Load(ProgramType.Xdp, a => a.Emit(Instruction.Mov(Reg.R0, 2)).Exit(), "counted");
        program.TestRun(new TestRunInput { Data = new byte[64], Repeat = 10 });
        ProgramInfo info = program.Info();
        Assert.Equal("counted", info.Name);
        Assert.Equal(ProgramType.Xdp, info.Type);
        Assert.Equal(10UL, info.RunCount);
        Assert.True(info.RunTimeNs > 0);
        Assert.Equal(2U, info.VerifiedInstructions);
        Assert.True(info.Id > 0);
    }

    [Fact]
    public void RefusalsThatAreNotAboutTheCodeSaySo()
    {
        Live.Need();
        AssembledCode code = new Assembler().Emit(Instruction.Mov(Reg.R0, 0)).Exit().Finish();
        var e = Assert.Throws<BpfException>(() => BpfProgram.Load(new ProgramSpec("odd", (ProgramType)999, code)));
        Assert.IsNotType<VerifierException>(e);
        Assert.StartsWith("program \"odd\": cannot load as 999: ", e.Message);
    }
}
