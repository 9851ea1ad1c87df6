using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.Cli;

/// <summary>
/// What people do wrong and what machines refuse: one clear error, status 1, no .NET trace, no hang. stap runs under a shell that closes its streams, takes
/// its rights or hides parts of the machine from it.
/// </summary>
public sealed class BadInputTests
{
    private const string Hello = "probe begin { println(\"hello\") exit() }";
    private const string Kernel = "probe syscall.read { println(\"hello\") exit() }";

    private static readonly string Stap = string.Join(' ', StapProcess.Program.Select(w => $"'{w}'"));

    private static Task<StapResult> Shell(string command) => StapProcess.RunProgramAsync(["/bin/sh", "-c", command], null, 30, null, null);

    private static void Refused(StapResult got, params string[] texts)
    {
        Assert.True(got.Status == 1, $"status {got.Status}\n{got.Out}\n{got.Err}");
        Assert.All(texts, t => Assert.Contains(t, got.Err, StringComparison.Ordinal));
        NoTrace(got);
    }

    private static void NoTrace(StapResult got)
    {
        Assert.DoesNotContain("   at ", got.Err, StringComparison.Ordinal);
        Assert.DoesNotContain("Unhandled", got.Err, StringComparison.Ordinal);
        Assert.DoesNotContain("internal error", got.Err, StringComparison.Ordinal);
    }

    private static void NeedRoot() => Assert.SkipWhen(Environment.UserName != "root", "needs root");

    // ---- streams

    [Theory]
    [InlineData(">/dev/full", "standard output cannot be written: No space left on device")]
    [InlineData(">&-", "standard output cannot be written: Bad file descriptor")]
    public async Task Output_that_cannot_be_written_is_an_error(string redirection, string text)
    {
        Refused(await Shell($"{Stap} -e '{Hello}' {redirection}"), text);
        Refused(await Shell($"{Stap} -l 'timer.s(1)' {redirection}"), text);
        Refused(await Shell($"{Stap} --help {redirection}"), text);
        Refused(await Shell($"{Stap} -p1 -e '{Hello}' {redirection}"), text);
    }

    [Fact]
    public async Task An_output_file_on_a_full_disk_is_an_error() =>
        Refused(await Shell($"{Stap} -o /dev/full -e 'probe timer.ms(10) {{ println(\"x\") }}'"), "output file \"/dev/full\" cannot be written");

    [Theory]
    [InlineData("probe timer.ms(5) { println(\"tick\") } probe end { println(\"end\") }")]
    [InlineData("probe kernel.trace(\"sys_enter\") { println(\"call\") }")]
    public async Task A_reader_that_goes_away_ends_the_session_quietly(string script)
    {
        Assert.SkipWhen(script.Contains("kernel") && Environment.UserName != "root", "needs root");
        var got = await Shell($"{{ {Stap} -e '{script}'; echo status $? >&2; }} | head -n 2");
        Assert.Equal(2, got.Out.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.Equal("status 0\n", got.Err);
    }

    [Theory]
    [InlineData("2>/dev/full")]
    [InlineData("2>&-")]
    [InlineData("<&-")]
    [InlineData("<&- 2>&-")]
    public async Task Messages_that_nobody_can_read_do_no_harm(string redirection)
    {
        var got = await Shell($"{Stap} -v -e '{Hello}' {redirection}");
        Assert.Equal((0, "hello\n"), (got.Status, got.Out));
        got = await Shell($"{Stap} -e 'probe begin {{' {redirection}");
        Assert.Equal(1, got.Status);
    }

    [Fact]
    public async Task No_stream_at_all() => Assert.Equal(1, (await Shell($"{Stap} -e '{Hello}' <&- >&- 2>&-")).Status);

    // ---- files

    [Fact]
    public async Task Scripts_that_are_no_text()
    {
        var file = Path.Combine(Path.GetTempPath(), $"stap-bad-{Environment.ProcessId}.stp");
        try
        {
            foreach (var bytes in (byte[][])[[0], [0xff, 0xfe, 0, 0], [0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1], [.. Enumerable.Repeat((byte)'{', 1 << 20)], [.. Enumerable.Range(0, 1 << 16).Select(i => (byte)(i * 31))]])
            {
                await File.WriteAllBytesAsync(file, bytes, TestContext.Current.CancellationToken);
                Refused(await StapProcess.RunAsync([file]), "Pass 1: parse failed.");
            }

            // A whole program of the machine.
            Refused(await StapProcess.RunAsync(["/bin/sh"]), "Pass 1: parse failed.");
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task A_large_script_is_no_problem()
    {
        var text = string.Concat(Enumerable.Range(0, 20_000).Select(i => $"function f{i}(x) {{ return x + {i} }}\n")) + "probe begin { println(f19999(1)) exit() }";
        var got = await StapProcess.RunAsync(["-w", "-"], text, 60);
        Assert.Equal((0, "20000\n"), (got.Status, got.Out));
    }

    [Fact]
    public async Task A_script_that_may_not_be_read()
    {
        NeedRoot();
        var file = Path.Combine(Path.GetTempPath(), $"stap-secret-{Environment.ProcessId}.stp");
        await File.WriteAllTextAsync(file, Hello, TestContext.Current.CancellationToken);
        try
        {
            Refused(await Nobody($"chmod 600 {file}", $"{file}"), "cannot be read: permission denied");
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Theory]
    [InlineData("/dev/null", "empty")]
    [InlineData("/nonexistent/x.stp", "does not exist")]
    [InlineData("/tmp", "is a folder")]
    public async Task Scripts_that_are_not_there(string path, string text) => Refused(await StapProcess.RunAsync([path]), text);

    [Theory]
    [InlineData("/nonexistent/out", "No such file or directory")]
    [InlineData("/tmp", "Is a directory")]
    [InlineData("/proc/1/out", "")]
    public async Task Output_files_that_cannot_be_made(string path, string text) => Refused(await StapProcess.RunAsync(["-o", path, "-e", Hello]), $"output file \"{path}\" cannot be created", text);

    // ---- rights

    // The program and the tapset may lie where nobody else may look: copies do not help a .dll, so this asks whether they are reachable.
    private static async Task<StapResult> Nobody(string before, string arguments)
    {
        var can = await Shell($"setpriv --reuid 65534 --regid 65534 --clear-groups {Stap} --version");
        Assert.SkipWhen(can.Status != 0, "another user cannot run this stap: " + can.Err);
        return await Shell($"{before}; setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent {Stap} {arguments}");
    }

    [Fact]
    public async Task Another_user_may_run_scripts_without_kernel_events()
    {
        NeedRoot();
        var got = await Nobody("true", $"-e '{Hello}'");
        Assert.Equal((0, "hello\n", ""), (got.Status, got.Out, got.Err));
    }

    [Theory]
    [InlineData(Kernel)]
    [InlineData("probe timer.profile { exit() }")]
    [InlineData("probe process.begin { exit() }")]
    [InlineData("probe kernel.trace(\"sched_switch\") { exit() }")]
    public async Task Another_user_is_told_to_be_root(string script)
    {
        NeedRoot();
        var got = await Nobody("true", $"-e '{script}'");
        Refused(got, "need root, or CAP_BPF and CAP_PERFMON", "sudo");
        Assert.Single(got.Err.Split('\n'), l => l.StartsWith("ERROR", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Root_of_a_user_namespace_is_told_why()
    {
        var can = await Shell("unshare -U -r true");
        Assert.SkipWhen(can.Status != 0, "no user namespaces here: " + can.Err);
        Refused(await Shell($"unshare -U -r {Stap} -e '{Kernel}'"), "the kernel refuses BPF to this process", "user namespace");
    }

    [Fact]
    public async Task Without_BTF()
    {
        await Hidden("/sys/kernel/btf");
        Refused(await Shell($"unshare -m sh -c \"mount -t tmpfs none /sys/kernel/btf && exec {Stap} -e 'probe syscall.read {{ exit() }}'\""), "offers no BTF");
        var got = await Shell($"unshare -m sh -c \"mount -t tmpfs none /sys/kernel/btf && exec {Stap} -e 'probe begin {{ println(7) exit() }}'\"");
        Assert.Equal((0, "7\n"), (got.Status, got.Out));
    }

    [Fact]
    public async Task Without_sysfs()
    {
        await Hidden("/sys");
        Refused(await Shell($"unshare -m sh -c \"mount -t tmpfs none /sys && exec {Stap} -e 'probe kernel.trace(\\\"sched_switch\\\") {{ exit() }}'\""), "no match for tracepoint", "offers no BTF");
    }

    private static async Task Hidden(string folder)
    {
        var can = await Shell($"unshare -m mount -t tmpfs none {folder}");
        Assert.SkipWhen(can.Status != 0, $"{folder} cannot be hidden: {can.Err}");
    }

    // ---- commands and processes

    [Theory]
    [InlineData("/nonexistent/program", "was not found")]
    [InlineData("no-such-program-anywhere", "was not found")]
    public async Task Commands_that_are_not_there(string command, string text) => Refused(await StapProcess.RunAsync(["-c", command, "-e", "probe begin { println(1) }"]), text);

    [Fact]
    public async Task A_process_that_has_ended()
    {
        var got = await Shell("sleep 0 & pid=$!; wait; " + Stap + " -x $pid -e 'probe begin { exit() }'");
        Refused(got, "of option '-x' does not exist");
    }

    /// <summary>As documented: -x only names the process.</summary>
    [Fact]
    public async Task The_session_outlives_the_process_of_x()
    {
        var got = await Shell($"sleep 0.3 & {Stap} -x $! -e 'probe timer.ms(900) {{ println(\"still here\") exit() }}'");
        Assert.Equal((0, "still here\n"), (got.Status, got.Out));
    }

    /// <summary>stap as the command of stap.</summary>
    [Fact]
    public async Task Sessions_nest()
    {
        NeedRoot();
        var inner = $"{Stap} -e 'probe begin {{ println(1 + 1) exit() }}'";
        var got = await StapProcess.RunAsync(["-c", inner, "-e", "global n probe syscall.* { if (target_set_pid(pid())) n++ } probe end { println(n > 10) }"]);
        Assert.Equal((0, "2\n1\n"), (got.Status, got.Out));
    }

    [Fact]
    public async Task Two_sessions_at_once()
    {
        NeedRoot();
        var one = $"{Stap} -T 1 -e 'global n probe syscall.* {{ n++ }} probe end {{ println(n > 0) }}'";
        var got = await Shell($"{one} & {one}; wait");
        Assert.Equal((0, "1\n1\n"), (got.Status, got.Out));
    }

    // ---- signals

    /// <summary>A shell script that starts stap in the background gives it an ignored SIGINT; "kill -INT" must end it all the same.</summary>
    [Theory]
    [InlineData("INT")]
    [InlineData("TERM")]
    public async Task A_background_session_ends_by_a_signal(string signal)
    {
        var got = await Shell($"{Stap} -e 'probe begin {{ println(\"up\") }} probe end {{ println(\"down\") }}' & pid=$!; sleep 1; kill -{signal} $pid; wait $pid; echo $?");
        Assert.Equal("up\ndown\n0\n", got.Out);
    }

    /// <summary>Whatever a session is doing – reading, translating, loading, attaching, running – a signal ends it soon, and orderly once it runs.</summary>
    [Theory]
    [InlineData("INT")]
    [InlineData("TERM")]
    public async Task A_signal_at_any_time_ends_it(string signal)
    {
        NeedRoot();
        var delays = string.Join(' ', Enumerable.Range(0, 12).Select(i => (i * 0.025).ToString("0.000", System.Globalization.CultureInfo.InvariantCulture)));
        // Job control (set -m): else the shell would give its background commands an ignored SIGINT, and the first of these signals comes before stap is its own master.
        var script = "set -m; for d in " + delays + "; do " + Stap + " -e 'global n probe syscall.* { n[name]++ } probe end { delete n }' & pid=$!; sleep $d; kill -" + signal
            + " $pid; wait $pid; echo $?; done";
        var got = await StapProcess.RunProgramAsync(["/bin/bash", "-c", script], null, 60, null, null);
        var statuses = got.Out.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(12, statuses.Length);

        // 130 and 143: before the session took over, the signal does what it does to any program.
        Assert.All(statuses, s => Assert.Contains(s, (string[])["0", "1", "130", "143"]));
        NoTrace(got);
    }

    // ---- options

    [Theory]
    [InlineData("-Z", "unknown option '-Z'")]
    [InlineData("--frobnicate", "unknown option '--frobnicate'")]
    [InlineData("--verison", "did you mean '--version'?")]
    [InlineData("-p 9", "'9' is not a number from 1 to 5")]
    [InlineData("-p", "option '-p' needs a value")]
    [InlineData("-s 0 -e x", "from 1 to 4095")]
    [InlineData("-T never -e x", "not a number of seconds")]
    [InlineData("-x 0 -e x", "is not a number")]
    [InlineData("-D 1=2 -e x", "not NAME or NAME=VALUE")]
    [InlineData("-DMAXACTION=many -e 'probe begin { exit() }'", "is not a number")]
    [InlineData("-DMAXSTRINGLEN=9999999 -e 'probe begin { exit() }'", "out of range")]
    [InlineData("-G x -e x", "not VARIABLE=VALUE")]
    [InlineData("-S 5 -e x", "needs '-o'")]
    [InlineData("-m A-b -e x", "no module name")]
    [InlineData("-r 1.2.3 -e x", "the headers of kernel '1.2.3' are not there")]
    [InlineData("-a sparc -e x", "is not this machine's")]
    [InlineData("--runtime=java -e x", "no runtime")]
    [InlineData("--privilege=king -e x", "no privilege")]
    [InlineData("--privilege=stapusr --privilege=stapsys -e x", "once only")]
    [InlineData("--vp=123456 -e x", "one to five digits")]
    [InlineData("--compatible=9.9 -e x", "newer")]
    [InlineData("--color=sometimes -e x", "unknown")]
    [InlineData("--suppress-time-limits -e x", "needs '-g' before it")]
    [InlineData("-c true -x 1 -e x", "exclude each other")]
    [InlineData("-c '' -e x", "is empty")]
    [InlineData("-e x -e y", "only one script")]
    [InlineData("-l a -L b", "only one of")]
    [InlineData("--help=yes", "takes no value")]
    [InlineData("--target-namespaces=4194303 -e x", "does not exist")]
    [InlineData("--example no-such-example", "no example is named")]
    [InlineData("-b --runtime=bpf -e x", "one stream")]
    [InlineData("-F -e x", "needs '-o'")]
    [InlineData("--monitor -e x", "no status screen")]
    [InlineData("--remote=host -e x", "does not reach other hosts")]
    [InlineData("--use-server -e x", "not available")]
    [InlineData("--dyninst -e x", "not available")]
    [InlineData("--sysroot=/x -e x", "not available")]
    [InlineData("--language-server", "no language server")]
    [InlineData("-J -e x", "no function")]
    public async Task Odd_options(string words, string text)
    {
        var got = await Shell($"{Stap} {words}");
        Refused(got, text);
        Assert.Single(got.Err.Split('\n'), l => l.StartsWith("ERROR", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Options_of_the_rc_file_come_first()
    {
        var folder = Directory.CreateTempSubdirectory("stap-rc");
        try
        {
            await File.WriteAllTextAsync(Path.Combine(folder.FullName, "rc"), "-G 'x=41' -w\n", TestContext.Current.CancellationToken);
            var got = await Shell($"SYSTEMTAP_DIR={folder.FullName} {Stap} -e 'global x probe begin {{ println(x + 1) exit() }}'");
            Assert.Equal((0, "42\n"), (got.Status, got.Out));
            await File.WriteAllTextAsync(Path.Combine(folder.FullName, "rc"), "-G 'x=41", TestContext.Current.CancellationToken);
            Refused(await Shell($"SYSTEMTAP_DIR={folder.FullName} {Stap} -e '{Hello}'"), "a quote ' is not closed");
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task Examples_are_found_by_name()
    {
        var got = await StapProcess.RunAsync(["--example", "-p1", "hello"]);
        Assert.Equal(0, got.Status);
        Assert.Contains("hello from Linux", got.Out, StringComparison.Ordinal);
    }
}
