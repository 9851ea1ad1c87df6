using System.Text;

namespace SystemTap.Targets;

/// <summary>A member of a struct or union.</summary>
/// <param name="Owner">The struct or union that declares it directly.</param>
/// <param name="NameOffset">Its name as an offset of the strings.</param>
/// <param name="Type">Its declared type.</param>
/// <param name="BitOffset">From the beginning of the type it was asked of, in bits.</param>
/// <param name="BitFieldSize">Bits of a bit-field; 0 for a member that is not one.</param>
public readonly record struct BtfMember(BtfType Owner, uint NameOffset, BtfType Type, long BitOffset, int BitFieldSize)
{
    /// <summary>Empty for an anonymous struct, union or padding.</summary>
    public string Name => Encoding.UTF8.GetString(NameUtf8);

    /// <inheritdoc cref="Name"/>
    public ReadOnlySpan<byte> NameUtf8 => Owner.Btf.String(NameOffset);

    /// <summary>From the beginning of the type it was asked of, in bytes; of a bit-field, where its first bit lies.</summary>
    public long ByteOffset => BitOffset / 8;

    public bool IsBitField => BitFieldSize != 0;

    /// <summary>
    /// How to read a bit-field on a little-endian machine: load <c>Size</c> (1, 2, 4 or 8) naturally aligned bytes at
    /// <c>Offset</c>, shift left then right (arithmetically if the type is signed) within 64 bits.
    /// A field that no aligned load covers (packed structs) gets an unaligned one; null when it spans more than 8 bytes.
    /// </summary>
    public (long Offset, int Size, int ShiftLeft, int ShiftRight)? BitFieldLoad
    {
        get
        {
            for (var size = 1; size <= 8; size *= 2)
            {
                var start = BitOffset / 8 & -size;
                if (BitOffset + BitFieldSize <= (start + size) * 8)
                    return (start, size, (int)(64 - (BitOffset - start * 8) - BitFieldSize), 64 - BitFieldSize);
            }
            var first = BitOffset / 8;
            return BitOffset + BitFieldSize <= (first + 8) * 8
                ? (first, 8, (int)(64 - (BitOffset - first * 8) - BitFieldSize), 64 - BitFieldSize)
                : null;
        }
    }
}

/// <summary>A name and value of an enum.</summary>
/// <param name="Type">The enum.</param>
/// <param name="NameOffset">Its name as an offset of the strings.</param>
/// <param name="Value">Sign-extended where the enum is signed; above 2^63 it wraps, as script numbers do.</param>
public readonly record struct BtfEnumerator(BtfType Type, uint NameOffset, long Value)
{
    public string Name => Encoding.UTF8.GetString(NameUtf8);
    public ReadOnlySpan<byte> NameUtf8 => Type.Btf.String(NameOffset);
}

/// <summary>A parameter of a function; the name is empty in prototypes of function pointers.</summary>
public readonly record struct BtfParameter(BtfType Function, uint NameOffset, BtfType Type)
{
    public string Name => Encoding.UTF8.GetString(NameUtf8);
    public ReadOnlySpan<byte> NameUtf8 => Function.Btf.String(NameOffset);
}

/// <summary>The members of a struct or union, read as they are visited.</summary>
public readonly struct BtfMemberList
{
    private readonly BtfType _type;
    private readonly int _offset;
    private readonly bool _packed;

    internal BtfMemberList(BtfType type)
    {
        if (type.Kind is not (BtfKind.Struct or BtfKind.Union))
            return;
        _type = type;
        _offset = type.Offset + Btf.RecordHeader;
        _packed = type.KindFlag;
        Count = type.Count;
    }

    public int Count { get; }

    public BtfMember this[int index]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Count);
            var at = _offset + 12 * index;
            var place = _type.Word(at + 8);
            var type = _type.Refer(_type.Word(at + 4));
            // With the kind flag, the word holds the width of a bit-field in its top byte.
            // Without, bit-fields are described by ints narrower than their storage (BTF of the 4.18 days).
            if (_packed)
                return new BtfMember(_type, _type.Word(at), type, place & 0xffffff, (int)(place >> 24));
            var narrow = type.Stripped is { Kind: BtfKind.Int } integer && integer.IntegerBits != integer.Size * 8 && !type.IsBool;
            return new BtfMember(_type, _type.Word(at), type, place, narrow ? type.IntegerBits : 0);
        }
    }

    public Enumerator GetEnumerator() => new(this);

    public struct Enumerator(BtfMemberList list)
    {
        private int _next;
        public BtfMember Current { get; private set; }

        public bool MoveNext()
        {
            if (_next >= list.Count)
                return false;
            Current = list[_next++];
            return true;
        }
    }
}

/// <summary>The enumerators of an enum, read as they are visited.</summary>
public readonly struct BtfEnumeratorList
{
    private readonly BtfType _type;
    private readonly int _offset;
    private readonly bool _wide;

    internal BtfEnumeratorList(BtfType type)
    {
        var kind = type.Kind;
        if (kind is not (BtfKind.Enum or BtfKind.Enum64))
            return;
        _type = type;
        _offset = type.Offset + Btf.RecordHeader;
        _wide = kind == BtfKind.Enum64;
        Count = type.Count;
    }

    public int Count { get; }

    public BtfEnumerator this[int index]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Count);
            var at = _offset + (_wide ? 12 : 8) * index;
            var low = _type.Word(at + 4);
            // Before 6.0 the flag for signedness did not exist and values were meant as signed.
            var value = _wide ? (long)((ulong)_type.Word(at + 8) << 32 | low)
                : _type.KindFlag || !_type.Btf.TellsEnumSigns ? (int)low
                : low;
            return new BtfEnumerator(_type, _type.Word(at), value);
        }
    }

    public Enumerator GetEnumerator() => new(this);

    public struct Enumerator(BtfEnumeratorList list)
    {
        private int _next;
        public BtfEnumerator Current { get; private set; }

        public bool MoveNext()
        {
            if (_next >= list.Count)
                return false;
            Current = list[_next++];
            return true;
        }
    }
}

/// <summary>The parameters of a function, read as they are visited.</summary>
public readonly struct BtfParameterList
{
    private readonly BtfType _type;
    private readonly int _offset;

    internal BtfParameterList(BtfType type)
    {
        if (type.Kind != BtfKind.FunctionPrototype)
            return;
        _type = type;
        _offset = type.Offset + Btf.RecordHeader;
        Count = type.Count;
        if (Count > 0 && IsEllipsis(type, Count - 1))
            Count--;
    }

    public int Count { get; }

    internal static bool IsEllipsis(BtfType prototype, int index)
    {
        var at = prototype.Offset + Btf.RecordHeader + 8 * index;
        return prototype.Word(at) == 0 && prototype.Word(at + 4) == 0;
    }

    public BtfParameter this[int index]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Count);
            var at = _offset + 8 * index;
            return new BtfParameter(_type, _type.Word(at), _type.Refer(_type.Word(at + 4)));
        }
    }

    public Enumerator GetEnumerator() => new(this);

    public struct Enumerator(BtfParameterList list)
    {
        private int _next;
        public BtfParameter Current { get; private set; }

        public bool MoveNext()
        {
            if (_next >= list.Count)
                return false;
            Current = list[_next++];
            return true;
        }
    }
}
