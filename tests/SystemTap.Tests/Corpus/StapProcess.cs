using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace SystemTap.Tests.Corpus;

/// <summary>What one run of stap wrote and how it ended.</summary>
/// <param name="Out">Standard output, each byte one char (Latin-1), so that raw binary output compares exactly.</param>
/// <param name="Err">Standard error, the same way.</param>
/// <param name="Status">Exit status; 124 when the run was ended by the time-out.</param>
internal sealed record StapResult(string Out, string Err, int Status)
{
    /// <summary>True when the run had to be killed.</summary>
    public bool TimedOut => Status == 124;
}

/// <summary>
/// Runs stap as a child process. The program is <c>$STAP</c> (an executable or a .dll) or <c>out/stap</c> of this tree.
/// At most two children run at a time, whatever xunit does: the machines that run this have two CPUs, and sessions wait for events of theirs.
/// </summary>
internal static class StapProcess
{
    private static readonly SemaphoreSlim Slots = new(2);

    /// <summary>The top folder of the source tree.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>The program and its first words.</summary>
    public static string[] Program { get; } = FindProgram();

    /// <summary>Runs stap to its end, or kills it after <paramref name="seconds"/>.</summary>
    public static Task<StapResult> RunAsync(IEnumerable<string> args, string? input = null, int seconds = 20, string? folder = null) =>
        RunProgramAsync([.. Program, .. args], input, seconds, folder, null);

    /// <summary>Runs stap, and calls <paramref name="during"/> with its process once <paramref name="until"/> has appeared on its output.</summary>
    public static Task<StapResult> RunAsync(IEnumerable<string> args, string until, Action<Process> during, int seconds = 20) =>
        RunProgramAsync([.. Program, .. args], null, seconds, null, (until, during));

    /// <summary>Runs any program the same way.</summary>
    public static async Task<StapResult> RunProgramAsync(string[] words, string? input, int seconds, string? folder, (string Until, Action<Process> Do)? during)
    {
        await Slots.WaitAsync().ConfigureAwait(false);
        try
        {
            var start = new ProcessStartInfo(words[0])
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                StandardOutputEncoding = Encoding.Latin1,
                StandardErrorEncoding = Encoding.Latin1,
                StandardInputEncoding = Encoding.Latin1,
                WorkingDirectory = folder ?? Root,
            };
            foreach (var word in words.AsSpan(1))
            {
                start.ArgumentList.Add(word);
            }

            start.Environment["LC_ALL"] = "C";
            start.Environment["SYSTEMTAP_TAPSET"] = Environment.GetEnvironmentVariable("SYSTEMTAP_TAPSET") ?? Path.Combine(Root, "tapset");
            using var process = Process.Start(start) ?? throw new InvalidOperationException($"cannot start '{words[0]}'");
            var output = ReadAsync(process.StandardOutput, during is { } d ? (d.Until, () => d.Do(process)) : null);
            var errors = ReadAsync(process.StandardError, null);
            if (input is not null)
            {
                await process.StandardInput.WriteAsync(input).ConfigureAwait(false);
            }

            process.StandardInput.Close();
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(seconds));
            var timedOut = false;
            try
            {
                await process.WaitForExitAsync(limit.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                timedOut = true;
                process.Kill(entireProcessTree: true);
                await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
            }

            return new StapResult(await output.ConfigureAwait(false), await errors.ConfigureAwait(false), timedOut ? 124 : process.ExitCode);
        }
        finally
        {
            Slots.Release();
        }
    }

    private static async Task<string> ReadAsync(StreamReader reader, (string Until, Action Do)? trigger)
    {
        var text = new StringBuilder();
        var buffer = new char[4096];
        int n;
        while ((n = await reader.ReadAsync(buffer).ConfigureAwait(false)) > 0)
        {
            text.Append(buffer, 0, n);
            if (trigger is { } t && text.ToString().Contains(t.Until, StringComparison.Ordinal))
            {
                t.Do();
                trigger = null;
            }
        }

        return text.ToString();
    }

    /// <summary>Sends a signal to one process.</summary>
    public static void Signal(int pid, int signal)
    {
        if (Kill(pid, signal) != 0)
        {
            throw new InvalidOperationException($"kill({pid}, {signal}) failed with errno {Marshal.GetLastPInvokeError()}");
        }
    }

    [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static extern int Kill(int pid, int signal);

    private static string FindRoot()
    {
        for (var folder = Environment.GetEnvironmentVariable("STAP_ROOT") ?? AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "SystemTap.slnx")))
            {
                return folder;
            }
        }

        throw new InvalidOperationException("the tests must run inside the source tree (no SystemTap.slnx above them)");
    }

    private static string[] FindProgram()
    {
        var path = Environment.GetEnvironmentVariable("STAP") is { Length: > 0 } given ? given : Path.Combine(Root, "out", "stap");
        return path.EndsWith(".dll", StringComparison.Ordinal) ? ["dotnet", path] : [path];
    }
}
