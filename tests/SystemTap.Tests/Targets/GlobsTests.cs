using System.Runtime.InteropServices;
using CsCheck;
using Xunit;
using SystemTap.Targets;

namespace SystemTap.Tests.Targets;

public partial class GlobsTests
{
    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int fnmatch(string pattern, string text, int flags);

    [Theory]
    [InlineData("sched_*", "sched_switch", true)]
    [InlineData("sched_*", "sched", false)]
    [InlineData("*_switch", "sched_switch", true)]
    [InlineData("s*_s*h", "sched_switch", true)]
    [InlineData("vfs_rea[dl]", "vfs_read", true)]
    [InlineData("vfs_[!r]*", "vfs_read", false)]
    [InlineData("vfs_[a-rx]*", "vfs_read", true)]
    [InlineData("?", "", false)]
    [InlineData("", "", true)]
    [InlineData("*", "", true)]
    [InlineData("***", "x", true)]
    [InlineData("a\\*b", "a*b", true)]
    [InlineData("a\\*b", "axb", false)]
    [InlineData("a[b", "a[b", true)]
    [InlineData("[]x]", "]", true)]
    [InlineData("VFS", "vfs", false)]
    public void Examples(string pattern, string text, bool expected) => Assert.Equal(expected, Globs.Matches(pattern, text));

    [Fact]
    public void Agrees_with_the_C_library()
    {
        var matched = 0;
        // An unclosed "[" is left to the examples above: glibc takes it as itself, but not always after a star.
        Gen.Select(Gen.OneOf(new[] { "a", "b", "-", "*", "?", "!", "]", "[ab]", "[!a]", "[^b]", "[a-b]", "[b-a]", "[]a]", "[a-]", "[!]]", "[\\]b]", "\\*", "\\[", "\\b" }.Select(Gen.Const).ToArray()).Array[0, 8],
            Gen.Char["ab-[]!*"].Array[0, 9]).Each(60_000, pair =>
        {
            string pattern = string.Concat(pair.Item1), text = new(pair.Item2);
            var expected = fnmatch(pattern, text, 0) == 0;
            matched += expected ? 1 : 0;
            Assert.True(expected == Globs.Matches(pattern, text), $"\"{pattern}\" over \"{text}\"");
        });
        Assert.InRange(matched, 1000, 59_000); // both outcomes were tried
    }

    [Fact]
    public void Many_stars_stay_cheap()
    {
        var pattern = string.Concat(Enumerable.Repeat("a*", 200)) + "b";
        Assert.False(Globs.Matches(pattern, new string('a', 5000))); // exponential matchers never return
    }

    [Fact]
    public void A_text_matches_itself_escaped_and_its_literal_prefix() =>
        Gen.String[0, 20].Each(5000, text =>
        {
            var escaped = string.Concat(text.Select(c => "\\" + c));
            Assert.True(Globs.Matches(escaped, text));
            Assert.True(text.AsSpan().StartsWith(Globs.LiteralPrefix(text)));
        });
}
