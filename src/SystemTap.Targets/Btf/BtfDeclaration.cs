using System.Text;

namespace SystemTap.Targets;

/// <summary>
/// Spells a type as C does, from the inside out: what is declared grows around "inner". Compact is as SystemTap's listings have it, with the qualifiers
/// behind what they qualify: <c>struct path const*</c>, <c>char const* const*</c>, <c>int (*) (int)</c>.
/// </summary>
internal static class BtfDeclaration
{
    public static string Text(BtfType type, bool compact) =>
        Around(type, "", 0, compact);

    private static string Around(BtfType type, string inner, int depth, bool compact)
    {
        if (depth > Btf.MaximumDepth)
            throw type.Btf.Malformed($"type {type.Id} refers to itself");
        switch (type.Kind)
        {
            case BtfKind.Pointer:
                var target = type.Target;
                var group = Unqualified(target).Kind is BtfKind.Array or BtfKind.FunctionPrototype;
                return Around(target, group ? $"(*{inner})" : compact && inner.Length > 0 && char.IsLetter(inner[0]) ? "* " + inner : "*" + inner, depth + 1, compact);
            case BtfKind.Array:
                return Around(type.Target, $"{inner}[{(type.Length == 0 ? "" : type.Length)}]", depth + 1, compact);
            case BtfKind.Const:
                return Qualified(type, "const", inner, depth, compact);
            case BtfKind.Volatile:
                return Qualified(type, "volatile", inner, depth, compact);
            case BtfKind.Restrict:
                return Qualified(type, "restrict", inner, depth, compact);
            case BtfKind.TypeTag:
                return Around(type.Target, inner, depth + 1, compact); // __user, __rcu: not part of the C type
            case BtfKind.Function:
                return Around(type.Target, type.Name, depth + 1, compact);
            case BtfKind.Variable:
                return Around(type.Target, inner, depth + 1, compact);
            case BtfKind.FunctionPrototype:
                return Around(type.Target, inner + (compact && inner.Length > 0 ? " " : "") + Parameters(type, depth, compact), depth + 1, compact);
            default:
                var name = Base(type);
                return inner.Length == 0 ? name : compact && (inner[0] is '*' or '[') ? name + inner : $"{name} {inner}";
        }
    }

    private static string Qualified(BtfType type, string qualifier, string inner, int depth, bool compact)
    {
        var target = type.Target;
        // "char *const p", but "const char *p"
        return compact || Unqualified(target).Kind == BtfKind.Pointer
            ? Around(target, inner.Length == 0 ? qualifier : inner[0] is '*' or '[' ? qualifier + inner : $"{qualifier} {inner}", depth + 1, compact)
            : $"{qualifier} {Around(target, inner, depth + 1, compact)}";
    }

    private static BtfType Unqualified(BtfType type)
    {
        for (var depth = 0; depth < Btf.MaximumDepth && type.Kind is BtfKind.Const or BtfKind.Volatile or BtfKind.Restrict or BtfKind.TypeTag; depth++)
            type = type.Target;
        return type;
    }

    private static string Parameters(BtfType prototype, int depth, bool compact)
    {
        var text = new StringBuilder("(");
        foreach (var parameter in prototype.Parameters)
        {
            if (text.Length > 4096)
                return text.Append("...)").ToString(); // only nested nonsense gets here
            if (text.Length > 1)
                text.Append(", ");
            text.Append(Around(parameter.Type, parameter.Name, depth + 8, compact));
        }
        if (prototype.IsVariadic)
            text.Append(text.Length > 1 ? ", ..." : "...");
        else if (text.Length == 1)
            text.Append("void");
        return text.Append(')').ToString();
    }

    private static string Base(BtfType type)
    {
        var name = type.Name;
        var keyword = type.Kind switch
        {
            BtfKind.Struct => "struct",
            BtfKind.Union => "union",
            BtfKind.Enum or BtfKind.Enum64 => "enum",
            BtfKind.Forward => type.KindFlag ? "union" : "struct",
            _ => null,
        };
        return keyword is null ? type.Kind == BtfKind.Void ? "void" : name
            : name.Length == 0 ? keyword + " {...}"
            : $"{keyword} {name}";
    }
}
