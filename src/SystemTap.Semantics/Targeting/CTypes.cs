using SystemTap.Semantics.Probes;
using SystemTap.Targets;

namespace SystemTap.Semantics.Targeting;

/// <summary>Questions about C types that the target binder and the probe contexts share.</summary>
internal static class CTypes
{
    /// <summary>True if a pointer type carries the <c>__user</c> tag (BTF made by clang keeps it; gcc's does not).</summary>
    public static bool PointsToUser(BtfType pointer)
    {
        var type = pointer.Stripped.Target;
        for (var i = 0; i < 32; i++)
        {
            switch (type.Kind)
            {
                case BtfKind.TypeTag when type.NameUtf8.SequenceEqual("user"u8):
                    return true;
                case BtfKind.TypeTag or BtfKind.Const or BtfKind.Volatile or BtfKind.Restrict or BtfKind.Typedef:
                    type = type.Target;
                    continue;
                default:
                    return false;
            }
        }

        return false;
    }

    /// <summary>True if the value is a pointer, whether BTF has a record for its type or not.</summary>
    public static bool IsPointer(CType type) => type.PointerDepth > 0 || !type.IsInMemory && type.Type.IsPointer;

    /// <summary>True for a 4-byte floating-point number as it is in memory or a register; it becomes a double where it becomes a script's number.</summary>
    public static bool IsFloat32(CType? type) => type is { PointerDepth: 0, IsInMemory: false, IsWidened: false } && type.Type.Stripped is { IsFloat: true, Size: 4 };

    /// <summary>What an element behind a pointer, or of an array, is; <see cref="CType.IsUser"/> says where it lies. Null for other types.</summary>
    public static CType? Element(CType type)
    {
        if (type.PointerDepth > 0)
        {
            return type with { PointerDepth = type.PointerDepth - 1, IsInMemory = false };
        }

        if (type.Type.IsArray)
        {
            return new CType(type.Type.Stripped.Target, type.IsUser, false);
        }

        return type.Type.IsPointer ? new CType(type.Type.Stripped.Target, type.IsUser || PointsToUser(type.Type), false) : null;
    }

    /// <summary>Bytes of an object of this type; 0 for void, functions and types only declared.</summary>
    public static long Size(CType type) => type.PointerDepth > 0 ? 8 : Complete(type.Type).Size;

    /// <summary>The definition behind a declaration (<c>struct x;</c>) when the kernel's BTF or the type's own has it.</summary>
    public static BtfType Complete(BtfType type)
    {
        var stripped = type.Stripped;
        if (stripped.Kind != BtfKind.Forward)
        {
            return type;
        }

        var name = stripped.Name;
        return stripped.Btf.Find(BtfKind.Struct, name) ?? stripped.Btf.Find(BtfKind.Union, name) ?? type;
    }

    /// <summary>The type as messages spell it.</summary>
    public static string Text(CType type) => type.Type.Declaration + (type.PointerDepth > 0 ? " " + new string('*', type.PointerDepth) : "");
}
