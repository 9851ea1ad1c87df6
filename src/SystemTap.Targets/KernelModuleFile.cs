using System.Buffers.Binary;

namespace SystemTap.Targets;

// A kernel module that is not loaded yet is known by its file: names of its functions from the symbol table, prototypes and types from its BTF, the rest from its
// debug information (KernelCode opens it by the same path). Distributions compress their modules; such a file is unpacked into the cache once.

/// <summary>The file of a kernel module, NAME.ko or the same compressed.</summary>
public sealed class KernelModuleFile
{
    private const byte GlobalFunction = (byte)'T', LocalFunction = (byte)'t';
    private readonly ElfFile _elf;
    private readonly Lazy<List<KernelSymbol>> _functions;
    private readonly Lazy<HashSet<(int Section, ulong Address)>?> _traced;

    private KernelModuleFile(string module, string path, ElfFile elf)
    {
        Module = module;
        Path = path;
        _elf = elf;
        _functions = new(ReadFunctions);
        _traced = new(ReadTraced);
    }

    /// <summary>The module's name as the kernel spells it.</summary>
    public string Module { get; }

    /// <summary>Where the file lies.</summary>
    public string Path { get; }

    /// <summary>Its functions, those of initialisation and exit among them, in the order of the file. Addresses are 0: they are not known yet.</summary>
    public IReadOnlyList<KernelSymbol> Functions => _functions.Value;

    /// <summary>A function by any of its names.</summary>
    public KernelSymbol? Function(string name) => Find(name) is { } found ? ToSymbol(found) : null;

    /// <summary>Whether it exports a symbol.</summary>
    public bool IsExported(string symbol) => _elf.Symbols.Find("__ksymtab_" + symbol) is not null;

    /// <summary>Whether ftrace can patch a function, or null when the file does not tell. Exit functions it never can.</summary>
    public bool? IsTraceable(string symbol)
    {
        const int Landing = 4; // endbr64, in front of the place that is patched
        return _traced.Value is not { } traced || Find(symbol) is not { } found ? null
            : traced.Contains((found.SectionIndex, found.Value)) || traced.Contains((found.SectionIndex, found.Value + Landing));
    }

    /// <summary>Whether a function is the last one of the module's code, or of the code that initialises it.</summary>
    public bool IsLast(string symbol)
    {
        if (Find(symbol) is not { } found)
            return false;
        var isInitial = IsInitial(found.SectionIndex);
        for (var i = 0; i < _elf.Symbols.Count; i++)
        {
            if (_elf.Symbols[i] is { Type: ElfSymbolType.Function, IsDefined: true } other && IsInitial(other.SectionIndex) == isInitial
                && (other.SectionIndex > found.SectionIndex || other.SectionIndex == found.SectionIndex && other.Value > found.Value))
                return false;
        }

        return true;
    }

    private bool IsInitial(int section) => section < _elf.Sections.Count && _elf.Sections[section].Name.StartsWith(".init", StringComparison.Ordinal);

    private ElfSymbol? Find(string function)
    {
        for (var i = 0; i < _elf.Symbols.Count; i++)
        {
            if (_elf.Symbols[i] is { Type: ElfSymbolType.Function, IsDefined: true } symbol && symbol.Name == function)
                return symbol;
        }

        return null;
    }

    /// <summary>The places that ftrace is told of: relocations of the table that the kernel reads when it loads the module.</summary>
    private HashSet<(int, ulong)>? ReadTraced()
    {
        const int EntrySize = 24;
        HashSet<(int, ulong)>? traced = null;
        foreach (var section in _elf.Sections)
        {
            if (section.Type != ElfSection.Rela || section.Name is not (".rela__mcount_loc" or ".rela__patchable_function_entries"))
                continue;
            traced ??= [];
            var entries = _elf.Contents(section);
            for (var at = 0; at + EntrySize <= entries.Length; at += EntrySize)
            {
                var symbol = (int)(BinaryPrimitives.ReadUInt64LittleEndian(entries[(at + 8)..]) >> 32);
                if (symbol < _elf.Symbols.Count && _elf.Symbols[symbol] is { IsDefined: true } place)
                    traced.Add((place.SectionIndex, place.Value + BinaryPrimitives.ReadUInt64LittleEndian(entries[(at + 16)..])));
            }
        }

        return traced;
    }

    /// <summary>The function that holds an instruction, by its distance from the beginning of the module's code; null when none does.</summary>
    public (KernelSymbol Symbol, long Offset)? At(ulong distance)
    {
        var code = Index(".text");
        (KernelSymbol, long)? best = null;
        ulong nearest = 0;
        for (var i = 0; i < _elf.Symbols.Count; i++)
        {
            if (_elf.Symbols[i] is { Type: ElfSymbolType.Function } symbol && symbol.SectionIndex == code && distance >= symbol.Value && distance - symbol.Value < symbol.Size
                && (best is null || symbol.Value > nearest))
            {
                (best, nearest) = ((ToSymbol(symbol), (long)(distance - symbol.Value)), symbol.Value);
            }
        }

        return best;
    }

    /// <summary>
    /// Its types, which count on from the kernel's; null when it has none. Types of modules built outside of the kernel's tree may stand on a base of their own, which only the kernel
    /// fits to its types when it loads the module: they are of no use before.
    /// </summary>
    internal Btf? ReadBtf(Btf kernel)
    {
        if (_elf.FindSection(".BTF") is not { Size: > 0 } section || _elf.FindSection(".BTF.base") is not null)
            return null;
        try
        {
            return Btf.Parse(_elf.Contents(section).ToArray(), Module, kernel);
        }
        catch (TargetException)
        {
            return null; // made for another kernel
        }
    }

    /// <summary>The file of a module; null when there is none.</summary>
    /// <param name="module">Its name with "_".</param>
    /// <param name="paths">Where it may lie, best first.</param>
    /// <param name="cacheDirectory">Where compressed files are unpacked to.</param>
    internal static KernelModuleFile? Open(string module, IEnumerable<string> paths, string? cacheDirectory)
    {
        foreach (var path in paths)
        {
            if (Readable(path, cacheDirectory) is { } readable && ElfFile.TryOpen(readable) is { Type: 1 } elf)
                return new KernelModuleFile(module, path, elf);
        }

        return null;
    }

    /// <summary>The path of an ELF file with the contents of a module's file: itself, or what it unpacks to; null when it cannot be read.</summary>
    internal static string? Readable(string path, string? cacheDirectory)
    {
        var file = new FileInfo(path);
        if (!file.Exists || path.EndsWith(".ko", StringComparison.Ordinal))
            return file.Exists ? path : null;
        if (cacheDirectory is null)
            return null;
        var unpacked = System.IO.Path.Combine(cacheDirectory, "modules-unpacked", CacheDirectory.KeyOf(file) + ".ko");
        if (File.Exists(unpacked))
            return unpacked;
        try
        {
            return KernelImages.Unpack(path) is { } bytes && CacheDirectory.WriteAtomically(unpacked, bytes) ? unpacked : null;
        }
        catch (Exception e) when (e is TargetException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private List<KernelSymbol> ReadFunctions()
    {
        // The names "init_module" and "cleanup_module" are second ones of functions that have their own.
        var result = new List<KernelSymbol>();
        var own = new HashSet<(ushort, ulong)>();
        for (var pass = 0; pass < 2; pass++)
        {
            for (var i = 0; i < _elf.Symbols.Count; i++)
            {
                if (_elf.Symbols[i] is not { Type: ElfSymbolType.Function, IsDefined: true } symbol)
                    continue;
                var isSecond = symbol.Name is "init_module" or "cleanup_module";
                if (isSecond == (pass == 1) && (own.Add((symbol.SectionIndex, symbol.Value)) || !isSecond))
                    result.Add(ToSymbol(symbol));
            }
        }

        return result;
    }

    private KernelSymbol ToSymbol(ElfSymbol symbol) => new(0, symbol.Name, (char)(symbol.IsGlobal ? GlobalFunction : LocalFunction), Module);

    private int Index(string section)
    {
        for (var i = 0; i < _elf.Sections.Count; i++)
        {
            if (_elf.Sections[i].Name == section)
                return i;
        }

        return -1;
    }
}
