using System.Text;
using Xunit;

namespace SystemTap.Tests.Corpus;

/// <summary>
/// The script corpus: every file below <c>tests/corpus</c> is run by the real program and compared with what stands beside it.
/// <c>CORPUS_FILTER</c> (part of a name) limits what runs; the files are read when the tests start, so a changed one needs no build.
/// </summary>
public static class CorpusRunner
{
    /// <summary>Names of the cases of a folder for a theory.</summary>
    public static TheoryData<string> Names(string folder, Func<CorpusCase, bool> take)
    {
        var names = new TheoryData<string>();
        var filter = Environment.GetEnvironmentVariable("CORPUS_FILTER");
        foreach (var one in All(folder).Values)
        {
            if (take(one) && (string.IsNullOrEmpty(filter) || one.Name.Contains(filter, StringComparison.Ordinal)))
            {
                names.Add(one.Name);
            }
        }

        return names;
    }

    /// <summary>Runs one case and fails with what differs.</summary>
    public static async Task Check(string folder, string name)
    {
        var one = All(folder)[name];
        Assert.SkipWhen(one.Needs.Contains("root", StringComparison.Ordinal) && !IsRoot, "needs root");
        var file = Path.Combine(Path.GetTempPath(), $"stap-corpus-{Environment.ProcessId}-{Guid.NewGuid():N}.stp");
        await File.WriteAllTextAsync(file, one.Script, Encoding.Latin1);
        try
        {
            var got = await StapProcess.RunAsync([.. one.Options, file, .. one.Words]);
            got = got with { Out = got.Out.Replace(file, "SCRIPT", StringComparison.Ordinal), Err = got.Err.Replace(file, "SCRIPT", StringComparison.Ordinal) };
            var differs = Differs(one, got);
            if (Cannot.Value.Contains(one.Name))
            {
                Assert.True(differs is not null, $"case {one.Name} runs now: take it out of tests/corpus/bpf-cannot.txt");
                Assert.SkipWhen(got.Status == 1 && got.Err.Contains("Pass 3: translation failed", StringComparison.Ordinal), "the BPF engine cannot: " + got.Err.Split('\n')[0]);
            }

            if (differs is { } what)
            {
                Assert.Fail($"{what}\n=== case {one.Name}: stap {string.Join(' ', one.Options)}\n{one.Script.TrimEnd()}\n=== expected (status {one.Status})\n{one.Out}"
                    + $"{string.Concat(one.Err.Select(e => $"stderr: {e}\n"))}=== got (status {got.Status}{(got.TimedOut ? ", killed after the time-out" : "")})\n{got.Out}=== stderr\n{got.Err}");
            }
        }
        finally
        {
            File.Delete(file);
        }
    }

    /// <summary>What differs from the expectation; null when nothing does.</summary>
    internal static string? Differs(CorpusCase one, StapResult got)
    {
        if (one.Out is { } expected && (one.Match ? !MatchesLines(expected, got.Out) : expected != got.Out))
        {
            return "the output differs";
        }

        foreach (var line in one.Err)
        {
            if (!got.Err.Contains(line, StringComparison.Ordinal))
            {
                return $"standard error lacks: {line}";
            }
        }

        return got.Status != one.Status ? $"exit status {got.Status} instead of {one.Status}" : null;
    }

    private static bool MatchesLines(string pattern, string text)
    {
        var (patterns, lines) = (pattern.Split('\n'), text.Split('\n'));
        return patterns.Length == lines.Length && !patterns.Where((p, i) => !Matches(p, lines[i])).Any();
    }

    private static bool Matches(string pattern, string line)
    {
        var parts = pattern.Split('*');
        if (parts.Length == 1)
        {
            return pattern == line;
        }

        if (!line.StartsWith(parts[0], StringComparison.Ordinal))
        {
            return false;
        }

        var at = parts[0].Length;
        foreach (var part in parts.AsSpan(1, parts.Length - 2))
        {
            var found = line.IndexOf(part, at, StringComparison.Ordinal);
            if (found < 0)
            {
                return false;
            }

            at = found + part.Length;
        }

        return line.Length - at >= parts[^1].Length && line.EndsWith(parts[^1], StringComparison.Ordinal);
    }

    /// <summary>Cases that need something the BPF engine still refuses in kernel handlers. Such a refusal is a skip; a run that succeeds is a failure, so that the list shrinks.</summary>
    private static readonly Lazy<HashSet<string>> Cannot = new(() => [.. File.ReadLines(Path.Combine(StapProcess.Root, "tests", "corpus", "bpf-cannot.txt")).Where(l => l.Length > 0 && l[0] != '#')]);

    /// <summary>True when a run is a refusal that the list of what the BPF engine cannot do foresees.</summary>
    internal static bool IsForeseenRefusal(CorpusCase one, StapResult got) =>
        Cannot.Value.Contains(one.Name) && got.Status == 1 && got.Err.Contains("Pass 3: translation failed", StringComparison.Ordinal);

    private static bool IsRoot { get; } = Environment.UserName == "root";

    private static readonly Dictionary<string, Dictionary<string, CorpusCase>> Loaded = [];

    /// <summary>The cases of a folder by name.</summary>
    internal static Dictionary<string, CorpusCase> All(string folder)
    {
        lock (Loaded)
        {
            if (!Loaded.TryGetValue(folder, out var cases))
            {
                cases = CorpusCase.Load(folder).ToDictionary(c => c.Name, StringComparer.Ordinal);
                Loaded.Add(folder, cases);
            }

            return cases;
        }
    }
}

/// <summary>Scripts that run in stap, or as they are written.</summary>
public sealed class CorpusRunTests
{
    /// <summary>The cases.</summary>
    public static TheoryData<string> Cases => CorpusRunner.Names("run", c => c.Engine != CorpusEngine.Kernel);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Cases))]
    public Task Runs(string name) => CorpusRunner.Check("run", name);
}

/// <summary>The same statements inside a handler of a kernel event.</summary>
public sealed class CorpusKernelTests
{
    /// <summary>The cases.</summary>
    public static TheoryData<string> Cases => CorpusRunner.Names("run", c => c.Engine == CorpusEngine.Kernel);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Cases))]
    public Task Runs(string name) => CorpusRunner.Check("run", name);
}

/// <summary>Scripts that must be refused.</summary>
public sealed class CorpusRejectTests
{
    /// <summary>The cases.</summary>
    public static TheoryData<string> Cases => CorpusRunner.Names("reject", _ => true);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Cases))]
    public Task Rejects(string name) => CorpusRunner.Check("reject", name);
}
