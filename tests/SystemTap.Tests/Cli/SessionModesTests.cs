using System.Diagnostics;
using SystemTap.Cli.Driver;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.Cli;

/// <summary>The prompt, the background, limits of stap itself and the options that only say what to do instead.</summary>
public sealed class SessionModesTests
{
    private const string Hello = "probe begin { println(\"hello\") exit() }";

    [Fact]
    public async Task Script_put_together_at_the_prompt()
    {
        var file = Path.Combine(Path.GetTempPath(), $"stap-prompt-{Environment.ProcessId}.stp");
        try
        {
            var got = await StapProcess.RunAsync(["-i"], $$"""
                probe begin {
                  println("hi")   # a comment with a }
                  exit() }
                global x = 3
                probe end { println("x=", x) }
                run
                delete 1
                bogus
                probe begin { x = }
                set -G x=9 -T 0.1
                run
                save {{file}}
                delete all
                load {{file}}
                list
                quit
                run

                """);
            Assert.Equal(0, got.Status);
            Assert.Equal(1, got.Out.Split("hi\nx=3\n").Length - 1);
            Assert.Equal(1, got.Out.Split("x=9\n").Length - 1);
            Assert.Contains("'bogus' is no command", got.Out, StringComparison.Ordinal);
            Assert.Contains("parse error", got.Out, StringComparison.Ordinal);
            Assert.EndsWith("  1: global x = 3\n     probe end { println(\"x=\", x) }\n", got.Out, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Theory]
    [InlineData("probe begin {", 1)]
    [InlineData("probe begin { println(\"{(\") }", 0)]
    [InlineData("probe begin { /* { */ } // {", 0)]
    [InlineData("probe begin { x = $# ", 1)]
    [InlineData("probe begin { /* ", 2)]
    [InlineData("probe begin { println(\"\\\"{\") }", 0)]
    public void Pieces_end_where_their_brackets_do(string text, int depth) => Assert.Equal(depth, InteractivePrompt.Depth(text));

    [Fact]
    public async Task Background_session_outlives_its_command_and_writes_its_file()
    {
        var file = Path.Combine(Path.GetTempPath(), $"stap-background-{Environment.ProcessId}.txt");
        try
        {
            var got = await StapProcess.RunAsync(["-F", "-o", file, "-e", "probe begin { println(\"b\") } probe timer.ms(20) { println(\"tick\") } probe end { println(\"end\") }"]);
            Assert.True(got.Status == 0 && got.Err.Length == 0, got.Err);
            using (var session = Process.GetProcessById(int.Parse(got.Out, System.Globalization.CultureInfo.InvariantCulture)))
            {
                Assert.True(SpinWait.SpinUntil(() => File.ReadAllText(file).Contains("tick", StringComparison.Ordinal), 10_000), "no tick was written");
                using var kill = Process.Start("kill", ["-TERM", got.Out.Trim()]);
                Assert.True(SpinWait.SpinUntil(() => File.ReadAllText(file).EndsWith("tick\nend\n", StringComparison.Ordinal), 10_000), File.ReadAllText(file));
            }

            Assert.StartsWith("b\ntick\n", File.ReadAllText(file), StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Background_session_that_cannot_start_says_so()
    {
        var got = await StapProcess.RunAsync(["-F", "-o", "/dev/null", "-e", "probe nosuch.point { }"]);
        Assert.Equal((1, ""), (got.Status, got.Out));
        Assert.Contains("no match for 'nosuch'", got.Err, StringComparison.Ordinal);
    }

    [Fact]
    public async Task File_size_limit_ends_in_an_error()
    {
        var file = Path.Combine(Path.GetTempPath(), $"stap-fsize-{Environment.ProcessId}.txt");
        try
        {
            var got = await StapProcess.RunAsync(["--rlimit-fsize=10", "-o", file, "-e", "probe begin { for (i = 0; i < 100; i++) println(\"line\", i) exit() }"]);
            Assert.Equal(1, got.Status);
            Assert.Contains("cannot be written: File too large", got.Err, StringComparison.Ordinal);
            Assert.Equal(10, new FileInfo(file).Length);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Version_dependent_constructs_are_pointed_out_when_asked_for()
    {
        string[] script = ["-e", "global s probe begin { s <<< 1 println(@variance(s)) %( systemtap_v >= \"5\" %? println(\"new\") %) exit() }"];
        var got = await StapProcess.RunAsync(["--check-version", .. script]);
        Assert.Equal((0, "0\nnew\n"), (got.Status, got.Out));
        Assert.Equal(2, got.Err.Split("WARNING: ").Length - 1);
        Assert.Equal("", (await StapProcess.RunAsync(script)).Err);
    }

    [Fact]
    public async Task Semantic_errors_as_a_list()
    {
        var got = await StapProcess.RunAsync(["--semantic-keep-going", "-e", "probe begin { foo() bar() exit() }"]);
        Assert.Equal(1, got.Status);
        Assert.Contains("SEMANTIC_ERRORS: 2\nSEMANTIC_ERROR\t<input>\t1\t15\tfoo\tunresolved function 'foo'\nSEMANTIC_ERROR\t<input>\t1\t21\tbar\tunresolved function 'bar'\nSEMANTIC_ERRORS_END\n", got.Err, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Print_functions_are_suggested()
    {
        var got = await StapProcess.RunAsync(["-e", "probe begin { printlm(1) exit() }"]);
        Assert.Contains("'println'", got.Err, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_reader_that_waits_for_a_procfs_file_is_let_go_at_the_end()
    {
        // The reader comes while the session ends: without an end of file it would wait for ever.
        var name = $"prompt{Environment.ProcessId}";
        using var reader = new Process { StartInfo = new ProcessStartInfo("sh", ["-c", $"while cat /var/tmp/systemtap-root/{name}/x /proc/systemtap/{name}/x >/dev/null 2>&1; :; do [ -e /var/tmp/systemtap-root/{name} ] || exit 0; done"]) };
        var got = await StapProcess.RunAsync(["-m", name, "-e", "probe procfs(\"x\").read { $value = \"v\" } probe begin { println(\"up\") } probe timer.ms(400) { exit() }"], "up\n", _ => reader.Start());
        Assert.Equal(0, got.Status);
        Assert.True(reader.WaitForExit(5000), "the reader still waits");
    }

    [Fact]
    public async Task A_procfs_file_is_read_and_written_in_turn()
    {
        const string Script = """
            global level = 3
            probe procfs("level").read { $value = sprintf("%d\n", level) }
            probe procfs("level").write { level = strtol($value, 10) printf("set %d\n", level) }
            probe begin { println("up") }
            """;
        var name = $"turns{Environment.ProcessId}";
        var seen = "";
        var got = await StapProcess.RunAsync(["-m", name, "-T", "15", "-e", Script], "up\n", stap =>
        {
            using var user = Process.Start(new ProcessStartInfo("sh", ["-c",
                $"f=/var/tmp/systemtap-root/{name}/level; [ $(id -u) = 0 ] || f=$(echo /var/tmp/systemtap-*/{name}/level); until [ -e $f ]; do :; done; cat $f; for i in 1 2 3; do echo $i > $f; cat $f; done"])
            { RedirectStandardOutput = true })!;
            seen = user.StandardOutput.ReadToEnd();
            user.WaitForExit();
            StapProcess.Signal(stap.Id, 2);
        });
        Assert.Equal("3\n1\n2\n3\n", seen);
        Assert.Equal("up\nset 1\nset 2\nset 3\n", got.Out);
    }

    [Theory]
    [InlineData("-q")]
    [InlineData("-F")]
    [InlineData("--monitor")]
    [InlineData("--remote=ssh://host")]
    [InlineData("--sysroot=/x")]
    [InlineData("--sysenv=A=b")]
    [InlineData("--use-server")]
    [InlineData("--list-servers")]
    [InlineData("--trust-servers")]
    [InlineData("--use-http-server=http://x")]
    [InlineData("--sign-module")]
    [InlineData("--build-as=root")]
    [InlineData("--debug")]
    [InlineData("--modinfo=a")]
    [InlineData("--language-server")]
    [InlineData("--dyninst")]
    [InlineData("--prologue-searching=maybe")]
    [InlineData("--download-debuginfo=maybe")]
    [InlineData("--tmpdir=/nosuch/folder")]
    [InlineData("--rlimit-as=1000")]
    [InlineData("--rlimit-cpu=many")]
    public async Task Options_that_cannot_be_obeyed_say_what_to_do(string option)
    {
        var got = await StapProcess.RunAsync([option, "-e", Hello]);
        Assert.Equal((1, ""), (got.Status, got.Out));
        Assert.Matches("^ERROR: option '.*\nhint: .*\n$", got.Err);
    }

    [Theory]
    [InlineData("-P")]
    [InlineData("--prologue-searching=never")]
    [InlineData("--remote=direct://")]
    [InlineData("--use-server-on-error=no")]
    [InlineData("--disable-cache")]
    [InlineData("--poison-cache")]
    [InlineData("--save-uprobes")]
    [InlineData("--tmpdir=/tmp")]
    [InlineData("--download-debuginfo=no")]
    [InlineData("--rlimit-as=8000000000")]
    [InlineData("--rlimit-cpu=1000")]
    [InlineData("--rlimit-nproc=100000")]
    [InlineData("--rlimit-stack=8388608")]
    [InlineData("--all-modules")]
    [InlineData("--ldd")]
    [InlineData("-d/bin/ls")]
    public async Task Options_that_need_nothing_done_let_the_script_run(string option)
    {
        var got = await StapProcess.RunAsync([option, "-e", Hello]);
        Assert.Equal((0, "hello\n", ""), (got.Status, got.Out, got.Err));
    }
}
