using System.Diagnostics;
using System.Globalization;
using Linux.Bpf;

namespace SystemTap.Bench;

/// <summary>What all measurements share: the tools, the load program, the table.</summary>
internal sealed class Bench
{
    private readonly string _load;
    private readonly List<string> _notes = [];

    public Bench(string root, string stap, bool quick, int rounds)
    {
        Quick = quick;
        Rounds = rounds;
        Calls = quick ? 100_000 : 300_000;
        Stap = new Tool("stap", File.Exists(stap) ? stap : null);
        Bpftrace = new Tool("bpftrace", Tool.Find("bpftrace"));
        Table = new Table(Bpftrace.Here ? "bpftrace" : "bpftrace: absent");
        _load = Path.Combine(Path.GetTempPath(), "stap-bench-load." + Environment.ProcessId);
        var (_, error, status) = Tool.Run("gcc", ["-O2", "-o", _load, Path.Combine(root, "bench/SystemTap.Bench/load.c")]);
        if (status != 0)
        {
            throw new InvalidOperationException("gcc could not compile load.c: " + error);
        }
    }

    public Tool Stap { get; }

    public Tool Bpftrace { get; }

    public Table Table { get; }

    public bool Quick { get; }

    public int Rounds { get; }

    public int Calls { get; }

    /// <summary>The load runs on the last CPU; the tools' readers have the others.</summary>
    public int LoadCpu { get; } = Environment.ProcessorCount - 1;

    public Process StartLoad(params object[] arguments)
    {
        var start = new ProcessStartInfo(_load) { RedirectStandardInput = true, RedirectStandardOutput = true };
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(Convert.ToString(argument, CultureInfo.InvariantCulture)!);
        }

        return Process.Start(start) ?? throw new InvalidOperationException("cannot start " + _load);
    }

    /// <summary>Nanoseconds per call of the getppid loop.</summary>
    public Sample Loop(int calls, int rounds)
    {
        using var process = StartLoad("loop", calls, rounds, LoadCpu);
        var sample = new Sample();
        foreach (var line in process.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            sample.Add(double.Parse(line, CultureInfo.InvariantCulture));
        }

        process.WaitForExit();
        return sample;
    }

    /// <summary>Makes getppid calls with the arguments 0 to one less than <paramref name="count"/>.</summary>
    public void Arguments(int count)
    {
        using var process = StartLoad("arguments", count);
        process.WaitForExit();
    }

    /// <summary>Waits until the tool's programs run: its probes are live. Uses the kernel's run counter with statistics on, while a little load makes events.</summary>
    public bool WaitUntilLive(Session session) => WaitUntilLive(session, () => Loop(1000, 1));

    /// <summary>The same for a session whose programs another action runs, at least 500 times each time.</summary>
    public bool WaitUntilLive(Session session, Action hit)
    {
        using var statistics = BpfStats.Enable();
        for (var i = 0; i < 200 && !session.Ended; i++)
        {
            var start = Kernel.RunsOf(session.Pid);
            hit();
            if ((Kernel.RunsOf(session.Pid) - start).Count >= 500)
            {
                Thread.Sleep(50);
                return true;
            }

            Thread.Sleep(20);
        }

        return false;
    }

    public void Note(string text)
    {
        if (!_notes.Contains(text))
        {
            _notes.Add(text);
        }
    }

    public void Finish()
    {
        foreach (var note in _notes)
        {
            Console.WriteLine("note: " + note);
        }

        File.Delete(_load);
    }
}
