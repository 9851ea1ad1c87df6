using System.Globalization;
using Linux.Bpf;
using Xunit;

namespace SystemTap.Tests.LinuxBpf;

[Collection("kernel")]
public class FeatureTests
{
    // These depend on how the kernel was built or locked down, not only on its release.
    private static readonly KernelFeature[] Configurable =
        [KernelFeature.KprobeMulti, KernelFeature.KprobeSession, KernelFeature.UprobeSession, KernelFeature.KprobePmu, KernelFeature.FentryAttach, KernelFeature.UprobeMulti, KernelFeature.UprobePmu, KernelFeature.WriteUser];

    public static TheoryData<KernelFeature> All => [.. Enum.GetValues<KernelFeature>()];

    [Theory]
    [MemberData(nameof(All))]
    public void AKernelNewEnoughSaysYes(KernelFeature feature)
    {
        Live.Need();
        var features = new Features(Live.Kfunc, typedefId: name => Live.BtfId(name, 8));
        FeatureAnswer answer = features.Get(feature);
        TestContext.Current.TestOutputHelper?.WriteLine($"{Features.Name(feature)} (since {Features.Since(feature)}): {answer}");
        Assert.NotEqual(FeatureAnswer.Inconclusive, answer);
        if (!Configurable.Contains(feature))
            Assert.Equal(Release() >= Number(Features.Since(feature)), answer == FeatureAnswer.Yes);
        Assert.Equal(answer, features.Get(feature));
    }

    [Fact]
    public void KfuncPermissionDependsOnTheProgramType()
    {
        Live.Need();
        var features = new Features(Live.Kfunc);
        Assert.SkipWhen(Live.Kfunc("bpf_task_from_pid") == 0, "no bpf_task_from_pid here (Linux 6.2)");
        Assert.Equal(FeatureAnswer.Yes, features.KfuncAllowed("bpf_task_from_pid", ProgramType.Syscall));
        Assert.Equal(FeatureAnswer.No, features.KfuncAllowed("bpf_task_from_pid", ProgramType.SocketFilter));
        Assert.Equal(FeatureAnswer.No, features.KfuncAllowed("no_such_function", ProgramType.Syscall));
    }

    [Fact]
    public void WithoutAResolverKfuncsStayOpen() => Assert.Equal(FeatureAnswer.Inconclusive, new Features().Get(KernelFeature.IterNum));

    [Fact]
    public void AssumedAnswersHold()
    {
        var features = new Features();
        features.Assume(KernelFeature.MayGoto, FeatureAnswer.No);
        Assert.False(features.Has(KernelFeature.MayGoto));
    }

    private static int Release() => Number(File.ReadAllText("/proc/sys/kernel/osrelease"));

    private static int Number(string release)
    {
        string[] parts = release.Split('.', '-');
        return int.Parse(parts[0], CultureInfo.InvariantCulture) * 1000 + int.Parse(parts[1], CultureInfo.InvariantCulture);
    }
}
