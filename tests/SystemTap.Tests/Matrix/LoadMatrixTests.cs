using SystemTap.Tests.Corpus;
using SystemTap.Tests.Differential;
using SystemTap.Tests.Vm;
using Xunit;

namespace SystemTap.Tests.Matrix;

/// <summary>The load matrix on the running kernel.</summary>
public sealed class LoadMatrixTests
{
    private static readonly Lazy<Dictionary<string, string>> Scripts = new(() => LoadMatrix.Scripts().ToDictionary(s => s.Name, s => s.Script));

    /// <summary>Names of the scripts; <c>MATRIX_FILTER</c> (part of a name) limits them.</summary>
    public static TheoryData<string> Names => [.. Scripts.Value.Keys.Where(k => k.Contains(Environment.GetEnvironmentVariable("MATRIX_FILTER") ?? "", StringComparison.Ordinal))];

    [Theory]
    [MemberData(nameof(Names))]
    public void Loads(string name)
    {
        Assert.SkipWhen(Environment.UserName != "root", "needs root");
        lock (EngineRunner.Shared)
        {
            var got = EngineRunner.Shared.Load(Scripts.Value[name]);
            Assert.SkipWhen(!got.Ran && !got.IsDefect, got.Refusal ?? "");
            Assert.SkipWhen(got.Refusal?.Contains("(EPERM)", StringComparison.Ordinal) == true, "this kernel lets nobody load fentry or LSM programs");
            Assert.True(got.Ran, got.Refusal + "\n" + Scripts.Value[name]);
        }
    }
}

/// <summary>The load matrix in virtual machines: every third script, or all with <c>./test --all</c>.</summary>
public sealed class LoadMatrixVmTests
{
    private static readonly VmScripts Machines = new(() => LoadMatrix.Scripts().Where((s, i) => VirtualMachine.All || i % 3 == 1).Select(s => new CorpusCase
    {
        Name = s.Name,
        Script = s.Script,
        Options = ["-g", "-p4", "-w"],
        Words = [],
        Err = [],
        Runtimes = "bpf",

        // A located "cannot" is no refusal of the verifier's.
        Shell = "run 2>err; s=$?; cat err >&2; if grep -q 'Pass 3: translation failed' err; then exit 0; fi; exit $s\n",
    }), ["bpf"]);

    /// <summary>The cases.</summary>
    public static TheoryData<string> Cases => Machines.Names();

    [Theory(SkipTestWithoutData = true, Explicit = true)]
    [MemberData(nameof(Cases))]
    public Task Loads(string name) => Machines.Check(name);
}
