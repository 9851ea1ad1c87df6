using System.Diagnostics;
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

    /// <summary>Debug information that was split off and is not where the program says.</summary>
    [Fact]
    public async Task Missing_dwo_files_are_told()
    {
        Assert.SkipUnless(DwarfFile.IsLibraryPresent, "libdw1 is not installed");
        var program = await ProbedPrograms.Build("shapes.c", "-g -O1 -gsplit-dwarf");
        foreach (var file in Directory.GetFiles(Path.GetDirectoryName(program)!, "*.dwo"))
        {
            File.Delete(file);
        }

        var got = await StapProcess.RunAsync(["-p2", "-e", $"probe process(\"{program}\").function(\"members\") {{ println($o) }}"], seconds: 60);
        Assert.Equal(1, got.Status);
        Assert.Contains("its .dwo files are not where it says", got.Err, StringComparison.Ordinal);
    }

    /// <summary>The program exists in its own mount namespace only: the session reaches it through /proc/PID/root.</summary>
    [Fact]
    public async Task A_program_that_only_its_mount_namespace_has()
    {
        UserProbeCorpusTests.NeedUprobes();
        var program = await ProbedPrograms.Build("semaphore.c", "-O2 -g -DWAIT");
        using var process = InItsOwnMountNamespace(program, "exec /mnt/hidden");
        try
        {
            await Started(process);
            Assert.False(File.Exists("/mnt/hidden"));
            var script = $"probe process({process.Id}).mark(\"check\") {{ println(\"mark \", $arg1) if ($arg1 == 2) exit() }} probe begin {{ println(\"live\") }} probe timer.ms(100) {{ println(\"live\") }}";
            var got = await StapProcess.RunAsync(["-T", "10", "-e", script], "live\nlive", _ => Poke(process), seconds: 60);
            Assert.True(got.Status == 0, got.Err);
            Assert.Equal(["mark 0", "mark 1", "mark 2"], got.Out.Split('\n').Where(l => l.StartsWith("mark", StringComparison.Ordinal)));
        }
        finally
        {
            process.Kill();
        }
    }

    /// <summary>A program of a container that ends right after its event: its files can only be opened before.</summary>
    [Fact]
    public async Task The_stack_of_a_program_of_another_mount_namespace_that_ends_at_once()
    {
        UserProbeCorpusTests.NeedUprobes();
        var program = await ProbedPrograms.Build("callees.c", "-O2 -g");
        using var process = InItsOwnMountNamespace(program, "echo ready; while read line; do /mnt/hidden; done");
        try
        {
            await Started(process);
            var script = $"probe process(\"/proc/{process.Id}/root/mnt/hidden\").function(\"outer\").callees(2) {{ if (ppfunc() == \"leaf\") {{ print_ubacktrace_brief() exit() }} }} probe begin {{ println(\"live\") }} probe timer.ms(100) {{ println(\"live\") }}";
            var got = await StapProcess.RunAsync(["-T", "10", "-e", script], "live\nlive", _ => Poke(process), seconds: 60);
            Assert.True(got.Status == 0, got.Err);
            var names = got.Out.Split('\n').Where(l => l.Contains('+', StringComparison.Ordinal)).Select(l => l.Split('+')[0]).ToList();
            Assert.Equal(["leaf", "middle", "outer", "main"], names.Take(4));
        }
        finally
        {
            process.Kill();
        }
    }

    /// <summary>A shell for which /mnt is a file system that nobody else sees, with the program there as /mnt/hidden; says a line when it is ready.</summary>
    private static Process InItsOwnMountNamespace(string program, string then) =>
        Process.Start(new ProcessStartInfo("unshare", ["-m", "sh", "-c", $"mount -t tmpfs none /mnt && cp {program} /mnt/hidden && {then}"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;

    private static async Task Started(Process process)
    {
        if (await process.StandardOutput.ReadLineAsync() is null)
        {
            Assert.Skip("no mount namespace can be made here: " + await process.StandardError.ReadToEndAsync());
        }
    }

    private static void Poke(Process process)
    {
        process.StandardInput.WriteLine();
        process.StandardInput.Flush();
    }
}
