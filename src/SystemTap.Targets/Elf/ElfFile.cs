using System.Buffers.Binary;
using System.Text;

namespace SystemTap.Targets;

// An ELF file as probes need it: where code lies in the file (uprobes take file offsets), what it is called, and the notes.
//
//   address (as linked) ── PT_LOAD ──► file offset          FileOffset, Address
//   names ── .symtab, else .dynsym ──► functions, objects    Symbols
//   .note.stapsdt ──► SDT marks                              SdtNotes
//   .plt* + relocations ──► stubs of imported functions      Plt
//
// DWARF is not read here (see Dwarf/), so all of this works without any library. The bytes are not trusted: every access is bounds-checked, what is
// outside counts as absent, and only a file that is no ELF at all raises an error. 32-bit files are read too, big-endian ones are refused.

/// <summary>A section header.</summary>
public readonly record struct ElfSection(string Name, uint Type, ulong Flags, ulong Address, ulong Offset, ulong Size, uint Link, uint Info, ulong EntrySize)
{
    public const uint SymbolTable = 2, StringTable = 3, Rela = 4, Note = 7, NoBits = 8, Rel = 9, DynamicSymbols = 11;
}

/// <summary>A program header.</summary>
public readonly record struct ElfSegment(uint Type, uint Flags, ulong Offset, ulong Address, ulong FileSize, ulong MemorySize, ulong Alignment)
{
    public const uint Load = 1, Interpreter = 3, Note = 4, ThreadLocal = 7;

    public bool IsExecutable => (Flags & 1) != 0;
}

/// <summary>An ELF file, mapped. Immutable; safe to share between threads.</summary>
public sealed class ElfFile
{
    private readonly Blob _data;
    private readonly ElfSection[] _sections;
    private readonly ElfSegment[] _segments;
    private ElfSymbols? _symbols;
    private Tuple<ThreadLocalSlot?>? _threadLocalSlot;

    private ElfFile(string path, Blob data)
    {
        Path = path;
        _data = data;
        var bytes = data.Span;
        if (bytes.Length < 52 || !bytes.StartsWith("\x7F"u8) || !bytes[1..].StartsWith("ELF"u8))
            throw new TargetException($"file \"{path}\" is not an ELF file.");
        if (bytes[5] != 1)
            throw new TargetException($"file \"{path}\" is big-endian, which no supported architecture is.");
        Is64 = bytes[4] switch
        {
            1 => false,
            2 when bytes.Length >= 64 => true,
            _ => throw new TargetException($"file \"{path}\" is of an unknown ELF class."),
        };
        Type = Half(16);
        Machine = Half(18);
        Entry = Is64 ? Long(24) : Word(24);
        _segments = ReadSegments();
        _sections = ReadSections();
    }

    /// <summary>Maps and reads a file.</summary>
    /// <exception cref="TargetException">It cannot be read or is not a little-endian ELF file.</exception>
    public static ElfFile Open(string path) => new(path, Blob.Open(path));

    /// <summary>The same, or null when it is not an ELF file or cannot be read.</summary>
    public static ElfFile? TryOpen(string path)
    {
        try
        {
            return Open(path);
        }
        catch (TargetException)
        {
            return null;
        }
    }

    /// <summary>Reads ELF from bytes, which must not change afterwards.</summary>
    /// <exception cref="TargetException">The bytes are not a little-endian ELF file.</exception>
    public static ElfFile Parse(byte[] data, string path = "memory") => new(path, new Blob(data));

    public string Path { get; }

    public bool Is64 { get; }

    /// <summary>ET_*: 1 relocatable, 2 executable at fixed addresses, 3 shared object or PIE, 4 core.</summary>
    public ushort Type { get; }

    /// <summary>Addresses are relative to where the file is loaded.</summary>
    public bool IsRelocated => Type == 3;

    /// <summary>EM_*.</summary>
    public ushort Machine { get; }

    /// <summary>Address of the first instruction; 0 for libraries.</summary>
    public ulong Entry { get; }

    /// <summary>Names a program interpreter or is linked at fixed addresses: a program, not a library.</summary>
    public bool IsProgram
    {
        get
        {
            if (Type == 2)
                return true;
            foreach (var segment in _segments)
                if (segment.Type == ElfSegment.Interpreter)
                    return true;
            return false;
        }
    }

    public IReadOnlyList<ElfSection> Sections => _sections;

    public IReadOnlyList<ElfSegment> Segments => _segments;

    /// <summary>Where the section headers are, and the size of each.</summary>
    internal (ulong Offset, int Entry) SectionTable => Is64 ? (Long(40), Half(58)) : (Word(32), Half(46));

    /// <summary>What the file's header says of the section table, with the numbers that stand in the first section where they are too big for it.</summary>
    internal (ulong Offset, int Entry, ulong Count, uint Names) SectionHeaders
    {
        get
        {
            var (offset, entry, count, names) = Is64 ? (Long(40), Half(58), (ulong)Half(60), (uint)Half(62)) : (Word(32), Half(46), (ulong)Half(48), (uint)Half(50));
            return (offset, entry, count == 0 && _sections.Length > 0 ? _sections[0].Size : count, names == 0xffff && _sections.Length > 0 ? _sections[0].Link : names);
        }
    }

    /// <summary>The file's bytes. Valid for the life of the process.</summary>
    internal ReadOnlySpan<byte> Bytes => _data.Span;

    /// <summary>The full symbol table, or the dynamic one when that was stripped.</summary>
    public ElfSymbols Symbols => _symbols ??= ElfSymbols.Read(this);

    /// <summary>The full symbol table is there.</summary>
    public bool HasSymbolTable => Find(ElfSection.SymbolTable) is { Size: > 0 };

    /// <summary>It carries DWARF itself.</summary>
    public bool HasDebugInfo => FindSection(".debug_info") is not null || FindSection(".zdebug_info") is not null;

    /// <summary>The build id as lower-case hexadecimal digits; null without one.</summary>
    public string? BuildId
    {
        get
        {
            foreach (var note in ElfNotes.Of(this))
                if (note.Type == 3 && note.Name == "GNU" && note.Data.Length is > 0 and <= 64)
                    return Convert.ToHexStringLower(note.Data.Span);
            return null;
        }
    }

    /// <summary>Name of the separate debug file in <c>.gnu_debuglink</c>, or null.</summary>
    public string? DebugLink
    {
        get
        {
            if (FindSection(".gnu_debuglink") is not { } section)
                return null;
            var bytes = Contents(section);
            var end = bytes.IndexOf((byte)0);
            return end > 0 ? Encoding.UTF8.GetString(bytes[..end]) : null;
        }
    }

    /// <summary>Libraries it needs and where it wants them looked for.</summary>
    public ElfDynamicInfo Dynamic => ElfDynamicInfo.Of(this);

    /// <summary>Written in Go: its stacks move, so return probes would corrupt them.</summary>
    public bool IsGo => FindSection(".go.buildinfo") is not null || FindSection(".gopclntab") is not null || FindSection(".note.go.buildid") is not null;

    /// <summary>Tells where a library's thread-local block is; null when nothing in it does.</summary>
    public ThreadLocalSlot? ThreadLocalSlot => (_threadLocalSlot ??= new(ElfThreadLocals.Of(this))).Item1;

    /// <summary>The thread-local segment, or null.</summary>
    public ElfSegment? ThreadLocal
    {
        get
        {
            foreach (var segment in _segments)
                if (segment.Type == ElfSegment.ThreadLocal)
                    return segment;
            return null;
        }
    }

    public ElfSection? FindSection(string name)
    {
        foreach (var section in _sections)
            if (section.Name == name)
                return section;
        return null;
    }

    internal ElfSection? Find(uint type)
    {
        foreach (var section in _sections)
            if (section.Type == type)
                return section;
        return null;
    }

    /// <summary>Bytes of a section; empty when they are not in the file.</summary>
    internal ReadOnlySpan<byte> Contents(ElfSection section) =>
        section.Type == ElfSection.NoBits || section.Offset > (ulong)_data.Length || section.Size > (ulong)_data.Length - section.Offset
            ? default
            : _data.Span.Slice((int)section.Offset, (int)section.Size);

    /// <summary>A part of the file; empty when it reaches beyond its end.</summary>
    internal Blob Part(ulong offset, ulong size) =>
        offset > (ulong)_data.Length || size > (ulong)_data.Length - offset ? default : _data.Slice((int)offset, (int)size);

    /// <summary>Where an address lies in the file; null when no loaded part of the file holds it.</summary>
    public long? FileOffset(ulong address)
    {
        foreach (var segment in _segments)
            if (segment.Type == ElfSegment.Load && address >= segment.Address && address - segment.Address < segment.FileSize)
                return unchecked((long)(address - segment.Address + segment.Offset));
        return null;
    }

    /// <summary>The address a place of the file is loaded at; null when it is not loaded.</summary>
    public ulong? Address(ulong fileOffset)
    {
        foreach (var segment in _segments)
            if (segment.Type == ElfSegment.Load && fileOffset >= segment.Offset && fileOffset - segment.Offset < segment.FileSize)
                return unchecked(fileOffset - segment.Offset + segment.Address);
        return null;
    }

    /// <summary>
    /// The address of what is mapped as code from an offset on; null when no code is loaded from there. Mappings begin at pages, so the first one of a
    /// segment also holds the end of the segment before it in the file (lld leaves no gap between them): the offset alone does not tell which is meant.
    /// </summary>
    public ulong? CodeAddress(ulong mappedOffset)
    {
        var page = (ulong)Environment.SystemPageSize;
        foreach (var segment in _segments)
        {
            var before = segment.Offset % page;
            if (segment.Type == ElfSegment.Load && segment.IsExecutable && mappedOffset >= segment.Offset - before && mappedOffset - (segment.Offset - before) < segment.FileSize + before)
                return unchecked(mappedOffset - segment.Offset + segment.Address);
        }
        return null;
    }

    /// <summary>The address lies in code.</summary>
    public bool IsCode(ulong address)
    {
        foreach (var segment in _segments)
            if (segment.Type == ElfSegment.Load && segment.IsExecutable && address >= segment.Address && address - segment.Address < segment.FileSize)
                return true;
        return false;
    }

    // --------------------------------------------------------------------------------------------------------- headers

    private ElfSegment[] ReadSegments()
    {
        var (offset, entry, count) = Is64 ? (Long(32), Half(54), Half(56)) : (Word(28), Half(42), Half(44));
        var size = Is64 ? 56 : 32;
        var result = new List<ElfSegment>();
        for (var i = 0; i < count && entry >= size; i++)
        {
            if (Part(offset + (ulong)i * entry, (ulong)size).Span is not { Length: > 0 } p)
                break;
            result.Add(Is64
                ? new ElfSegment(U32(p), U32(p[4..]), U64(p[8..]), U64(p[16..]), U64(p[32..]), U64(p[40..]), U64(p[48..]))
                : new ElfSegment(U32(p), U32(p[24..]), U32(p[4..]), U32(p[8..]), U32(p[16..]), U32(p[20..]), U32(p[28..])));
        }
        return [.. result];
    }

    private ElfSection[] ReadSections()
    {
        var (offset, entry, headerCount, names) = Is64 ? (Long(40), Half(58), (uint)Half(60), (uint)Half(62)) : (Word(32), Half(46), (uint)Half(48), (uint)Half(50));
        var size = Is64 ? 64 : 40;
        if (offset == 0 || entry < size || Header(0) is not { } first)
            return [];
        // More than 65,279 sections: the numbers stand in the first header.
        long count = headerCount == 0 ? (long)Math.Min(first.Size, int.MaxValue) : headerCount;
        if (names == 0xffff)
            names = first.Link;
        var raw = new List<(ElfSection Section, uint Name)>();
        for (var i = 0L; i < count && Header(i) is { } section; i++)
            raw.Add((section, Part(offset + (ulong)i * entry, 4).Span is { Length: 4 } p ? U32(p) : 0));
        var strings = names < raw.Count ? Contents(raw[(int)names].Section) : default;
        var result = new ElfSection[raw.Count];
        for (var i = 0; i < result.Length; i++)
            result[i] = raw[i].Section with { Name = Text(strings, raw[i].Name) };
        return result;

        ElfSection? Header(long index)
        {
            if (Part(offset + (ulong)index * entry, (ulong)size).Span is not { Length: > 0 } p)
                return null;
            return Is64
                ? new ElfSection("", U32(p[4..]), U64(p[8..]), U64(p[16..]), U64(p[24..]), U64(p[32..]), U32(p[40..]), U32(p[44..]), U64(p[56..]))
                : new ElfSection("", U32(p[4..]), U32(p[8..]), U32(p[12..]), U32(p[16..]), U32(p[20..]), U32(p[24..]), U32(p[28..]), U32(p[36..]));
        }
    }

    internal static string Text(ReadOnlySpan<byte> strings, uint offset)
    {
        if (offset >= strings.Length)
            return "";
        var rest = strings[(int)offset..];
        var end = rest.IndexOf((byte)0);
        return end < 0 ? "" : Encoding.UTF8.GetString(rest[..end]);
    }

    private ushort Half(int at) => BinaryPrimitives.ReadUInt16LittleEndian(_data.Span[at..]);

    private uint Word(int at) => BinaryPrimitives.ReadUInt32LittleEndian(_data.Span[at..]);

    private ulong Long(int at) => BinaryPrimitives.ReadUInt64LittleEndian(_data.Span[at..]);

    private static uint U32(ReadOnlySpan<byte> p) => BinaryPrimitives.ReadUInt32LittleEndian(p);

    private static ulong U64(ReadOnlySpan<byte> p) => BinaryPrimitives.ReadUInt64LittleEndian(p);
}
