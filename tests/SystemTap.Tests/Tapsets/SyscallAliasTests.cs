using SystemTap.Language.Diagnostics;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Tapsets;
using SystemTap.Targets;
using Xunit;

namespace SystemTap.Tests.Tapsets;

/// <summary>The system-call aliases against the documented names and the architectures' tables.</summary>
public class SyscallAliasTests
{
    private static readonly string[] Layers = ["syscall", "nd_syscall", "tp_syscall", "dw_syscall"];

    private static readonly Lazy<List<AliasDefinition>> Parsed = new(() => Load("x86_64"));

    [Fact]
    public void EveryDocumentedCallHasItsVariables()
    {
        var entries = ByName(isReturn: false);
        var problems = new List<string>();
        var rows = 0;
        foreach (var line in File.ReadLines(Path.Combine(Repository.Root, "tests/SystemTap.Tests/Tapsets/documented-syscalls.txt")).Where(l => l.Length > 0 && l[0] != '#'))
        {
            rows++;
            var words = line.Split(' ');
            if (!entries.TryGetValue(words[0], out var definitions))
            {
                problems.Add($"syscall.{words[0]}: no alias");
                continue;
            }

            // The name may stand for several calls (pipe, pipe2); each must set everything.
            foreach (var definition in definitions)
            {
                var assigned = Assigned(definition);
                problems.AddRange(words.Skip(1).Select(w => w.TrimEnd('$')).Concat(["name", "argstr"]).Where(v => !assigned.Contains(v)).Select(v => $"syscall.{words[0]}: no {v}"));
            }
        }

        Assert.Equal(354, rows);
        Assert.Empty(problems);
    }

    [Fact]
    public void EveryEntryHasAReturnAtTheSameCall()
    {
        var entries = ByName(false);
        var returns = ByName(true);
        Assert.Equal(entries.Keys.Order(), returns.Keys.Order());
        foreach (var (name, definitions) in returns)
        {
            Assert.All(definitions, d => Assert.Superset(new HashSet<string> { "name", "retval", "retstr" }, Assigned(d)));
            Assert.Equal(entries[name].SelectMany(Points).Order(), definitions.SelectMany(Points).Order());
        }
    }

    [Fact]
    public void EveryLayerHasTheSameNames()
    {
        foreach (var alias in Parsed.Value.Where(a => a.Names[0].Components[0].Name != "syscall_any"))
        {
            var tail = alias.Names[0].ToString()["syscall".Length..];
            Assert.Equal(Layers.Select(l => l + tail), alias.Names.Select(n => n.ToString()));
        }
    }

    [Theory]
    [InlineData("x86_64")]
    [InlineData("arm64")]
    public void EveryCallOfTheTableIsCoveredOnce(string architecture)
    {
        var table = Architecture.Find(architecture)!.Syscalls;
        var covered = Native().ToLookup(p => p.Call, p => p.Alias);
        var missing = new List<string>();
        foreach (var name in table.Names)
        {
            if (name is not null && covered[name].Count() != 1)
            {
                missing.Add($"{name}: {string.Join(", ", covered[name])}");
            }
        }

        Assert.Empty(missing);
    }

    [Fact]
    public void EveryPointIsACallOfSomeTable()
    {
        // Not on the architectures we have tables for, but documented: other machines' names.
        string[] elsewhere = ["sigaction", "ipc", "gethostname"];
        SyscallTable[] native = [Architecture.Find("x86_64")!.Syscalls, Architecture.Find("arm64")!.Syscalls];
        SyscallTable[] compat = [Architecture.Find("x86_64")!.CompatSyscalls, Architecture.Find("arm64")!.CompatSyscalls];
        foreach (var alias in Parsed.Value)
        {
            foreach (var point in alias.Points.Where(p => p.Components[1].Argument is not null))
            {
                var call = ((StringLiteral)point.Components[1].Argument!).Value;
                var tables = point.Components[1].Name == "compat_syscall" ? compat : native;
                Assert.True(elsewhere.Contains(call) || tables.Any(t => t.Number(call) >= 0), $"{alias.Names[0]}: no call '{call}'");

                // What one of the architectures lacks must be optional, or the alias fails there.
                Assert.True(point.IsOptional || tables.All(t => t.Number(call) >= 0), $"{alias.Names[0]}: '{call}' must be optional");
            }
        }
    }

    [Fact]
    public void FilesParseForEveryArchitecture() => Assert.Equal(Parsed.Value.Count, Load("arm64").Count);

    [Fact]
    public void TablesThatAreNamedExist()
    {
        var named = Directory.EnumerateFiles(Path.Combine(Repository.Root, "tapset"), "*.stp", SearchOption.AllDirectories)
            .SelectMany(f => System.Text.RegularExpressions.Regex.Matches(File.ReadAllText(f), "_stap_table_(?:name|flags)\\(\"(\\w+)\"").Select(m => m.Groups[1].Value))
            .Distinct();
        Assert.All(named, n => Assert.True(File.Exists(Path.Combine(TableFile.Folder, n + ".tbl")), $"no table '{n}'"));
    }

    private static IEnumerable<string> Points(AliasDefinition alias) => alias.Points.Select(p => string.Join('.', p.Components.Take(2)));

    /// <summary>Native calls, with the alias that stands on each.</summary>
    private static IEnumerable<(string Call, string Alias)> Native() =>
        from a in Parsed.Value
        where a.Names[0].Components.Count == 2
        from p in a.Points
        where p.Components[1].Name == "syscall"
        select (((StringLiteral)p.Components[1].Argument!).Value, a.Names[0].Components[1].Name);

    private static Dictionary<string, List<AliasDefinition>> ByName(bool isReturn) => Parsed.Value
        .Where(a => a.Names[0].Components[0].Name == "syscall" && a.Names[0].Components.Count == (isReturn ? 3 : 2))
        .GroupBy(a => a.Names[0].Components[1].Name).ToDictionary(g => g.Key, g => g.ToList());

    /// <summary>What an alias sets, itself or by the alias that it is a second name of.</summary>
    private static HashSet<string> Assigned(AliasDefinition alias) => alias.Body.Statements.OfType<ExpressionStatement>()
        .Select(s => s.Expression).OfType<AssignmentExpression>().Select(a => a.Target).OfType<IdentifierExpression>().Select(i => i.Name)
        .Concat(alias.Points.SelectMany(p => Parsed.Value.Where(a => a.Names[0].ToString() == p.ToString())).SelectMany(Assigned)).ToHashSet();

    private static List<AliasDefinition> Load(string architecture)
    {
        var bag = new DiagnosticBag();
        var library = new TapsetLibrary(new TapsetOptions
        {
            Directories = [Path.Combine(Repository.Root, "tapset")],
            Environment = new PreprocessorEnvironment { Architecture = architecture, KernelRelease = "6.12.0", KernelVersion = "6.12.0" },
            Diagnostics = bag,
            CacheDirectory = null,
        });
        var files = library.AllFiles().Where(f => f.Source.Path.Contains("/linux/syscalls/")).ToList();
        Assert.Empty(bag.All.Where(d => d.Message.Contains("/linux/syscalls/")).Select(d => d.Message));

        // A file with a mistake is left out of the library with a warning: the count shows it.
        var onDisk = Directory.GetFiles(Path.Combine(Repository.Root, "tapset/linux/syscalls"), "*.stp").Length;
        Assert.True(onDisk == files.Count, string.Join("\n", bag.All.Select(d => d.Message)));
        return files.SelectMany(f => f.Items.OfType<AliasDefinition>()).ToList();
    }
}
