using SystemTap.KernelModule.Translation;
using SystemTap.Semantics.Lowered;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.KernelModule;

/// <summary>All scripts of the run corpus that begin, end and timer handlers can run, compiled once by the C translator.</summary>
public sealed class CompiledCorpus : IDisposable
{
    private const int BatchSize = 24;
    private readonly CHarness _harness = new();
    private readonly Dictionary<string, (string Program, int Number)> _programs = [];
    private readonly Dictionary<string, string> _refused = [];
    private readonly string _folder = Directory.CreateTempSubdirectory("stap-corpus-c-").FullName;

    public CompiledCorpus()
    {
        var batches = Cases().Chunk(BatchSize).ToArray();
        Parallel.For(0, batches.Length, new ParallelOptions { MaxDegreeOfParallelism = 2 }, b => Compile(batches[b], $"batch{b}"));
    }

    /// <summary>The path that stands in messages instead of a case's script.</summary>
    public string ScriptPath(CorpusCase one) => Path.Combine(_folder, $"{(uint)one.Name.GetHashCode(StringComparison.Ordinal):x8}.stp");

    /// <summary>Where a case's program is; null with the reason when it cannot run here.</summary>
    public (string Program, int Number)? Find(string name, out string reason)
    {
        reason = _refused.GetValueOrDefault(name) ?? "";
        return _programs.TryGetValue(name, out var found) ? found : null;
    }

    /// <summary>What can be tried: everything but the second form of two-engine cases.</summary>
    internal static IEnumerable<CorpusCase> Cases()
    {
        var filter = Environment.GetEnvironmentVariable("CORPUS_FILTER");
        foreach (var one in CorpusCase.Load("run"))
        {
            if (one.Engine != CorpusEngine.Kernel && !one.Options.Any(o => o is "-c" or "-x" or "-o" or "-W" || o.StartsWith("-p", StringComparison.Ordinal))
                && (string.IsNullOrEmpty(filter) || one.Name.Contains(filter, StringComparison.Ordinal)))
            {
                yield return one;
            }
        }
    }

    public void Dispose()
    {
        _harness.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private void Compile(CorpusCase[] cases, string name)
    {
        var names = new List<string>();
        var scripts = new List<CTranslation>();
        foreach (var one in cases)
        {
            var file = ScriptPath(one);
            File.WriteAllText(file, one.Script, System.Text.Encoding.Latin1);
            try
            {
                if (CHarness.Translate(["--runtime=kernel", .. one.Options, file, .. one.Words]) is not { } result)
                {
                    Refuse(one.Name, "FAIL: passes 1 to 3 refuse the script");
                }
                else if (!CHarness.CanRun(result.Program))
                {
                    Refuse(one.Name, "needs events of the kernel");
                }
                else
                {
                    names.Add(one.Name);
                    scripts.Add(result.C);
                }
            }
            catch (InvalidOperationException e)
            {
                Refuse(one.Name, "FAIL: " + e.Message);
            }
        }

        if (scripts.Count == 0)
        {
            return;
        }

        try
        {
            var program = _harness.Build(name, scripts);
            Add(program, names);
        }
        catch (InvalidOperationException)
        {
            // Find the one that does not compile.
            for (var i = 0; i < names.Count; i++)
            {
                try
                {
                    Add(_harness.Build($"{name}_alone{i}", [scripts[i]]), [names[i]]);
                }
                catch (InvalidOperationException e)
                {
                    Refuse(names[i], "FAIL: " + e.Message);
                }
            }
        }
    }

    private void Add(string program, List<string> names)
    {
        lock (_programs)
        {
            for (var i = 0; i < names.Count; i++)
            {
                _programs[names[i]] = (program, i);
            }
        }
    }

    private void Refuse(string name, string why)
    {
        lock (_programs)
        {
            _refused[name] = why;
        }
    }
}

/// <summary>The run corpus on the C engine: the same scripts, translated to C and compiled with the core of the module's run-time.</summary>
public sealed class CorpusCTests(CompiledCorpus corpus) : IClassFixture<CompiledCorpus>
{
    private static readonly Lazy<Dictionary<string, CorpusCase>> All = new(() => CompiledCorpus.Cases().ToDictionary(c => c.Name, StringComparer.Ordinal));

    /// <summary>The cases.</summary>
    public static TheoryData<string> Cases => [.. All.Value.Keys];

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Cases))]
    public async Task Runs(string name)
    {
        var one = All.Value[name];
        if (corpus.Find(name, out var reason) is not { } place)
        {
            Assert.False(reason.StartsWith("FAIL", StringComparison.Ordinal), reason);
            Assert.Skip(reason);
            return;
        }

        // What staprun does with options, the harness does with words after the script's number.
        var got = await StapProcess.RunProgramAsync([place.Program, place.Number.ToString(), .. one.Options], null, 20, null, null);
        var path = corpus.ScriptPath(one);
        got = got with { Out = got.Out.Replace(path, "SCRIPT", StringComparison.Ordinal), Err = got.Err.Replace(path, "SCRIPT", StringComparison.Ordinal) };

        // Warnings of the first passes and what only a session of stap says are not the C engine's.
        var expected = one with { Err = [.. one.Err.Where(e => e.StartsWith("ERROR", StringComparison.Ordinal) || e.Contains("exceeded", StringComparison.Ordinal))] };
        if (CorpusRunner.Differs(expected, got) is { } what)
        {
            Assert.Fail($"{what}\n=== case {name}: {string.Join(' ', one.Options)}\n{one.Script.TrimEnd()}\n=== expected (status {one.Status})\n{one.Out}"
                + $"{string.Concat(one.Err.Select(e => $"stderr: {e}\n"))}=== got (status {got.Status})\n{got.Out}=== stderr\n{got.Err}");
        }
    }
}
