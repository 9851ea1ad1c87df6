using System.Text.RegularExpressions;
using Xunit;

namespace SystemTap.Tests;

/// <summary>Rules of the house (docs/architecture.md, "Folders") that a compiler does not check.</summary>
public class HouseTests
{
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["SystemTap.Language"] = [],
        ["SystemTap.Targets"] = [],
        ["Linux.Bpf"] = [],
        ["SystemTap.Semantics"] = ["SystemTap.Language", "SystemTap.Targets"],
        ["SystemTap.KernelModule"] = ["SystemTap.Semantics"],
        ["SystemTap.Bpf"] = ["SystemTap.Semantics", "Linux.Bpf"],
        ["SystemTap.Runtime"] = ["SystemTap.Semantics", "SystemTap.Bpf", "Linux.Bpf"],
        ["stap"] = ["SystemTap.Runtime", "SystemTap.KernelModule"],
        ["staprun"] = ["SystemTap.Runtime"],
    };

    [Fact]
    public void Project_references_point_one_way()
    {
        var found = Directory.GetFiles(Path.Combine(Repository.Root, "src"), "*.csproj", SearchOption.AllDirectories);
        Assert.Equal(Allowed.Count, found.Length);
        foreach (var project in found)
        {
            var name = Path.GetFileNameWithoutExtension(project);
            foreach (Match reference in Regex.Matches(File.ReadAllText(project), "ProjectReference Include=\"[^\"]*/([^/\"]+)\\.csproj\""))
            {
                Assert.Contains(reference.Groups[1].Value, Allowed[name]);
            }
        }
    }

    [Fact]
    public void No_source_file_is_over_1000_lines() =>
        Assert.DoesNotContain(Sources(), f => File.ReadLines(f).Count() > 1000);

    [Fact]
    public void System_calls_stay_in_the_lowest_layers() =>
        Assert.DoesNotContain(Sources(), f => !f.Contains("/Linux.Bpf/") && !f.Contains("/SystemTap.Targets/") && !f.Contains("/SystemTap.Runtime/")
            && File.ReadAllText(f).Contains("LibraryImport("));

    [Fact]
    public void Tapset_files_start_with_a_comment()
    {
        var undocumented = new List<string>();
        foreach (var file in Directory.GetFiles(Path.Combine(Repository.Root, "tapset"), "*.stp", SearchOption.AllDirectories))
        {
            var first = File.ReadLines(file).FirstOrDefault() ?? "";
            if (!first.StartsWith("//") && !first.StartsWith('#') && !first.StartsWith("/*"))
            {
                undocumented.Add(file);
            }
        }

        Assert.Empty(undocumented);
    }

    private static IEnumerable<string> Sources() =>
        Directory.GetFiles(Path.Combine(Repository.Root, "src"), "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Contains("/obj/") && !f.Contains("/bin/"));
}
