using SystemTap.Language.Diagnostics;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Tapsets;
using Xunit;

namespace SystemTap.Tests.Tapsets;

/// <summary>The documented probe aliases (but system calls) against the library: each is there with its variables, or is listed as absent with a reason.</summary>
public class DocumentedAliasTests
{
    [Fact]
    public void EachDocumentedAliasIsThereOrSaidToBeAbsent()
    {
        var defined = Load();
        var problems = new List<string>();
        var present = 0;
        foreach (var line in File.ReadLines(Path.Combine(Repository.Root, "tests/SystemTap.Tests/Tapsets/documented-aliases.txt")).Where(l => l.Length > 0 && l[0] != '#'))
        {
            var words = line.Split(" # ")[0].Split(' ');
            if (line[0] == '-')
            {
                if (defined.ContainsKey(words[0][1..]) || !line.Contains(" # ", StringComparison.Ordinal))
                {
                    problems.Add($"{words[0][1..]} is there now, or its absence has no reason: change its line");
                }

                continue;
            }

            present++;
            if (!defined.ContainsKey(words[0]))
            {
                problems.Add($"{words[0]}: no alias");
                continue;
            }

            var assigned = Assigned(words[0], defined, []);
            problems.AddRange(words.Skip(1).Where(v => !assigned.Contains(v)).Select(v => $"{words[0]}: no {v}"));
        }

        Assert.True(present > 190, $"only {present} aliases");
        Assert.Empty(problems);
    }

    // Variables of an alias: its own and those of the aliases it stands on.
    private static HashSet<string> Assigned(string name, Dictionary<string, List<AliasDefinition>> defined, HashSet<string> seen)
    {
        var result = new HashSet<string>();
        if (!seen.Add(name) || !defined.TryGetValue(name, out var definitions))
        {
            return result;
        }

        foreach (var alias in definitions)
        {
            Collect(alias.Body, result);
            foreach (var point in alias.Points)
            {
                result.UnionWith(Assigned(string.Join('.', point.Components.Select(c => c.Name)), defined, seen));
            }
        }

        return result;
    }

    private static void Collect(BlockStatement block, HashSet<string> result)
    {
        foreach (var statement in block.Statements)
        {
            if (statement is ExpressionStatement { Expression: AssignmentExpression { Target: IdentifierExpression target } })
            {
                result.Add(target.Name);
            }
        }
    }

    private static Dictionary<string, List<AliasDefinition>> Load()
    {
        var bag = new DiagnosticBag();
        var library = new TapsetLibrary(new TapsetOptions
        {
            Directories = [Path.Combine(Repository.Root, "tapset")],
            Environment = new PreprocessorEnvironment { Architecture = "x86_64", KernelRelease = "6.12.0", KernelVersion = "6.12.0" },
            Diagnostics = bag,
            CacheDirectory = null,
        });
        var all = new Dictionary<string, List<AliasDefinition>>();
        foreach (var alias in library.AllFiles().SelectMany(f => f.Items.OfType<AliasDefinition>()))
        {
            foreach (var name in alias.Names)
            {
                var text = string.Join('.', name.Components.Select(c => c.Name));
                if (!all.TryGetValue(text, out var list))
                {
                    all.Add(text, list = []);
                }

                list.Add(alias);
            }
        }

        Assert.Empty(bag.All.Select(d => d.Message));
        return all;
    }
}
