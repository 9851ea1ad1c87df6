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
public sealed unsafe partial class ModuleSession : IModuleRecords, IDisposable
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
    private readonly ulong _symbolBytes, _symbolFunctions, _globalBytes, _maxString;
    private ModuleTransport.Taken _taken;
    private bool _unload = true;

    private ModuleSession(string name, int control, SessionOptions options, bool attached)
    {
        (_name, _control, _options, _attached) = (name, control, options, attached);
        _symbols = new SymbolService(null);
        _marks = new MarkedText(_symbols);
        try
        {
            ModuleTransport.Info info;
            if (ModuleTransport.ioctl(control, ModuleTransport.GetInfo, &info) != 0 || info.Transport != ModuleTransport.Version)
            {
                throw new ModuleException($"module '{name}' was made by another version of stap", "use that version's staprun");
            }

            _rings = new ModuleRings(control, info);
            _maxBackTrace = (int)info.MaxBackTrace;
            if (info.UserStacks != 0)
            {
                _symbols.WatchMappings();
            }

            (_symbolBytes, _symbolFunctions, _globalBytes, _maxString) = (info.SymbolBytes, info.SymbolFunctions, info.GlobalBytes, info.MaxString);
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
        var session = new ModuleSession(module.Name, ModuleLoader.Load(module, options.RingBytes >> 10), options, attached: false);
        try
        {
            session.SetGlobals();
            return session;
        }
        catch
        {
            session.Dispose();
            throw;
        }
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
            FindSymbols();
            started = InThread(ModuleTransport.Start, &request);
        }
        else
        {
            // From now on our death ends the session, as it does for one that was never left.
            Detach(false);
            TakeRings();
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

    /// <summary>Writes what a session that runs without a staprun has kept, and leaves it running (<c>-O</c>).</summary>
    public int WriteUnread()
    {
        _unload = false;
        TakeRings();
        _rings!.Drain(this, final: false, end: _rings.Settled);
        Flush();
        TellLost(_taken.Lost);
        return 0;
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
                ModuleLoader.Unload(_name);
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
    /// Where the variables are that the module watches; and where the functions are that it probes, when they are many, and which of them ftrace can patch: the kernel needs milliseconds to find that out for each, and before Linux 6.2 goes through all its symbols
    /// for each name. What is not found, or not only once, is left to the kernel.
    /// </summary>
    private void FindSymbols()
    {
        if (_symbolBytes == 0)
        {
            return;
        }

        var names = Encoding.ASCII.GetString(GetList(ModuleTransport.GetNames, _symbolBytes, "asked for its symbols")).Split('\0')[..^1];
        var target = Target.Live();
        var symbols = target.KernelSymbols;
        var places = new ulong[names.Length];
        for (var i = 0; i < names.Length && !symbols.AddressesHidden; i++)
        {
            const ulong fit = 1, several = 2;
            if ((ulong)i >= _symbolFunctions)
            {
                places[i] = symbols.Find(names[i])?.Address ?? 0;
            }
            else if (symbols.FindAll(names[i]) is var found && found.Count > 1)
            {
                places[i] = several;
            }
            else if (found is [{ Type: 't' or 'T' or 'w' or 'W', Module: null } only] && (only.Address & (fit | several)) == 0)
            {
                places[i] = only.Address | (target.KernelFunctions.IsTraceable(names[i], null) == true && !target.KernelFunctions.IsBlacklisted(names[i]) ? fit : 0);
            }
        }

        fixed (ulong* p = places)
        {
            var list = new ModuleTransport.List { Address = (ulong)p, Bytes = 8 * (ulong)places.Length };
            Call(ModuleTransport.SetPlaces, &list, "told its symbols");
        }
    }

    private byte[] GetList(uint request, ulong bytes, string what)
    {
        var text = new byte[bytes];
        fixed (byte* p = text)
        {
            var list = new ModuleTransport.List { Address = (ulong)p, Bytes = bytes };
            if (bytes > 0)
            {
                Call(request, &list, what);
            }
        }

        return text;
    }

    private void SetGlobals()
    {
        if (_options.GlobalValues.Count == 0)
        {
            return;
        }

        var list = GetList(ModuleTransport.GetGlobals, _globalBytes, "asked for its globals");
        foreach (var (global, number, text) in GlobalSettings.Check(_name, list, _maxString, _options.GlobalValues))
        {
            fixed (byte* p = text)
            {
                var setting = new ModuleTransport.Setting { Global = (ulong)global, Number = number, Text = (ulong)p, TextBytes = (ulong)text.Length };
                Call(ModuleTransport.SetGlobal, &setting, "given its globals' values");
            }
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
            var wait = _options.LongestDelay > 0 ? _options.LongestDelay : quiet > 10 ? 50 : 5;
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
        Detach(true);
        _unload = false;
        Console.Error.WriteLine($"Disconnecting from systemtap module.\nTo reconnect, type \"staprun -A {_name}\"");
        return 0;
    }

    // Until now the newest output replaced the oldest; from now on full rings lose what is new, so they are read at once.
    private void TakeRings()
    {
        fixed (ModuleTransport.Taken* taken = &_taken)
        {
            Call(ModuleTransport.Take, taken, "read");
        }

        _rings!.Settled = _taken.Settled;
    }

    private void Detach(bool leave)
    {
        var on = leave ? 1u : 0;
        Call(ModuleTransport.Detach, &on, "detached");
    }
}
