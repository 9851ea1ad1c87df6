using System.Diagnostics;
using System.Runtime.InteropServices;

namespace SystemTap.Bench;

/// <summary>A tracer under measurement: how to start it on a script, and whether it is here at all.</summary>
internal sealed class Tool
{
    private readonly string[] _options;

    public Tool(string name, string? path, params string[] options)
    {
        Name = name;
        Path = path;
        _options = options;
    }

    public string Name { get; }

    /// <summary>The program; null when it is not installed.</summary>
    public string? Path { get; }

    public bool Here => Path is not null;

    public string Version()
    {
        if (Path is null)
        {
            return "not installed";
        }

        var (output, error, _) = Run(Path, ["--version"]);
        return (output + error).Split('\n', 2)[0].Trim();
    }

    /// <summary>Starts on a script; its output goes to <paramref name="outputFile"/> or is dropped.</summary>
    public Session Start(string script, string? outputFile = null, params string[] more) =>
        new(Path ?? throw new InvalidOperationException(Name + " is not installed"), [.. _options, .. more, "-e", script], outputFile);

    /// <summary>Runs a script that ends by itself; milliseconds from start to reaped.</summary>
    public double TimeToEnd(string script)
    {
        var began = Stopwatch.GetTimestamp();
        using var session = Start(script);
        session.WaitForEnd(60_000);
        return Stopwatch.GetElapsedTime(began).TotalMilliseconds;
    }

    public static string? Find(string name)
    {
        foreach (var folder in (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':'))
        {
            var path = System.IO.Path.Combine(folder, name);
            if (folder.Length > 0 && File.Exists(path))
            {
                return path;
            }
        }

        return null;
    }

    public static (string Out, string Error, int Status) Run(string program, string[] arguments)
    {
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        using var process = Process.Start(start) ?? throw new InvalidOperationException("cannot start " + program);
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (output, error.Result, process.ExitCode);
    }
}

/// <summary>
/// One running tracer. Its output goes to files, never through a pipe that we would have to drain while we measure; the shell that
/// redirects replaces itself by the tool, so the process id is the tool's and signals reach it.
/// </summary>
internal sealed class Session : IDisposable
{
    private readonly Process _process;
    private readonly string _errorFile = System.IO.Path.GetTempFileName();

    public Session(string path, string[] arguments, string? outputFile)
    {
        var start = new ProcessStartInfo("/bin/sh") { RedirectStandardInput = true };
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add("out=$1 err=$2; shift 2; exec \"$@\" >\"$out\" 2>\"$err\"");
        start.ArgumentList.Add("sh");
        start.ArgumentList.Add(outputFile ?? "/dev/null");
        start.ArgumentList.Add(_errorFile);
        start.ArgumentList.Add(path);
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        Began = Stopwatch.GetTimestamp();
        _process = Process.Start(start) ?? throw new InvalidOperationException("cannot start " + path);
    }

    /// <summary>Stopwatch time (the monotonic clock in ns on Linux) before the start.</summary>
    public long Began { get; }

    public int Pid => _process.Id;

    public bool Ended => _process.HasExited;

    /// <summary>The first thing it complained of, without what bpftrace says of memory limits on every start.</summary>
    public string Complaint => File.ReadLines(_errorFile).FirstOrDefault(l => l.Length > 0 && !l.Contains("RLIMIT_MEMLOCK", StringComparison.Ordinal)) ?? "no message";

    /// <summary>Sends SIGINT and waits; the milliseconds it took, or null when it had to be killed.</summary>
    public double? Interrupt(int timeoutMs = 120_000)
    {
        var began = Stopwatch.GetTimestamp();
        if (!_process.HasExited)
        {
            _ = Kill(_process.Id, 2);
        }

        return WaitForEnd(timeoutMs) ? Stopwatch.GetElapsedTime(began).TotalMilliseconds : null;
    }

    /// <summary>False: it was killed after the time-out.</summary>
    public bool WaitForEnd(int timeoutMs)
    {
        if (_process.WaitForExit(timeoutMs))
        {
            return true;
        }

        _process.Kill();
        _process.WaitForExit();
        return false;
    }

    /// <summary>Processor time so far, user and system.</summary>
    public double CpuMs()
    {
        var text = File.ReadAllText($"/proc/{Pid}/stat");
        var words = text[(text.LastIndexOf(')') + 2)..].Split(' ');
        return (double.Parse(words[11], System.Globalization.CultureInfo.InvariantCulture) + double.Parse(words[12], System.Globalization.CultureInfo.InvariantCulture)) * 10;
    }

    /// <summary>A kB line of /proc/PID/status, e.g. VmRSS; 0 when gone.</summary>
    public long StatusKb(string key)
    {
        try
        {
            foreach (var line in File.ReadLines($"/proc/{Pid}/status"))
            {
                if (line.StartsWith(key + ":", StringComparison.Ordinal))
                {
                    return long.Parse(line[(key.Length + 1)..].Replace("kB", "").Trim());
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }

        return 0;
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            _process.WaitForExit();
        }

        _process.Dispose();
        File.Delete(_errorFile);
    }

    [DllImport("libc", EntryPoint = "kill")]
    private static extern int Kill(int pid, int signal);
}
