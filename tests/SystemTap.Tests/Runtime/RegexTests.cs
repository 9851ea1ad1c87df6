using CsCheck;
using SystemTap.Semantics.Regex;
using Xunit;

namespace SystemTap.Tests.Runtime;

public class RegexTests
{
    private static string? Find(string pattern, string text)
    {
        var program = RegexProgram.Compile(pattern);
        var groups = new int[2 * program.GroupCount];
        var found = program.Match(text, groups);
        Assert.Equal(found, program.IsMatch(text));
        return found ? string.Join("|", Enumerable.Range(0, program.GroupCount).Select(g => groups[2 * g] < 0 ? "-" : text[groups[2 * g]..groups[(2 * g) + 1]])) : null;
    }

    [Theory]
    [InlineData("abc", "xxabcx", "abc")]
    [InlineData("a*", "baaa", "")]
    [InlineData("a+", "baaa", "aaa")]
    [InlineData("a|ab|abc", "abcd", "abc")]
    [InlineData("^b", "ab", null)]
    [InlineData("b$", "ab", "b")]
    [InlineData("^$", "", "")]
    [InlineData("^$", "a", null)]
    [InlineData("(a|b)*c", "xababc", "ababc|b")]
    [InlineData("(a)|(b)", "b", "b|-|b")]
    [InlineData("x{2,3}", "xxxxx", "xxx")]
    [InlineData("x{2}", "x", null)]
    [InlineData("(ab){1,}c", "ababc", "ababc|ab")]
    [InlineData("[[:digit:]]+", "ab123c", "123")]
    [InlineData("[^a-c]+", "abcxyz", "xyz")]
    [InlineData("[]a]+", "x]a]", "]a]")]
    [InlineData("[a-]+", "b-a-", "-a-")]
    [InlineData("\\.", "a.b", ".")]
    [InlineData("a\\x41\\102", "aAB", "aAB")]
    [InlineData("(?:ab)+(c)", "ababc", "ababc|c")]
    [InlineData(".", "\n", "\n")]
    [InlineData("(a*)*", "aa", "aa|aa")]
    [InlineData("(a*)+b", "aab", "aab|aa")]
    [InlineData("", "abc", "")]
    [InlineData("^/etc/(.*)\\.conf$", "/etc/a.b.conf", "/etc/a.b.conf|a.b")]
    public void Matches(string pattern, string text, string? expected) => Assert.Equal(expected, Find(pattern, text));

    [Theory]
    [InlineData("*a", "'*' has nothing before it")]
    [InlineData("^*", "follows an anchor")]
    [InlineData("a)", "')' has no '('")]
    [InlineData("(a", "'(' has no ')'")]
    [InlineData("[b-a]", "inverted")]
    [InlineData("[a", "'[' has no ']'")]
    [InlineData("a{2,1}", "wrong order")]
    [InlineData("a{", "needs a number")]
    [InlineData("[[:foo:]]", "\"foo\" is unknown")]
    [InlineData("(?=a)", "followed by ':'")]
    [InlineData("a\\", "backslash ends")]
    [InlineData("((a{200}){200}){200}", "use smaller ones")]
    public void Errors_say_what_is_wrong(string pattern, string part) =>
        Assert.Contains(part, Assert.Throws<RegexSyntaxException>(() => RegexProgram.Compile(pattern)).Message);

    // A pattern as a tree, so that the naive matcher needs no parser of its own.
    private abstract record P(string Text);

    private sealed record Lit(char C) : P(C.ToString());

    private sealed record Cat(P A, P B) : P(A.Text + B.Text);

    private sealed record Alt(P A, P B) : P($"({A.Text}|{B.Text})");

    private sealed record Star(P A) : P($"({A.Text})*");

    private sealed record Opt(P A) : P($"({A.Text})?");

    private static readonly Gen<P> Patterns = Gen.Recursive<P>((depth, self) => depth > 3
        ? Gen.Char['a', 'c'].Select(c => (P)new Lit(c))
        : Gen.OneOf(
            Gen.Char['a', 'c'].Select(c => (P)new Lit(c)),
            Gen.Select(self, self).Select(t => (P)new Cat(t.Item1, t.Item2)),
            Gen.Select(self, self).Select(t => (P)new Alt(t.Item1, t.Item2)),
            self.Select(p => (P)new Star(p)),
            self.Select(p => (P)new Opt(p))));

    // All ends of matches that begin at a position: plain set semantics.
    private static HashSet<int> Ends(P p, string text, int at) => p switch
    {
        Lit l => at < text.Length && text[at] == l.C ? [at + 1] : [],
        Cat c => [.. Ends(c.A, text, at).SelectMany(m => Ends(c.B, text, m))],
        Alt a => [.. Ends(a.A, text, at), .. Ends(a.B, text, at)],
        Opt o => [at, .. Ends(o.A, text, at)],
        Star s => Closure(s.A, text, at),
        _ => throw new InvalidOperationException(),
    };

    private static HashSet<int> Closure(P p, string text, int at)
    {
        var all = new HashSet<int> { at };
        var work = new Stack<int>([at]);
        while (work.TryPop(out var from))
        {
            foreach (var to in Ends(p, text, from))
            {
                if (all.Add(to))
                {
                    work.Push(to);
                }
            }
        }

        return all;
    }

    [Fact]
    public void Finds_what_a_naive_matcher_finds() =>
        Gen.Select(Patterns, Gen.String[Gen.Char['a', 'c'], 0, 8]).Sample((pattern, text) =>
        {
            var program = RegexProgram.Compile(pattern.Text);
            (int, int)? expected = null;
            for (var start = 0; start <= text.Length && expected is null; start++)
            {
                var ends = Ends(pattern, text, start);
                if (ends.Count > 0)
                {
                    expected = (start, ends.Max());
                }
            }

            var groups = new int[2];
            var found = program.Match(text, groups);
            Assert.Equal(expected is not null, found);
            Assert.Equal(found, program.IsMatch(text));
            if (expected is { } e)
            {
                Assert.Equal(e, (groups[0], groups[1]));
            }
        }, iter: 3000);
}
