using System.Text.RegularExpressions;
using Xunit;

namespace SystemTap.Tests.Examples;

/// <summary>Rules every example keeps, checked without running them.</summary>
public class IndexTests
{
    public static TheoryData<string> Names => [.. Directory.GetFiles(Path.Combine(Repository.Root, "examples"), "*.stp").Select(f => Path.GetFileNameWithoutExtension(f)!).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Begins_with_what_it_shows_how_to_run_it_and_sample_output(string name)
    {
        var text = File.ReadAllText(StapRun.Example(name));
        Assert.StartsWith($"# {name}.stp - ", text);
        Assert.Contains($"\n# Run:  stap {name}.stp", text);
        Assert.Contains("\n# Sample output:\n#   ", text);
        Assert.True(text.Split('\n').Length < 80, "an example should fit on a page");
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Is_in_the_index_and_has_a_test(string name)
    {
        Assert.Contains($"[{name}.stp]({name}.stp)", File.ReadAllText(Path.Combine(Repository.Root, "examples", "README.md")));
        var tests = Directory.GetFiles(Path.Combine(Repository.Root, "tests/SystemTap.Tests"), "*Tests.cs", SearchOption.AllDirectories).Select(File.ReadAllText);
        Assert.Contains(tests, t => t.Contains($"\"{name}\"") || t.Contains($"\"{name}.stp\""));
    }

    [Fact]
    public void Index_names_only_what_exists()
    {
        var links = Regex.Matches(File.ReadAllText(Path.Combine(Repository.Root, "examples", "README.md")), @"\]\(([\w-]+)\.stp\)");
        Assert.Equal(Names.Count, links.Count);
        Assert.All(links, l => Assert.True(File.Exists(StapRun.Example(l.Groups[1].Value))));
    }
}
