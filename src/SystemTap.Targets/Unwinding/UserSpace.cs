using System.Globalization;
using System.Runtime.InteropServices;

namespace SystemTap.Targets;

/// <summary>A symbol of a process.</summary>
/// <param name="Symbol">Null when the file has none there.</param>
/// <param name="Offset">From the symbol, or from the beginning of the file's address range without one.</param>
/// <param name="File">Path of the mapped file.</param>
public readonly record struct UserSymbol(ImageSymbol? Symbol, ulong Offset, string File);

// Which file is mapped where in which process, now or when it still ran. Two sources: /proc/PID/maps, read when a process is first asked for, and the
// kernel's own announcements of mappings, forks and execs (perf's MMAP2 and others), which a session feeds in, so that processes that live for
// milliseconds are known too. Only executable mappings count.
//
// A path means what it means to its process. Of one in another mount namespace nothing can be opened once it has ended, so its files are opened when their mapping is
// announced, and files are remembered by device and inode: the next process of the same container finds them, and so do the programs that the session itself
// has opened to probe them.

/// <summary>Code mappings of processes, and what lies in them. Used from one thread.</summary>
public sealed class UserSpace
{
    /// <summary>Processes remembered after their end.</summary>
    private const int MostEnded = 512;

    private sealed record Mapping(ulong Start, ulong End, ulong Offset, string Path, FileId Id)
    {
        public LoadedFile? Loaded { get; set; }
        public bool Tried { get; set; }
    }

    private sealed class Space
    {
        public List<Mapping> Mappings { get; set; } = []; // by start

        /// <summary>Of the program that it was before its exec: an event from then may be looked at only now.</summary>
        public List<Mapping> Before { get; set; } = [];
        public bool Ended { get; set; }
        public bool? HasOurRoot { get; set; }
    }

    private readonly string _proc;
    private readonly Dictionary<FileId, UserImage> _known = [];
    private readonly Dictionary<int, Space> _spaces = [];
    private readonly Queue<int> _ended = [];
    private readonly Dictionary<string, UserImage> _images = new(StringComparer.Ordinal);
    private readonly Unwinder _unwinder;
    private Unwinder? _compat;
    private readonly SignalReturn? _signalReturn;
    private UserImage? _vdso;

    /// <param name="architecture">Of the machine.</param>
    /// <param name="proc">Where /proc is.</param>
    public UserSpace(Architecture architecture, string proc = "/proc")
    {
        _proc = proc;
        _unwinder = new Unwinder(architecture);
        _signalReturn = architecture.SignalReturn;
    }

    /// <summary>A file that is open already: it is used for every mapping of it.</summary>
    public void Know(UserFile file)
    {
        if (Native.IdOf(file.Path) is { } id)
            _known.TryAdd(id, UserImage.Of(file));
    }

    /// <summary>Reads the mappings of processes that already run one of the known files: one that ends right after its event could not be asked any more.</summary>
    public void KnowRunning()
    {
        foreach (var folder in Directory.EnumerateDirectories(_proc))
        {
            if (!int.TryParse(Path.GetFileName(folder), CultureInfo.InvariantCulture, out var pid) || Native.IdOf(folder + "/exe") is not { } id || !_known.ContainsKey(id))
                continue;
            var space = Of(pid);
            if ((space.HasOurRoot ??= HasOurRoot(pid)) == false)
                foreach (var mapping in space.Mappings)
                    Load(pid, mapping);
        }
    }

    /// <summary>A process mapped a file executable.</summary>
    public void Map(int pid, ulong start, ulong length, ulong offset, string path, FileId id = default)
    {
        if (!_spaces.TryGetValue(pid, out var space))
        {
            // What came before this mapping is in maps, if the process still lives; a fresh exec begins here otherwise.
            space = Of(pid);
        }

        space.Ended = false;
        var mapping = new Mapping(start, start + length, offset, path, id);
        Add(space, mapping);
        if ((space.HasOurRoot ??= HasOurRoot(pid)) == false)
            Load(pid, mapping);
    }

    /// <summary>A process became another program: its mappings are those of before, the program's are announced next.</summary>
    public void Exec(int pid)
    {
        if (_spaces.TryGetValue(pid, out var space))
        {
            if (space.Mappings.Count > 0)
            {
                space.Before = space.Mappings;
                space.Mappings = [];
            }

            space.Ended = false;
            space.HasOurRoot = null;
        }
        else
        {
            _spaces[pid] = new Space();
        }
    }

    /// <summary>A process has a child with the same mappings.</summary>
    public void Fork(int parent, int child)
    {
        if (parent == child)
            return;
        var copy = new Space();
        copy.Mappings.AddRange(Of(parent).Mappings);
        _spaces[child] = copy;
    }

    /// <summary>A process ended; it is remembered for a while.</summary>
    public void End(int pid)
    {
        if (!_spaces.TryGetValue(pid, out var space) || space.Ended)
            return;
        space.Ended = true;
        _ended.Enqueue(pid);
        while (_ended.Count > MostEnded)
            if (_ended.Dequeue() is var old && _spaces.TryGetValue(old, out var gone) && gone.Ended)
                _spaces.Remove(old);
    }

    /// <summary>The file mapped at an address; null when nothing known is.</summary>
    public LoadedFile? Find(int pid, ulong address) => MappingAt(pid, address) is { } mapping ? Load(pid, mapping) : null;

    /// <summary>Path of what is mapped executable at an address; null when nothing is.</summary>
    public string? Module(int pid, ulong address) => MappingAt(pid, address) is { Path.Length: > 0 } mapping ? mapping.Path : null;

    /// <summary>The symbol at an address, or only its file; null when nothing known is mapped there.</summary>
    public UserSymbol? Symbol(int pid, ulong address)
    {
        if (MappingAt(pid, address) is not { Path.Length: > 0 } mapping)
            return null;
        if (Load(pid, mapping) is not { } loaded)
            return new UserSymbol(null, address - mapping.Start + mapping.Offset, mapping.Path);
        var inFile = address - loaded.Bias;
        return loaded.File.Find(inFile) is { } symbol ? new UserSymbol(symbol, inFile - symbol.Address, mapping.Path) : new UserSymbol(null, inFile, mapping.Path);
    }

    /// <summary>The source file and line of an address; null when the file mapped there has no debug information for it.</summary>
    public (string File, int Line)? Line(int pid, ulong address) => Find(pid, address) is { } loaded ? loaded.File.LineAt(address - loaded.Bias) : null;

    /// <summary>The calls around an address that the compiler replaced by copies, innermost first.</summary>
    /// <param name="pid">The process.</param>
    /// <param name="address">In its memory.</param>
    /// <param name="inFile">The same address in the file.</param>
    public IReadOnlyList<DwarfInlinedCall> Inlined(int pid, ulong address, out ulong inFile)
    {
        inFile = 0;
        if (Find(pid, address) is not { } loaded)
            return [];
        inFile = address - loaded.Bias;
        return loaded.File.InlinedAt(inFile);
    }

    /// <summary>An address lies in the code that ends a signal's handler: what is above it on the stack was interrupted, at any instruction, and called nothing.</summary>
    /// <param name="pid">The process.</param>
    /// <param name="address">As the stack has it.</param>
    /// <param name="lookedUp">Of a caller, one before.</param>
    public bool IsSignalFrame(int pid, ulong address, ulong lookedUp) => Find(pid, address) is { } loaded
        && (loaded.File.Frames.Find(lookedUp - loaded.Bias) is ({ IsSignalFrame: true }, _) || _signalReturn is { } signal && loaded.File.HasCode(address - loaded.Bias, signal.Code));

    /// <summary>The stack of a process from its registers and a copy of its memory.</summary>
    /// <param name="architecture">Of the process.</param>
    /// <param name="pid">Its number.</param>
    /// <param name="pc">Where it is.</param>
    /// <param name="registers">By DWARF number; changed.</param>
    /// <param name="read">Its stack: words of the architecture's size.</param>
    /// <param name="most">Most addresses.</param>
    public List<ulong> Unwind(Architecture architecture, int pid, ulong pc, Span<ulong> registers, ReadWord read, int most) =>
        (architecture.PointerSize == 8 ? _unwinder : _compat ??= new Unwinder(architecture)).Walk(pc, registers, address => Find(pid, address), read, most);

    private Mapping? MappingAt(int pid, ulong address)
    {
        var space = Of(pid);
        return MappingAt(space.Mappings, address) ?? MappingAt(space.Before, address);
    }

    private static Mapping? MappingAt(List<Mapping> list, ulong address)
    {
        var low = Sorted.CountUpTo<Mapping>(CollectionsMarshal.AsSpan(list), address, static mapping => mapping.Start);
        return low > 0 && address < list[low - 1].End ? list[low - 1] : null;
    }

    private Space Of(int pid)
    {
        if (!_spaces.TryGetValue(pid, out var space))
        {
            _spaces[pid] = space = new Space();
            Read(pid, space);
        }

        return space;
    }

    private static void Add(Space space, Mapping mapping)
    {
        var list = space.Mappings;
        list.RemoveAll(m => m.Start < mapping.End && mapping.Start < m.End);
        var at = list.FindIndex(m => m.Start > mapping.Start);
        list.Insert(at < 0 ? list.Count : at, mapping);
    }

    private void Read(int pid, Space space)
    {
        try
        {
            foreach (var line in File.ReadLines($"{_proc}/{pid}/maps"))
                if (Parse(line) is { } mapping)
                    space.Mappings.Add(mapping);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It ended before it was seen: its addresses stay numbers.
        }
    }

    /// <summary>"START-END rwxp OFFSET MAJ:MIN INODE PATH": executable ones only.</summary>
    private static Mapping? Parse(string line)
    {
        var text = line.AsSpan();
        var space = text.IndexOf(' ');
        var dash = text.IndexOf('-');
        if (dash < 0 || space < dash || text.Length < space + 6 || text[space + 3] != 'x')
            return null;
        var rest = text[(space + 6)..];
        var after = rest.IndexOf(' ');
        FileId id = default;
        if (after < 0 || !ulong.TryParse(text[..dash], NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var start)
            || !ulong.TryParse(text[(dash + 1)..space], NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var end)
            || !ulong.TryParse(rest[..after], NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var offset))
            return null;
        rest = rest[(after + 1)..].TrimStart();
        for (var i = 0; i < 2; i++) // device, inode
        {
            var next = rest.IndexOf(' ');
            var field = next < 0 ? rest : rest[..next];
            if (i == 1)
                id = ulong.TryParse(field, CultureInfo.InvariantCulture, out var inode) ? id with { Inode = inode } : default;
            else if (field.IndexOf(':') is > 0 and var colon && uint.TryParse(field[..colon], NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var major)
                && uint.TryParse(field[(colon + 1)..], NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var minor))
                id = new FileId(major, minor, 0);
            rest = next < 0 ? default : rest[(next + 1)..].TrimStart();
        }
        return new Mapping(start, end, offset, rest.ToString(), id);
    }

    private LoadedFile? Load(int pid, Mapping mapping)
    {
        if (mapping.Tried)
            return mapping.Loaded;
        mapping.Tried = true;
        if (mapping.Path == "[vdso]")
        {
            if ((_vdso ??= ReadVdso()) is { IsKnown: true } vdso)
                mapping.Loaded = new LoadedFile(vdso, mapping.Start - mapping.Offset);
            return mapping.Loaded;
        }
        if (!mapping.Path.StartsWith('/') || mapping.Path.StartsWith("//", StringComparison.Ordinal))
            return null;
        var image = Image(pid, mapping);
        if (image.CodeAddress(mapping.Offset) is { } address)
            mapping.Loaded = new LoadedFile(image, mapping.Start - address);
        return mapping.Loaded;
    }

    private UserImage Image(int pid, Mapping mapping)
    {
        if (mapping.Id.Inode != 0 && _known.TryGetValue(mapping.Id, out var known))
            return known;
        var image = Search(pid, mapping);
        if (mapping.Id.Inode != 0 && image.IsKnown)
            _known[mapping.Id] = image;
        return image;
    }

    private UserImage Search(int pid, Mapping mapping)
    {
        var isDeleted = mapping.Path.EndsWith(" (deleted)", StringComparison.Ordinal);
        var shown = isDeleted ? mapping.Path[..^10] : mapping.Path;

        // A process in another mount namespace may mean another file by that path: its own root tells. The kernel's link works for deleted files too. But both
        // are gone with the process, which may end at any moment (and debug information is opened later): so the path itself where it means the same.
        var exact = string.Create(CultureInfo.InvariantCulture, $"{_proc}/{pid}/map_files/{mapping.Start:x}-{mapping.End:x}");
        var inRoot = $"{_proc}/{pid}/root{shown}";
        var open = !isDeleted && HasOurRoot(pid) ? shown : !isDeleted && File.Exists(inRoot) ? inRoot : File.Exists(exact) ? exact : shown;
        var key = open == shown ? shown : Identity(open) + shown;
        if (_images.TryGetValue(key, out var image))
            return image;

        // Of a process that is gone it is not known whether the path meant this file: on the same device another inode is another file.
        if (open == shown && mapping.Id.Inode != 0 && Native.IdOf(shown) is { } found && found != mapping.Id && (found with { Inode = mapping.Id.Inode }) == mapping.Id)
            return File.Exists(exact) ? UserImage.Open(shown, exact) : UserImage.None(shown);
        image = UserImage.Open(shown, open);
        if (!image.IsKnown && open != shown)
            return UserImage.Open(shown, shown);
        return _images[key] = image;
    }

    /// <summary>True if paths of the process are ours; also when it has ended, since nothing better is known then.</summary>
    private bool HasOurRoot(int pid)
    {
        try
        {
            var process = Path.Combine(_proc, pid.ToString(CultureInfo.InvariantCulture));
            return new FileInfo(process + "/ns/mnt").LinkTarget is not { } space
                || (space == new FileInfo(_proc + "/self/ns/mnt").LinkTarget && new FileInfo(process + "/root").LinkTarget is null or "/");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return true;
        }
    }

    private static string Identity(string path)
    {
        try
        {
            var info = new FileInfo(path);
            return string.Create(CultureInfo.InvariantCulture, $"{info.Length}:{info.LastWriteTimeUtc.Ticks}:");
        }
        catch (IOException)
        {
            return "";
        }
    }

    /// <summary>The vDSO is the same in every process: this one's is read.</summary>
    private static UserImage? ReadVdso()
    {
        try
        {
            foreach (var line in File.ReadLines("/proc/self/maps"))
            {
                if (!line.EndsWith("[vdso]", StringComparison.Ordinal) || Parse(line) is not { } mapping)
                    continue;
                var bytes = new byte[mapping.End - mapping.Start];
                using var memory = File.OpenHandle("/proc/self/mem");
                return RandomAccess.Read(memory, bytes, (long)mapping.Start) == bytes.Length ? UserImage.Parse("[vdso]", bytes) : null;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            // Its addresses stay numbers.
        }
        return null;
    }
}
