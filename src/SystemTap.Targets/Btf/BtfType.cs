using System.Text;

namespace SystemTap.Targets;

/// <summary>
/// One type of a <see cref="Btf"/>: a handle of two words which reads the record on each question, so copy it freely
/// and do not loop over a property. Handles are equal when they denote the same type of the same file.
/// All members throw <see cref="TargetException"/> when the record is malformed.
/// </summary>
public readonly struct BtfType : IEquatable<BtfType>
{
    private readonly Btf _btf;

    internal BtfType(Btf btf, int id)
    {
        Id = id;
        while (id != 0 && id < btf.FirstId && btf.Base is not null)
            btf = btf.Base;
        _btf = btf;
    }

    /// <summary>The id within <see cref="Btf"/>; 0 for <c>void</c>.</summary>
    public int Id { get; }

    /// <summary>The file that describes the type: for a module's reference to a kernel type, the kernel's.</summary>
    public Btf Btf => _btf;

    internal int Offset => _btf.Offset(Id);
    internal uint Word(int offset) => _btf.Word(offset);
    private BtfType Void => Id == 0 ? this : _btf.Type(0);
    private uint Info => Id == 0 ? 0 : Word(Offset + 4);
    private uint SizeOrType => Word(Offset + 8);
    internal int Count => (int)(Info & 0xffff);
    internal bool KindFlag => Info >> 31 != 0;

    public BtfKind Kind => (BtfKind)(Info >> 24 & 0x1f);

    /// <summary>Empty for an anonymous type, a pointer, an array; without "struct" and the like.</summary>
    public string Name => Encoding.UTF8.GetString(NameUtf8);

    /// <inheritdoc cref="Name"/>
    public ReadOnlySpan<byte> NameUtf8 => Id == 0 ? default : _btf.String(Word(Offset));

    public bool IsAnonymous => NameUtf8.IsEmpty;

    // ------------------------------------------------------------------------------------------------ kind of type

    /// <summary>
    /// This type without typedefs, <c>const</c>, <c>volatile</c>, <c>restrict</c> and tags: never one of those kinds.
    /// </summary>
    public BtfType Stripped
    {
        get
        {
            var type = this;
            for (var depth = 0; depth < Btf.MaximumDepth; depth++)
            {
                if (type.Kind is not (BtfKind.Typedef or BtfKind.Const or BtfKind.Volatile or BtfKind.Restrict or BtfKind.TypeTag))
                    return type;
                type = type.Target;
            }
            throw TooDeep();
        }
    }

    /// <summary>
    /// What a pointer points to, a typedef or qualifier stands for, a function's prototype, a variable's type,
    /// an array's element, a prototype's result. For other kinds, <c>void</c>.
    /// </summary>
    public BtfType Target => Kind switch
    {
        BtfKind.Pointer or BtfKind.Typedef or BtfKind.Const or BtfKind.Volatile or BtfKind.Restrict or BtfKind.TypeTag
            or BtfKind.Function or BtfKind.FunctionPrototype or BtfKind.Variable or BtfKind.DeclarationTag => Refer(SizeOrType),
        BtfKind.Array => Refer(Word(Offset + Btf.RecordHeader)),
        _ => Void,
    };

    public bool IsVoid => Stripped.Kind == BtfKind.Void;
    public bool IsPointer => Stripped.Kind == BtfKind.Pointer;
    public bool IsArray => Stripped.Kind == BtfKind.Array;
    public bool IsStructOrUnion => Stripped.Kind is BtfKind.Struct or BtfKind.Union;
    public bool IsEnum => Stripped.Kind is BtfKind.Enum or BtfKind.Enum64;

    /// <summary>An integer, <c>char</c>, <c>bool</c> or enum: what fits a script's number without being an address.</summary>
    public bool IsInteger => Stripped.Kind is BtfKind.Int or BtfKind.Enum or BtfKind.Enum64;

    public bool IsFloat => Stripped.Kind == BtfKind.Float;

    /// <summary>Whether values are to be sign-extended. For enums: whether any enumerator is negative (kernels before 6.0 do not tell: then assumed).</summary>
    public bool IsSigned
    {
        get
        {
            var type = Stripped;
            return type.Kind switch
            {
                BtfKind.Int => (type.IntData >> 24 & 1) != 0,
                BtfKind.Enum or BtfKind.Enum64 => type.KindFlag || !_btf.TellsEnumSigns,
                _ => false,
            };
        }
    }

    /// <summary><c>bool</c> (<c>_Bool</c>).</summary>
    public bool IsBool
    {
        get
        {
            var type = Stripped;
            return type.Kind == BtfKind.Int && (type.IntData >> 24 & 4) != 0;
        }
    }

    /// <summary>
    /// <c>char</c>, <c>signed char</c> or <c>unsigned char</c> under any typedef (so <c>u8</c> too): what arrays and
    /// pointers of may be text. pahole does not set the format's own flag for it, hence the name decides.
    /// </summary>
    public bool IsChar
    {
        get
        {
            var type = Stripped;
            if (type.Kind != BtfKind.Int || type.SizeOrType != 1)
                return false;
            var name = type.NameUtf8;
            return (type.IntData >> 24 & 2) != 0 || name.SequenceEqual("char"u8) || name.SequenceEqual("unsigned char"u8) || name.SequenceEqual("signed char"u8);
        }
    }

    private uint IntData => Word(Offset + Btf.RecordHeader);

    /// <summary>Bits of an integer's value (not always 8 × <see cref="Size"/> in BTF made by old compilers); 0 for other kinds.</summary>
    public int IntegerBits
    {
        get
        {
            var type = Stripped;
            return type.Kind switch
            {
                BtfKind.Int => (int)(type.IntData & 0xff),
                BtfKind.Enum or BtfKind.Enum64 => (int)type.Size * 8,
                _ => 0,
            };
        }
    }

    // -------------------------------------------------------------------------------------------------- size, parts

    /// <summary>Size in bytes, as <c>sizeof</c>; 0 for <c>void</c>, functions, types only declared, flexible arrays.</summary>
    public long Size
    {
        get
        {
            var type = this;
            UInt128 count = 1;
            for (var depth = 0; depth < Btf.MaximumDepth; depth++)
            {
                switch (type.Kind)
                {
                    case BtfKind.Int or BtfKind.Struct or BtfKind.Union or BtfKind.Enum or BtfKind.Enum64 or BtfKind.Float or BtfKind.DataSection:
                        return Bytes(count, type.SizeOrType);
                    case BtfKind.Pointer:
                        return Bytes(count, (uint)_btf.PointerSize);
                    case BtfKind.Array:
                        count *= (uint)type.Length;
                        if (count > int.MaxValue)
                            throw _btf.Malformed($"array type {Id} is larger than 2 GiB");
                        type = type.Target;
                        break;
                    case BtfKind.Typedef or BtfKind.Const or BtfKind.Volatile or BtfKind.Restrict or BtfKind.TypeTag or BtfKind.Variable:
                        type = type.Target;
                        break;
                    default:
                        return 0;
                }
            }
            throw TooDeep();
        }
    }

    private long Bytes(UInt128 count, uint each) =>
        count * each <= uint.MaxValue ? (long)(count * each) : throw _btf.Malformed($"type {Id} is larger than 4 GiB");

    /// <summary>Elements of an array (after stripping), 0 for a flexible one and for other kinds.</summary>
    public long Length
    {
        get
        {
            var type = Stripped;
            return type.Kind == BtfKind.Array ? type.Word(type.Offset + Btf.RecordHeader + 8) : 0;
        }
    }

    /// <summary>
    /// Members of a struct or union (after stripping) in their order, anonymous ones as they are; empty for other kinds.
    /// See <see cref="BtfMemberSearch.FindMember"/> to look through anonymous ones.
    /// </summary>
    public BtfMemberList Members => new(Stripped);

    /// <summary>Names and values of an enum (after stripping); empty for other kinds.</summary>
    public BtfEnumeratorList Enumerators => new(Stripped);

    /// <summary>The same without looking through typedefs.</summary>
    internal BtfEnumeratorList EnumeratorsHere => new(this);

    /// <summary>Parameters of a function, a prototype, or a pointer or typedef of one, without a final <c>...</c>; empty for other kinds.</summary>
    public BtfParameterList Parameters => new(Prototype);

    /// <summary>Whether the prototype ends in <c>...</c>.</summary>
    public bool IsVariadic
    {
        get
        {
            var prototype = Prototype;
            return prototype.Kind == BtfKind.FunctionPrototype && prototype.Count > 0 && BtfParameterList.IsEllipsis(prototype, prototype.Count - 1);
        }
    }

    /// <summary>What a function or a pointer to one returns; <c>void</c> for other kinds.</summary>
    public BtfType ReturnType => Prototype is { Kind: BtfKind.FunctionPrototype } prototype ? prototype.Target : Void;

    /// <summary>Whether a function is visible to other source files (BTF's linkage is not "static").</summary>
    public bool IsGlobalFunction => Kind == BtfKind.Function && Count != 0;

    private BtfType Prototype
    {
        get
        {
            var type = Stripped;
            if (type.Kind == BtfKind.Pointer)
                type = type.Target.Stripped;
            return type.Kind == BtfKind.Function ? type.Target : type;
        }
    }

    /// <summary>The type as C declares it: "struct task_struct *", "char [16]", "int (*)(void *)", "struct {...}".</summary>
    public string Declaration => BtfDeclaration.Text(this, compact: false);

    /// <summary>The same as SystemTap's listings spell it, without the space before <c>*</c> and <c>[</c>: "struct task_struct*".</summary>
    public string CompactDeclaration => BtfDeclaration.Text(this, compact: true);

    /// <summary>A type of this file by the number a record holds.</summary>
    internal BtfType Refer(uint id) => _btf.Type(id > int.MaxValue ? int.MaxValue : (int)id);

    private TargetException TooDeep() => _btf.Malformed($"type {Id} refers to itself");

    public bool Equals(BtfType other) => Id == other.Id && ReferenceEquals(_btf, other._btf);
    public override bool Equals(object? obj) => obj is BtfType other && Equals(other);
    public override int GetHashCode() => Id;
    public static bool operator ==(BtfType left, BtfType right) => left.Equals(right);
    public static bool operator !=(BtfType left, BtfType right) => !left.Equals(right);
    public override string ToString() => _btf is null ? "(none)" : Declaration;
}
