using System.Text;

namespace SystemTap.Targets;

/// <summary>Finding members by name, through anonymous structs and unions as C does.</summary>
public static class BtfMemberSearch
{
    /// <summary>
    /// The member of that name of a struct or union (typedefs and qualifiers looked through), or null.
    /// Its offset is counted from the type asked, whatever anonymous parts lie between.
    /// </summary>
    public static BtfMember? FindMember(this BtfType type, ReadOnlySpan<char> name)
    {
        Span<byte> stack = stackalloc byte[256];
        var needed = Encoding.UTF8.GetMaxByteCount(name.Length);
        var buffer = needed <= stack.Length ? stack : new byte[needed];
        var length = Encoding.UTF8.GetBytes(name, buffer);
        if (length == 0)
            return null;
        var budget = 1 << 20; // a struct that contains itself must end; the largest real one has some 300 members
        return Search(type.Stripped, buffer[..length], 0, 0, ref budget);
    }

    private static BtfMember? Search(BtfType type, ReadOnlySpan<byte> name, long bits, int depth, ref int budget)
    {
        var members = type.Members;
        for (var i = 0; i < members.Count; i++)
        {
            if (--budget < 0)
                throw type.Btf.Malformed($"struct type {type.Id} contains itself");
            var member = members[i];
            if (member.NameOffset != 0)
            {
                if (member.NameUtf8.SequenceEqual(name))
                    return member with { BitOffset = bits + member.BitOffset };
                continue;
            }
            var inner = member.Type.Stripped;
            if (inner.Kind is not (BtfKind.Struct or BtfKind.Union))
                continue;
            if (depth >= Btf.MaximumDepth)
                throw type.Btf.Malformed($"struct type {type.Id} contains itself");
            if (Search(inner, name, bits + member.BitOffset, depth + 1, ref budget) is { } found)
                return found;
        }
        return null;
    }
}
