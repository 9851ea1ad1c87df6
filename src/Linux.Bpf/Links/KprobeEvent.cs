using System.Globalization;
using System.Text;

namespace Linux.Bpf;

/// <summary>
/// Kprobes that tracefs knows by name (<c>kprobe_events</c>): the kernel registers them anew whenever their module is loaded, before its first instruction runs, and takes them down with it. They may
/// be made before the module is there. Unlike everything else here they outlive a process that is killed; the next one that makes some removes them (<see cref="Open"/>).
/// </summary>
public sealed class KprobeEvents : IDisposable
{
    private const string GroupStart = "stap_";
    private readonly string _root, _group;
    private readonly IBpfSys _sys;
    private readonly List<string> _made = [];

    private KprobeEvents(string root, IBpfSys sys)
    {
        _root = root;
        _sys = sys;
        _group = string.Create(CultureInfo.InvariantCulture, $"{GroupStart}{Environment.ProcessId}");
    }

    /// <summary>The events of this process, of which there are none yet; those that dead ones left behind are removed.</summary>
    /// <param name="root">Where tracefs is; it must stay there until this object is disposed.</param>
    /// <param name="sys">The kernel.</param>
    public static KprobeEvents Open(string root, IBpfSys? sys = null)
    {
        var events = new KprobeEvents(root, sys ?? LinuxBpfSys.Instance);
        foreach (string line in (events._sys.ReadText(root + "/kprobe_events") ?? "").Split('\n'))
        {
            // p:GROUP/NAME PLACE
            int colon = line.IndexOf(':'), slash = line.IndexOf('/'), space = line.IndexOf(' ');
            if (colon > 0 && slash > colon && space > slash && line.AsSpan(colon + 1).StartsWith(GroupStart)
                && int.TryParse(line.AsSpan(colon + 1 + GroupStart.Length, slash - colon - 1 - GroupStart.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int pid)
                && (pid == Environment.ProcessId || !Directory.Exists(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}"))))
                events.Write("-:" + line[(colon + 1)..space]);
        }
        return events;
    }

    /// <summary>Makes an event and lets a program run at it.</summary>
    /// <param name="program">A <see cref="ProgramType.KProbe"/> program.</param>
    /// <param name="module">The module, loaded or not.</param>
    /// <param name="function">One of its functions.</param>
    /// <param name="offset">Bytes into the function; 0 for returns.</param>
    /// <param name="atReturn">Run when the function returns.</param>
    /// <param name="cookie">What bpf_get_attach_cookie gives.</param>
    /// <exception cref="BpfException">The module is loaded and has no such place, or the kernel allows no probe there.</exception>
    public BpfLink Attach(BpfProgram program, string module, string function, ulong offset, bool atReturn, ulong cookie)
    {
        string place = string.Create(CultureInfo.InvariantCulture, $"{module}:{function}{(offset == 0 ? "" : "+" + offset)}");
        string name = string.Create(CultureInfo.InvariantCulture, $"p{_made.Count}");
        if (Write($"{(atReturn ? 'r' : 'p')}:{_group}/{name} {place}") is var error && error != 0)
            throw new BpfException($"kprobe event \"{place}\"", "make", error);
        _made.Add(name);
        if (!ulong.TryParse((_sys.ReadText($"{_root}/events/{_group}/{name}/id") ?? "").AsSpan().Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out ulong id))
            throw new BpfException($"kprobe event \"{place}\"", "find", Errno.ENOENT);
        PerfEvent e = PerfEvent.Open(new PerfEventSpec { Name = $"kprobe {place}", Type = PerfType.Tracepoint, Config = id, Period = 1, Cpu = 0 }, _sys);
        return ProbePmu.AttachOwned(e, program, cookie);
    }

    /// <summary>Removes the events; what was attached to them must be disposed before.</summary>
    public void Dispose()
    {
        foreach (string name in _made)
            Write($"-:{_group}/{name}");
        _made.Clear();
    }

    /// <summary>Gives a command to the kernel; yields 0 or an errno.</summary>
    private int Write(string command)
    {
        try
        {
            // Neither truncated, which would remove all events, nor locked.
            using var file = File.OpenHandle(_root + "/kprobe_events", FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete);
            RandomAccess.Write(file, Encoding.UTF8.GetBytes(command + "\n"), 0);
            return 0;
        }
        catch (UnauthorizedAccessException)
        {
            return Errno.EACCES;
        }
        catch (IOException e)
        {
            return e is FileNotFoundException or DirectoryNotFoundException ? Errno.ENOENT : Math.Max(1, e.HResult);
        }
    }
}
