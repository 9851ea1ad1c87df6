using SystemTap.Cli.CommandLine;
using Xunit;

namespace SystemTap.Tests.Cli;

/// <summary>The file of options that stand before those of the command line.</summary>
public class RcFileTests
{
    [Theory]
    [InlineData("", "")]
    [InlineData("-v -w\n-DMAXACTION=5\n", "-v|-w|-DMAXACTION=5")]
    [InlineData("-e 'a b' \"c d\" e\\ f", "-e|a b|c d|e f")]
    [InlineData("'it''s' \"\" x", "its||x")]
    [InlineData("\"a\\\"b\\c\"", "a\"b\\c")]
    [InlineData("-I ~/tap -I a~", "-I|HOME/tap|-I|a~")]
    [InlineData("-I $HOME/t ${HOME}s '$HOME' \\$HOME", "-I|HOME/t|HOMEs|$HOME|$HOME")]
    [InlineData("cost$ $5", "cost$|$5")]
    public void Words_are_a_shells(string text, string expected) =>
        Assert.Equal(expected.Split('|', StringSplitOptions.None) is [""] ? [] : expected.Replace("HOME/", Home + "/").Replace("HOMEs", Home + "s").Split('|'), RcFile.Split(text, "rc"));

    [Fact]
    public void An_open_quote_is_an_error() => Assert.Contains("quote", Assert.Throws<UsageException>(() => RcFile.Split("-e 'x", "rc")).Message);

    private static string Home => Environment.GetEnvironmentVariable("HOME") ?? "";
}
