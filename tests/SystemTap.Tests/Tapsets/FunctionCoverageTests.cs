using System.Text.RegularExpressions;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.Tapsets;

/// <summary>Every documented function of the chapters Context, Timestamp, Time, String, Logging, ANSI, Errno and Random exists and is called by a run case of the corpus.</summary>
public class FunctionCoverageTests
{
    private static readonly string Corpus = string.Concat(CorpusCase.Load("run").Select(c => c.Script));

    private static readonly HashSet<string> Defined = [.. Directory.GetFiles(Path.Combine(Repository.Root, "tapset"), "*.stp", SearchOption.AllDirectories)
        .SelectMany(f => Regex.Matches(File.ReadAllText(f), @"function\s+(\w+)").Select(m => m.Groups[1].Value))];

    [Fact]
    public void Documented_functions_exist() => Assert.Empty(Listed().Where(f => f.Reason is null && !Defined.Contains(f.Name)).Select(f => f.Name));

    [Fact]
    public void Documented_functions_are_called_by_a_run_case() => Assert.Empty(Listed().Where(f => f.Reason is null && !IsCalled(f.Name)).Select(f => f.Name));

    /// <summary>An exception that is no longer one must go.</summary>
    [Fact]
    public void Exceptions_are_not_tested() => Assert.Empty(Listed().Where(f => f.Reason is not null && IsCalled(f.Name) && !f.Reason.Contains("see the tests of stack traces")).Select(f => f.Name));

    private static bool IsCalled(string name) => Regex.IsMatch(Corpus, $@"\b{name}\s*\(");

    private static List<(string Name, string? Reason)> Listed()
    {
        var list = new List<(string, string?)>();
        foreach (var line in File.ReadLines(Path.Combine(Repository.Root, "tests/SystemTap.Tests/Tapsets/documented-functions.txt")))
        {
            if (line.Length > 0 && line[0] != '#')
            {
                var parts = line.Split(" - ", 2);
                list.Add((parts[0], parts.Length > 1 ? parts[1] : null));
            }
        }

        Assert.True(list.Count > 250);
        return list;
    }
}
