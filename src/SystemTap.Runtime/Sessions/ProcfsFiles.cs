using System.Runtime.InteropServices;
using System.Text;
using SystemTap.Runtime.Host;
using SystemTap.Runtime.Native;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Sessions;

// procfs probes of a BPF session: FIFOs in /var/tmp/systemtap-USER/MODULE/ (or $SYSTEMTAP_DIR/MODULE/). A write probe's FIFO is held open for reading
// and its handler runs with what was written. A read probe's FIFO has no reader until someone opens it, and nothing tells that but trying to open it
// for writing; so it is tried every 20 ms. After an answer the FIFO is made anew under the same name: the old reader sees the end of its text, and a
// new one cannot be mistaken for it. "__stdin" is stap's own standard input, one byte per handler run.

/// <summary>Serves the procfs and input probes of a session.</summary>
internal sealed class ProcfsFiles : IDisposable
{
    private sealed class Entry
    {
        public required Probe Probe { get; init; }

        public required ProcfsSpec Spec { get; init; }

        public required string Path { get; init; }

        public int Fd { get; set; } = -1;
    }

    private const string StandardInput = "__stdin";
    private readonly string _folder;
    private readonly List<Entry> _readers = [];
    private readonly List<Entry> _writers = [];
    private readonly List<string> _folders = [];

    private ProcfsFiles(string folder) => _folder = folder;

    /// <summary>True when readers must be looked for from time to time.</summary>
    public bool NeedsPolling => _readers.Count > 0;

    /// <summary>Creates the files of a session's procfs probes; null when there are none.</summary>
    /// <exception cref="IOException">A file cannot be made.</exception>
    public static ProcfsFiles? Create(IReadOnlyList<Probe> probes, string module)
    {
        ProcfsFiles? files = null;
        foreach (var probe in probes)
        {
            if (probe.Spec is ProcfsSpec spec)
            {
                files ??= new ProcfsFiles(Folder(module));
                files.Add(probe, spec);
            }
        }

        return files;
    }

    /// <summary>Descriptors to wait for; returns how many.</summary>
    public int Watch(Span<Libc.PollFd> fds)
    {
        var count = 0;
        foreach (var entry in _writers)
        {
            if (entry.Fd >= 0 && count < fds.Length)
            {
                fds[count++] = new Libc.PollFd { Fd = entry.Fd, Events = Libc.PollIn };
            }
        }

        return count;
    }

    /// <summary>Answers readers and hands over what was written.</summary>
    public void Serve(Session session, HostEvaluator evaluator, Action<Probe, string> run)
    {
        foreach (var entry in _writers)
        {
            TakeWritten(entry, run);
        }

        foreach (var entry in _readers)
        {
            Answer(entry, evaluator, run);
        }
    }

    public void Dispose()
    {
        foreach (var entry in _writers)
        {
            if (entry.Fd > 0)
            {
                Libc.close(entry.Fd);
            }
        }

        foreach (var entry in (Entry[])[.. _readers, .. _writers])
        {
            if (entry.Path.Length > 0)
            {
                // Somebody may be waiting in open() for our end; with the name gone it would wait for ever. Opening both ends lets it go on, and closing
                // them is its end of file.
                var both = Libc.open(entry.Path, Libc.OpenReadWrite | Libc.OpenNonBlock | Libc.OpenCloseOnExec, 0);
                File.Delete(entry.Path);
                if (both >= 0)
                {
                    Libc.close(both);
                }
            }
        }

        _readers.Clear();
        _writers.Clear();
        for (var i = _folders.Count - 1; i >= 0; i--)
        {
            if (Directory.Exists(_folders[i]) && !Directory.EnumerateFileSystemEntries(_folders[i]).Any())
            {
                Directory.Delete(_folders[i]);
            }
        }

        _folders.Clear();
    }

    private static string Folder(string module)
    {
        var root = Environment.GetEnvironmentVariable("SYSTEMTAP_DIR");
        return string.IsNullOrEmpty(root)
            ? $"/var/tmp/systemtap-{Environment.UserName}/{module}"
            : Path.Combine(root, module);
    }

    private void Add(Probe probe, ProcfsSpec spec)
    {
        if (spec.Path == StandardInput)
        {
            if (spec.IsWrite)
            {
                _writers.Add(new Entry { Probe = probe, Spec = spec, Path = "", Fd = 0 });
            }

            return;
        }

        var path = Path.Combine(_folder, spec.Path);
        MakeFolder(Path.GetDirectoryName(path)!);
        MakeFifo(path, spec);
        var entry = new Entry { Probe = probe, Spec = spec, Path = path };
        if (!spec.IsWrite)
        {
            _readers.Add(entry);
            return;
        }

        // Read-write, so that the end of one writer is not the end of the file.
        entry.Fd = Libc.open(path, Libc.OpenReadWrite | Libc.OpenNonBlock | Libc.OpenCloseOnExec, 0);
        if (entry.Fd < 0)
        {
            throw new IOException($"procfs file \"{path}\" cannot be opened: {Marshal.GetLastPInvokeErrorMessage()}");
        }

        _writers.Add(entry);
    }

    private void MakeFolder(string folder)
    {
        if (Directory.Exists(folder))
        {
            return;
        }

        if (Path.GetDirectoryName(folder) is { } parent)
        {
            MakeFolder(parent);
        }

        // Only this user may enter: the handlers act with stap's rights.
        if (Libc.mkdir(folder, 0x1c0) != 0)
        {
            throw new IOException($"folder \"{folder}\" for procfs files cannot be made: {Marshal.GetLastPInvokeErrorMessage()}");
        }

        _folders.Add(folder);
    }

    private static void MakeFifo(string path, ProcfsSpec spec)
    {
        File.Delete(path);
        var mode = (spec.IsWrite ? 0x80u : 0x100u) | 0x80u | 0x100u;
        if (Libc.mkfifo(path, mode & ~(uint)spec.Umask) != 0)
        {
            throw new IOException($"procfs file \"{path}\" cannot be made: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    private static unsafe void TakeWritten(Entry entry, Action<Probe, string> run)
    {
        if (entry.Fd < 0)
        {
            return;
        }

        Libc.PollFd ready = new() { Fd = entry.Fd, Events = Libc.PollIn };
        if (Libc.Poll(new Span<Libc.PollFd>(ref ready), 0) == 0)
        {
            return;
        }

        var buffer = stackalloc byte[4096];
        var most = entry.Spec.MaxSize is > 0 and < 4096 ? entry.Spec.MaxSize : 4096;
        var n = Libc.read(entry.Fd, buffer, (nuint)most);
        if (n <= 0)
        {
            if (entry.Path.Length == 0)
            {
                // End of standard input: there will be no more.
                entry.Fd = -1;
            }

            return;
        }

        var text = Encoding.Latin1.GetString(buffer, (int)n);
        if (entry.Path.Length > 0)
        {
            run(entry.Probe, text);
            return;
        }

        foreach (var c in text)
        {
            run(entry.Probe, c.ToString());
        }
    }

    private static void Answer(Entry entry, HostEvaluator evaluator, Action<Probe, string> run)
    {
        var fd = Libc.open(entry.Path, Libc.OpenWriteOnly | Libc.OpenNonBlock | Libc.OpenCloseOnExec, 0);
        if (fd < 0)
        {
            return;
        }

        run(entry.Probe, "");
        var text = entry.Spec.Value is { } local ? evaluator.TextOf(local) : "";
        Libc.WriteAll(fd, Encoding.Latin1.GetBytes(text));
        MakeFifo(entry.Path, entry.Spec);
        Libc.close(fd);
    }
}
