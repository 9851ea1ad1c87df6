using System.Text;
using SystemTap.Language.Text;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.Cli;

/// <summary>Names and texts beyond ASCII, wherever a user may write one: output and messages have the very bytes that were given.</summary>
public sealed class NonAsciiTests : IDisposable
{
    private readonly string _folder = Directory.CreateDirectory(Path.Combine(Path.GetTempPath(), $"stap-größe-日本-{Environment.ProcessId}-{Guid.NewGuid():N}")).FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    private string Make(string name, string text)
    {
        var path = Path.Combine(_folder, name);
        File.WriteAllText(path, text);
        return path;
    }

    private static void Printed(string expected, StapResult got) =>
        Assert.True(got.Status == 0 && got.Out == ByteText.FromText(expected), $"status {got.Status}\n--- output\n{ByteText.ToText(got.Out)}\n--- errors\n{ByteText.ToText(got.Err)}\n--- expected\n{expected}");

    private static void Complains(string expected, StapResult got) =>
        Assert.Contains(expected, ByteText.ToText(got.Err), StringComparison.Ordinal);

    [Fact]
    public async Task A_script_file() => Printed("über\n", await StapProcess.RunAsync([Make("ä.stp", "probe begin { println(\"über\") exit() }")]));

    [Fact]
    public async Task A_library_folder()
    {
        Make("ö.stp", "function from_folder:string() { return \"ö\" }");
        Printed("ö2\n", await StapProcess.RunAsync(["-I", _folder, "-e", "probe begin { println(from_folder(), strlen(from_folder())) exit() }"]));
    }

    [Fact]
    public async Task An_output_file()
    {
        var path = Path.Combine(_folder, "ausgäbe");
        Printed("", await StapProcess.RunAsync(["-o", path, "-e", "probe begin { println(\"é\") exit() }"]));
        Assert.Equal("é\n", File.ReadAllText(path));
    }

    [Fact]
    public async Task A_command_and_its_words()
    {
        File.WriteAllText(Path.Combine(_folder, "größe"), "#!/bin/sh\necho \"$1\"\n");
        File.SetUnixFileMode(Path.Combine(_folder, "größe"), (UnixFileMode)0x1ed);
        Printed("ß\n", await StapProcess.RunAsync(["-c", $"{_folder}/größe ß", "-e", "probe begin { }"]));
    }

    [Fact]
    public async Task A_command_of_system() =>
        Printed("日本\n", await StapProcess.RunAsync(["-e", "probe begin { system(\"echo 日本\") } probe timer.ms(300) { exit() }"]));

    [Fact]
    public async Task Lines_of_the_script_in_messages()
    {
        var got = await StapProcess.RunAsync([Make("é.stp", "probe begin { println(\"ä\" + 1) }")]);
        Assert.Equal(1, got.Status);
        Complains($"string 'ä' at {_folder}/é.stp:1:23", got);
        Complains("source: probe begin { println(\"ä\" + 1) }", got);
    }

    [Fact]
    public async Task A_letter_that_begins_no_token() => Complains("saw: junk 'ä'", await StapProcess.RunAsync(["-e", "global häufig probe begin { exit() }"]));

    [Fact]
    public async Task A_script_that_does_not_exist() => Complains($"script '{_folder}/ü.stp' does not exist", await StapProcess.RunAsync([$"{_folder}/ü.stp"]));

    [Fact]
    public async Task A_program() => Complains("\"/nosuch/größe\" does not exist", await StapProcess.RunAsync(["-e", "probe process(\"/nosuch/größe\").function(\"main\") { }"]));

    /// <summary>Both forms in one text; bytes that are no UTF-8 are shown as Latin-1.</summary>
    [Theory]
    [InlineData("plain", "plain")]
    [InlineData("\u00c3\u00a4", "ä")]
    [InlineData("\u00e4", "ä")]
    [InlineData("日 \u00c3\u00a4 ä", "日 ä ä")]
    [InlineData("\u00e6\u0097\u00a5\U0001F600", "日\U0001F600")]
    [InlineData("\u00c3", "Ã")]
    public void For_the_terminal(string text, string shown) => Assert.Equal(shown, Encoding.UTF8.GetString(ByteText.ForTerminal(text)));
}
