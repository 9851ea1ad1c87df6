namespace SystemTap.Targets;

/// <summary>Types as SystemTap's listings spell them, without converting them: <c>char const*</c>, <c>struct point* const</c>, <c>int (*) (int)</c>, <c>int[4]</c>.</summary>
internal static class DwarfText
{
    public static string Of(DwarfDie? type) => Around(type, "", 0);

    private static string Around(DwarfDie? type, string inner, int depth)
    {
        if (type is not { } die || depth > 32)
            return Join("void", inner);
        switch (die.Tag())
        {
            case Dw.PointerType:
                return Pointer(die, Marked("*", inner), depth);
            case Dw.ReferenceType:
                return Pointer(die, Marked("&", inner), depth);
            case Dw.RvalueReference:
                return Pointer(die, Marked("&&", inner), depth);
            case Dw.ConstType:
                return Qualified(die, "const", inner, depth);
            case Dw.VolatileType:
                return Qualified(die, "volatile", inner, depth);
            case Dw.RestrictType:
                return Qualified(die, "restrict", inner, depth);
            case Dw.AtomicType:
                return Around(die.Type(), inner, depth + 1);
            case Dw.ArrayType:
                foreach (var child in die.Children())
                    if (child.Tag() == Dw.SubrangeType)
                        inner += DwarfTypes.Length(child) is > 0 and var length ? $"[{length}]" : "[]";
                return Around(die.Type(), inner, depth + 1);
            case Dw.SubroutineType:
                var parameters = new List<string>();
                foreach (var child in die.Children())
                    if (child.Tag() == Dw.FormalParameter)
                        parameters.Add(Around(child.Type(), "", depth + 4));
                return Around(die.Type(), inner + (inner.Length > 0 ? " (" : "(") + string.Join(", ", parameters) + ")", depth + 1);
            case Dw.StructureType:
                return Join("struct " + NameOf(die), inner);
            case Dw.ClassType:
                return Join("class " + NameOf(die), inner);
            case Dw.UnionType:
                return Join("union " + NameOf(die), inner);
            case Dw.EnumerationType:
                return Join("enum " + NameOf(die), inner);
            default:
                return Join(NameOf(die), inner);
        }
    }

    private static string NameOf(DwarfDie die) => die.Name() is { Length: > 0 } name ? name : "{...}";

    private static string Join(string name, string inner) => inner.Length == 0 ? name : inner[0] is '*' or '[' or '&' ? name + inner : name + " " + inner;

    private static string Pointer(DwarfDie die, string inner, int depth)
    {
        var target = die.Type();
        var group = target is { } t && Unqualified(t) is { } plain && plain.Tag() is Dw.ArrayType or Dw.SubroutineType;
        return Around(target, group ? $"({inner})" : inner, depth + 1);
    }

    private static DwarfDie? Unqualified(DwarfDie type)
    {
        DwarfDie? result = type;
        for (var i = 0; i < 16 && result is { } die && die.Tag() is Dw.ConstType or Dw.VolatileType or Dw.RestrictType; i++)
            result = die.Type();
        return result;
    }

    /// <summary>Behind what it qualifies.</summary>
    private static string Qualified(DwarfDie die, string word, string inner, int depth) => Around(die.Type(), Join(word, inner), depth + 1);

    /// <summary>A pointer or reference in front of what is declared; a qualifier of the pointer stands apart.</summary>
    private static string Marked(string mark, string inner) => inner.Length > 0 && char.IsLetter(inner[0]) ? mark + " " + inner : mark + inner;
}
