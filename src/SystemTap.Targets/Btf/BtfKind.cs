namespace SystemTap.Targets;

/// <summary>The kinds of BTF types; numbers are those of the format (include/uapi/linux/btf.h).</summary>
public enum BtfKind : byte
{
    /// <summary>Type id 0: <c>void</c>, or "nothing".</summary>
    Void = 0,
    Int = 1,
    Pointer = 2,
    Array = 3,
    Struct = 4,
    Union = 5,
    Enum = 6,
    /// <summary>A struct or union that is only declared.</summary>
    Forward = 7,
    Typedef = 8,
    Volatile = 9,
    Const = 10,
    Restrict = 11,
    /// <summary>A named function; its <see cref="BtfType.Target"/> is a <see cref="FunctionPrototype"/>.</summary>
    Function = 12,
    FunctionPrototype = 13,
    /// <summary>A global (in vmlinux: per-CPU) variable.</summary>
    Variable = 14,
    DataSection = 15,
    Float = 16,
    DeclarationTag = 17,
    TypeTag = 18,
    /// <summary>Since 6.0: an enum with 64-bit values.</summary>
    Enum64 = 19,
}
