using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using SystemTap.Language.Text;
using SystemTap.Runtime.Host;
using SystemTap.Runtime.Native;
using SystemTap.Runtime.Output;
using SystemTap.Runtime.Sessions;
using SystemTap.Targets;

namespace SystemTap.Runtime.Modules;

// Pass 5 of a kernel-module session, and what staprun does.
//
//   load → start the command of -c, held → START (begin handlers run inside this call, on a thread of its own, while this one drains the rings, so that
//   begin handlers may print more than the rings hold) → release the command → drain until the module says that the session is over, the command ends, a
//   signal comes or time is up → STOP (end handlers run inside, the same way) → last drain → report → unload.
//
// The module detaches everything when its control file is closed, so that any death of this process ends the session.

/// <summary>Runs a script module. Use once.</summary>
public sealed unsafe class ModuleSession : IModuleRecords, IDisposable
{
    private readonly SessionOptions _options;
    private readonly string _name;

    // In bulk mode (-b) one for each CPU, made when it first has something to say; else the first is the only one.
    private readonly OutputStream?[] _outputs;
    private readonly bool _bulk;
    private readonly List<int> _systemPids = [];
    private readonly SignalWatch _signals = new(quitDetaches: true);
    private readonly bool _attached;
    private int _control;
    private ModuleRings? _rings;
    private ChildCommand? _child;
    private readonly SymbolService _symbols;
    private readonly MarkedText _marks;
    private readonly ByteSink _marked = new();
    private readonly int _maxBackTrace;
    private readonly ulong _functionBytes;
    private bool _unload = true;

    private ModuleSession(string name, int control, SessionOptions options, bool attached)
    {
        (_name, _control, _options, _attached) = (name, control, options, attached);
        _symbols = new SymbolService(null);
        _marks = new MarkedText(_symbols);
        try
        {
            ModuleTransport.Info info;
            Call(ModuleTransport.GetInfo, &info, "asked");
            if (info.Transport != ModuleTransport.Version)
            {
                throw new ModuleException($"module '{name}' was made by another version of stap", "use that version's staprun");
            }

            _rings = new ModuleRings(control, info);
            _maxBackTrace = (int)info.MaxBackTrace;
            if (info.UserStacks != 0)
            {
                _symbols.WatchMappings();
            }

            _functionBytes = info.FunctionBytes;
            _bulk = info.Bulk != 0;
            _outputs = new OutputStream?[_bulk ? info.Cpus : 1];
            _outputs[0] = OpenOutput(0);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Loads a module file; nothing of the script has run yet.</summary>
    /// <exception cref="ModuleException">The file is not ours, or the kernel refuses it.</exception>
    public static ModuleSession Load(string path, SessionOptions options)
    {
        var module = ModuleFile.Open(path);
        return new ModuleSession(module.Name, ModuleLoader.Load(module, options.RingBytes >> 10), options, attached: false);
    }

    /// <summary>Takes over a session that runs without a staprun (<c>-A</c>).</summary>
    /// <exception cref="ModuleException">There is none, or it has its staprun.</exception>
    public static ModuleSession Attach(string name, SessionOptions options) => new(name, ModuleLoader.Open(name), options, attached: true);

    /// <summary>Runs the session to its end.</summary>
    /// <param name="detach">Leave it running as soon as events are attached (<c>-L</c>).</param>
    /// <returns>Exit status: 0, or 1 after too many errors or a failed command.</returns>
    /// <exception cref="IOException">The command of <c>-c</c> cannot be started.</exception>
    public int Run(bool detach = false)
    {
        if (_options.Command is { } command)
        {
            _child = ChildCommand.Start(command);
        }

        var started = true;
        if (!_attached)
        {
            ModuleTransport.StartRequest request = default;
            Fill(&request);
            FindFunctions();
            started = InThread(ModuleTransport.Start, &request);
        }

        _child?.Release();
        if (started && detach)
        {
            return Leave();
        }

        if (started && _options.InBackground)
        {
            Background.Live();
        }

        if (started && !Loop())
        {
            return Leave();
        }

        InThread(ModuleTransport.Stop, null);
        _rings!.Drain(this, final: true);
        Flush();
        return Report(started);
    }

    /// <summary>Ends everything that is left; unloads the module unless it was left running.</summary>
    public void Dispose()
    {
        _child?.Dispose();
        _symbols.Dispose();
        _rings?.Dispose();
        _rings = null;
        Array.ForEach(_outputs ?? [], static o => o?.Dispose());
        _signals.Dispose();
        if (_control >= 0)
        {
            Libc.close(_control);
            _control = -1;
            if (_unload)
            {
                ModuleLoader.Remove(_name);
            }
        }
    }

    private OutputStream OpenOutput(int cpu)
    {
        var file = !_bulk ? _options.OutputFile : (_options.OutputFile is { } given ? given + "_" : "stpd_cpu") + cpu.ToString(CultureInfo.InvariantCulture);
        return new OutputStream(file, _options.RotateBytes, _options.RotateKeep);
    }

    private void Flush()
    {
        foreach (var output in _outputs)
        {
            output?.Flush();
        }
    }

    void IModuleRecords.Take(int cpu, int type, ReadOnlySpan<byte> bytes, bool more)
    {
        switch (type)
        {
            case ModuleTransport.Output: Print(_bulk ? _outputs[cpu] ??= OpenOutput(cpu) : _outputs[0]!, bytes, more); break;
            case ModuleTransport.Stack: _symbols.Snapshot(bytes, _maxBackTrace); break;
            case ModuleTransport.Warning: Complain(_marks.Expand(Encoding.Latin1.GetString(bytes))); break;
            case ModuleTransport.Error:
                if (!_options.SuppressHandlerErrors)
                {
                    Tell("ERROR: " + _marks.Expand(Encoding.Latin1.GetString(bytes)));
                }

                break;
            case ModuleTransport.System:
                Flush();
                _systemPids.Add(ChildCommand.Spawn(Encoding.Latin1.GetString(bytes)));
                break;
            case ModuleTransport.Switch: SwitchFiles(); break;
        }
    }

    /// <summary>A print, or a piece of one. Marks may lie across pieces, so from the first mark on a print is kept until it is whole.</summary>
    private void Print(OutputStream to, ReadOnlySpan<byte> bytes, bool more)
    {
        if (_marked.Written.Length > 0 || bytes.Contains(MarkedText.Open))
        {
            _marked.Append(bytes);
            if (!more)
            {
                to.Buffer.Append(_marks.Expand(Encoding.Latin1.GetString(_marked.Written)).AsSpan());
                _marked.Clear();
            }
        }
        else
        {
            to.Buffer.Append(bytes);
        }

        if (!more)
        {
            to.Written();
        }
    }

    /// <summary>
    /// Where the functions are that the module probes, and which of them ftrace can patch: the kernel needs milliseconds to find that out for each, and before Linux 6.2 goes through all its symbols
    /// for each name. What is not found, or not only once, is left to the kernel.
    /// </summary>
    private void FindFunctions()
    {
        if (_functionBytes == 0)
        {
            return;
        }

        var text = new byte[_functionBytes];
        fixed (byte* p = text)
        {
            var list = new ModuleTransport.List { Address = (ulong)p, Bytes = _functionBytes };
            Call(ModuleTransport.GetNames, &list, "asked for its functions");
        }

        var names = Encoding.ASCII.GetString(text).Split('\0')[..^1];
        var target = Target.Live();
        var symbols = target.KernelSymbols;
        var places = new ulong[names.Length];
        for (var i = 0; i < names.Length && !symbols.AddressesHidden; i++)
        {
            const ulong fit = 1;
            if (symbols.FindAll(names[i]) is [{ Type: 't' or 'T' or 'w' or 'W', Module: null } only] && (only.Address & fit) == 0)
            {
                places[i] = only.Address | (target.KernelFunctions.IsTraceable(names[i], null) == true && !target.KernelFunctions.IsBlacklisted(names[i]) ? fit : 0);
            }
        }

        fixed (ulong* p = places)
        {
            var list = new ModuleTransport.List { Address = (ulong)p, Bytes = 8 * (ulong)places.Length };
            Call(ModuleTransport.SetPlaces, &list, "told its functions");
        }
    }

    private void Fill(ModuleTransport.StartRequest* request)
    {
        request->Target = (ulong)(_child?.Pid ?? _options.TargetPid);
        request->StapPid = (ulong)Environment.ProcessId;
        request->Uid = (ulong)SessionFacts.SessionUid;
        request->PidNamespace = (ulong)SessionFacts.Namespace("pid");
        request->UserNamespace = (ulong)SessionFacts.Namespace("user");
        request->ZoneOffset = -(long)TimeZoneInfo.Local.GetUtcOffset(DateTime.UtcNow).TotalSeconds;
        Encoding.ASCII.GetBytes(_options.TimeZoneName.AsSpan(0, Math.Min(15, _options.TimeZoneName.Length)), new Span<byte>(request->ZoneName, 15));
        request->SuppressErrors = _options.SuppressHandlerErrors ? 1u : 0;
    }

    /// <summary>A request that may take long, while the rings are drained. False: the module failed.</summary>
    private bool InThread(uint request, void* argument)
    {
        var (result, error) = (0, 0);
        var address = (nint)argument;
        var control = _control;
        var thread = new Thread(() =>
        {
            result = ModuleTransport.ioctl(control, request, (void*)address);
            error = Marshal.GetLastPInvokeError();
        });
        thread.Start();
        while (!thread.Join(1))
        {
            _rings!.Drain(this, final: false);
            Flush();
            if (_signals.Interrupts > 0)
            {
                _ = ModuleTransport.ioctl(_control, ModuleTransport.Exit, null);
            }
        }

        _rings!.Drain(this, final: false);
        Flush();
        return result == 0;
    }

    /// <summary>Streams until the session is to end; false: it is to go on without us (SIGQUIT).</summary>
    private bool Loop()
    {
        var end = _options.Timeout is { } timeout ? Environment.TickCount64 + (long)timeout.TotalMilliseconds : long.MaxValue;
        Span<Libc.PollFd> fds = stackalloc Libc.PollFd[3];
        var quiet = 0;
        while (true)
        {
            fds[0] = new Libc.PollFd { Fd = _control, Events = Libc.PollIn | 2 /* POLLPRI */ };
            fds[1] = new Libc.PollFd { Fd = _signals.Descriptor, Events = Libc.PollIn };
            fds[2] = new Libc.PollFd { Fd = _child?.Descriptor ?? -1, Events = Libc.PollIn };

            // The module wakes this loop when a ring fills or the session ends; what little is in the rings is fetched at leisure.
            var wait = quiet > 10 ? 50 : 5;
            Libc.Poll(fds, Math.Min(wait, Math.Max(0, end - Environment.TickCount64)) * 1_000_000);
            if (fds[1].Results != 0)
            {
                _signals.Acknowledge();
            }

            quiet = _rings!.Drain(this, final: false) > 0 ? 0 : quiet + 1;
            Flush();
            Reap();
            if (_signals.TakeRotation())
            {
                SwitchFiles();
            }

            if (_signals.TakeQuit())
            {
                return false;
            }

            if (_signals.Interrupts > 0 || IsBroken || Environment.TickCount64 >= end || _child?.HasEnded() == true || (fds[0].Results & 2) != 0)
            {
                return true;
            }
        }
    }

    private bool IsBroken => Array.Exists(_outputs, static o => o is { IsBroken: true });

    private void SwitchFiles()
    {
        foreach (var output in _outputs)
        {
            output?.SwitchFile();
        }
    }

    private int Leave()
    {
        uint on = 1;
        Call(ModuleTransport.Detach, &on, "detached");
        _unload = false;
        Console.Error.WriteLine($"Disconnecting from systemtap module.\nTo reconnect, type \"staprun -A {_name}\"");
        return 0;
    }

    private int Report(bool started)
    {
        ModuleTransport.Status status;
        Call(ModuleTransport.GetStatus, &status, "asked");
        long skipped = 0;
        for (var i = 0; i < ModuleTransport.SkipReasons.Length; i++)
        {
            skipped += status.Skipped[i];
        }

        if (status.Errors > 0 || skipped > 0)
        {
            Complain($"Number of errors: {status.Errors}, skipped probes: {skipped}");
        }

        for (var i = 0; i < ModuleTransport.SkipReasons.Length; i++)
        {
            if (status.Skipped[i] > 0)
            {
                Complain(ModuleTransport.SkipReasons[i] + status.Skipped[i].ToString(CultureInfo.InvariantCulture));
            }
        }

        if (status.Lost > 0)
        {
            Complain($"Lost output records because the buffer was full (raise it with -s): {status.Lost}");
        }

        if (status.Cuts > 0)
        {
            var first = Marshal.PtrToStringAnsi((nint)status.FirstCut);
            Complain($"Strings cut to MAXSTRINGLEN{(first is null or SourceSpan.Unwritten ? "" : $" (first at {first})")}: {status.Cuts}");
        }

        if (Array.Find(_outputs, static o => o is { Error: not (0 or 32 /* EPIPE: the reader has what it wanted */) }) is { } failed)
        {
            Complain($"Output could not be written: {Marshal.GetPInvokeErrorMessage(failed.Error)}");
        }

        // As SystemTap: an error that was printed shows in the exit status, even when MAXERRORS let the session go on.
        var result = started && status.Failed == 0 && (status.Errors == 0 || status.Suppressed != 0) ? 0 : 1;
        if (_child is { } child && child.HasEnded() && child.Complaint() is { } complaint)
        {
            Complain(complaint);
            result = 1;
        }

        // Commands of system() may still print: a moment for them.
        for (var i = 0; i < 200 && _systemPids.Count > 0; i++)
        {
            Reap();
            Thread.Sleep(5);
        }

        return result;
    }

    private void Call(uint request, void* argument, string what)
    {
        if (ModuleTransport.ioctl(_control, request, argument) != 0)
        {
            throw new ModuleException($"module '{_name}' cannot be {what}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    private void Complain(string text)
    {
        if (!_options.SuppressWarnings)
        {
            Tell(ErrorText.Warning(text));
        }
    }

    private void Tell(string line)
    {
        if (Background.HasLeft)
        {
            _outputs[0]!.Write(ByteText.ForTerminal(line + "\n"));
            return;
        }

        Flush();
        Libc.WriteAll(2, ByteText.ForTerminal(line + "\n"));
    }

    private void Reap()
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
}
