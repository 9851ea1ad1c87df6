using System.Text;

namespace SystemTap.Targets;

/// <summary>A function or object of a file.</summary>
/// <param name="Name">As the symbol table has it.</param>
/// <param name="Address">In the file.</param>
/// <param name="Size">Bytes; 0 when not told.</param>
public readonly record struct ImageSymbol(string Name, ulong Address, ulong Size);

/// <summary>What stacks need of a mapped file: frames and symbols by address, each read when first asked for. The file stays mapped, so a process may end before.</summary>
public sealed class UserImage
{
    private readonly ElfFile? _elf;
    private readonly Lazy<FrameTable> _frames;
    private readonly Lazy<(ulong[] Starts, ElfSymbol[] Symbols)> _symbols;
    private readonly Lazy<DwarfFile?> _dwarf;
    private readonly Lazy<bool> _hasInlines;
    private readonly Dictionary<ulong, IReadOnlyList<DwarfInlinedCall>> _inlined = [];
    private readonly Lazy<List<PltEntry>> _stubs;

    private UserImage(string path, ElfFile? elf, Func<DwarfFile?>? dwarf = null)
    {
        Path = path;
        _elf = elf;
        _frames = new(() => elf is null ? FrameTable.Parse([], 0, false) : ReadFrames(elf));
        _symbols = new(ReadSymbols);
        _stubs = new(() => elf is null ? [] : ElfPlt.Of(elf));
        _dwarf = new(() => elf is null ? null : dwarf?.Invoke());

        // Debug information that a server would have to send is fetched for source lines, which ask for it, but not for these.
        _hasInlines = new(() => _dwarf.IsValueCreated || elf is not null && (elf.HasDebugInfo || DebugFiles.Find(elf) is { HasDebugInfo: true }));
    }

    /// <summary>As the process knows it.</summary>
    public string Path { get; }

    public FrameTable Frames => _frames.Value;

    /// <summary>Opens a file for a process's mapping.</summary>
    /// <param name="shown">The path as /proc/PID/maps shows it.</param>
    /// <param name="openPath">Where this process can open it.</param>
    public static UserImage Open(string shown, string openPath) => new(shown, ElfFile.TryOpen(openPath), () => DwarfFile.TryOpen(openPath));

    /// <summary>An image of a file that the session has opened already.</summary>
    public static UserImage Of(UserFile file) => new(file.Path, file.Elf, () => file.Dwarf);

    /// <summary>A file of which nothing is known.</summary>
    public static UserImage None(string shown) => new(shown, null);

    /// <summary>An image from bytes (the vDSO).</summary>
    public static UserImage Parse(string shown, byte[] bytes)
    {
        try
        {
            return new UserImage(shown, ElfFile.Parse(bytes, shown));
        }
        catch (TargetException)
        {
            return new UserImage(shown, null);
        }
    }

    /// <summary>It could be opened.</summary>
    public bool IsKnown => _elf is not null;

    /// <summary>The file has these instructions at an address.</summary>
    public bool HasCode(ulong address, ReadOnlySpan<byte> code) => _elf?.FileOffset(address) is { } offset && _elf.Part((ulong)offset, (ulong)code.Length).Span.SequenceEqual(code);

    /// <summary>Address in the file of what is mapped as code from an offset of it on; null when no code is loaded from there.</summary>
    public ulong? CodeAddress(ulong mappedOffset) => _elf?.CodeAddress(mappedOffset);

    /// <summary>Source file and line of an address of the file, by its debug information; null without it.</summary>
    public (string File, int Line)? LineAt(ulong address) => _dwarf.Value?.LineAt(address);

    /// <summary>The calls around an address of the file that the compiler replaced by copies, innermost first, as far as installed debug information tells.</summary>
    public IReadOnlyList<DwarfInlinedCall> InlinedAt(ulong address)
    {
        if (!_hasInlines.Value || _dwarf.Value is not { } dwarf)
            return [];
        if (!_inlined.TryGetValue(address, out var calls))
            _inlined[address] = calls = dwarf.InlinedAt(address);
        return calls;
    }

    /// <summary>The symbol that spans an address of the file, or the nearest before it within the same executable segment when it has no size.</summary>
    public ImageSymbol? Find(ulong address)
    {
        if (Stub(address) is { } stub)
            return stub;
        var (starts, symbols) = _symbols.Value;
        var at = Array.BinarySearch(starts, address);
        at = at < 0 ? ~at - 1 : at;
        while (at + 1 < starts.Length && starts[at + 1] <= address)
            at++;
        for (var i = at; i >= 0 && i > at - 64; i--)
        {
            var symbol = symbols[i];
            if (address - symbol.Value < symbol.Size || symbol.Size == 0 && i == at && address - symbol.Value < 0x10000)
                return Best(i);
        }
        return null;
    }

    /// <summary>The stub of an imported function, which has no symbol: "name@plt", as debuggers and disassemblers call it.</summary>
    private ImageSymbol? Stub(ulong address)
    {
        if (_elf is null || !IsInStubs(_elf, address))
            return null;
        var stubs = _stubs.Value;
        for (var i = stubs.Count - 1; i >= 0; i--)
        {
            const ulong largest = 16;
            if (stubs[i].Address <= address)
                return address - stubs[i].Address < largest ? new ImageSymbol(stubs[i].Name + "@plt", stubs[i].Address, largest) : null;
        }
        return null;
    }

    private static bool IsInStubs(ElfFile elf, ulong address)
    {
        foreach (var section in elf.Sections)
            if (address >= section.Address && address - section.Address < section.Size && section.Address != 0)
                return section.Name is ".plt" or ".plt.sec" or ".plt.got";
        return false;
    }

    // Of several names for one place the one people know: global before local, without underscores before with.
    private ImageSymbol Best(int at)
    {
        var symbols = _symbols.Value.Symbols;
        var best = symbols[at];
        for (var i = at - 1; i >= 0 && symbols[i].Value == best.Value; i--)
            if (symbols[i].Size == best.Size && Rank(symbols[i]) < Rank(best))
                best = symbols[i];
        // "name@@VERSION" in symbol tables of libraries: the version is no part of the name.
        var name = best.Name;
        var version = name.IndexOf('@', StringComparison.Ordinal);
        return new ImageSymbol(version > 0 ? name[..version] : name, best.Value, best.Size);
    }

    private static int Rank(ElfSymbol symbol)
    {
        var name = symbol.NameUtf8;
        return (symbol.IsGlobal ? 0 : 4) + (name.StartsWith("_"u8) ? name.StartsWith("__"u8) ? 2 : 1 : 0);
    }

    private static FrameTable ReadFrames(ElfFile elf)
    {
        var own = FrameTable.Of(elf);
        return own.Count == 0 && DebugFiles.Find(elf) is { } debug && FrameTable.Of(debug) is { Count: > 0 } other ? other : own;
    }

    private (ulong[], ElfSymbol[]) ReadSymbols()
    {
        if (_elf is null)
            return ([], []);
        var table = _elf.HasSymbolTable ? _elf.Symbols : DebugFiles.Find(_elf) is { HasSymbolTable: true } debug ? debug.Symbols : _elf.Symbols;
        var found = new List<ElfSymbol>(table.Count);
        for (var i = 0; i < table.Count; i++)
        {
            var symbol = table[i];
            // .L413 and the like are the compiler's labels within functions (static i386 libraries keep them).
            if (symbol.IsDefined && symbol.Value != 0 && !symbol.NameUtf8.IsEmpty && !symbol.NameUtf8.StartsWith(".L"u8)
                && symbol.Type is ElfSymbolType.Function or ElfSymbolType.IndirectFunction or ElfSymbolType.Object or ElfSymbolType.None)
                found.Add(symbol);
        }
        var symbols = found.ToArray();
        Array.Sort(symbols, static (a, b) => a.Value != b.Value ? a.Value.CompareTo(b.Value) : Rank(b).CompareTo(Rank(a)));
        var starts = Array.ConvertAll(symbols, s => s.Value);
        return (starts, symbols);
    }
}
