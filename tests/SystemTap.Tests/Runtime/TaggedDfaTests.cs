using CsCheck;
using SystemTap.Semantics.Regex;
using SystemTap.Tests.Targets;
using Xunit;

namespace SystemTap.Tests.Runtime;

/// <summary>The table for groups that kernel code follows, against the simulation that stap itself runs: the same match and the same positions, from every start.</summary>
public sealed class TaggedDfaTests
{
    /// <summary>Follows the table from one start, as the BPF and C engines do; null when nothing matches there.</summary>
    private static int[]? Run(TaggedDfa dfa, string text, int start)
    {
        var (state, recipe) = dfa.Starts[start == 0 ? 0 : 1];
        var bank = Apply(dfa, recipe, [], start);
        int[]? best = null;
        for (var at = start; ; at++)
        {
            var accept = at == text.Length ? dfa.AcceptAtEnd(state) : dfa.Accept(state);
            if (accept >= 0)
            {
                best = Apply(dfa, accept, bank, at);
            }

            if (at == text.Length)
            {
                return best;
            }

            (state, recipe) = dfa.Next[(state * dfa.ClassCount) + dfa.Classes[text[at]]];
            if (state < 0)
            {
                return best;
            }

            bank = Apply(dfa, recipe, bank, at + 1);
        }
    }

    private static int[] Apply(TaggedDfa dfa, int recipe, int[] bank, int here) =>
        [.. dfa.Recipes[recipe].Select(r => r switch { TaggedDfa.Here => here, TaggedDfa.None => -1, _ => bank[r] })];

    private static string? Compare(string pattern, string text)
    {
        RegexProgram program;
        try
        {
            program = RegexProgram.Compile(pattern);
        }
        catch (RegexSyntaxException)
        {
            return null;
        }

        if (TaggedDfa.Build(program, 1000) is not { } dfa)
        {
            return null;
        }

        var simulation = new RegexSimulation(program);
        for (var start = 0; start <= text.Length; start++)
        {
            var expected = simulation.Run(text, start) ? string.Join(",", simulation.Best) : "no match";
            var got = Run(dfa, text, start) is { } positions ? string.Join(",", positions) : "no match";
            if (expected != got)
            {
                return $"'{pattern}' in '{text}' from {start}: {expected} by the simulation, {got} by the table";
            }
        }

        return null;
    }

    [Theory]
    [InlineData("(a|b)*c", "xababc")]
    [InlineData("(a)|(b)", "ba")]
    [InlineData("(a*)*", "aab")]
    [InlineData("(a*)+b", "aabab")]
    [InlineData("(a|ab)(c|bcd)(d*)", "abcdabcd")]
    [InlineData("^(a+)(b?)$", "aab")]
    [InlineData("(^a|b)c$", "acbc")]
    [InlineData("((x){2})y?", "xxxxy")]
    [InlineData("()", "a")]
    [InlineData("(a$)|(a)", "aa")]
    [InlineData("(?:a|(b))+", "abab")]
    public void Same_groups_as_the_simulation(string pattern, string text) => Assert.Null(Compare(pattern, text));

    private static Gen<T> Any<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    [Fact]
    public void Same_groups_for_random_patterns()
    {
        var atom = Any("a", "b", ".", "[ab]", "[^a]", "()");
        var piece = Gen.Select(atom, Any("", "", "*", "+", "?", "{2}", "{1,2}"), (a, q) => a + (a == "()" ? "" : q));
        var sequence = piece.Array[0, 4].Select(string.Concat);
        var group = Gen.Select(sequence, sequence, Any("", "*", "+", "?"), (x, y, q) => $"({x}|{y}){(x.Length > 0 ? q : "")}");
        var pattern = Gen.Select(Any("", "", "^"), Gen.OneOf(piece, group).Array[1, 4].Select(string.Concat), Any("", "", "$"), (s, m, e) => s + m + e);
        var text = Any('a', 'b', 'c').Array[0, 8].Select(c => new string(c));
        Gen.Select(pattern, text).Each(5000, x => Assert.Null(Compare(x.Item1, x.Item2)));
    }

    [Fact]
    public void Too_many_states_are_refused() => Assert.Null(TaggedDfa.Build(RegexProgram.Compile("(a|b)*a(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)"), 100));

    [Fact]
    public void Bytes_that_no_set_tells_apart_share_a_class()
    {
        var dfa = TaggedDfa.Build(RegexProgram.Compile("([a-c])(x)"), 100)!;
        Assert.Equal(3, dfa.ClassCount);
        Assert.Equal(dfa.Classes['a'], dfa.Classes['c']);
        Assert.NotEqual(dfa.Classes['a'], dfa.Classes['x']);
        Assert.Equal(6, dfa.Slots);
    }
}
