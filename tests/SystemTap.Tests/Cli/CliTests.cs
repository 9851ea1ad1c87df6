using System.Diagnostics;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.Cli;

/// <summary>Options, exit status and messages of the <c>stap</c> command, run as users run it.</summary>
public sealed class CliTests
{
    private const string Hello = "probe begin { println(\"hello\") exit() }";

    private static Task<StapResult> Stap(params string[] args) => StapProcess.RunAsync(args);

    private static void Ok(StapResult got, string output)
    {
        Assert.True(got.Status == 0 && got.Out == output, $"status {got.Status}\n--- output\n{got.Out}\n--- errors\n{got.Err}\n--- expected\n{output}");
    }

    /// <summary>One error line, status 1, no stack trace.</summary>
    private static void Refused(StapResult got, string text)
    {
        Assert.True(got.Status == 1 && got.Out.Length == 0 && got.Err.Contains(text, StringComparison.Ordinal), $"status {got.Status}\n--- output\n{got.Out}\n--- errors\n{got.Err}\n--- expected {text}");
        Assert.DoesNotContain("   at ", got.Err, StringComparison.Ordinal);
        Assert.DoesNotContain("Exception", got.Err, StringComparison.Ordinal);
        Assert.True(got.Err.Split('\n').Count(l => l.Contains("error", StringComparison.OrdinalIgnoreCase) && !l.StartsWith("Pass", StringComparison.Ordinal)) <= 1, got.Err);
    }

    private static string Temporary(string text, string extension = ".stp")
    {
        var path = Path.Combine(Path.GetTempPath(), $"stap-cli-{Environment.ProcessId}-{Guid.NewGuid():N}{extension}");
        File.WriteAllText(path, text);
        return path;
    }

    [Fact]
    public async Task Script_on_the_command_line() => Ok(await Stap("-e", Hello), "hello\n");

    [Fact]
    public async Task Script_from_a_file()
    {
        var file = Temporary(Hello);
        try
        {
            Ok(await Stap(file), "hello\n");
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Script_from_standard_input() => Ok(await StapProcess.RunAsync(["-"], Hello), "hello\n");

    [Fact]
    public async Task Additional_script() => Ok(await Stap("-e", "probe begin { println(twice(4)) exit() }", "-E", "function twice(x) { return 2 * x }"), "8\n");

    [Fact]
    public async Task Script_arguments() => Ok(await Stap("-e", "probe begin { println($1 + 1, @2) exit() }", "4", "word"), "5word\n");

    [Theory]
    [InlineData("-p1", "println")]
    [InlineData("-p2", "begin")]
    [InlineData("-p3", "")]
    [InlineData("-p4", "")]
    public async Task Stops_after_a_pass(string pass, string shows)
    {
        var got = await Stap(pass, "-e", "probe begin { println(\"ran\") exit() }");
        Assert.Equal(0, got.Status);
        Assert.Contains(shows, got.Out, StringComparison.Ordinal);
        Assert.DoesNotContain("ran\n", got.Out.Replace("println(\"ran\")", "", StringComparison.Ordinal), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Pass_five_is_the_whole_session() => Ok(await Stap("-p5", "-e", Hello), "hello\n");

    [Fact]
    public async Task Pass_one_prints_a_script_that_means_the_same()
    {
        var dump = await Stap("-p1", "-e", "global g = 3 function f(x) { return x * g + 1 } probe begin { if (f(2) > 6) println(f(2)) exit() }");
        Ok(await Stap("-e", dump.Out), "7\n");
    }

    [Fact]
    public async Task Verbose_prints_a_line_for_each_pass()
    {
        var got = await Stap("-v", "-e", Hello);
        Assert.Equal("hello\n", got.Out);
        Assert.Matches("Pass 1: parsed user script and \\d+ library scripts using \\d+KB .* in \\d+usr/\\d+sys/[0-9.]+real ms", got.Err.Replace("KB in", "KB - in", StringComparison.Ordinal));
        foreach (var pass in new[] { "Pass 2:", "Pass 3:", "Pass 4:", "Pass 5: starting run.", "Pass 5: run completed" })
        {
            Assert.Contains(pass, got.Err, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Verbosity_by_pass()
    {
        var got = await Stap("--vp", "01000", "-e", Hello);
        Assert.Contains("Pass 2:", got.Err, StringComparison.Ordinal);
        Assert.DoesNotContain("Pass 1:", got.Err, StringComparison.Ordinal);
        Assert.DoesNotContain("Pass 3:", got.Err, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Lists_matching_points() => Ok(await Stap("-l", "kernel.trace(\"sched_process_f*\")"), "kernel.trace(\"sched:sched_process_fork\")\nkernel.trace(\"sched:sched_process_free\")\n");

    [Fact]
    public async Task Lists_points_with_variables()
    {
        var got = await Stap("-L", "kernel.trace(\"sched_process_exit\")");
        Assert.Equal(0, got.Status);
        Assert.StartsWith("kernel.trace(\"sched:sched_process_exit\")", got.Out, StringComparison.Ordinal);
        Assert.Contains("$p:", got.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Listing_without_a_match_fails() => Assert.Equal(1, (await Stap("-l", "kernel.trace(\"no_such_thing_*\")")).Status);

    [Fact]
    public async Task Command_ends_the_session() => Ok(await Stap("-c", "/bin/true", "-e", "probe end { println(\"end\") }"), "end\n");

    [Fact]
    public async Task Command_with_shell_characters() => Ok(await Stap("-c", "echo one; echo two", "-e", "probe end { println(\"end\") }"), "one\ntwo\nend\n");

    [Fact]
    public async Task Command_that_fails()
    {
        var got = await Stap("-c", "exit 3", "-e", "probe end { println(\"end\") }");
        Assert.Equal("end\n", got.Out);
        Assert.Contains("WARNING: Child process exited with status 3", got.Err, StringComparison.Ordinal);
        Assert.Equal(1, got.Status);
    }

    [Fact]
    public async Task Command_that_does_not_exist()
    {
        var got = await Stap("-c", "/no/such/command", "-e", "probe end { println(\"end\") }");
        Assert.Equal(1, got.Status);
        Assert.Contains("/no/such/command", got.Err, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Target_process()
    {
        using var sleeper = Process.Start("/bin/sleep", "30");
        try
        {
            Ok(await Stap("-x", sleeper.Id.ToString(), "-e", "probe begin { println(target()) exit() }"), sleeper.Id + "\n");
        }
        finally
        {
            sleeper.Kill();
        }
    }

    [Fact]
    public async Task Session_outlives_the_target_process()
    {
        // -x names the process of target(); the script runs independent of how long that process lives.
        using var sleeper = Process.Start("/bin/sleep", "0.2");
        Ok(await Stap("-x", sleeper.Id.ToString(), "-e", "probe timer.ms(700) { println(\"still here\") exit() }"), "still here\n");
    }

    [Fact]
    public async Task Target_process_that_does_not_exist() => Refused(await Stap("-x", "99999999", "-e", Hello), "99999999");

    [Fact]
    public async Task Command_and_process_exclude_each_other() => Refused(await Stap("-x", "1", "-c", "/bin/true", "-e", Hello), "-x");

    [Fact]
    public async Task Output_file()
    {
        var file = Temporary("old", ".txt");
        try
        {
            Ok(await Stap("-o", file, "-e", Hello), "");
            Assert.Equal("hello\n", await File.ReadAllTextAsync(file));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Output_file_that_cannot_be_made() => Refused(await Stap("-o", "/no/such/folder/out", "-e", Hello), "/no/such/folder/out");

    [Fact]
    public async Task Rotation_keeps_the_last_files()
    {
        var folder = Directory.CreateTempSubdirectory("stap-cli-");
        try
        {
            var script = "probe begin { for (i = 0; i < 500; i++) s .= \"x\"  for (i = 0; i < 9000; i++) println(s)  exit() }";
            var got = await StapProcess.RunAsync(["-S", "1,2", "-o", "log", "-DMAXACTION=1000000", "-e", script], null, 60, folder.FullName);
            Assert.Equal("", got.Out);
            Assert.Equal(0, got.Status);
            var files = folder.GetFiles("log*");
            Assert.Equal(2, files.Length);
            Assert.All(files, f => Assert.InRange(f.Length, 1, 1_200_000));
        }
        finally
        {
            folder.Delete(true);
        }
    }

    [Fact]
    public async Task Time_limit() => Ok(await Stap("-T", "0.2", "-e", "probe begin { println(\"start\") } probe end { println(\"end\") }"), "start\nend\n");

    [Fact]
    public async Task Limits_can_be_set() => Ok(await Stap("-DMAXSTRINGLEN=8", "-D", "MAXMAPENTRIES=1", "-e", "probe begin { println(\"12345\" . \"67890\") exit() }"), "1234567\n");

    [Fact]
    public async Task Malformed_limit() => Refused(await Stap("-D", "1x=2", "-e", Hello), "-D");

    [Fact]
    public async Task Globals_can_be_set() => Ok(await Stap("-G", "n=7", "-G", "s=word", "-e", "global n = 1, s = \"x\" probe begin { println(n, s) exit() }"), "7word\n");

    [Fact]
    public async Task Unknown_global() => Refused(await Stap("-G", "nothing=7", "-e", Hello), "nothing");

    [Fact]
    public async Task Additional_tapset_folder()
    {
        var folder = Directory.CreateTempSubdirectory("stap-cli-");
        try
        {
            await File.WriteAllTextAsync(Path.Combine(folder.FullName, "mine.stp"), "function from_my_tapset() { return 42 } probe mine.start = begin { v = 1 }");
            await File.WriteAllTextAsync(Path.Combine(folder.FullName, "mine.stpm"), "@define my_macro %( 5 %)");
            Ok(await Stap("-I", folder.FullName, "-e", "probe mine.start { println(from_my_tapset(), v, @my_macro) exit() }"), "4215\n");
        }
        finally
        {
            folder.Delete(true);
        }
    }

    [Fact]
    public async Task Tapset_folder_with_an_error_is_a_warning()
    {
        var folder = Directory.CreateTempSubdirectory("stap-cli-");
        try
        {
            await File.WriteAllTextAsync(Path.Combine(folder.FullName, "broken.stp"), "function from_broken( { }");
            Ok(await Stap("-I", folder.FullName, "-e", Hello), "hello\n");
        }
        finally
        {
            folder.Delete(true);
        }
    }

    [Fact]
    public async Task Module_name() => Ok(await Stap("-m", "my_session", "-e", "probe begin { println(module_name()) exit() }"), "my_session\n");

    [Fact]
    public async Task Malformed_module_name() => Refused(await Stap("-m", "Bad-Name!", "-e", Hello), "-m");

    [Fact]
    public async Task Timing_report()
    {
        var got = await Stap("-t", "-e", Hello);
        Assert.Equal(0, got.Status);
        Assert.StartsWith("hello\n", got.Out, StringComparison.Ordinal);
        Assert.Contains("begin", got.Out[6..] + got.Err, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("-s", "4")]
    [InlineData("-u")]
    [InlineData("-g")]
    [InlineData("-k")]
    [InlineData("-w")]
    [InlineData("--runtime=bpf")]
    [InlineData("--runtime=auto")]
    [InlineData("--bpf")]
    public async Task Options_that_leave_the_output_alone(params string[] options) => Ok(await Stap([.. options, "-e", Hello]), "hello\n");

    [Theory]
    [InlineData("-s", "0")]
    [InlineData("-s", "5000")]
    [InlineData("-p", "9")]
    [InlineData("-T", "x")]
    [InlineData("-x", "word")]
    [InlineData("--runtime=nonsense")]
    [InlineData("--vp", "xyz")]
    [InlineData("--no-such-option")]
    [InlineData("-@")]
    public async Task Options_that_are_refused(params string[] options) => Refused(await Stap([.. options, "-e", Hello]), options[0].Split('=')[0]);

    [Fact]
    public async Task Option_without_its_value() => Refused(await Stap("-e"), "-e");

    [Fact]
    public async Task Kernel_runtime_says_what_is_missing()
    {
        var got = await Stap("--runtime=kernel", "-e", Hello);
        Assert.True(got.Status == 0 ? got.Out == "hello\n" : got.Status == 1 && got.Err.Contains("kernel", StringComparison.Ordinal), got.Err);
    }

    [Fact]
    public async Task Warnings_are_shown_hidden_or_errors()
    {
        const string Script = "probe begin { println(1 + never_set) exit() }";
        var shown = await Stap("-e", Script);
        Assert.Contains("WARNING: never-assigned", shown.Err, StringComparison.Ordinal);
        Assert.Equal((0, "1\n"), (shown.Status, shown.Out));
        var hidden = await Stap("-w", "-e", Script);
        Assert.Equal((0, "1\n", ""), (hidden.Status, hidden.Out, hidden.Err));
        var errors = await Stap("-W", "-e", Script);
        Assert.Equal((1, ""), (errors.Status, errors.Out));
    }

    [Fact]
    public async Task Dumps_probe_types()
    {
        var got = await Stap("--dump-probe-types");
        Assert.Equal(0, got.Status);
        foreach (var type in new[] { "begin", "end", "begin(number)", "timer.ms(number)", "kernel.trace(string)" })
        {
            Assert.Contains(type, got.Out.Split('\n'));
        }
    }

    [Fact]
    public async Task Dumps_functions()
    {
        var got = await Stap("--dump-functions");
        Assert.Equal(0, got.Status);
        Assert.Contains("strlen:long (s:string)", got.Out, StringComparison.Ordinal);
        Assert.Contains("execname:string ()", got.Out, StringComparison.Ordinal);
        Assert.DoesNotContain("_stap_", got.Out, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--version", "SystemTap")]
    [InlineData("-V", "SystemTap")]
    [InlineData("--help", "-e")]
    [InlineData("-h", "--runtime")]
    public async Task Information(string option, string text)
    {
        var got = await Stap(option);
        Assert.Equal(0, got.Status);
        Assert.Contains(text, got.Out + got.Err, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task No_script() => Refused(await Stap(), "A script must be specified");

    [Fact]
    public async Task Script_that_does_not_exist() => Refused(await Stap("/no/such/script.stp"), "/no/such/script.stp");

    [Fact]
    public async Task Script_that_is_a_folder() => Refused(await Stap("/tmp"), "/tmp");

    [Fact]
    public async Task Unknown_probe_point() => Refused(await Stap("-e", "probe nonsense { println(1) }"), "nonsense");

    [Fact]
    public async Task Syntax_error_names_the_place()
    {
        var got = await Stap("-e", "probe begin { println( }");
        Assert.Equal(1, got.Status);
        Assert.Contains("parse error:", got.Err, StringComparison.Ordinal);
        Assert.Contains("<input>:1:24", got.Err, StringComparison.Ordinal);
        Assert.Contains("Pass 1: parse failed.", got.Err, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(15)]
    [InlineData(1)]
    public async Task Signals_run_the_end_probes(int signal)
    {
        var got = await StapProcess.RunAsync(["-e", "probe begin { println(\"ready\") } probe end { println(\"end\") }"], "ready\n", p => StapProcess.Signal(p.Id, signal));
        Ok(got, "ready\nend\n");
    }

    [Fact]
    public async Task Signal_with_probes_in_the_kernel()
    {
        var got = await StapProcess.RunAsync(["-e", "global n probe kernel.trace(\"sys_enter\") { n++ } probe begin { println(\"ready\") } probe end { println(n > 0) }"], "ready\n", p => { Thread.Sleep(300); StapProcess.Signal(p.Id, 2); });
        Ok(got, "ready\n1\n");
    }

    [Fact]
    public async Task Without_privilege_host_scripts_run_or_are_refused_clearly()
    {
        Assert.SkipUnless(Environment.UserName == "root", "needs root to become another user");
        var stap = StapProcess.Program;
        Assert.SkipWhen(stap.Length > 1, "the program is a .dll that another user may not read");
        var copy = Path.Combine(Path.GetTempPath(), $"stap-nobody-{Environment.ProcessId}");
        File.Copy(stap[0], copy, true);
        var tapset = Path.Combine(Path.GetTempPath(), $"stap-tapset-{Environment.ProcessId}");
        CopyFolder(Path.Combine(StapProcess.Root, "tapset"), tapset);
        File.SetUnixFileMode(copy, (UnixFileMode)0b111_101_101);
        try
        {
            string[] user = ["/usr/bin/setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "/usr/bin/env", "SYSTEMTAP_TAPSET=" + tapset, copy];
            var got = await StapProcess.RunProgramAsync([.. user, "-e", "probe kernel.trace(\"sys_enter\") { exit() }"], null, 20, "/", null);
            Refused(got, "root");
            var dump = await StapProcess.RunProgramAsync([.. user, "-p2", "-e", Hello], null, 20, "/", null);
            Assert.Equal(0, dump.Status);
        }
        finally
        {
            File.Delete(copy);
            Directory.Delete(tapset, true);
        }
    }

    private static void CopyFolder(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var folder in Directory.GetDirectories(from))
        {
            CopyFolder(folder, Path.Combine(to, Path.GetFileName(folder)));
        }

        foreach (var file in Directory.GetFiles(from))
        {
            File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
        }
    }
}
