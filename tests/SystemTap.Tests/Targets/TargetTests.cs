using System.Text;
using Xunit;
using SystemTap.Targets;

namespace SystemTap.Tests.Targets;

public class TargetTests
{
    private static readonly Target Files = Target.FromFiles(new TargetFiles
    {
        Release = "6.1.0-13-amd64",
        Architecture = X8664.Instance,
        BtfBytes = BtfBuilder.Sample(),
        ConfigText = "CONFIG_HZ=1000\nCONFIG_SMP=y\nCONFIG_X=m\n# CONFIG_HZ_250 is not set\nCONFIG_LOCALVERSION=\"-custom\"\nCONFIG_EMPTY=\"\"\n",
        OnlineCpus = [0, 1, 5],
        KernelSymbols = "0000000000000000 A fixed\nffffffff81000010 t second\t[mod]\nffffffff81000000 T first\n"u8.ToArray(),
    });

    [Fact]
    public void A_target_from_files_knows_only_them()
    {
        Assert.Equal(("6.1.0-13-amd64", "6.1.0", false), (Files.Release, Files.Version, Files.IsLive));
        Assert.Equal((1000, 6, 4096), (Files.TicksPerSecond, Files.PossibleCpuCount, Files.PageSize));
        Assert.Equal([0, 1, 5], Files.OnlineCpus);
        Assert.NotNull(Files.KernelBtf.Find(BtfKind.Struct, "outer"));
        Assert.Empty(Files.Processes.Pids);
        Assert.Null(Files.Processes.Find(1));
        Assert.Null(Files.BuildId);
        Assert.Null(Files.ModuleBtf("ext4"));
        Assert.Null(Files.OpenTracefs());
    }

    [Fact]
    public void A_kernel_without_types_says_so()
    {
        var bare = Target.FromFiles(new TargetFiles { Release = "6.1", Architecture = Arm64.Instance });
        Assert.Contains("CONFIG_DEBUG_INFO_BTF", Assert.Throws<TargetException>(() => bare.KernelBtf).Message);
        Assert.Null(bare.KernelBtfOrNull);
        Assert.Null(bare.Tracepoints.Find("sched_switch"));
        Assert.Empty(bare.Tracepoints.Match("*"));
        Assert.True(bare.KernelConfig.IsEmpty);
        Assert.Null(bare.KernelConfig["CONFIG_SMP"]);
        Assert.Null(bare.KernelConfig.IsEnabled("CONFIG_SMP"));
        Assert.Equal("6.1", bare.Version);
        Assert.Contains("not available", Assert.Throws<TargetException>(bare.KernelSymbols.RequireAddresses).Message);
    }

    [Theory]
    [InlineData("CONFIG_HZ", "1000")]
    [InlineData("CONFIG_SMP", "y")]
    [InlineData("CONFIG_X", "m")]
    [InlineData("CONFIG_LOCALVERSION", "-custom")]
    [InlineData("CONFIG_EMPTY", "")]
    [InlineData("CONFIG_HZ_250", null)]
    [InlineData("CONFIG_H", null)]
    [InlineData("HZ", null)]
    public void Options_of_the_configuration(string name, string? value) => Assert.Equal(value, Files.KernelConfig[name]);

    [Fact]
    public void Enabled_options()
    {
        Assert.True(Files.KernelConfig.IsEnabled("CONFIG_X"));
        Assert.False(Files.KernelConfig.IsEnabled("CONFIG_HZ_250"));
    }

    [Fact]
    public void The_live_machine()
    {
        var live = Target.Live();
        Assert.Equal(File.ReadAllText("/proc/sys/kernel/osrelease").Trim(), live.Release);
        Assert.Equal(Environment.ProcessorCount, live.OnlineCpus.Count);
        Assert.True(live.PossibleCpuCount > live.OnlineCpus[^1]);
        if (live.KernelConfig["CONFIG_HZ"] is { } hz)
            Assert.Equal(hz, live.TicksPerSecond.ToString());
        Assert.Contains(live.TicksPerSecond, new[] { 24, 48, 64, 100, 128, 250, 256, 300, 1000, 1024 });
        if (live.BuildId is { } id)
            Assert.Matches("^([0-9a-f]{2})+$", id);
    }

    [Theory]
    [InlineData("0-3,8\n", "0 1 2 3 8")]
    [InlineData("5", "5")]
    public void Cpu_lists(string text, string expected) => Assert.Equal(expected, string.Join(' ', CpuList.Parse(text)!));

    [Theory]
    [InlineData("")]
    [InlineData("1-")]
    [InlineData("3-1")]
    [InlineData("a")]
    [InlineData("0-99999999")]
    public void Not_cpu_lists(string text) => Assert.Null(CpuList.Parse(text));

    [Fact]
    public void Symbols_by_name_and_address()
    {
        var symbols = Files.KernelSymbols;
        Assert.False(symbols.AddressesHidden);
        var first = symbols.Find("first")!.Value;
        Assert.Equal((0xffffffff81000000UL, 'T', (string?)null), (first.Address, first.Type, first.Module));
        Assert.Equal("mod", symbols.Find("second")!.Value.Module);
        Assert.Equal(("first", 15UL), symbols.Find(0xffffffff8100000f) is { } found ? (found.Symbol.Name, found.Offset) : default);
        Assert.Equal(("second", 0UL), symbols.Find(0xffffffff81000010) is { } at ? (at.Symbol.Name, at.Offset) : default);
        Assert.Equal(16UL, symbols.SizeAtMost(0xffffffff81000000));
        Assert.Null(symbols.Find(0x1000));
        Assert.Null(symbols.Find(0xffffffffff000000));
        Assert.Null(symbols.Find("third"));
        Assert.Equal("first", Assert.Single(symbols.MatchFunctions("f*")).Name);
        Assert.Equal("second", Assert.Single(symbols.MatchFunctions("*", "mod")).Name);
    }

    [Fact]
    public void Hidden_addresses_are_told_apart_from_absent_symbols()
    {
        var symbols = KernelSymbols.Parse("0000000000000000 T first\n0000000000000000 t second\n"u8.ToArray());
        Assert.True(symbols.AddressesHidden);
        Assert.Equal("second", symbols.Find("second")!.Value.Name);
        Assert.Null(symbols.Find(0UL));
        Assert.Null(symbols.Find(0xffffffff81000000));
        Assert.Contains("kptr_restrict", Assert.Throws<TargetException>(symbols.RequireAddresses).Message);
    }

    [Theory]
    [InlineData("")]
    [InlineData("\n\n")]
    [InlineData("xyz")]
    [InlineData("ffffffff81000000")]
    [InlineData("ffffffff81000000 T")]
    [InlineData("ffffffff81000000 T ")]
    [InlineData("fffffffffffffffff T toolong")]
    public void Lines_that_are_no_symbols_are_left_out(string text) => Assert.Equal(0, KernelSymbols.Parse(Encoding.UTF8.GetBytes(text)).Count);

    [Fact]
    public void Live_symbols_are_where_kallsyms_says()
    {
        Assert.SkipUnless(File.Exists("/proc/kallsyms"), "needs CONFIG_KALLSYMS");

        // BPF programs of tests that run at the same time come and go in kallsyms ([bpf]): compare without them.
        var symbols = KernelSymbols.Parse(Encoding.Latin1.GetBytes(string.Concat(File.ReadAllLines("/proc/kallsyms").Where(l => !l.EndsWith("[bpf]", StringComparison.Ordinal)).Select(l => l + "\n"))));
        Assert.SkipWhen(symbols.AddressesHidden, "needs kernel.kptr_restrict 0 and root");
        var lines = File.ReadAllLines("/proc/kallsyms").Where(l => !l.EndsWith("[bpf]", StringComparison.Ordinal)).ToArray();
        Assert.Equal(lines.Length, symbols.Count);
        for (var i = 0; i < lines.Length; i += 997)
        {
            var parts = lines[i].Split(' ', '\t');
            var address = Convert.ToUInt64(parts[0], 16);
            Assert.Contains(symbols.FindAll(parts[2]), s => s.Address == address && s.Type == parts[1][0]);
            Assert.Equal(0UL, symbols.Find(address)!.Value.Offset);
        }
    }

    [Fact]
    public void This_process()
    {
        var me = Target.Live().Processes.Find(Environment.ProcessId)!;
        Assert.Equal(Environment.ProcessPath, me.Executable);
        Assert.Equal(File.ReadAllText("/proc/self/comm").TrimEnd('\n'), me.Name);
        Assert.Contains(Environment.ProcessId, me.Threads);
        Assert.Contains(Environment.ProcessId, Target.Live().Processes.Pids);
        Assert.Contains(me.Maps, m => m.Path == me.Executable && m.IsFile && m.Start < m.End);
        Assert.Equal(me.Name, me.Status("Name"));
        Assert.Equal(Environment.UserName == "root" ? 0 : me.UserId, me.UserId);
        Assert.Null(Target.Live().Processes.Find(int.MaxValue));
        Assert.Null(Target.Live().Processes.Find(-1));
    }

    [Fact]
    public void Names_with_parentheses_and_spaces()
    {
        var folder = Directory.CreateTempSubdirectory("stap-proc").FullName;
        try
        {
            Directory.CreateDirectory(folder + "/42/task/42");
            File.WriteAllText(folder + "/42/stat", "42 (a) R 1) S 7 42 42 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0\n");
            File.WriteAllText(folder + "/42/maps",
                "55d0c000-55d0d000 r-xp 00001000 fe:01 1234                       /opt/my app (deleted)\n7ff0-7ff8 rw-p 00000000 00:00 0 \nrubbish\n7ffc-7fff rw-p 00000000 00:00 0                          [stack]\n");
            var process = Target.FromFiles(new TargetFiles { Release = "1", Architecture = X8664.Instance, ProcFolder = folder }).Processes.Find(42)!;
            Assert.Equal(("a) R 1", 'S', 7, 12345UL), (process.Name, process.State, process.ParentPid, process.StartTime));
            Assert.Equal([42], process.Threads);
            Assert.Equal(-1, process.UserId);
            Assert.Null(process.Executable);
            var maps = process.Maps;
            Assert.Equal(3, maps.Count);
            Assert.Equal(("/opt/my app", true, 0x1000UL, true), (maps[0].Path, maps[0].IsDeleted, maps[0].FileOffset, maps[0].IsExecutable));
            Assert.Equal(("", "[stack]"), (maps[1].Path, maps[2].Path));
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    [Fact]
    public void The_build_id_is_found_among_other_notes()
    {
        var path = Path.GetTempFileName();
        try
        {
            byte[] other = [4, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, (byte)'X', (byte)'e', (byte)'n', 0, 1, 2, 0, 0];
            byte[] gnu = [4, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, (byte)'G', (byte)'N', (byte)'U', 0, 0xAB, 0x0C, 0xDE, 0];
            File.WriteAllBytes(path, [.. other, .. gnu]);
            Assert.Equal("ab0cde", Target.ReadBuildId(path));
            File.WriteAllBytes(path, [.. other, .. gnu[..17]]);
            Assert.Null(Target.ReadBuildId(path));
            File.WriteAllBytes(path, other);
            Assert.Null(Target.ReadBuildId(path));
            File.WriteAllBytes(path, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0, 1]);
            Assert.Null(Target.ReadBuildId(path));
        }
        finally
        {
            File.Delete(path);
        }
    }
}
