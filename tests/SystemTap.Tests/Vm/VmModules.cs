using System.Collections.Concurrent;
using System.Text;
using SystemTap.Tests.Corpus;
using SystemTap.Tests.UserProbes;
using Xunit;

namespace SystemTap.Tests.Vm;

/// <summary>Builds the kernel modules of virtual-machine cases on this machine, against the headers of the machine's kernel.</summary>
internal static class VmModules
{
    private static readonly ConcurrentDictionary<string, Task<string>> Trees = new();

    /// <summary>Options of the case that staprun gets too.</summary>
    public static IEnumerable<string> RunOptions(CorpusCase one)
    {
        for (var i = 0; i < one.Options.Count; i++)
        {
            if (one.Options[i] == "-T" && i + 1 < one.Options.Count)
            {
                yield return "--timeout=" + one.Options[++i];
            }
            else if (one.Options[i] is "-c" or "-x" or "-o" && i + 1 < one.Options.Count)
            {
                yield return one.Options[i];
                yield return one.Options[++i];
            }
            else if (one.Options[i] == "-w")
            {
                yield return "-w";
            }
        }
    }

    /// <summary>A compiler or tool that is not installed here and that the program of the case needs; null when all are. The machine's kernel runs what is built.</summary>
    public static string? Missing(CorpusCase one) => one.Program.Length == 0 ? null : ProbedPrograms.Missing(Words(one).Source, Words(one).Flags, runsHere: false);

    private static (string Source, string Flags) Words(CorpusCase one) => one.Program.Split(' ', 2) is [var source, var flags] ? (source, flags) : (one.Program, "");

    /// <summary>The case with the path of the program that it probes, compiled on this machine; the path is null when it probes none.</summary>
    public static async Task<(CorpusCase Case, string? Program)> WithProgramAsync(CorpusCase one)
    {
        if (one.Program.Length == 0)
        {
            return (one, null);
        }

        var (source, flags) = Words(one);
        var path = await ProbedPrograms.Build(source, flags);
        string Fill(string text) => text.Replace("PROGRAM", path, StringComparison.Ordinal);
        return (one with { Script = Fill(one.Script), Shell = one.Shell is { } shell ? Fill(shell) : null, Options = [.. one.Options.Select(Fill)] }, path);
    }

    /// <summary>The module that a case probes (tests/vm/modules), as a file beside its script; none when it probes none.</summary>
    public static async Task<Dictionary<string, byte[]>> ProbedAsync(string kernel, CorpusCase one)
    {
        var files = new Dictionary<string, byte[]>();
        if (one.Module.Length > 0)
        {
            var (path, reason) = await VirtualMachine.ToolAsync("build-module.sh", kernel, one.Module);
            files.Add(one.Module + ".ko", await File.ReadAllBytesAsync(path?.Trim() ?? throw new InvalidOperationException("tests/vm/build-module.sh failed: " + reason)));
        }

        return files;
    }

    /// <summary>
    /// What emulation asks for, unless the case is about it: every handler is slow, so there is no watch for overload; and the virtual CPUs take turns of up to
    /// 100 ms on one thread, so a lock's holder may be off for longer than the usual 1 ms of waiting, and in the lock again when it is next off.
    /// </summary>
    public static IEnumerable<string> Emulation(CorpusCase one) =>
        new[] { ("STP_OVERLOAD", "-DSTP_NO_OVERLOAD"), ("TRYLOCK", "-DMAXTRYLOCK=400000") }
            .Where(o => !one.Options.Any(given => given.Contains(o.Item1, StringComparison.Ordinal))).Select(o => o.Item2);

    /// <summary>The module's bytes, or how stap refused the script; with what stap said.</summary>
    public static async Task<(byte[]? Module, StapResult Built)> BuildAsync(string kernel, CorpusCase one, string name)
    {
        var tree = await Trees.GetOrAdd(kernel, static async k =>
        {
            var (path, reason) = await VirtualMachine.ToolAsync("fetch-headers.sh", k);
            Assert.SkipWhen(path is null, "the kernel's headers could not be fetched: " + reason.Trim());
            return path!.Trim();
        });
        var folder = Directory.CreateTempSubdirectory("stap-vm-module-").FullName;
        try
        {
            await File.WriteAllTextAsync(Path.Combine(folder, "script.stp"), one.Script, Encoding.Latin1);
            foreach (var (file, bytes) in await ProbedAsync(kernel, one))
            {
                await File.WriteAllBytesAsync(Path.Combine(folder, file), bytes);
            }

            var result = await StapProcess.RunProgramAsync([.. StapProcess.Program, "--runtime=kernel", "-r", tree, "-p4", "-m", name, .. Emulation(one), .. one.Options, "script.stp", .. one.Words], null, 180, folder, null);
            var path = Path.Combine(folder, name + ".ko");
            return result.Status == 0 && File.Exists(path) ? (await File.ReadAllBytesAsync(path), result) : (null, result);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
