using System.Runtime.InteropServices;
using SystemTap.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;
using SystemTap.Tests.UserProbes;
using Xunit;
using static SystemTap.Tests.Bpf.L;

namespace SystemTap.Tests.Bpf;

public partial class SyscallTests
{
    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial long Syscall(long number, long a, long b, long c);

    private static int Number(string name) => Target.Live().Architecture.Syscalls.Number(name);

    private static SyscallSpec Spec(string name, bool isReturn = false) => new(Number(name), name, isReturn, false);

    private static Expr SysArg(int i) => new ContextExpr(ContextValue.SyscallArgument, i, At);

    private static Expr Mine => Bin(BinaryOperator.Equal, Call(IntrinsicId.Tid), Num(Tid()));

    private static long Tid() => Syscall(186, 0, 0, 0);

    [Fact]
    public void SingleCallWithArgumentsAndReturn()
    {
        var p = new ProgramUnderTest();
        p.Probe(Spec("getpriority"), If(Mine, Print(SysArg(0), SysArg(1))));
        p.Probe(Spec("getpriority", true), If(Mine, Print(new ContextExpr(ContextValue.SyscallReturn, 0, At), new ContextExpr(ContextValue.SyscallNumber, 0, At))));
        using var r = new PlanRunner(p.Build());
        r.AttachAll();
        var result = Syscall(Number("getpriority"), 77, 12345, 0);
        Assert.Equal(-1, result);
        r.Detach();
        var records = r.Records();
        Assert.Equal(2, records.Count);
        Assert.Equal([77L, 12345L], records[0].Values);
        Assert.Equal([-22L, (long)Number("getpriority")], records[1].Values);
    }

    [Fact]
    public void EqualHandlersBecomeOneProgram()
    {
        var p = new ProgramUnderTest();
        var n = p.Array("n", ScriptType.Long, 1000, ScriptType.String);
        var probes = new Dictionary<string, Probe>();
        foreach (var name in Target.Live().Architecture.Syscalls.Names.ToArray())
        {
            if (name is not null)
            {
                var local = new Local(0, "name", ScriptType.String);
                probes[name] = p.Probe(Spec(name), Block(Do(Set(local, Str(name))), If(Mine, Block(Do(Inc(Place(n, Get(local)))), Print(Get(local))))), local);
            }
        }

        using var r = new PlanRunner(p.Build());
        Assert.Single(r.Programs);
        r.AttachAll();
        for (var i = 0; i < 5; i++)
        {
            Syscall(Number("getppid"), 0, 0, 0);
        }

        Syscall(Number("mq_timedreceive"), -1, 0, 0);
        r.Detach();
        Assert.Equal(5, r.Element(n, "getppid"));
        Assert.Equal(1, r.Element(n, "mq_timedreceive"));
        Assert.Contains(r.Records(), x => x.Probe == probes["mq_timedreceive"].Index && (string)x.Values[0] == "mq_timedreceive");
    }

    [Fact]
    public void ManyDifferentHandlersGoByTailCall()
    {
        var p = new ProgramUnderTest();
        var all = p.Long("all");
        var globals = new List<(string Name, Global Global)>();
        foreach (var name in (string[])["getppid", "getuid", "geteuid", "getgid", "getegid", "getpgid", "getsid", "getpriority", "alarm", "umask", "sync"])
        {
            var g = p.Long("g_" + name);
            globals.Add((name, g));
            p.Probe(Spec(name), If(Mine, Do(Inc(Place(g)))));
        }

        p.Probe(new SyscallSpec(-1, "", false, false), If(Mine, Do(Inc(Place(all)))));
        using var r = new PlanRunner(p.Build());
        Assert.True(r.Programs.Count > 8);
        r.AttachAll();
        Syscall(Number("getppid"), 0, 0, 0);
        Syscall(Number("getgid"), 0, 0, 0);
        Syscall(Number("getgid"), 0, 0, 0);
        r.Detach();
        Assert.Equal(1, r.Long(globals[0].Global));
        Assert.Equal(2, r.Long(globals[3].Global));
        Assert.Equal(0, r.Long(globals[1].Global));
        Assert.True(r.Long(all) >= 3);
    }

    [Fact]
    public void UserStringsOfArguments()
    {
        var p = new ProgramUnderTest();
        var last = p.Text("last");
        p.Probe(Spec("access"), If(Mine, Block(
            Print(Call(IntrinsicId.UserString, SysArg(0), Num(511)), SysArg(1)),
            Do(Set(Place(last), Call(IntrinsicId.UserString, SysArg(0), Num(511)))))));
        using var r = new PlanRunner(p.Build());
        r.AttachAll();
        var path = Marshal.StringToHGlobalAnsi("/no/such/file/at/all");
        Syscall(Number("access"), path, 4, 0);
        r.Detach();
        var record = Assert.Single(r.Records());
        Assert.Equal([4L, "/no/such/file/at/all"], record.Values);
        Assert.Equal("/no/such/file/at/all", r.Text(last));
        r.AttachAll();
        Syscall(Number("access"), 16, 4, 0);
        r.Detach();
        var error = Assert.Single(r.Records());
        Assert.Equal(RecordKind.Error, error.Kind);
        Assert.Equal([16L, 0L, ""], error.Values);
        Assert.Equal(1, r.Word(ControlBlock.NonResidentReads));
        Marshal.FreeHGlobal(path);
    }

    /// <summary>Kernels whose tracepoint does not say which exit was the last: without remembering, some of the processes end twice when the two CPUs are at it together.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_process_ends_once(bool told)
    {
        var program = await ProbedPrograms.Build("exits.c", "-O1 -pthread");
        var p = new ProgramUnderTest();
        var (ends, again) = (p.Long("ends"), p.Long("again"));
        p.Probe(new ProcessSpec(ProcessEvent.End, new ProcessFilter.Executable(program)), Do(Inc(Place(ends))));
        p.Probe(new ProcessSpec(ProcessEvent.End, new ProcessFilter.Executable(program)), Do(Inc(Place(again))));
        using var r = new PlanRunner(p.Build(), new BpfOptions { RingBytes = 1 << 16, Features = BpfFeatures.Modern with { LastExitIsTold = told } });
        r.AttachAll();
        using var made = System.Diagnostics.Process.Start(program, []);
        await made.WaitForExitAsync(TestContext.Current.CancellationToken);
        r.Detach();
        Assert.Equal((301, 301), (r.Long(ends), r.Long(again)));
    }

    [Fact]
    public void ProcessesAndTargets()
    {
        var p = new ProgramUnderTest();
        var (execs, ends, forks) = (p.Array("execs", ScriptType.Long, 100, ScriptType.String), p.Long("ends"), p.Long("forks"));
        p.Probe(new ProcessSpec(ProcessEvent.Begin, new ProcessFilter.All()), Do(Inc(Place(execs, Call(IntrinsicId.ExecName)))));
        p.Probe(new ProcessSpec(ProcessEvent.End, new ProcessFilter.All()), Do(Inc(Place(ends))));
        p.Probe(new ProcessSpec(ProcessEvent.Begin, new ProcessFilter.Executable(Path.GetFullPath(new FileInfo("/bin/sleep").ResolveLinkTarget(true)?.FullName ?? "/bin/sleep"))), Do(Inc(Place(forks))));
        p.Probe(new ProcessSpec(ProcessEvent.ThreadBegin, new ProcessFilter.Pid(Environment.ProcessId)), Block());
        p.Probe(new ProcessSpec(ProcessEvent.ThreadEnd, new ProcessFilter.Pid(Environment.ProcessId)), Block());
        using var r = new PlanRunner(p.Build(), new BpfOptions { HasTarget = true, RingBytes = 1 << 16 });
        r.Maps[r.Plan.TargetSetMap].Update(Environment.ProcessId, 1);
        r.AttachAll();
        using (var child = System.Diagnostics.Process.Start("/bin/sh", ["-c", "/bin/sleep 0.01; exit 0"]))
        {
            child.WaitForExit();
        }

        r.Detach();
        Assert.True(r.Element(execs, "sh") >= 1);
        Assert.True(r.Element(execs, "sleep") >= 1);
        Assert.True(r.Long(ends) >= 2, $"ends {r.Long(ends)}");
        Assert.Equal(1, r.Long(forks));
    }

    [Fact]
    public void PerfEventsLoad()
    {
        var p = new ProgramUnderTest();
        var n = p.Array("n", ScriptType.Long, 1000, ScriptType.String, ScriptType.Long);
        p.Probe(new ProfileSpec(99), Do(Inc(Place(n, Call(IntrinsicId.ExecName), Call(IntrinsicId.UserMode)))));
        p.Probe(new PerfSpec(1, 0) { SamplePeriod = 1000000 }, Print(Call(IntrinsicId.InstructionPointer), Call(IntrinsicId.RegisterByName, Str("rsp"))));
        using var r = new PlanRunner(p.Build());
        Assert.Equal(2, r.Programs.Count);
    }
}
