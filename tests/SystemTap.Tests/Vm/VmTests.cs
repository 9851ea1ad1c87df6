using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.Vm;

/// <summary>Cases written for virtual machines: tests/vm/cases.</summary>
public sealed class VmCaseTests
{
    private static readonly VmScripts Scripts = new(() => CorpusCase.Load(Path.Combine(Repository.Root, "tests", "vm", "cases"), "vm"), ["bpf", "kernel"]);

    /// <summary>The cases.</summary>
    public static TheoryData<string> Cases => Scripts.Names();

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Cases))]
    public Task Runs(string name) => Scripts.Check(name);
}

/// <summary>The corpus in virtual machines: a fixed quarter of it on both runtimes, or all with <c>./test --all</c>.</summary>
public sealed class VmCorpusTests
{
    private static readonly VmScripts Scripts = new(() => CorpusCase.Load("run").Where((c, i) => VirtualMachine.All || i % 4 == 1), Environment.GetEnvironmentVariable("VM_RUNTIMES")?.Split(' ') ?? ["bpf", "kernel"]);

    /// <summary>The cases.</summary>
    public static TheoryData<string> Cases => Scripts.Names();

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Cases))]
    public Task Runs(string name) => Scripts.Check(name);
}

/// <summary>Long safety runs of the kernel-module runtime (tests/vm/endurance.sh): only with <c>./test --all</c>.</summary>
public sealed class VmEnduranceTests
{
    /// <summary>The kernels.</summary>
    public static TheoryData<string> Kernels => [.. VirtualMachine.Kernels];

    [Theory]
    [MemberData(nameof(Kernels))]
    public async Task Loads_cycles_and_shortage_leave_nothing_behind(string kernel)
    {
        Assert.SkipUnless(VirtualMachine.All, "takes 25 minutes: ./test --all");
        var (output, reason) = await VirtualMachine.AloneAsync("endurance.sh", kernel);
        Assert.True(output is not null, reason);
    }
}

/// <summary>
/// What staprun says where the kernel loads no module of ours (tests/vm/refusals.sh): signatures enforced, locked down, switched off; and that a signature of a known key helps (tests/vm/signed.sh).
/// </summary>
public sealed class VmRefusalTests
{
    /// <summary>The newest kernel; all with <c>./test --all</c>.</summary>
    public static TheoryData<string> Kernels => [.. VirtualMachine.All ? VirtualMachine.Kernels : VirtualMachine.Kernels[^1..]];

    [Theory]
    [MemberData(nameof(Kernels))]
    public async Task Kernels_that_load_no_module_are_told_with_what_to_change(string kernel)
    {
        var (output, reason) = await VirtualMachine.AloneAsync("refusals.sh", kernel);
        Assert.True(output is not null, reason);
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public async Task Modules_signed_with_a_key_the_kernel_trusts_are_loaded_where_others_are_not(string kernel)
    {
        var (output, reason) = await VirtualMachine.AloneAsync("signed.sh", kernel);
        Assert.SkipWhen(output is null && reason.Contains("could not be installed", StringComparison.Ordinal), reason.Trim());
        Assert.True(output is not null, reason);
    }
}
