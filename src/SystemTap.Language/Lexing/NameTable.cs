namespace SystemTap.Language.Lexing;

/// <summary>
/// Strings for names, each made once: a script says <c>execname</c> many times, and the hash that finds the earlier
/// string also finds whether it is a keyword.
/// </summary>
internal sealed class NameTable
{
    private struct Slot
    {
        public string? Name;
        public uint Hash;
        public TokenKind Kind;
    }

    private Slot[] _slots = new Slot[256];
    private int _count;

    /// <summary>The one string for a name and its kind: keyword or identifier.</summary>
    public string Get(ReadOnlySpan<char> name, out TokenKind kind)
    {
        var hash = 2166136261u;
        foreach (var c in name)
        {
            hash = (hash ^ c) * 16777619u;
        }

        hash ^= hash >> 15;
        var mask = (uint)_slots.Length - 1;
        for (var i = hash & mask; ; i = (i + 1) & mask)
        {
            ref var slot = ref _slots[i];
            if (slot.Name is null)
            {
                slot.Name = name.ToString();
                slot.Hash = hash;
                slot.Kind = kind = TokenFacts.KeywordKind(name);
                var made = slot.Name;
                if (++_count * 2 > _slots.Length)
                {
                    Grow();
                }

                return made;
            }

            if (slot.Hash == hash && name.SequenceEqual(slot.Name))
            {
                kind = slot.Kind;
                return slot.Name;
            }
        }
    }

    private void Grow()
    {
        var old = _slots;
        _slots = new Slot[old.Length * 2];
        var mask = (uint)_slots.Length - 1;
        foreach (var slot in old)
        {
            if (slot.Name is null)
            {
                continue;
            }

            var i = slot.Hash & mask;
            while (_slots[i].Name is not null)
            {
                i = (i + 1) & mask;
            }

            _slots[i] = slot;
        }
    }
}
