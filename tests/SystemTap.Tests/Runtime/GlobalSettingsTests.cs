using System.Text;
using SystemTap.Language.Lexing;
using SystemTap.Runtime.Modules;
using Xunit;

namespace SystemTap.Tests.Runtime;

/// <summary>Values for a module's globals on staprun's command line, and numbers there.</summary>
public sealed class GlobalSettingsTests
{
    private static readonly byte[] List = Encoding.Latin1.GetBytes("nmost\0swho\0alist\0xsums\0");

    private static string Refusal(string word, ulong maxString = 8)
    {
        var e = Assert.Throws<ModuleException>(() => GlobalSettings.Check("m", List, maxString, [word]));
        return $"{e.Message}|{e.Hint}";
    }

    [Fact]
    public void Scalars_get_their_values_in_the_order_of_the_words()
    {
        var got = GlobalSettings.Check("m", List, 8, ["who=a=b ü", "most=-0x10", "who=", "most=010"]);
        Assert.Equal([(1, 0L, "a=b Ã¼"), (0, -16L, ""), (1, 0L, ""), (0, 8L, "")], got.Select(s => (s.Global, s.Number, Encoding.Latin1.GetString(s.Text))));
    }

    [Theory]
    [InlineData("mots=1", "module 'm' has no global 'mots'|did you mean 'most'? it has most (number), who (string)")]
    [InlineData("nothing_like_it=1", "module 'm' has no global 'nothing_like_it'|it has most (number), who (string)")]
    [InlineData("list=1", "global 'list' is an array: only numbers and strings can be set|it has most (number), who (string)")]
    [InlineData("sums=1", "global 'sums' is an aggregate: only numbers and strings can be set|it has most (number), who (string)")]
    [InlineData("most=1x", "global 'most' is a number, and '1x' is none|numbers are decimal, 0x… or octal after a 0")]
    [InlineData("who=12345678", "the text for global 'who' has 8 bytes; this module's strings hold 7|build it with -DMAXSTRINGLEN=N for longer ones")]
    public void What_does_not_fit_is_told_with_what_there_is(string word, string refusal) => Assert.Equal(refusal, Refusal(word));

    [Fact]
    public void A_module_without_globals_says_so() =>
        Assert.Contains("it has none that can be set", Assert.Throws<ModuleException>(() => GlobalSettings.Check("m", [], 8, ["a=1"])).Hint, StringComparison.Ordinal);

    [Theory]
    [InlineData("0", 0L)]
    [InlineData("-1", -1L)]
    [InlineData("0777", 511L)]
    [InlineData("0xffffffffffffffff", -1L)]
    [InlineData("18446744073709551615", -1L)]
    [InlineData("-9223372036854775808", long.MinValue)]
    [InlineData("-9223372036854775809", null)]
    [InlineData("18446744073709551616", null)]
    [InlineData("", null)]
    [InlineData("-", null)]
    [InlineData("--1", null)]
    [InlineData("+1", null)]
    [InlineData("08", null)]
    [InlineData("0x", null)]
    [InlineData("1 ", null)]
    [InlineData("1.5", null)]
    public void Numbers_are_those_of_scripts(string text, long? value) => Assert.Equal(value, ScriptNumber.Parse(text));
}
