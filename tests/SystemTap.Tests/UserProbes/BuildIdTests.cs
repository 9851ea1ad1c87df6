using SystemTap.Targets;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.UserProbes;

/// <summary>Programs named by build id, and programs in mount namespaces of their own.</summary>
public sealed class BuildIdTests
{
    [Fact]
    public async Task The_target_program_is_found_by_its_build_id()
    {
        UserProbeCorpusTests.NeedUprobes();
        var program = await ProbedPrograms.Build("shapes.c", "-g -O2");
        var id = ElfFile.Open(program).BuildId!;
        var got = await StapProcess.RunAsync(["-c", program, "-e", $"probe process(\"{id}\").function(\"nothing\") {{ println(\"hit \", $x) }}"], seconds: 60);
        Assert.True(got.Status == 0, got.Err);
        Assert.Contains("hit 1\n", got.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_unknown_build_id_is_told()
    {
        var got = await StapProcess.RunAsync(["-p2", "-e", "probe process(\"0123456789abcdef0123456789abcdef01234567\").function(\"main\") { println(1) }"], seconds: 60);
        Assert.Equal(1, got.Status);
        Assert.Contains("no program or library with build id 0123456789abcdef0123456789abcdef01234567", got.Err, StringComparison.Ordinal);
    }
}
