using System.Diagnostics;
using System.Globalization;
using System.Text;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.Vm;

/// <summary>One case for a virtual machine: a folder of files whose <c>cmd</c> is run by sh.</summary>
/// <param name="Files">File name to bytes; must hold <c>cmd</c>.</param>
internal sealed record VmCase(IReadOnlyDictionary<string, byte[]> Files);

/// <summary>What a case did.</summary>
/// <param name="Run">Output and status; 137 when it was killed by the time-out.</param>
/// <param name="Log">Kernel log of the case when it holds a warning or worse; else empty.</param>
internal sealed record VmResult(StapResult Run, string Log);

/// <summary>
/// Runs many cases in one boot of a Debian kernel (tests/vm/run-cases.sh). Machines run one at a time: each is one busy CPU of emulation.
/// </summary>
internal static class VirtualMachine
{
    private static readonly SemaphoreSlim One = new(1);

    /// <summary>The kernels of the matrix; <c>VM_KERNELS</c> limits them.</summary>
    public static string[] Kernels { get; } =
        Environment.GetEnvironmentVariable("VM_KERNELS") is { Length: > 0 } given ? given.Split(' ', StringSplitOptions.RemoveEmptyEntries) : ["6.1", "6.12"];

    /// <summary>True with <c>./test --all</c>: everything instead of a fixed part.</summary>
    public static bool All { get; } = Environment.GetEnvironmentVariable("STAP_TEST_ALL") is { Length: > 0 };

    /// <summary>Runs a script of tests/vm and yields its standard output, or null with the reason when a package could not be had.</summary>
    public static Task<(string? Output, string Reason)> ToolAsync(string name, params string[] words) => ToolAsync(name, null, words);

    /// <summary>The same for a script that boots a machine itself: while no other runs. What it printed is part of the reason.</summary>
    public static async Task<(string? Output, string Reason)> AloneAsync(string name, params string[] words)
    {
        await One.WaitAsync();
        try
        {
            return await ToolAsync(name, null, words);
        }
        finally
        {
            One.Release();
        }
    }

    private static async Task<(string? Output, string Reason)> ToolAsync(string name, int? seconds, string[] words)
    {
        var start = new ProcessStartInfo(Path.Combine(Repository.Root, "tests", "vm", name)) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        foreach (var word in words)
        {
            start.ArgumentList.Add(word);
        }

        if (seconds is { } limit && Environment.GetEnvironmentVariable("VM_TIMEOUT") is null)
        {
            start.Environment["VM_TIMEOUT"] = limit.ToString(CultureInfo.InvariantCulture);
        }

        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        var errors = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return process.ExitCode == 0 ? (output, "") : (null, output.Length is > 0 and < 10_000 ? output + await errors : await errors);
    }

    /// <summary>Boots <paramref name="kernel"/> once and runs the cases. A case without a result was not reached: the machine died before; the entry <c>""</c> is the console's tail.</summary>
    public static async Task<Dictionary<string, VmResult>> RunAsync(string kernel, IReadOnlyDictionary<string, VmCase> cases)
    {
        var folder = Directory.CreateTempSubdirectory("stap-vm-").FullName;
        try
        {
            var names = new Dictionary<string, string>();
            foreach (var (name, one) in cases)
            {
                var short_ = names.Count.ToString("D4", CultureInfo.InvariantCulture);
                names.Add(short_, name);
                var own = Directory.CreateDirectory(Path.Combine(folder, short_)).FullName;
                foreach (var (file, bytes) in one.Files)
                {
                    await File.WriteAllBytesAsync(Path.Combine(own, file), bytes);
                }
            }

            await One.WaitAsync();
            try
            {
                // The limit is for machines that hang; many cases, each slow under emulation on a busy host, must not meet it.
                var (output, reason) = await ToolAsync("run-cases.sh", Math.Max(300, 15 * cases.Count), [kernel, folder]);
                Assert.SkipWhen(output is null && reason.Contains("could not be installed", StringComparison.Ordinal), reason.Trim());
                return Parse(output ?? throw new InvalidOperationException("tests/vm/run-cases.sh failed: " + reason), names);
            }
            finally
            {
                One.Release();
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static Dictionary<string, VmResult> Parse(string output, Dictionary<string, string> names)
    {
        var results = new Dictionary<string, VmResult>();
        var (name, status, text, errors) = ("", 0, "", "");
        var console = new StringBuilder();
        foreach (var line in output.Split('\n'))
        {
            var words = line.Split(' ', 3);
            var payload = words.Length > 1 ? words[1] : "";
            switch (words[0])
            {
                case "@@case": (name, status) = (names[payload], int.Parse(words[2].Split(' ')[0], CultureInfo.InvariantCulture)); break;
                case "@@out": text = Decode(payload); break;
                case "@@err": errors = Decode(payload); break;
                case "@@log": results[name] = new VmResult(new StapResult(text, errors, status), Decode(payload)); break;
                case "@@console": console.AppendLine(line["@@console".Length..]); break;
            }
        }

        results[""] = new VmResult(new StapResult("", "", 0), console.ToString());
        return results;
    }

    private static string Decode(string base64)
    {
        try
        {
            return Encoding.Latin1.GetString(Convert.FromBase64String(base64));
        }
        catch (FormatException)
        {
            return "(the machine died while it sent this)";
        }
    }
}
