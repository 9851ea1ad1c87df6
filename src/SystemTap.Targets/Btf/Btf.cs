using System.Buffers.Binary;
using System.Text;

namespace SystemTap.Targets;

// BTF, the kernel's compact description of its own C types, in one file of two sections: a row of type records of
// varying length, and the strings they name by offset. A type's id is its position in the row, so finding type N
// needs the offsets of all records before it, and finding a name needs an index. For a vmlinux of 126,000 types:
//
//   bytes (mmap) ── one pass ──► offsets[id] ── hash of names ──► buckets, ids      BtfIndex, 5 ms
//                                    └────────── or: mapped from the cache file     BtfIndexCache, < 1 ms
//
// Nothing else is ever built. A BtfType is a (file, id) pair that reads its record when asked; there is no tree of
// objects, no resolved graph and no cache to invalidate. Strings are made only for what a caller names.
//
// Split BTF (a kernel module's) continues the ids and the strings of its base.
//
// The bytes are not trusted: they may come from a file given by hand. The pass validates each record's extent; every
// later read is bounds-checked; every chain (typedef of typedef of ...) is followed a bounded number of steps.
// Whatever is wrong ends as a TargetException. Big-endian files are refused: no supported architecture has them.
//
// Format: Documentation/bpf/btf.rst and include/uapi/linux/btf.h of the kernel.

/// <summary>The types of the kernel or of one module. Immutable and safe to share between threads.</summary>
public sealed class Btf
{
    /// <summary>Where a kernel built with CONFIG_DEBUG_INFO_BTF shows its types (5.4).</summary>
    public const string KernelPath = "/sys/kernel/btf/vmlinux";

    /// <summary>The longest chain of typedefs, qualifiers and arrays followed; the kernel's own limit is 32.</summary>
    internal const int MaximumDepth = 64;

    internal const int RecordHeader = 12;
    private const int FileHeader = 24;
    private const ushort Magic = 0xEB9F;

    private readonly Blob _types;
    private readonly Blob _strings;
    private readonly BtfIndex _index;

    /// <summary>"vmlinux", or the module's name.</summary>
    public string Name { get; }

    /// <summary>For split BTF, the types it builds on; else null.</summary>
    public Btf? Base { get; }

    /// <summary>Bytes of a pointer on the machine described: 8, but for 32-bit programs.</summary>
    public int PointerSize { get; private init; } = 8;

    /// <summary>The first id this file describes itself; lower ones belong to <see cref="Base"/>.</summary>
    public int FirstId { get; }

    /// <summary>One more than the highest id.</summary>
    public int EndId => FirstId + _index.TypeCount;

    internal int StringsEnd { get; }
    private int FirstString => Base?.StringsEnd ?? 0;

    private Btf(Blob data, string name, Btf? @base, BtfIndexCache? cache)
    {
        Name = name;
        Base = @base;
        FirstId = @base?.EndId ?? 1;
        (_types, _strings) = Sections(data.Span, data);
        StringsEnd = checked(FirstString + _strings.Length);
        _index = cache?.TryRead(_types.Length, _strings.Length) ?? BuildIndex(cache);
    }

    /// <summary>Reads BTF from bytes, which must not change afterwards.</summary>
    /// <exception cref="TargetException">The bytes are not valid little-endian BTF.</exception>
    public static Btf Parse(byte[] data, string name = "vmlinux", Btf? @base = null, int pointerSize = 8) => new(new Blob(data), name, @base, null) { PointerSize = pointerSize };

    /// <summary>
    /// Opens a raw BTF file such as <see cref="KernelPath"/>. With a cache directory and a key that changes whenever the
    /// file's content does (the kernel's build id), the index is kept there for the next process.
    /// </summary>
    /// <exception cref="TargetException">The file is absent, unreadable or not valid BTF.</exception>
    public static Btf Open(string path, string name = "vmlinux", Btf? @base = null, string? cacheDirectory = null, string? cacheKey = null) =>
        new(Blob.Open(path), name, @base,
            cacheDirectory is not null && cacheKey is not null ? new BtfIndexCache(cacheDirectory, name, cacheKey) : null);

    private (Blob Types, Blob Strings) Sections(ReadOnlySpan<byte> span, Blob data)
    {
        if (span.Length < FileHeader)
            throw Malformed("it is shorter than its header");
        var magic = BinaryPrimitives.ReadUInt16LittleEndian(span);
        if (magic != Magic)
            throw Malformed(BinaryPrimitives.ReverseEndianness(magic) == Magic ? "it is big-endian" : "it does not begin with the BTF magic number");
        if (span[2] != 1)
            throw Malformed($"its version is {span[2]}, not 1");
        long header = BinaryPrimitives.ReadUInt32LittleEndian(span[4..]);
        long typesStart = header + BinaryPrimitives.ReadUInt32LittleEndian(span[8..]);
        long typesLength = BinaryPrimitives.ReadUInt32LittleEndian(span[12..]);
        long stringsStart = header + BinaryPrimitives.ReadUInt32LittleEndian(span[16..]);
        long stringsLength = BinaryPrimitives.ReadUInt32LittleEndian(span[20..]);
        if (header < FileHeader || typesStart + typesLength > span.Length || stringsStart + stringsLength > span.Length)
            throw Malformed("a section reaches beyond its end");
        var strings = data.Slice((int)stringsStart, (int)stringsLength);
        if (stringsLength == 0 ? Base is null : strings.Span[^1] != 0)
            throw Malformed("its strings do not end with a zero byte");
        return (data.Slice((int)typesStart, (int)typesLength), strings);
    }

    private BtfIndex BuildIndex(BtfIndexCache? cache)
    {
        var index = BtfIndex.Build(this, _types.Span, _strings.Span, FirstString);
        cache?.Write(index, _types.Length, _strings.Length);
        return index;
    }

    // ------------------------------------------------------------------------------------------------- looking up

    /// <summary>The type with this id; 0 is <c>void</c>.</summary>
    /// <exception cref="TargetException">No such id.</exception>
    public BtfType Type(int id)
    {
        if ((uint)id >= (uint)EndId)
            throw Malformed($"type {id} is referred to but the last is {EndId - 1}");
        return new BtfType(this, id);
    }

    /// <summary>
    /// The type of that kind and name with the lowest id (the kernel may have several different structs of one name),
    /// or null. Anonymous types cannot be found. A module's BTF answers for its base first.
    /// </summary>
    public BtfType? Find(BtfKind kind, ReadOnlySpan<char> name)
    {
        Span<byte> stack = stackalloc byte[256];
        var needed = Encoding.UTF8.GetMaxByteCount(name.Length);
        var buffer = needed <= stack.Length ? stack : new byte[needed];
        var length = Encoding.UTF8.GetBytes(name, buffer);
        return Find(kind, buffer[..length]);
    }

    /// <inheritdoc cref="Find(BtfKind, ReadOnlySpan{char})"/>
    public BtfType? Find(BtfKind kind, ReadOnlySpan<byte> utf8Name)
    {
        if (utf8Name.IsEmpty)
            return null;
        if (Base?.Find(kind, utf8Name) is { } inherited)
            return inherited;
        foreach (var id in _index.Candidates(BtfIndex.Hash(utf8Name)))
        {
            var type = Type(id); // the check matters: the id may come from a cache file
            if (type.Kind == kind && type.NameUtf8.SequenceEqual(utf8Name))
                return type;
        }
        return null;
    }

    /// <summary>The function of that name (its <see cref="BtfType.Parameters"/> have names), or null.</summary>
    public BtfType? FindFunction(ReadOnlySpan<char> name) => Find(BtfKind.Function, name);

    /// <summary>The id by which a BPF program names a kernel function it attaches to or calls (a kfunc); 0 when absent.</summary>
    public int FindFunctionId(ReadOnlySpan<char> name) => Find(BtfKind.Function, name)?.Id ?? 0;

    /// <summary>
    /// Functions this file describes itself whose name fits a pattern of <see cref="Globs"/>, by ascending id. A name may come
    /// twice: static functions of different files. Some 2 ms for a vmlinux.
    /// </summary>
    public List<BtfType> MatchFunctions(string pattern)
    {
        var result = new List<BtfType>();
        var prefix = Encoding.UTF8.GetBytes(Globs.LiteralPrefix(pattern).ToString());
        var all = pattern == "*";
        foreach (var id in IdsOf(BtfKind.Function, BtfKind.Function))
        {
            var type = new BtfType(this, id);
            var name = type.NameUtf8;
            if (name.StartsWith(prefix) && (all || Globs.Matches(pattern, Encoding.UTF8.GetString(name))))
                result.Add(type);
        }
        return result;
    }

    /// <summary>Names of this file's own types of two kinds; for suggestions.</summary>
    public IEnumerable<string> NamesOf(BtfKind first, BtfKind second)
    {
        foreach (var id in IdsOf(first, second))
        {
            if (new BtfType(this, id).Name is { Length: > 0 } name)
                yield return name;
        }
    }

    /// <summary>Names of the enumerators of this file's own enums; for suggestions.</summary>
    public IEnumerable<string> EnumeratorNames()
    {
        foreach (var id in IdsOf(BtfKind.Enum, BtfKind.Enum64))
        {
            var list = new BtfType(this, id).EnumeratorsHere;
            for (var i = 0; i < list.Count; i++)
                yield return list[i].Name;
        }
    }

    private BtfEnumeratorIndex? _enumerators;

    /// <summary>
    /// The value of the enumerator with this name in any enum, or null. Of several with one name, the one in the
    /// enum with the lowest id. The first call indexes all enumerators (about 2 ms for a vmlinux).
    /// </summary>
    public BtfEnumerator? FindEnumerator(string name) =>
        Base?.FindEnumerator(name) ?? (_enumerators ??= new BtfEnumeratorIndex(this)).Find(name);

    /// <summary>
    /// Whether enums carry their signedness (pahole 1.24, kernels about 6.0). Older BTF means signed values throughout.
    /// The sign that it does: some enum has the flag, or an enum64 exists.
    /// </summary>
    internal bool TellsEnumSigns
    {
        get
        {
            if (_tellsEnumSigns == 0)
                _tellsEnumSigns = (Base?.TellsEnumSigns ?? false) || SomeEnumHasSign() ? 1 : 2;
            return _tellsEnumSigns == 1;
        }
    }

    private int _tellsEnumSigns; // 0 unknown, 1 yes, 2 no

    private bool SomeEnumHasSign()
    {
        foreach (var id in IdsOf(BtfKind.Enum, BtfKind.Enum64))
        {
            var type = new BtfType(this, id);
            if (type.Kind == BtfKind.Enum64 || type.KindFlag)
                return true;
        }
        return false;
    }

    /// <summary>Ids of this file's own types of two kinds, ascending: a scan of 0.5 ms for a vmlinux.</summary>
    internal List<int> IdsOf(BtfKind first, BtfKind second)
    {
        var ids = new List<int>();
        var types = _types.Span;
        var offsets = _index.Offsets;
        for (var i = 0; i < offsets.Length; i++)
        {
            var offset = offsets[i];
            if ((uint)offset > (uint)(types.Length - RecordHeader))
                throw Malformed($"the record of type {FirstId + i} lies outside the file");
            var kind = (BtfKind)(types[offset + 7] & 0x1f); // the top byte of "info"
            if (kind == first || kind == second)
                ids.Add(FirstId + i);
        }
        return ids;
    }

    // -------------------------------------------------------------------------------------------- reading records

    /// <summary>Offset in the types section of a record of this file's own.</summary>
    internal int Offset(int id)
    {
        var offset = _index.Offset(id - FirstId);
        if ((uint)offset > (uint)(_types.Length - RecordHeader))
            throw Malformed($"the record of type {id} lies outside the file");
        return offset;
    }

    /// <summary>A 32-bit field of the types section.</summary>
    internal uint Word(int offset)
    {
        var types = _types.Span;
        if ((uint)offset > (uint)(types.Length - 4))
            throw Malformed("a type record is cut off");
        return BinaryPrimitives.ReadUInt32LittleEndian(types[offset..]);
    }

    /// <summary>The string at an offset as types name it, without its zero byte.</summary>
    internal ReadOnlySpan<byte> String(uint offset)
    {
        if (offset < FirstString)
            return Base!.String(offset);
        offset -= (uint)FirstString;
        if (offset >= _strings.Length)
            throw Malformed("a name lies outside its strings");
        var rest = _strings.Span[(int)offset..];
        return rest[..rest.IndexOf((byte)0)];
    }

    internal TargetException Malformed(string why) =>
        new($"BTF \"{Name}\" is malformed: {why}. Is the file complete and for this kernel?");
}
