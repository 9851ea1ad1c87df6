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
}
