namespace SystemTap.Targets;

/// <summary>A program or library, or the file of the kernel or a module, that scripts probe: its ELF file, and, when asked, its debug information and symbols. One for each path and session.</summary>
public sealed class UserFile
{
    private readonly Lazy<DwarfFile?> _dwarf;
    private readonly Lazy<ElfFile?> _separate;
    private readonly Lazy<List<SdtMark>> _marks;
    private readonly Lazy<List<PltEntry>> _plt;
    private readonly Lazy<bool> _unwinds;
    private readonly Lazy<FrameTable> _frames;

    internal UserFile(string path, ElfFile elf, KernelCode? kernel = null)
    {
        Kernel = kernel;
        Path = path;
        Elf = elf;
        _dwarf = new(() => DwarfFile.TryOpen(path));
        _separate = new(() => elf.HasSymbolTable ? null : DebugFiles.Find(elf));
        _marks = new(() => SdtMark.Of(elf));
        _plt = new(() => ElfPlt.Of(elf));
        _unwinds = new(() => ReturnSites.AreNeeded(elf));
        _frames = new(() => FrameTable.Of(elf));
    }

    public string Path { get; }

    public ElfFile Elf { get; }

    /// <summary>For the file of the kernel or a module: how it is loaded; null for programs.</summary>
    public KernelCode? Kernel { get; }

    /// <summary>Its variables are in user memory.</summary>
    public bool IsUser => Kernel is null;

    /// <summary>The address, as the debug information has it, lies in code that can be probed.</summary>
    public bool IsCode(ulong address) => Kernel is { } kernel ? kernel.Place(address) is not null : Elf.IsCode(address);

    /// <summary>Debug information; null without it or without libdw.</summary>
    public DwarfFile? Dwarf => _dwarf.Value;

    /// <summary>The fullest symbol table there is: the file's own, its separate debug file's, or the dynamic one.</summary>
    public ElfSymbols Symbols => _separate.Value is { HasSymbolTable: true } debug ? debug.Symbols : Elf.Symbols;

    /// <summary>Its code walks its own stack, so return addresses must stay as they are.</summary>
    public bool UnwindsItself => _unwinds.Value;

    /// <summary>Where the callers of its functions are on the stack.</summary>
    public FrameTable Frames => _frames.Value;

    public IReadOnlyList<SdtMark> Marks => _marks.Value;

    public IReadOnlyList<PltEntry> Plt => _plt.Value;
}

/// <summary>The user files of a session.</summary>
public sealed class UserFiles
{
    private readonly Dictionary<string, UserFile?> _files = new(StringComparer.Ordinal);

    /// <summary>The file at a path (links resolved by the caller); null when it is not ELF.</summary>
    public UserFile? Open(string path)
    {
        lock (_files)
        {
            if (!_files.TryGetValue(path, out var file))
                _files[path] = file = ElfFile.TryOpen(path) is { } elf ? new UserFile(path, elf) : null;
            return file;
        }
    }

    /// <summary>The files opened so far.</summary>
    public IReadOnlyList<UserFile> Opened
    {
        get
        {
            lock (_files)
                return [.. _files.Values.OfType<UserFile>()];
        }
    }
}
