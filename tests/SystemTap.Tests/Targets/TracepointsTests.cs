using Xunit;
using SystemTap.Targets;

namespace SystemTap.Tests.Targets;

public sealed class TracepointsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("stap-tracefs").FullName;

    public TracepointsTests() => Directory.CreateDirectory(_folder + "/events/things/demo");

    public void Dispose() => Directory.Delete(_folder, true);

    private Target Make(bool tracefs, string? build = "b1") => Target.FromFiles(new TargetFiles
    {
        Release = "6.1",
        Architecture = X8664.Instance,
        BtfBytes = BtfBuilder.Sample(),
        TracefsFolder = tracefs ? _folder : null,
        CacheDirectory = _folder + "/cache",
        BuildId = build,
    });

    [Fact]
    public void With_systems()
    {
        var all = Make(true).Tracepoints;
        Assert.True(all.SystemsKnown);
        Assert.Equal(["demo", "other"], all.Names);
        Assert.Equal("things:demo", all.Find("demo")!.ToString());
        Assert.Equal("demo", all.Find("things:demo")!.Name);
        Assert.Null(all.Find("sched:demo"));
        Assert.Null(all.Find("things:other"));
        Assert.Equal("other", all.Find("other")!.ToString());
        Assert.Equal("who on", string.Join(' ', all.Find("demo")!.Parameters.Select(p => p.Name)));
        Assert.Null(all.Find("demo")!.Module);
    }

    [Theory]
    [InlineData("*", "things:demo other")]
    [InlineData("*:*", "things:demo other")]
    [InlineData("thing*:*", "things:demo")]
    [InlineData("*:o*", "other")]
    [InlineData("d?mo", "things:demo")]
    [InlineData("things:demo", "things:demo")]
    [InlineData("x*", "")]
    public void Patterns(string pattern, string expected) => Assert.Equal(expected, string.Join(' ', Make(true).Tracepoints.Match(pattern)));

    [Fact]
    public void Without_tracefs_names_still_work_and_a_system_is_believed()
    {
        var all = Make(false).Tracepoints;
        Assert.False(all.SystemsKnown);
        Assert.Null(all.Find("demo")!.System);
        Assert.NotNull(all.Find("things:demo"));
        Assert.Null(all.Find("things:nothing"));
        Assert.Empty(all.Match("th*:*"));
        Assert.Empty(all.Match("things:*"));
        Assert.Equal(2, all.Match("*:*").Count);
    }

    [Fact]
    public void Systems_once_seen_are_remembered_for_that_build_only()
    {
        Assert.Equal("things", Make(true).Tracepoints.Find("demo")!.System);
        Assert.Equal("things", Make(false).Tracepoints.Find("demo")!.System);
        Assert.Null(Make(false, "b2").Tracepoints.Find("demo")!.System);
        Assert.Equal("things", Make(true, "b2").Tracepoints.Find("demo")!.System); // "unknown" was not remembered for good
    }

    [Fact]
    public void A_damaged_cache_is_not_believed()
    {
        _ = Make(true).Tracepoints.Names;
        var path = Assert.Single(Directory.GetFiles(_folder + "/cache", "tracepoints*"));
        var good = File.ReadAllText(path);
        File.WriteAllText(path, good.Replace("things", "thungs"));
        Assert.Equal("things", Make(true).Tracepoints.Find("demo")!.System);
        Assert.Equal(good, File.ReadAllText(path));
        File.WriteAllText(path, "");
        Assert.Equal("things", Make(true).Tracepoints.Find("demo")!.System);
    }

    [Fact]
    public void Modules_have_tracepoints_of_their_own()
    {
        var kernel = BtfBuilder.Sample();
        var module = new BtfBuilder(Btf.Parse(kernel).EndId, BitConverter.ToInt32(kernel, 20));
        module.Function("__traceiter_mine", module.Prototype(0, ("__data", 0), ("x", 1)));
        Directory.CreateDirectory(_folder + "/btf");
        File.WriteAllBytes(_folder + "/btf/my_module", module.Bytes());
        File.WriteAllBytes(_folder + "/btf/vmlinux", kernel);
        Directory.CreateDirectory(_folder + "/events/my/mine");
        var target = Target.FromFiles(new TargetFiles
        {
            Release = "6.1", Architecture = X8664.Instance, BtfPath = _folder + "/btf/vmlinux", ModuleBtfFolder = _folder + "/btf",
            TracefsFolder = _folder, CacheDirectory = _folder + "/cache", BuildId = "b1",
        });
        Assert.Equal(["my_module"], target.ModulesWithBtf);
        Assert.Equal("my_module", target.ModuleBtf("my-module")!.Name); // modprobe takes both spellings
        Assert.Null(target.ModuleBtf("../btf/my_module"));
        Assert.Equal(["demo", "mine", "other"], target.Tracepoints.Names);
        var mine = target.Tracepoints.Find("my:mine")!;
        Assert.Equal(("my_module", "x", "int"), (mine.Module, mine.Parameters[0].Name, mine.Parameters[0].Type.Declaration));

        // Without the module, the remembered names are not those of this machine.
        Assert.Null(Make(true).Tracepoints.Find("mine"));
        Assert.Equal(["demo", "other"], Make(true).Tracepoints.Names);
    }

    [Fact]
    public void Formats()
    {
        var format = TracepointFormat.Parse("""
            name: demo
            ID: 314
            format:
            	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
            	field:int common_pid;	offset:4;	size:4;	signed:1;

            	field:char comm[16];	offset:8;	size:16;	signed:0;
            	field:const char * text;	offset:24;	size:8;	signed:0;
            	field:__data_loc char[] name;	offset:32;	size:4;	signed:0;
            	field:__rel_loc __u8[] data;	offset:36;	size:4;	signed:0;
            	field:u32 table[2*N];	offset:40;	size:32;	signed:0;

            print fmt: "field:%s; offset:", REC->comm
            """);
        Assert.Equal(("demo", 314, 7), (format.Name, format.Id, format.Fields.Count));
        Assert.Equal(new TracepointField("common_pid", "int", 4, 4, true, -1, TracepointFieldLocation.Inline), format.Find("common_pid"));
        Assert.Equal(new TracepointField("comm", "char", 8, 16, false, 16, TracepointFieldLocation.Inline), format.Find("comm"));
        Assert.Equal(new TracepointField("text", "const char *", 24, 8, false, -1, TracepointFieldLocation.Inline), format.Find("text"));
        Assert.Equal(new TracepointField("name", "char", 32, 4, false, 0, TracepointFieldLocation.FromRecord), format.Find("name"));
        Assert.Equal(new TracepointField("data", "__u8", 36, 4, false, 0, TracepointFieldLocation.FromLocator), format.Find("data"));
        Assert.Equal(0, format.Find("table")!.ArrayLength);
        Assert.Null(format.Find("absent"));
    }

    [Theory]
    [InlineData("")]
    [InlineData("name: x\n")]
    [InlineData("name: x\nID: y\n")]
    [InlineData("name: x\nID: 1\nformat:\n\tfield:int a;\toffset:x;\tsize:4;\n")]
    [InlineData("name: x\nID: 1\nformat:\n\tfield:int a;\n")]
    public void Not_formats(string text) => Assert.Contains("malformed", Assert.Throws<TargetException>(() => TracepointFormat.Parse(text)).Message);

    [Fact]
    public void The_live_machine()
    {
        var target = Target.Live();
        Assert.SkipUnless(target.KernelBtfOrNull is not null, "needs CONFIG_DEBUG_INFO_BTF");
        using (var tracefs = target.OpenTracefs())
            Assert.SkipUnless(tracefs is not null, "needs CAP_SYS_ADMIN or a mounted tracefs");
        var mounts = File.ReadAllText("/proc/self/mounts");
        Assert.Equal("sched", target.Tracepoints.Find("sched_switch")!.System);
        Assert.NotNull(target.Tracepoints.Find("sched:sched_switch"));
        Assert.Null(target.Tracepoints.Find("irq:sched_switch"));
        Assert.InRange(target.Tracepoints.Match("sched:sched_process_*").Count, 4, 30);
        var format = target.Tracepoints.Format("sched", "sched_switch")!;
        Assert.True(format.Id > 0);
        Assert.Equal((16, 16), (format.Find("prev_comm")!.Size, format.Find("prev_comm")!.ArrayLength));
        Assert.Equal(Task("pid"), format.Find("prev_pid")!.Size);
        Assert.Null(target.Tracepoints.Format("sched", "nothing"));
        Assert.Null(target.Tracepoints.Format("..", "sched"));
        Assert.Equal(mounts, File.ReadAllText("/proc/self/mounts")); // the machine is as it was

        int Task(string member) => (int)target.KernelBtf.Find(BtfKind.Struct, "task_struct")!.Value.FindMember(member)!.Value.Type.Size;
    }
}
