using System.Buffers.Binary;
using System.Text;

namespace SystemTap.Targets;

/// <summary>Kinds of symbols probes care for; numbers of the format.</summary>
public enum ElfSymbolType : byte
{
    None = 0,
    Object = 1,
    Function = 2,
    Section = 3,
    File = 4,
    ThreadLocal = 6,

    /// <summary>A function whose implementation is chosen when the program starts (GNU indirect functions).</summary>
    IndirectFunction = 10,
}

/// <summary>A symbol: a handle that reads its name when asked.</summary>
public readonly struct ElfSymbol
{
    private readonly Blob _strings;
    private readonly uint _name;

    internal ElfSymbol(Blob strings, uint name, byte info, ushort section, ulong value, ulong size) =>
        (_strings, _name, Info, SectionIndex, Value, Size) = (strings, name, info, section, value, size);

    private byte Info { get; }

    public ElfSymbolType Type => (ElfSymbolType)(Info & 15);

    /// <summary>Visible to other files (global or weak).</summary>
    public bool IsGlobal => Info >> 4 is 1 or 2 or 10;

    /// <summary>0: the symbol is imported, not defined here.</summary>
    public ushort SectionIndex { get; }

    public bool IsDefined => SectionIndex != 0;

    /// <summary>Code, also code that chooses code.</summary>
    public bool IsFunction => IsDefined && Type is ElfSymbolType.Function or ElfSymbolType.IndirectFunction && Value != 0;

    /// <summary>Address as linked.</summary>
    public ulong Value { get; }

    /// <summary>Bytes; 0 when the assembler was not told.</summary>
    public ulong Size { get; }

    /// <summary>Without a version.</summary>
    public string Name => Encoding.UTF8.GetString(NameUtf8);

    /// <inheritdoc cref="Name"/>
    public ReadOnlySpan<byte> NameUtf8
    {
        get
        {
            // Full symbol tables of libraries have "name@VERSION", and "name@@VERSION" for the version that new programs get.
            var name = WrittenUtf8;
            var version = name.IndexOf((byte)'@');
            return version > 0 ? name[..version] : name;
        }
    }

    /// <summary>An older version of a function, kept for programs that were linked long ago.</summary>
    public bool IsSuperseded => WrittenUtf8 is var name && name.IndexOf((byte)'@') is > 0 and var at && at + 1 < name.Length && name[at + 1] != (byte)'@';

    private ReadOnlySpan<byte> WrittenUtf8
    {
        get
        {
            var span = _strings.Span;
            if (_name >= span.Length)
                return default;
            span = span[(int)_name..];
            var end = span.IndexOf((byte)0);
            return end < 0 ? default : span[..end];
        }
    }

    public override string ToString() => $"{Name} 0x{Value:x}";
}

/// <summary>The symbols of a file, read as they are visited.</summary>
public sealed class ElfSymbols
{
    public static readonly ElfSymbols Empty = new(default, default, true);

    private readonly Blob _table, _strings;
    private readonly bool _is64;
    private readonly Lazy<Dictionary<ulong, bool>> _functionIsGlobal;

    private ElfSymbols(Blob table, Blob strings, bool is64)
    {
        (_table, _strings, _is64) = (table, strings, is64);
        _functionIsGlobal = new(FunctionsByAddress);
        Count = table.Length / (is64 ? 24 : 16);
    }

    /// <summary>Also null entries, sections and files.</summary>
    public int Count { get; }

    public ElfSymbol this[int index]
    {
        get
        {
            var p = _table.Span.Slice(index * (_is64 ? 24 : 16), _is64 ? 24 : 16);
            return _is64
                ? new ElfSymbol(_strings, U32(p), p[4], U16(p[6..]), U64(p[8..]), U64(p[16..]))
                : new ElfSymbol(_strings, U32(p), p[12], U16(p[14..]), U32(p[4..]), U32(p[8..]));
        }
    }

    /// <summary>The function or object that begins at or spans an address (with the largest start); null when none does.</summary>
    public ElfSymbol? At(ulong address)
    {
        ElfSymbol? best = null;
        for (var i = 0; i < Count; i++)
        {
            var symbol = this[i];
            if (symbol.IsDefined && symbol.Type is not (ElfSymbolType.Section or ElfSymbolType.File or ElfSymbolType.ThreadLocal)
                && symbol.Value <= address && (address - symbol.Value < symbol.Size || address == symbol.Value)
                && (best is null || symbol.Value > best.Value.Value))
                best = symbol;
        }
        return best;
    }

    /// <summary>Whether other files can call the function that begins at an address; null when it has no symbol.</summary>
    public bool? IsGlobalAt(ulong address) => _functionIsGlobal.Value.TryGetValue(address, out var isGlobal) ? isGlobal : null;

    private Dictionary<ulong, bool> FunctionsByAddress()
    {
        var result = new Dictionary<ulong, bool>();
        for (var i = 0; i < Count; i++)
        {
            if (this[i] is { IsFunction: true } symbol)
                result[symbol.Value] = symbol.IsGlobal || result.GetValueOrDefault(symbol.Value);
        }
        return result;
    }

    /// <summary>The first defined symbol of a name, its newest version before older ones; or null.</summary>
    public ElfSymbol? Find(string name)
    {
        var utf8 = Encoding.UTF8.GetBytes(name);
        ElfSymbol? older = null;
        for (var i = 0; i < Count; i++)
        {
            if (this[i] is not { IsDefined: true } symbol || !symbol.NameUtf8.SequenceEqual(utf8))
                continue;
            if (!symbol.IsSuperseded)
                return symbol;
            older ??= symbol;
        }
        return older;
    }

    internal static ElfSymbols Read(ElfFile file) =>
        Read(file, file.Find(ElfSection.SymbolTable)) is { Count: > 0 } full ? full : Dynamic(file);

    /// <summary>What the dynamic linker sees: imports and exports.</summary>
    public static ElfSymbols Dynamic(ElfFile file) => Read(file, file.Find(ElfSection.DynamicSymbols));

    private static ElfSymbols Read(ElfFile file, ElfSection? section)
    {
        if (section is not { Type: not ElfSection.NoBits } table || table.Link >= file.Sections.Count)
            return Empty;
        var strings = file.Sections[(int)table.Link];
        return new ElfSymbols(file.Part(table.Offset, table.Size), file.Part(strings.Offset, strings.Type == ElfSection.NoBits ? 0 : strings.Size), file.Is64);
    }

    private static ushort U16(ReadOnlySpan<byte> p) => BinaryPrimitives.ReadUInt16LittleEndian(p);

    private static uint U32(ReadOnlySpan<byte> p) => BinaryPrimitives.ReadUInt32LittleEndian(p);

    private static ulong U64(ReadOnlySpan<byte> p) => BinaryPrimitives.ReadUInt64LittleEndian(p);
}
