namespace SystemTap.Targets;

// DWARF types become BTF, so that everything that knows BTF (members, indexes, pretty printing, enums, casts) serves programs as well as the kernel.
// Only what a script reaches is converted: a type and all it refers to. Records are appended, ids never change, and every request that added something
// makes a new Btf of all records; handles to older ones stay valid, for they are closed under reference.
//
//   base types          Int (char, bool and signs kept), Float          references          Pointer
//   class, struct       Struct; a base class is an anonymous member     rvalue references   Pointer
//   Rust enums          Struct with the members of all variants         member pointers     Int of 8 bytes
//   declared only       the definition of another unit, else Forward    unspecified         void
//
// Record 1 is an Enum64 nobody uses: it tells readers that this BTF marks the signs of enums.

/// <summary>The types of a <see cref="DwarfFile"/> as <see cref="Btf"/>.</summary>
public sealed class DwarfTypes
{
    private readonly DwarfFile _file;
    private readonly BtfWriter _writer = new();
    private readonly Dictionary<nint, int> _ids = [];
    private readonly Queue<(DwarfDie Die, int Id)> _pending = new();
    private Btf? _btf;
    private int _written;

    internal DwarfTypes(DwarfFile file)
    {
        _file = file;
        _writer.Set(_writer.Reserve(), BtfKind.Enum64, "", 0, false, 8);
    }

    /// <summary>The type of a DIE, void for none.</summary>
    internal BtfType Convert(DwarfDie die)
    {
        var id = IdOf(die);
        while (_pending.TryDequeue(out var next))
            Write(next.Die, next.Id);
        if (_btf is null || _written != _writer.Count)
        {
            _btf = Btf.Parse(_writer.ToBytes(), "dwarf " + _file.Path, pointerSize: _file.AddressSize);
            _written = _writer.Count;
        }
        return _btf.Type(id);
    }

    /// <summary>A type by the words of a cast: keyword (or "") and name, which may have scopes; null when the program has none.</summary>
    public BtfType? Find(string keyword, string name)
    {
        lock (DwarfFile.Lock)
            return _file.TypeNamed(keyword, name) is { } die ? Convert(die) : null;
    }

    private int IdOf(DwarfDie? type)
    {
        if (type is not { } die)
            return 0;
        if (_ids.TryGetValue(die.Key, out var known))
            return known;
        var tag = die.Tag();
        if (tag is Dw.UnspecifiedType)
            return _ids[die.Key] = 0;
        if (tag is Dw.StructureType or Dw.ClassType or Dw.UnionType or Dw.EnumerationType && die.Has(Dw.AtDeclaration) && _file.Definition(die) is { } whole && whole.Key != die.Key)
            return _ids[die.Key] = IdOf(whole);
        if (tag == Dw.AtomicType)
            return _ids[die.Key] = IdOf(die.Type());
        var id = _writer.Reserve();
        _ids[die.Key] = id;
        _pending.Enqueue((die, id));
        return id;
    }

    private void Write(DwarfDie die, int id)
    {
        var name = die.Name();
        var size = (uint)(die.Number(Dw.AtByteSize) ?? 0);
        switch (die.Tag())
        {
            case Dw.BaseType:
                Base(die, id, name, size);
                break;
            case Dw.PointerType or Dw.ReferenceType or Dw.RvalueReference:
                _writer.Set(id, BtfKind.Pointer, "", 0, false, (uint)IdOf(die.Type()));
                break;
            case Dw.ConstType:
                _writer.Set(id, BtfKind.Const, "", 0, false, (uint)IdOf(die.Type()));
                break;
            case Dw.VolatileType:
                _writer.Set(id, BtfKind.Volatile, "", 0, false, (uint)IdOf(die.Type()));
                break;
            case Dw.RestrictType:
                _writer.Set(id, BtfKind.Restrict, "", 0, false, (uint)IdOf(die.Type()));
                break;
            case Dw.Typedef or Dw.TemplateAlias:
                _writer.Set(id, BtfKind.Typedef, name, 0, false, (uint)IdOf(die.Type()));
                break;
            case Dw.StructureType or Dw.ClassType or Dw.UnionType or Dw.InterfaceType:
                if (die.Has(Dw.AtDeclaration))
                    _writer.Set(id, BtfKind.Forward, name, 0, die.Tag() == Dw.UnionType, 0);
                else
                    Composite(die, id, name, size);
                break;
            case Dw.EnumerationType:
                Enumeration(die, id, name, size == 0 ? 4 : size);
                break;
            case Dw.ArrayType:
                Array(die, id);
                break;
            case Dw.SubroutineType:
                Prototype(die, id);
                break;
            case Dw.PointerToMember:
                _writer.Set(id, BtfKind.Int, "long int", 0, false, 8, 1u << 24 | 64);
                break;
            default:
                _writer.Set(id, BtfKind.Forward, name, 0, false, 0);
                break;
        }
    }

    private void Base(DwarfDie die, int id, string name, uint size)
    {
        var encoding = die.Number(Dw.AtEncoding) ?? 0;
        if (encoding == Dw.EncodingFloat)
        {
            _writer.Set(id, BtfKind.Float, name, 0, false, size);
            return;
        }
        uint flags = encoding switch
        {
            Dw.EncodingSigned => 1,
            Dw.EncodingSignedChar => 1 | 2,
            Dw.EncodingUnsignedChar => 2,
            Dw.EncodingBoolean => 4,
            _ => 0,
        };
        _writer.Set(id, BtfKind.Int, name, 0, false, size, flags << 24 | Math.Min(size * 8, 255));
    }

    private void Composite(DwarfDie die, int id, string name, uint size)
    {
        var members = new List<(string Name, int Type, long BitOffset, int Bits)>();
        Members(die, 0, members, 0);
        var anyBits = members.Exists(m => m.Bits > 0);
        if (anyBits)
            members.RemoveAll(static m => m.BitOffset > 0xffffff); // beyond 2 MiB the format has no room beside bit-fields
        if (members.Count > ushort.MaxValue)
            members.RemoveRange(ushort.MaxValue, members.Count - ushort.MaxValue);
        var words = new List<uint>(members.Count * 3);
        foreach (var member in members)
        {
            words.Add(_writer.Text(member.Name));
            words.Add((uint)member.Type);
            words.Add(anyBits ? (uint)member.BitOffset | (uint)member.Bits << 24 : (uint)member.BitOffset);
        }
        _writer.Set(id, die.Tag() == Dw.UnionType ? BtfKind.Union : BtfKind.Struct, name, members.Count, anyBits, size, [.. words]);
    }

    private void Members(DwarfDie owner, long @base, List<(string, int, long, int)> result, int depth)
    {
        foreach (var die in owner.Children())
        {
            switch (die.Tag())
            {
                case Dw.Inheritance:
                    if (DwarfLocations.MemberOffset(die) is { } at)
                        result.Add(("", IdOf(die.Type()), (@base + at) * 8, 0));
                    break;
                case Dw.VariantPart or Dw.Variant when depth < 4:
                    Members(die, @base, result, depth + 1);
                    break;
                case Dw.Member when !die.Has(Dw.AtExternal) && !die.Has(Dw.AtDeclaration):
                    if (DwarfLocations.MemberOffset(die) is { } offset)
                        result.Add((die.Name(), IdOf(die.Type()), BitOffset(die, @base + offset, out var bits), bits));
                    break;
            }
        }
    }

    private static long BitOffset(DwarfDie member, long offset, out int bits)
    {
        bits = (int)(member.Number(Dw.AtBitSize) ?? 0);
        if (bits is 0 or > 64)
        {
            bits = 0;
            return offset * 8;
        }
        if (member.Number(Dw.AtDataBitOffset) is { } whole)
            return (long)whole + (member.Has(Dw.AtMemberLocation) ? offset * 8 : 0);
        // DWARF 2 and 3 count from the most significant bit of the storage unit.
        if (member.SignedNumber(Dw.AtBitOffset) is { } fromTop)
        {
            var storage = (long)(member.Number(Dw.AtByteSize) ?? (member.Type() is { } type ? Size(type) : 4));
            return offset * 8 + storage * 8 - fromTop - bits;
        }
        return offset * 8;
    }

    private static ulong Size(DwarfDie type)
    {
        for (var i = 0; i < 32; i++)
        {
            if (type.Number(Dw.AtByteSize) is { } size)
                return size;
            if (type.Type() is not { } next)
                return 4;
            type = next;
        }
        return 4;
    }

    private void Enumeration(DwarfDie die, int id, string name, uint size)
    {
        var words = new List<uint>();
        var count = 0;
        var wide = size == 8;
        var isSigned = false;
        var underlying = die.Type();
        if (underlying is { } type)
            isSigned = Encoding(type) is Dw.EncodingSigned or Dw.EncodingSignedChar;
        foreach (var child in die.Children())
        {
            if (child.Tag() != Dw.Enumerator || count == ushort.MaxValue)
                continue;
            var value = child.SignedNumber(Dw.AtConstValue) ?? 0;
            isSigned |= underlying is null && value < 0;
            words.Add(_writer.Text(child.Name()));
            words.Add((uint)value);
            if (wide)
                words.Add((uint)(value >> 32));
            count++;
        }
        _writer.Set(id, wide ? BtfKind.Enum64 : BtfKind.Enum, name, count, isSigned, size, [.. words]);
    }

    private static ulong Encoding(DwarfDie type)
    {
        for (var i = 0; i < 32; i++)
        {
            if (type.Number(Dw.AtEncoding) is { } encoding)
                return encoding;
            if (type.Type() is not { } next)
                return 0;
            type = next;
        }
        return 0;
    }

    /// <summary>Elements of one dimension; 0 when it is open or computed.</summary>
    internal static long Length(DwarfDie subrange)
    {
        if (subrange.Number(Dw.AtCount) is { } count && count <= uint.MaxValue)
            return (long)count;
        return subrange.Number(Dw.AtUpperBound) is { } last && last < uint.MaxValue ? (long)last + 1 : 0;
    }

    private void Array(DwarfDie die, int id)
    {
        var lengths = new List<long>();
        foreach (var child in die.Children())
            if (child.Tag() == Dw.SubrangeType)
                lengths.Add(Length(child));
        if (lengths.Count == 0)
            lengths.Add(0);
        // The innermost dimension is nearest the element: int a[2][3] is 2 of (3 of int).
        var element = IdOf(die.Type());
        for (var i = lengths.Count - 1; i >= 0; i--)
        {
            var own = i == 0 ? id : _writer.Reserve();
            _writer.Set(own, BtfKind.Array, "", 0, false, 0, (uint)element, 0, (uint)lengths[i]);
            element = own;
        }
    }

    private void Prototype(DwarfDie die, int id)
    {
        var words = new List<uint>();
        var count = 0;
        foreach (var child in die.Children())
        {
            if (child.Tag() == Dw.FormalParameter && count < 255)
            {
                words.Add(_writer.Text(child.Name()));
                words.Add((uint)IdOf(child.Type()));
                count++;
            }
        }
        _writer.Set(id, BtfKind.FunctionPrototype, "", count, false, (uint)IdOf(die.Type()), [.. words]);
    }
}
