using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.Vm;

/// <summary>Cases written for virtual machines: tests/vm/cases.</summary>
public sealed class VmCaseTests
{
    private static readonly VmScripts Scripts = new(() => CorpusCase.Load(Path.Combine(Repository.Root, "tests", "vm", "cases"), "vm"));

    /// <summary>The cases.</summary>
    public static TheoryData<string> Cases => Scripts.Names();

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Cases))]
    public Task Runs(string name) => Scripts.Check(name);
}

/// <summary>The corpus in virtual machines: a fixed eighth of it, or all with <c>./test --all</c>.</summary>
public sealed class VmCorpusTests
{
    private static readonly VmScripts Scripts = new(() => CorpusCase.Load("run").Where((c, i) => VirtualMachine.All || i % 8 == 1));

    /// <summary>The cases.</summary>
    public static TheoryData<string> Cases => Scripts.Names();

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Cases))]
    public Task Runs(string name) => Scripts.Check(name);
}
