using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Probes.Families;
using SystemTap.Targets;
using Xunit;

namespace SystemTap.Tests.Probes;

public class FamilyTests
{
    private static ProbeSpec Spec(string point, bool hasTarget = false) => Fixture.One($"probe {point} {{ next }}", hasTarget: hasTarget).Point.Spec;

    private static Target Foreign { get; } = Target.FromFiles(new TargetFiles { Release = "6.1.0", Architecture = Architecture.Find("arm64")!, ConfigText = "CONFIG_HZ=100\n" });

    [Theory]
    [InlineData("begin", SessionEvent.Begin, 0)]
    [InlineData("begin(-9)", SessionEvent.Begin, -9)]
    [InlineData("end(3)", SessionEvent.End, 3)]
    [InlineData("error", SessionEvent.Error, 0)]
    [InlineData("never", SessionEvent.Never, 0)]
    public void Session(string point, SessionEvent what, long priority) => Assert.Equal(new SessionSpec(what, priority), Spec(point));

    [Theory]
    [InlineData("timer.s(2)", 2_000_000_000, 0)]
    [InlineData("timer.sec(2).randomize(1)", 2_000_000_000, 1_000_000_000)]
    [InlineData("timer.ms(7)", 7_000_000, 0)]
    [InlineData("timer.msec(7).randomize(7)", 7_000_000, 7_000_000)]
    [InlineData("timer.us(100)", 100_000, 0)]
    [InlineData("timer.usec(250)", 250_000, 0)]
    [InlineData("timer.ns(100000)", 100_000, 0)]
    [InlineData("timer.nsec(123456)", 123_456, 0)]
    [InlineData("timer.hz(1000)", 1_000_000, 0)]
    [InlineData("timer.s(86400)", 86_400_000_000_000, 0)]
    public void Timers(string point, long ns, long random) => Assert.Equal(new TimerSpec(ns, random), Spec(point));

    [Fact]
    public void JiffiesAndProfileUseTheTargetsTick()
    {
        Assert.Equal(new TimerSpec(30_000_000, 10_000_000), Fixture.One("probe timer.jiffies(3).randomize(1) { next }", target: Foreign).Point.Spec);
        Assert.Equal(new ProfileSpec(100), Fixture.One("probe timer.profile { next }", target: Foreign).Point.Spec);
        Assert.Equal(new ProfileSpec(100), Fixture.One("probe timer.profile.tick { next }", target: Foreign).Point.Spec);
        Assert.Equal(new ProfileSpec(997), Spec("timer.profile.freq.hz(997)"));
    }

    [Theory]
    [InlineData("timer.us(99)", "probe.timer-range")]
    [InlineData("timer.s(0)", "probe.timer-range")]
    [InlineData("timer.s(-1)", "probe.timer-range")]
    [InlineData("timer.s(86401)", "probe.timer-range")]
    [InlineData("timer.s(9223372036854775807)", "probe.timer-range")]
    [InlineData("timer.hz(0)", "probe.timer-range")]
    [InlineData("timer.hz(10001)", "probe.timer-range")]
    [InlineData("timer.ms(10).randomize(11)", "probe.timer-randomize")]
    [InlineData("timer.profile.freq.hz(0)", "probe.profile-range")]
    [InlineData("procfs(\"/etc/x\").read", "probe.procfs-path")]
    [InlineData("procfs(\"a/../b\").read", "probe.procfs-path")]
    [InlineData("procfs(\"\").read", "probe.procfs-path")]
    [InlineData("procfs.umask(512).read", "probe.procfs-range")]
    [InlineData("procfs.read.maxsize(0)", "probe.procfs-range")]
    [InlineData("perf.type(0).config(0).sample(0)", "probe.perf-range")]
    [InlineData("perf.type(4294967296).config(0)", "probe.perf-range")]
    [InlineData("perf.type(0).config(0).process", "probe.perf-no-target")]
    [InlineData("process(0).begin", "probe.process-pid")]
    [InlineData("process(4194303).begin", "probe.process-pid")]
    [InlineData("process(\"\").begin", "probe.process-path")]
    [InlineData("process(\"/no/such/file\").begin", "probe.no-match")]
    [InlineData("kernel.syscall(\"nosuchcall\")", "probe.no-match")]
    public void BadArgumentsAreRefused(string point, string code) => Assert.StartsWith(code, Fixture.Fails($"probe {point} {{ next }}"));

    [Fact]
    public void SystemCallsComeFromTheArchitecturesTables()
    {
        Assert.Equal(new SyscallSpec(0, "read", false, false), Fixture.One("probe kernel.syscall(\"read\") { next }").Point.Spec);
        Assert.Equal(new SyscallSpec(63, "read", false, false), Fixture.One("probe kernel.syscall(\"read\") { next }", target: Foreign).Point.Spec);
        Assert.Equal(new SyscallSpec(3, "read", true, true), Fixture.One("probe kernel.compat_syscall(\"read\").return { next }").Point.Spec);
        Assert.Equal(new SyscallSpec(-1, "", true, false), Spec("kernel.syscall_any.return"));
        Assert.Equal(["kernel.syscall(\"dup\")", "kernel.syscall(\"dup2\")", "kernel.syscall(\"dup3\")"], new Fixture("probe kernel.syscall(\"dup*\") { next }").ExpandNames().Order());
        Assert.Empty(new Fixture("probe kernel.syscall(\"dup2\")? { next }", target: Foreign).Expand());
    }

    [Fact]
    public void SystemCallContext()
    {
        var point = Fixture.One("probe kernel.syscall(\"read\").return { next }").Point;
        var value = Assert.IsType<ContextExpr>(point.Context.Resolve("$return", default)!.Value);
        Assert.Equal(ContextValue.SyscallReturn, value.Value);
        Assert.Equal(5, Assert.IsType<ContextExpr>(point.Context.Resolve("$arg6", default)!.Value).Index);
        Assert.Null(point.Context.Resolve("$arg7", default));
        var entry = point.Context.EntryPoint!;
        Assert.Equal("kernel.syscall(\"read\")", entry.PointText);
        Assert.False(((SyscallSpec)entry.Spec).IsReturn);
        Assert.Null(entry.Context.Resolve("$return", default));
        Assert.Equal([new("$fd", "unsigned int"), new("$buf", "char*"), new("$count", "size_t")], entry.Context.Variables);
        Assert.Equal(1, Assert.IsType<ContextExpr>(entry.Context.Resolve("$buf", default)!.Value).Index);
        Assert.Null(entry.Context.EntryPoint);
    }

    [Fact]
    public void TracepointContext()
    {
        var point = Fixture.One("probe kernel.trace(\"sched:sched_switch\") { next }").Point;
        Assert.Equal(new TracepointSpec("sched_switch", "sched"), point.Spec);
        Assert.Contains(new ContextVariable("$prev", "struct task_struct*"), point.Context.Variables);
        var preempt = point.Context.Resolve("$preempt", default)!;
        var argument = Assert.IsType<ContextExpr>(preempt.Value);
        Assert.Equal((0, 1, false), (argument.Index, argument.Size, argument.IsSigned));
        var prev = Assert.IsType<ContextExpr>(point.Context.Resolve("$prev", default)!.Value);
        Assert.Equal(Fixture.Live.KernelBtf.Find(BtfKind.Struct, "task_struct")!.Value.Id, prev.BtfPointee);
        Assert.Equal(prev.Index, Assert.IsType<ContextExpr>(point.Context.Resolve("$arg2", default)!.Value).Index);
        Assert.Equal("sched", Assert.IsType<StringConst>(point.Context.Resolve("$$system", default)!.Value).Value);
        Assert.Null(point.Context.Resolve("$nothing", default));
        Assert.Null(point.Context.Resolve("$arg0", default));
        Assert.Null(point.Context.Resolve("$arg01", default));
    }

    [Fact]
    public void NarrowSignedTracepointArguments()
    {
        var context = Fixture.One("probe kernel.trace(\"sched_migrate_task\") { next }").Point.Context;
        var cpu = Assert.IsType<ContextExpr>(context.Resolve("$dest_cpu", default)!.Value);
        Assert.Equal((4, true), (cpu.Size, cpu.IsSigned));
    }

    [Fact]
    public void TracepointPatterns()
    {
        var names = new Fixture("probe kernel.trace(\"sched:sched_process_*\") { next }").ExpandNames();
        Assert.Contains("kernel.trace(\"sched:sched_process_fork\")", names);
        Assert.All(names, n => Assert.StartsWith("kernel.trace(\"sched:sched_process_", n));
        var numbered = Fixture.One("probe kernel.tracepoint(\"sched_switch\") { next }").Point;
        Assert.Equal("kernel.tracepoint(\"sched_switch\")", numbered.PointText);
        Assert.Equal("$arg1", numbered.Context.Variables[0].Name);
        Assert.Equal("", Assert.IsType<StringConst>(numbered.Context.Resolve("$$system", default)!.Value).Value);
    }

    [Fact]
    public void ProcessesByPathPidAndAll()
    {
        Assert.Equal(new ProcessSpec(ProcessEvent.Begin, new ProcessFilter.All()), Spec("process.begin"));
        Assert.Equal(new ProcessSpec(ProcessEvent.ThreadEnd, new ProcessFilter.Pid(Environment.ProcessId)), Spec($"process({Environment.ProcessId}).thread.end"));
        var byName = Fixture.One("probe process(\"sh\").end { next }").Point;
        var filter = Assert.IsType<ProcessFilter.Executable>(Assert.IsType<ProcessSpec>(byName.Spec).Filter);
        Assert.Equal(new FileInfo("/bin/sh").ResolveLinkTarget(true)?.Name ?? "sh", Path.GetFileName(filter.Path));
        Assert.Matches("^process\\(\"/.*/sh\"\\)\\.end$", byName.PointText);
        var call = Assert.IsType<SyscallSpec>(Spec("process(\"/bin/sh\").syscall.return"));
        Assert.Equal((-1, true, filter), (call.Number, call.IsReturn, call.Processes));
        Assert.Equal(new ProcessFilter.All(), Assert.IsType<SyscallSpec>(Spec("process.syscall")).Processes);
    }

    [Fact]
    public void ProgramsFollowLinksScriptsAndPatterns()
    {
        var folder = Directory.CreateTempSubdirectory("stap-programs").FullName;
        try
        {
            File.WriteAllText(folder + "/one", "binary");
            File.WriteAllText(folder + "/plain", "not executable");
            File.WriteAllText(folder + "/script", "#!/bin/sh -e\n");
            Directory.CreateDirectory(folder + "/sub");
            File.CreateSymbolicLink(folder + "/sub/two", "../one");
            File.CreateSymbolicLink(folder + "/loop", "loop");
            foreach (var name in (string[])["/one", "/script"])
            {
#pragma warning disable CA1416 // Linux only
                File.SetUnixFileMode(folder + name, UnixFileMode.UserRead | UnixFileMode.UserExecute);
#pragma warning restore CA1416
            }

            Assert.Equal(folder + "/one", Executable(folder + "/sub/two"));
            Assert.Equal(Executable("/bin/sh"), Executable(folder + "/script"));
            Assert.Equal(2, new Fixture($"probe process(\"{folder}/*\").begin {{ next }}").Expand().Count);
            Assert.Single(new Fixture($"probe process(\"{folder}/*/t*\").begin {{ next }}").Expand());
            Assert.Empty(new Fixture($"probe process(\"{folder}/plain\").begin? {{ next }}").Expand());
            Assert.Empty(new Fixture($"probe process(\"{folder}/loop\").begin? {{ next }}").Expand());
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    private static string Executable(string path) =>
        Assert.IsType<ProcessFilter.Executable>(Assert.IsType<ProcessSpec>(Spec($"process(\"{path}\").begin")).Filter).Path;

    [Theory]
    [InlineData("perf.type(1).config(0)", 1_000_000, 0, null)]
    [InlineData("perf.type(1).config(0).sample(5)", 5, 0, null)]
    [InlineData("perf.type(1).config(0).hz(99)", 0, 99, null)]
    [InlineData("perf.type(1).config(0).counter(\"c\")", 0, 0, "c")]
    public void Perf(string point, long period, long hz, string? counter) =>
        Assert.Equal(new PerfSpec(1, 0) { SamplePeriod = period, FrequencyHz = hz, CounterName = counter }, Spec(point));

    [Fact]
    public void PerfOfProcesses()
    {
        Assert.Equal(new ProcessFilter.All(), Assert.IsType<PerfSpec>(Spec("perf.type(1).config(0).sample(9).process", hasTarget: true)).Processes);
        var byPath = Assert.IsType<PerfSpec>(Spec("perf.type(1).config(2).process(\"/bin/sh\").hz(10)"));
        Assert.Equal((10, 2UL), (byPath.FrequencyHz, byPath.Config));
        Assert.IsType<ProcessFilter.Executable>(byPath.Processes);
    }

    [Theory]
    [InlineData("procfs.read", "command", false, 0, 0)]
    [InlineData("procfs(\"a/b\").write", "a/b", true, 0, 0)]
    [InlineData("procfs(\"x\").umask(022).read.maxsize(100)", "x", false, 18, 100)]
    [InlineData("procfs.umask(1).write", "command", true, 1, 0)]
    public void Procfs(string point, string path, bool write, int umask, int size)
    {
        Assert.Equal(new ProcfsSpec(path, write) { Umask = umask, MaxSize = size }, Spec(point));
        Assert.Equal(ContextValue.ProcfsValue, Assert.IsType<ContextExpr>(Fixture.One($"probe {point} {{ next }}").Point.Context.Resolve("$value", default)!.Value).Value);
    }

    [Fact]
    public void TapsetFilesUnderPathPrefixRelativePrograms()
    {
        var source = new SystemTap.Language.Text.SourceText("/tapset/PATH/bin/x.stp", "probe sh.start = process(\"sh\").begin {}", true) { ProcessPathPrefix = "/bin/" };
        var file = SystemTap.Language.Parsing.Parser.Parse(source, new SystemTap.Language.Parsing.ParseOptions(), new())!;
        var script = Fixture.Parse("probe sh.start { next }", false);
        var resolver = new ProbeResolver(new ResolveScope(Fixture.Live, new(), false, "bpf"), new EmptyTapsetLibrary(), [script, file]);
        Assert.Equal("process(\"/bin/sh\").begin", Assert.Single(resolver.Expand((SystemTap.Language.Syntax.ProbeDefinition)script.Items[0])).Point.PointText);
    }

    [Fact]
    public void EveryFormIsUniqueAndEveryFamilyHasSome()
    {
        var texts = ProbeFamilies.All.SelectMany(f => f.Forms).Select(f => string.Join('.', f.Select(c => c.Name + c.Argument))).ToList();
        Assert.Equal(texts.Count, texts.Distinct().Count());
        Assert.All(ProbeFamilies.All, f => Assert.NotEmpty(f.Forms));
    }
}
