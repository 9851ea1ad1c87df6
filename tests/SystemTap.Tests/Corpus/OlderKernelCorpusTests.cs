using SystemTap.Bpf;
using SystemTap.Tests.Differential;
using Xunit;

namespace SystemTap.Tests.Corpus;

/// <summary>
/// Kernel handlers of the corpus, compiled for a kernel like Linux 6.1 – loops by bpf_loop, no instruction set 4 – and run on this one: the same output. In this
/// process, so without options and arguments.
/// </summary>
public sealed class OlderKernelCorpusTests
{
    private static readonly BpfFeatures Older = BpfFeatures.Modern with { MayGoto = false, InstructionSetV4 = false, UprobeMulti = false };

    public static TheoryData<string> Cases() => CorpusRunner.Names("run", c => c.Engine == CorpusEngine.Kernel && c.Options.Count == 2 && c.Words.Count == 0 && c.Status == 0 && !c.Match
        && c.Needs.Length == 0 && c.Out is not null && c.Err.Count == 0 && !c.Name.StartsWith("tapset/", StringComparison.Ordinal)
        && !c.Script.Replace(Head, "", StringComparison.Ordinal).Contains("target()", StringComparison.Ordinal));

    private const string Head = "probe kernel.trace(\"sched_process_exit\") { if (pid() != target()) next;";

    [Theory]
    [MemberData(nameof(Cases), DisableDiscoveryEnumeration = true)]
    public void Case_prints_the_same(string name)
    {
        Assert.SkipWhen(Environment.UserName != "root", "needs root");
        var one = CorpusRunner.All("run")[name];
        var got = EngineRunner.Shared.Run(one.Script.Replace(Head, EngineRunner.KernelProbe, StringComparison.Ordinal), features: Older);
        Assert.True(got.Ran, $"{got.Refusal}\n{one.Script}");
        Assert.Equal(one.Out, got.Text);
    }
}
