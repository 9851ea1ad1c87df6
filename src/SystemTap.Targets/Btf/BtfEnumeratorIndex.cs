using System.Text;

namespace SystemTap.Targets;

/// <summary>Enumerators by name: (hash, id of their enum), sorted; the enum itself is searched when asked.</summary>
internal sealed class BtfEnumeratorIndex
{
    private readonly Btf _btf;
    private readonly ulong[] _entries;

    public BtfEnumeratorIndex(Btf btf)
    {
        _btf = btf;
        var entries = new List<ulong>(4096);
        foreach (var id in btf.IdsOf(BtfKind.Enum, BtfKind.Enum64))
        {
            foreach (var enumerator in btf.Type(id).EnumeratorsHere)
                entries.Add((ulong)BtfIndex.Hash(enumerator.NameUtf8) << 32 | (uint)id);
        }
        _entries = [.. entries];
        Array.Sort(_entries);
    }

    public BtfEnumerator? Find(string name)
    {
        var utf8 = Encoding.UTF8.GetBytes(name);
        var hash = BtfIndex.Hash(utf8);
        var at = Array.BinarySearch(_entries, (ulong)hash << 32);
        for (at = at < 0 ? ~at : at; at < _entries.Length && _entries[at] >> 32 == hash; at++)
            foreach (var enumerator in _btf.Type((int)(uint)_entries[at]).EnumeratorsHere)
                if (enumerator.NameUtf8.SequenceEqual(utf8))
                    return enumerator;
        return null;
    }
}
