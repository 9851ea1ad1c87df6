using System.Runtime.InteropServices;
using System.Text;
using SystemTap.Language.Text;
using SystemTap.Runtime.Host;
using SystemTap.Runtime.Native;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Sessions;

// procfs probes of a BPF session: FIFOs in /var/tmp/systemtap-USER/MODULE/ (or $SYSTEMTAP_DIR/MODULE/).
//
// A file with write probes only is held open for reading, and the handlers run with what was written. A file with a read probe has no reader until
// someone opens it, and nothing tells that but trying to open it for writing; so it is tried every 20 ms. After an answer the FIFO is made anew under
// the same name: the old reader sees the end of its text, and a new one cannot be mistaken for it.
//
// A file with both must not be held open: our own end would look like a reader, which would be answered, and the answer be taken for something
// written. So after readers writers are looked for too: an open for reading lets a waiting writer go on; when there is none (a read says end of file), it is
// closed at once, else when the writer has closed. (A writer that comes in the microsecond between would find its reader gone.)
//
// "__stdin" is stap's own standard input, one byte per handler run.

/// <summary>Serves the procfs and input probes of a session.</summary>
internal sealed class ProcfsFiles : IDisposable
{
    private sealed class Entry(string path)
    {
        /// <summary>Empty for standard input.</summary>
        public string Path { get; } = path;

        public Probe? Reader { get; set; }

        public List<Probe> Writers { get; } = [];

        /// <summary>What was written comes from here; −1 while nothing can.</summary>
        public int Fd { get; set; } = -1;

        public bool IsStandardInput => Path.Length == 0;

        /// <summary>Bits that the probes' umasks take away.</summary>
        public uint Umask { get; set; }
    }

    private const string StandardInput = "__stdin";
    private readonly string _folder;
    private readonly List<Entry> _entries = [];
    private readonly List<string> _folders = [];

    private ProcfsFiles(string folder) => _folder = folder;

    /// <summary>True when readers must be looked for from time to time.</summary>
    public bool NeedsPolling => _entries.Exists(e => e.Reader is not null);

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

        files?.Open();
        return files;
    }

    /// <summary>Descriptors to wait for; returns how many.</summary>
    public int Watch(Span<Libc.PollFd> fds)
    {
        var count = 0;
        foreach (var entry in _entries)
        {
            if (entry.Fd >= 0 && count < fds.Length)
            {
                fds[count++] = new Libc.PollFd { Fd = entry.Fd, Events = Libc.PollIn };
            }
        }

        return count;
    }

    /// <summary>Answers readers and hands over what was written.</summary>
    public void Serve(HostEvaluator evaluator, Action<Probe, string> run)
    {
        foreach (var entry in _entries)
        {
            if (entry.Fd >= 0)
            {
                TakeWritten(entry, run);
            }
            else if (entry.Reader is not null && !Answer(entry, evaluator, run) && entry.Writers.Count > 0)
            {
                entry.Fd = Libc.open(entry.Path, Libc.OpenNonBlock | Libc.OpenCloseOnExec, 0);
                TakeWritten(entry, run);
            }
        }
    }

    public void Dispose()
    {
        foreach (var entry in _entries)
        {
            if (entry.Fd > 0)
            {
                Libc.close(entry.Fd);
            }

            if (!entry.IsStandardInput)
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

        _entries.Clear();
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
        var path = spec.Path == StandardInput ? "" : Path.Combine(_folder, ByteText.ToText(spec.Path));
        var entry = _entries.Find(e => e.Path == path);
        if (entry is null)
        {
            _entries.Add(entry = new Entry(path));
        }

        entry.Umask |= (uint)spec.Umask;
        if (spec.IsWrite)
        {
            entry.Writers.Add(probe);
        }
        else if (!entry.IsStandardInput)
        {
            entry.Reader ??= probe;
        }
    }

    private void Open()
    {
        foreach (var entry in _entries)
        {
            if (entry.IsStandardInput)
            {
                entry.Fd = entry.Writers.Count > 0 ? 0 : -1;
                continue;
            }

            MakeFolder(Path.GetDirectoryName(entry.Path)!);
            MakeFifo(entry);
            if (entry.Reader is not null)
            {
                continue;
            }

            // Read-write, so that the end of one writer is not the end of the file.
            entry.Fd = Libc.open(entry.Path, Libc.OpenReadWrite | Libc.OpenNonBlock | Libc.OpenCloseOnExec, 0);
            if (entry.Fd < 0)
            {
                throw new IOException($"procfs file \"{entry.Path}\" cannot be opened: {Marshal.GetLastPInvokeErrorMessage()}");
            }
        }
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

    /// <summary>Puts a new FIFO in the place of an old one, so that the name is always there.</summary>
    private static void MakeFifo(Entry entry)
    {
        var made = entry.Path + ".new";
        File.Delete(made);
        if (Libc.mkfifo(made, 0x180 /* 0600 */ & ~entry.Umask) != 0)
        {
            throw new IOException($"procfs file \"{entry.Path}\" cannot be made: {Marshal.GetLastPInvokeErrorMessage()}");
        }

        File.Move(made, entry.Path, overwrite: true);
    }

    /// <summary>Runs the write probes with what is there; at the end of what a writer or standard input gives, closes.</summary>
    private static unsafe void TakeWritten(Entry entry, Action<Probe, string> run)
    {
        if (entry.IsStandardInput)
        {
            Libc.PollFd ready = new() { Fd = entry.Fd, Events = Libc.PollIn };
            if (Libc.Poll(new Span<Libc.PollFd>(ref ready), 0) == 0)
            {
                return;
            }
        }

        var buffer = stackalloc byte[4096];
        var most = 4096L;
        foreach (var probe in entry.Writers)
        {
            most = ((ProcfsSpec)probe.Spec).MaxSize is > 0 and var size ? Math.Min(size, most) : most;
        }

        var n = Libc.read(entry.Fd, buffer, (nuint)most);
        if (n == 0)
        {
            if (!entry.IsStandardInput)
            {
                Libc.close(entry.Fd);
            }

            entry.Fd = -1;
        }

        if (n <= 0)
        {
            return;
        }

        var text = Encoding.Latin1.GetString(buffer, (int)n);
        if (!entry.IsStandardInput)
        {
            entry.Writers.ForEach(probe => run(probe, text));
            return;
        }

        foreach (var c in text)
        {
            entry.Writers.ForEach(probe => run(probe, c.ToString()));
        }
    }

    /// <summary>Gives a waiting reader what the read probe says; false when nobody waits.</summary>
    private static bool Answer(Entry entry, HostEvaluator evaluator, Action<Probe, string> run)
    {
        var fd = Libc.open(entry.Path, Libc.OpenWriteOnly | Libc.OpenNonBlock | Libc.OpenCloseOnExec, 0);
        if (fd < 0)
        {
            return false;
        }

        run(entry.Reader!, "");
        var text = ((ProcfsSpec)entry.Reader!.Spec).Value is { } local ? evaluator.TextOf(local) : "";
        Libc.WriteAll(fd, Encoding.Latin1.GetBytes(text));
        MakeFifo(entry);
        Libc.close(fd);
        return true;
    }
}
