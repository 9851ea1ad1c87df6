using SystemTap.Targets;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.UserProbes;

/// <summary>Listings of functions that the compiler copied, and of functions that have no debug information in a file that has some (copies.c).</summary>
public class InlinedCopyTests
{
    private static async Task<string[]> List(string point, string flags)
    {
        UserProbeCorpusTests.NeedUprobes();
        Assert.SkipWhen(ProbedPrograms.Missing("copies.c", flags) is not null, "needs " + ProbedPrograms.Missing("copies.c", flags));
        Assert.SkipUnless(DwarfFile.IsLibraryPresent, "libdw1 is not installed");
        var program = await ProbedPrograms.Build("copies.c", flags);
        var got = await StapProcess.RunAsync(["-L", $"process(\"{program}\").{point}"], seconds: 60);
        Assert.True(got.Status == 0, got.Err);
        return [.. got.Out.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l[(l.IndexOf(").", StringComparison.Ordinal) + 2)..])];
    }

    [Theory]
    [InlineData("-g -O2")]
    [InlineData("-gdwarf-4 -O1")]
    [InlineData("-g -O2 +clang")]
    [InlineData("-gdwarf-4 -O2 +clang")]
    public async Task Variables_of_copies_are_in_the_order_of_the_source_and_whole(string flags)
    {
        var file = Path.Combine(StapProcess.Root, "tests/programs/copies.c");
        var lines = await List("function(\"mix@copies.c\")", flags);
        // Copies and the body have the same variables, so they are one line.
        Assert.Equal([$"function(\"mix@{file}:6\") $alpha:int $beta:int $gamma:int $text:char const* $first:int $second:int $third:int"], lines);
        Assert.Contains(await List("statement(\"mix@copies.c:14\")", flags), l => l.Contains("$text:char const* $inner:int $first:int $second:int $third:int", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("-g -O2")]
    [InlineData("-g -O0 +clang")]
    public async Task Patterns_mean_functions_without_debug_information_too(string flags)
    {
        var lines = await List("function(\"bare_*\").call", flags);
        Assert.Equal(2, lines.Length);
        Assert.Contains(lines, l => l == "function(\"bare_add\").call");
        Assert.Contains(lines, l => l.StartsWith("function(\"bare_user@", StringComparison.Ordinal) && l.EndsWith(" $a:int", StringComparison.Ordinal));
    }
}
