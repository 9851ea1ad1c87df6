using System.Runtime.InteropServices;
using SystemTap.Targets;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.UserProbes;

/// <summary>Scripts that probe small programs, run live: <see cref="UserProbeCase"/>.</summary>
public sealed partial class UserProbeCorpusTests
{
    private static readonly Dictionary<string, UserProbeCase> Cases = UserProbeCase.Load().ToDictionary(c => c.Name);

    public static TheoryData<string> Names()
    {
        var filter = Environment.GetEnvironmentVariable("CORPUS_FILTER");
        var names = new TheoryData<string>();
        foreach (var name in Cases.Keys)
        {
            if (string.IsNullOrEmpty(filter) || name.Contains(filter, StringComparison.Ordinal))
            {
                names.Add(name);
            }
        }

        return names;
    }

    [Theory]
    [MemberData(nameof(Names))]
    public async Task Prints_what_the_program_prints(string name)
    {
        NeedUprobes();
        await Check(Cases[name]);
    }

    internal static void NeedUprobes()
    {
        Assert.SkipWhen(geteuid() != 0, "needs root");
        Assert.SkipWhen(!File.Exists("/sys/bus/event_source/devices/uprobe/type"), "the kernel has no uprobes");
    }

    /// <summary>Builds the program, runs the script on it, compares what both print.</summary>
    internal static async Task Check(UserProbeCase one)
    {
        Assert.SkipWhen(ProbedPrograms.Missing(one.Program, one.Flags) is not null, "needs " + ProbedPrograms.Missing(one.Program, one.Flags));
        Assert.SkipWhen(one.Flags.Contains("-g", StringComparison.Ordinal) && !DwarfFile.IsLibraryPresent, "libdw1 is not installed");
        var program = await ProbedPrograms.Build(one.Program, one.Flags);
        var library = one.Library is null ? "" : await ProbedPrograms.Build(one.Library, one.LibraryFlags);
        string Fill(string text) => Address().Replace(text.Replace("PROGRAM", program, StringComparison.Ordinal).Replace("LIBRARY", library, StringComparison.Ordinal),
            match => "0x" + ElfFile.Open(program).Symbols.Find(match.Groups[1].Value)!.Value.Value.ToString("x", System.Globalization.CultureInfo.InvariantCulture));

        var output = Path.GetTempFileName();
        try
        {
            string[] target = one.IsAlone ? [] : ["-c", $"{program} {Fill(one.Words)}".TrimEnd()];
            var got = await StapProcess.RunAsync([.. one.Options, "-o", output, .. target, "-e", Fill(one.Script)], seconds: 60);
            Assert.SkipWhen(got.Err.Contains("with CAP_SYS_ADMIN only", StringComparison.Ordinal), "the session may not write to user memory");
            var printed = await File.ReadAllTextAsync(output);
            var expected = one.Out ?? got.Out;
            Assert.True(got.Status == one.Status, $"status {got.Status}\n{printed}\n{got.Err}");
            if (one.Status == 0)
            {
                Assert.False(expected.Length == 0, "the program printed nothing");
                Assert.True(expected.TrimEnd('\n') == printed.TrimEnd('\n'), $"expected:\n{expected}\ngot:\n{printed}\nstderr:\n{got.Err}");
            }

            foreach (var line in one.Err)
            {
                Assert.Contains(Fill(line), got.Err, StringComparison.Ordinal);
            }
        }
        finally
        {
            File.Delete(output);
        }
    }

    [System.Text.RegularExpressions.GeneratedRegex(@"ADDRESS\((\w+)\)")]
    private static partial System.Text.RegularExpressions.Regex Address();

    [LibraryImport("libc")]
    private static partial uint geteuid();
}
