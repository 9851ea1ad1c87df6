using SystemTap.Bpf;
using SystemTap.Semantics.Lowered;
using SystemTap.Tests.Differential;
using Xunit;

namespace SystemTap.Tests.Corpus;

/// <summary>
/// Kernel handlers of the corpus in the other settings that compile differently: for a kernel like Linux 6.1 – loops by bpf_loop, no instruction set 4 –, as a handler of a
/// system call, of a sample (in an interrupt), and of a user-space function (can be preempted). The same output everywhere. In this process, so without options and arguments.
/// Of the last three a quarter of the cases each, all with <c>./test --all</c>.
/// </summary>
public sealed class OtherHandlersCorpusTests
{
    private const string Head = "probe kernel.trace(\"sched_process_exit\") { if (pid() != target()) next;";
    private static readonly BpfFeatures Older = BpfFeatures.Modern with { MayGoto = false, InstructionSetV4 = false, MemoryKeys = false, UprobeMulti = false };

    public static TheoryData<string> Calls() => Part(1);

    public static TheoryData<string> Functions() => Part(2);

    public static TheoryData<string> Samples() => Part(3);

    public static TheoryData<string> Texts() => [.. Part(0).Select(r => r.Data).Where(n => !n.Contains("truncation at MAXSTRINGLEN", StringComparison.Ordinal))];

    private static TheoryData<string> Part(int part) => [.. Cases().Select(r => r.Data).Where((_, i) => Vm.VirtualMachine.All || i % 4 == part)];

    public static TheoryData<string> Cases() => CorpusRunner.Names("run", c => c.Engine == CorpusEngine.Kernel && c.Options.Count == 2 && c.Words.Count == 0 && c.Status == 0 && !c.Match
        && c.Needs.Length == 0 && c.Out is not null && !c.Name.Contains("registers where there are none", StringComparison.Ordinal) && c.Err.Count == 0 && !c.Name.StartsWith("tapset/", StringComparison.Ordinal)
        && !c.Script.Replace(Head, "", StringComparison.Ordinal).Contains("target()", StringComparison.Ordinal));

    [Theory]
    [MemberData(nameof(Cases), DisableDiscoveryEnumeration = true)]
    public void On_an_older_kernel(string name) => Check(name, EngineRunner.KernelProbe, Older);

    [Theory]
    [MemberData(nameof(Calls), DisableDiscoveryEnumeration = true)]
    public void In_a_system_call(string name) => Check(name, EngineRunner.SyscallProbe, null);

    [Theory]
    [MemberData(nameof(Functions), DisableDiscoveryEnumeration = true)]
    public void In_a_user_function(string name)
    {
        Assert.SkipWhen(!File.Exists("/sys/bus/event_source/devices/uprobe/type"), "the kernel has no uprobes");
        Check(name, EngineRunner.UserProbe, null);
    }

    [Theory]
    [MemberData(nameof(Samples), DisableDiscoveryEnumeration = true)]
    public void In_a_sample(string name) => Check(name, EngineRunner.ProfileProbe, null);

    [Theory]
    [MemberData(nameof(Texts), DisableDiscoveryEnumeration = true)]
    public void With_long_strings(string name) => Check(name, EngineRunner.KernelProbe, null, new Limits { MaxStringLength = 4096 });

    private static void Check(string name, string head, BpfFeatures? features, Limits? limits = null)
    {
        Assert.SkipWhen(Environment.UserName != "root", "needs root");
        var one = CorpusRunner.All("run")[name];
        var script = one.Script.Replace(Head, head, StringComparison.Ordinal);
        var got = EngineRunner.Shared.Run(script, limits, features);
        Assert.SkipWhen(limits is not null && got.Refusal?.Contains("its strings take", StringComparison.Ordinal) == true, $"the strings of one handler have 32 KB: {got.Refusal}");
        Assert.True(got.Ran, $"{got.Refusal}\n{script}");
        Assert.Equal(one.Out, got.Text);
    }
}
