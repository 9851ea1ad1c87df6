using System.Diagnostics;
using System.Globalization;
using System.Text;
using Xunit;

namespace SystemTap.Tests.Examples;

/// <summary>What one run of stap left: its output, its messages, its exit status, and what the workload says it did.</summary>
internal sealed record StapResult(string Out, string Error, int Status, IReadOnlyDictionary<string, long> Truth)
{
    public string[] Lines => Out.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The numbers of the only line that begins with <paramref name="start"/> (words apart by any blanks), without that start.</summary>
    public long[] Row(params string[] start)
    {
        var rows = Rows(start);
        Assert.True(rows.Count == 1, $"{rows.Count} lines begin with '{string.Join(' ', start)}', not 1:\n{this}");
        return rows[0];
    }

    public List<long[]> Rows(params string[] start)
    {
        var rows = new List<long[]>();
        foreach (var line in Lines)
        {
            var words = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words.Length >= start.Length && words.AsSpan(0, start.Length).SequenceEqual(start))
            {
                rows.Add([.. words.Skip(start.Length).Select(w => long.TryParse(w, CultureInfo.InvariantCulture, out var n) ? n : long.MinValue)]);
            }
        }

        return rows;
    }

    public StapResult Succeeded()
    {
        Assert.True(Status == 0, $"stap ended with status {Status}:\n{this}");
        return this;
    }

    public override string ToString() =>
        $"--- stdout\n{Out}\n--- stderr\n{Error}\n--- truth\n{string.Join(", ", Truth.Select(t => t.Key + "=" + t.Value))}";
}

/// <summary>Runs stap and helpers as child processes. STAP names another stap than <c>out/stap</c>.</summary>
internal static class StapRun
{
    public const int TimeoutMs = 30_000;

    /// <summary>A folder for this run's files; goes with the process.</summary>
    public static string Folder { get; } = MakeFolder();

    private static string MakeFolder()
    {
        var folder = Directory.CreateTempSubdirectory("stap-examples-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        return folder;
    }

    private static readonly Lazy<string> Built = new(() =>
    {
        var program = Path.Combine(Folder, "workload");
        var (_, error, status, _) = Execute("gcc", ["-O1", "-o", program, Path.Combine(Repository.Root, "tests/SystemTap.Tests/Examples/workload.c"), "-pthread"]);
        return status == 0 ? program : throw new InvalidOperationException("gcc could not compile workload.c: " + error);
    });

    /// <summary>The compiled <c>workload.c</c>.</summary>
    public static string Workload => Built.Value;

    public static string Stap => Repository.Stap;

    /// <summary>Skips the test, with the reason, where a live session cannot be: not root, or no stap built.</summary>
    public static void Need()
    {
        if (!Environment.IsPrivilegedProcess)
        {
            Assert.Skip("live tracing needs root");
        }

        Assert.True(File.Exists(Stap), $"'{Stap}' does not exist: build it (build/build-stap.sh) or set STAP");
    }

    public static string Example(string name) => Path.Combine(Repository.Root, "examples", name + ".stp");

    /// <summary>Runs one example on <c>workload MODE</c>.</summary>
    public static StapResult OnWorkload(string example, string mode, params string[] scriptArguments) =>
        OnCommand(example, Workload + " " + mode, scriptArguments);

    public static StapResult OnCommand(string example, string command, params string[] scriptArguments)
    {
        Need();
        return Stapped([Example(example), .. scriptArguments, "-c", command]).Succeeded();
    }

    public static StapResult Stapped(params string[] arguments)
    {
        var truth = Path.Combine(Folder, "truth." + Guid.NewGuid().ToString("N"));
        var (output, error, status, _) = Execute(Stap, arguments, truth);
        var facts = new Dictionary<string, long>();
        if (File.Exists(truth))
        {
            foreach (var line in File.ReadLines(truth))
            {
                var at = line.IndexOf(' ');
                facts[line[..at]] = long.Parse(line[(at + 1)..], CultureInfo.InvariantCulture);
            }

            File.Delete(truth);
        }

        return new StapResult(output, error, status, facts);
    }

    /// <summary>Runs a program to its end; one that takes longer than the time-out is killed and fails the test with what it had said.</summary>
    public static (string Out, string Error, int Status, int Pid) Execute(string program, string[] arguments, string? truth = null)
    {
        using var process = Start(program, arguments, truth);
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(TimeoutMs))
        {
            process.Kill(entireProcessTree: true);
            process.WaitForExit();
            Assert.Fail($"'{program} {string.Join(' ', arguments)}' did not end within {TimeoutMs / 1000} s\n{output.Result}\n{error.Result}");
        }

        return (output.Result, error.Result, process.ExitCode, process.Id);
    }

    public static Process Start(string program, string[] arguments, string? truth = null)
    {
        var start = new ProcessStartInfo(program)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            UseShellExecute = false,
            StandardOutputEncoding = Encoding.Latin1,
            StandardErrorEncoding = Encoding.Latin1,
        };
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["LC_ALL"] = "C";
        start.Environment["TMPDIR"] = Folder;
        if (truth is not null)
        {
            start.Environment["TRUTH"] = truth;
        }

        var process = Process.Start(start) ?? throw new InvalidOperationException("cannot start " + program);
        process.StandardInput.Close();
        return process;
    }

    /// <summary>What <c>strace -c -f</c> says of a command: calls and errors by system call.</summary>
    public static Dictionary<string, (long Calls, long Errors)> Strace(string command)
    {
        var file = Path.Combine(Folder, "strace." + Guid.NewGuid().ToString("N"));
        var (_, error, status, _) = Execute("strace", ["-f", "-c", "-U", "name,calls,errors", "-o", file, .. command.Split(' ')], file + ".truth");
        Assert.True(status == 0 && File.Exists(file), "strace failed: " + error);
        var counts = new Dictionary<string, (long, long)>();
        foreach (var line in File.ReadLines(file))
        {
            var words = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words.Length >= 2 && long.TryParse(words[1], out var calls))
            {
                counts[words[0]] = (calls, words.Length > 2 && long.TryParse(words[2], out var errors) ? errors : 0);
            }
        }

        return counts;
    }
}
