using System.Runtime.InteropServices;
using System.Text;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Runtime.Host;
using SystemTap.Runtime.Native;
using SystemTap.Runtime.Output;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Tapsets;

namespace SystemTap.Runtime.Sessions;

// Pass 5 of a BPF session. One thread does everything, in this order:
//
//   load maps and programs (pass 4) → start the command of -c, held → begin handlers by priority → attach → state "running" → release the command
//   → event loop → state "stopping" → detach → last drain of the ring → end (or error) handlers → unread globals → reports → close everything.
//
// The event loop sleeps until the next of: a deadline (timer probe, -T), the ring's drain interval, a signal, the command's end, a reader or writer of
// a procfs file. Kernel programs do not wake it per record (a wake-up costs the probed code microseconds); it drains every few milliseconds while
// records come, and only exit() and the like wake it at once.
//
// Output order: whatever a handler of stap prints comes after every record kernel handlers have made before, since each print drains the ring first.
//
// Nothing outlives the process: links and maps are descriptors, so even SIGKILL detaches everything.

/// <summary>Runs a translated script. Use once.</summary>
public sealed partial class Session : IDisposable
{
    private readonly BpfPlan _plan;
    private readonly SessionOptions _options;
    private readonly OutputStream _output;
    private readonly HostEvaluator _evaluator;
    private readonly IGlobalStore _store;
    private readonly KernelSide? _kernel;
    private readonly HostEvaluator? _recordEvaluator;
    private readonly RecordReader? _records;
    private readonly HandlerTimes _times;
    private readonly ProcessTree _targets;
    private readonly List<int> _systemPids = [];
    private ChildCommand? _child;
    private SignalWatch? _signals;
    private ProcfsFiles? _procfs;
    private bool _exitRequested;
    private bool _tooManyErrors;
    private bool _inStart = true;
    private readonly bool _runsStatements;
    private long _hostErrors;
    private PeekService? _peek;

    /// <summary>Loads the maps and programs of a plan (pass 4); nothing is attached yet.</summary>
    /// <exception cref="IOException">The output file cannot be created.</exception>
    /// <exception cref="Linux.Bpf.BpfException">The kernel refuses a map or program.</exception>
    public Session(BpfPlan plan, SessionOptions options)
    {
        _plan = plan;
        _options = options;
        ModuleName = options.ModuleName ?? $"stap_{Environment.ProcessId}";
        Tables = new NameTables(options.TableFolders, options.Architecture);
        _times = new HandlerTimes(plan.Program, options.Timing);
        _targets = new ProcessTree();
        _output = new OutputStream(options.OutputFile, options.RotateBytes, options.RotateKeep);
        try
        {
            _kernel = plan.Programs.Count > 0 || plan.DataMap >= 0 ? KernelSide.Load(plan, options, Complain) : null;
            _store = (IGlobalStore?)_kernel?.Store ?? new MemoryGlobalStore(plan.Program.Globals);
            _evaluator = new HostEvaluator(plan.Program, _store, this);

            // A handler of stap that prints reads the records before its print: these have an evaluator of their own.
            _recordEvaluator = _kernel is null ? null : new HostEvaluator(plan.Program, _store, this);
            _records = _recordEvaluator is null ? null : new RecordReader(plan, _output, _recordEvaluator, this);
            _runsStatements = plan.PrintSites.Any(s => s.Body is not null);
        }
        catch
        {
            _kernel?.Dispose();
            _output.Dispose();
            throw;
        }
    }

    /// <summary>Globals as they stand; for the report of <c>-v</c> and for tests.</summary>
    public IGlobalStore Globals => _store;

    /// <summary>Runs the session to its end (pass 5).</summary>
    /// <returns>Exit status of stap: 0, or 1 after too many errors or a failed command.</returns>
    /// <exception cref="IOException">The command of <c>-c</c> cannot be started.</exception>
    /// <exception cref="Linux.Bpf.BpfException">A program cannot be attached.</exception>
    public int Run()
    {
        _signals = new SignalWatch();
        if (_options.Verbosity > 0)
        {
            foreach (var (probe, reason) in _plan.LeftToHost)
            {
                Tell($"Pass 5: the handler of {probe.PointText} is not atomic as a whole, since it cannot run inside the kernel: {reason.Message}");
            }
        }

        StartTarget();
        RunSessionProbes(SessionEvent.Begin);
        if (!Stopping)
        {
            _procfs = ProcfsFiles.Create(_plan.HostProbes, ModuleName);
            if (_plan.SendsStacks || _plan.NamesPrograms)
            {
                SymbolService.WatchMappings();
            }

            _kernel?.Attach();
            _kernel?.SetState(KernelSide.Running);
            _kernel?.Walk();
        }

        _inStart = false;
        _child?.Release();
        if (!Stopping)
        {
            _output.Flush();
            if (_options.InBackground)
            {
                Background.Live();
            }

            if (_options.WhenLive is { } whenLive)
            {
                whenLive();
            }
            else
            {
                Loop();
            }
        }

        return Finish();
    }

    /// <summary>Closes everything. Safe to call at any time, more than once.</summary>
    public void Dispose()
    {
        _child?.Dispose();
        _procfs?.Dispose();
        _peek?.Dispose();
        _symbols?.Dispose();
        _kernel?.Dispose();
        _signals?.Dispose();
        _output.Dispose();
    }

    internal bool Stopping => _exitRequested || _tooManyErrors;

    private void StartTarget()
    {
        if (_options.Command is { } command)
        {
            _child = ChildCommand.Start(command);
            TargetPid = _child.Pid;
        }
        else
        {
            TargetPid = _options.TargetPid;
        }

        if (TargetPid != 0)
        {
            _targets.Start((int)TargetPid);
            _kernel?.SetTarget((int)TargetPid, _targets.Initial);
        }
    }

    private void RunSessionProbes(SessionEvent kind)
    {
        var probes = new List<(long Priority, Probe Probe)>();
        foreach (var probe in _plan.HostProbes)
        {
            if (probe.Spec is SessionSpec spec && spec.Event == kind)
            {
                probes.Add((spec.Priority, probe));
            }
        }

        // A stable order: equal priorities keep the script's.
        probes.Sort(static (x, y) => x.Priority != y.Priority ? x.Priority.CompareTo(y.Priority) : x.Probe.Index.CompareTo(y.Probe.Index));
        var errorsBefore = Errors;
        foreach (var (_, probe) in probes)
        {
            if (kind == SessionEvent.Begin ? Stopping || _signals!.Interrupts > 0 : _signals!.Interrupts > 1)
            {
                break;
            }

            RunHandler(probe, "");
            if (kind == SessionEvent.End && Errors > errorsBefore && TooMany)
            {
                break;
            }
        }
    }

    private void RunHandler(Probe probe, string text)
    {
        if (_runsStatements)
        {
            // Statements of kernel handlers that stap runs come first: the handler sees what they did.
            Drain();
        }

        if (_plan.CountReaders.Contains(probe))
        {
            TakeCounts();
        }

        var start = _times.Begin();
        if (_kernel?.Run(probe) == true)
        {
            // Errors and prints come as records.
            _times.End(probe, start);
            Drain();
            return;
        }

        var result = _evaluator.Run(probe, text);
        _times.End(probe, start);
        switch (result)
        {
            case HandlerResult.Failed:
                CountError(_evaluator.LastError);
                break;
            case HandlerResult.Aborted:
                _exitRequested = true; // The handler has been left; what follows is as after exit().
                break;
        }
    }

    private readonly Dictionary<Bpf.Plan.CountTable, CountKeys> _countKeys = [];

    /// <summary>Arrays for which the kernel counts get what it has counted.</summary>
    private void TakeCounts()
    {
        if (_countsEnded)
        {
            return;
        }

        _kernel?.Store.TakeCounts(
            table => _countKeys.TryGetValue(table, out var keys) ? keys : _countKeys[table] = _recordEvaluator!.Keys(table),
            (table, error) =>
            {
                if (!_tooManyErrors)
                {
                    CountError(ErrorText.Describe(error.Message, error.Span, [], table.PointText));
                }

                return !(_countsEnded = _tooManyErrors);
            });
    }

    /// <summary>An addition failed in a session that an error has ended, or was that error: what the kernel has counted besides would have come after it.</summary>
    private bool _countsEnded;

    private long Errors => _hostErrors + (_kernel?.Errors ?? 0) - _forgotten;

    private long _forgotten;

    /// <summary>An error that the kernel has counted is none: its handler ran after the session's end.</summary>
    internal void ForgetError() => _forgotten++;

    /// <summary>What the kernel says of the loaded programs.</summary>
    public IEnumerable<Linux.Bpf.ProgramInfo> ProgramFacts() => _kernel?.ProgramFacts() ?? [];

    private bool TooMany => !_options.SuppressHandlerErrors && Errors > _plan.Program.Limits.MaxErrors;

    internal void CountError(string text)
    {
        _hostErrors++;
        ReportError(text);
    }

    /// <summary>Prints an uncaught error and looks whether the session must end. Kernel handlers' errors are counted by the kernel.</summary>
    internal void ReportError(string text)
    {
        if (!_options.SuppressHandlerErrors)
        {
            Tell("ERROR: " + text);
        }

        if (TooMany)
        {
            _tooManyErrors = true;
            _kernel?.StopHandlers();
        }
    }

    private void Loop()
    {
        // Timer slack of the thread down from 50 µs: timer.hz probes go up to 10 kHz.
        Libc.prctl(29 /* PR_SET_TIMERSLACK */, 1000, 0, 0, 0);
        var now = Libc.Clock(Libc.Monotonic);
        var timers = new TimerQueue(_plan.HostProbes, now);
        var end = _options.Timeout is { } timeout ? now + (timeout.Ticks * 100) : long.MaxValue;
        var quiet = true;
        using var overload = OverloadWatch.Create(_kernel, _plan.Program.Limits, now);
        while (!Stopping)
        {
            Wait(Math.Min(timers.Next, end), quiet);
            if (_signals!.Interrupts > 0)
            {
                break;
            }

            if (_signals.TakeRotation())
            {
                _output.SwitchFile();
            }

            quiet = Drain() == 0;
            now = Libc.Clock(Libc.Monotonic);
            while (!Stopping && timers.Take(now) is { } probe)
            {
                RunHandler(probe, "");
            }

            _procfs?.Serve(_evaluator, RunHandler);
            CheckSkips();
            if (overload?.Check(now) is { } overloaded && !_tooManyErrors)
            {
                Tell("ERROR: " + overloaded);
                _tooManyErrors = true;
            }

            Reap();
            if (now >= end || _child?.HasEnded() == true)
            {
                break;
            }

            if (_output.IsBroken)
            {
                // Nobody reads any more: end as if told to, quietly.
                break;
            }

            if (quiet || _output.Buffer.Length > 0 && timers.Next - now > 20_000_000)
            {
                _output.Flush();
            }
        }
    }

    private void Wait(long deadline, bool quiet)
    {
        Span<Libc.PollFd> fds = stackalloc Libc.PollFd[16];
        var count = 0;
        fds[count++] = new Libc.PollFd { Fd = _signals!.Descriptor, Events = Libc.PollIn };
        if (_child is { Descriptor: >= 0 } child)
        {
            fds[count++] = new Libc.PollFd { Fd = child.Descriptor, Events = Libc.PollIn };
        }

        // While records come, the ring is left alone for the interval, else its descriptor would wake the loop for each.
        if (quiet && _kernel is { RingDescriptor: >= 0 } kernel)
        {
            fds[count++] = new Libc.PollFd { Fd = kernel.RingDescriptor, Events = Libc.PollIn };
        }

        count += _procfs?.Watch(fds[count..]) ?? 0;
        var most = long.MaxValue;
        if (_kernel is not null)
        {
            most = quiet ? 10_000_000 : 5_000_000;
        }

        if (_procfs is { NeedsPolling: true } || _child is { Descriptor: < 0 })
        {
            most = Math.Min(most, 20_000_000);
        }

        if (_systemPids.Count > 0)
        {
            most = Math.Min(most, 100_000_000);
        }

        var wait = deadline == long.MaxValue ? long.MaxValue : Math.Max(0, deadline - Libc.Clock(Libc.Monotonic));
        wait = Math.Min(wait, most);
        Libc.Poll(fds[..count], wait == long.MaxValue ? -1 : wait);
        if (fds[0].Results != 0)
        {
            _signals.Acknowledge();
        }
    }

    private int Drain() => _kernel is null || _records is null ? 0 : _kernel.Drain(_records);

    private void CheckSkips()
    {
        if (_kernel is { } kernel && !_options.SuppressHandlerErrors && kernel.SkippedLock > _plan.Program.Limits.MaxSkipped && !_tooManyErrors)
        {
            Tell("ERROR: Skipped too many probes, check MAXSKIPPED or try again with stap -t for more details.");
            _tooManyErrors = true;
        }

        _tooManyErrors |= TooMany;
    }

    private int Finish()
    {
        _kernel?.SetState(KernelSide.Stopping);
        _kernel?.Detach();
        Drain();
        if (!_tooManyErrors)
        {
            RunSessionProbes(SessionEvent.End);
            _tooManyErrors |= TooMany;
        }

        if (_tooManyErrors)
        {
            RunSessionProbes(SessionEvent.Error);
        }

        Drain();
        if (_options.ShowGlobals)
        {
            TakeCounts();
            GlobalDisplay.Write(_output.Buffer, _plan.Program, _store);
            _output.Written();
        }

        if (_options.Timing)
        {
            _times.Write(_output.Buffer, _kernel);
        }

        _output.Flush();
        // As SystemTap: an error that was printed shows in the exit status, even when MAXERRORS let the session go on.
        var status = _tooManyErrors || (Errors > 0 && !_options.SuppressHandlerErrors) ? 1 : 0;
        EndReport.Write(Errors, _kernel, Cuts(), Complain);
        if (_output.Error is not (0 or Libc.ErrorPipe /* the reader has what it wanted */))
        {
            var where = _options.OutputFile is { } file ? $"output file \"{file}\"" : "standard output";
            Tell($"ERROR: {where} cannot be written: {Marshal.GetPInvokeErrorMessage(_output.Error)}; the output is incomplete");
            status = 1;
        }

        if (_child is { } child && child.HasEnded() && child.Complaint() is { } complaint)
        {
            Complain(complaint);
            status = 1;
        }

        WaitForSystem();
        return status;
    }

    /// <summary>Strings that handlers and statements run by stap have cut.</summary>
    private (long Count, string? First) Cuts()
    {
        var own = _evaluator.Cuts;
        var finishing = _recordEvaluator?.Cuts ?? (0, null);
        return (own.Count + finishing.Count, own.First ?? finishing.First);
    }

    private void Complain(string text)
    {
        if (!_options.SuppressWarnings)
        {
            Tell(ErrorText.Warning(text));
        }
    }

    // Output first, so that on a terminal the lines stand in the order they were made.
    private void Tell(string line)
    {
        if (Background.HasLeft)
        {
            _output.Write(ByteText.ForTerminal(line + "\n"));
            return;
        }

        _output.Flush();
        if (_options.Diagnostics is { } sink)
        {
            sink(line);
        }
        else
        {
            Libc.WriteAll(2, ByteText.ForTerminal(line + "\n"));
        }
    }

    private unsafe void Reap()
    {
        for (var i = _systemPids.Count - 1; i >= 0; i--)
        {
            int status;
            if (Libc.waitpid(_systemPids[i], &status, 1) != 0)
            {
                _systemPids.RemoveAt(i);
            }
        }
    }

    // Commands of system() may still be printing: give them a moment, so that their output does not come after the prompt. Longer ones go on alone.
    private void WaitForSystem()
    {
        for (var i = 0; i < 200; i++)
        {
            Reap();
            if (_systemPids.Count == 0)
            {
                return;
            }

            Thread.Sleep(5);
        }
    }
}
