using Xunit;

namespace SystemTap.Tests.Corpus;

/// <summary><c>tests/corpus/rules.txt</c>: every rule of the language has a run case, and a rejected one or the reason why there is none.</summary>
public class RuleCoverageTests
{
    private static readonly HashSet<string> Run = Names("run"), Reject = Names("reject");

    /// <summary>The table's rows.</summary>
    public static TheoryData<string> Rows => [.. File.ReadLines(Path.Combine(StapProcess.Root, "tests", "corpus", "rules.txt")).Where(l => l.Length > 0 && l[0] != '#')];

    [Theory]
    [MemberData(nameof(Rows))]
    public void Rule_has_its_cases(string row)
    {
        var columns = row.Split(" | ");
        Assert.Equal(4, columns.Length);
        Assert.All(Cases(columns[2]), name => Assert.Contains(name, Run));
        if (columns[3].StartsWith("- ", StringComparison.Ordinal))
        {
            Assert.True(columns[3].Length > 5, "the reason is missing");
        }
        else
        {
            Assert.All(Cases(columns[3]), name => Assert.Contains(name, Reject));
        }
    }

    [Fact]
    public void Rules_are_named_once() => Assert.Empty(Rows.Select(r => r.Data.Split(" | ")[0]).GroupBy(r => r).Where(g => g.Count() > 1).Select(g => g.Key));

    [Fact]
    public void The_corpus_has_its_size()
    {
        Assert.True(CorpusCase.Load("run").Count(c => c.Engine != CorpusEngine.Kernel) >= 400);
        Assert.True(CorpusCase.Load("reject").Count(c => c.Err.Any(e => e.Contains("SCRIPT:", StringComparison.Ordinal))) >= 250);
    }

    [Fact]
    public void Verified_cases_exist()
    {
        var file = Path.Combine(StapProcess.Root, "tests", "corpus", "oracle", "verified.txt");
        Assert.DoesNotContain(File.ReadLines(file), l => l.Length > 0 && l[0] != '#' && !Run.Contains(l));
    }

    private static IEnumerable<string> Cases(string column)
    {
        var names = column.Split(';', StringSplitOptions.TrimEntries);
        Assert.NotEmpty(names);
        return names;
    }

    private static HashSet<string> Names(string folder) => [.. CorpusCase.Load(folder).Select(c => c.Name.Replace(" [host]", "", StringComparison.Ordinal).Replace(" [kernel]", "", StringComparison.Ordinal))];
}
