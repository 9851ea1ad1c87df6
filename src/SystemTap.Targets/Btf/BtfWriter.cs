using System.Buffers.Binary;
using System.Text;

namespace SystemTap.Targets;

/// <summary>Makes BTF: ids are reserved first and their records written later, in any order, so types may refer to each other.</summary>
internal sealed class BtfWriter
{
    private readonly List<uint[]?> _records = [];
    private readonly MemoryStream _strings = new();
    private readonly Dictionary<string, uint> _texts = new(StringComparer.Ordinal) { [""] = 0 };

    public BtfWriter() => _strings.WriteByte(0);

    /// <summary>Types so far.</summary>
    public int Count => _records.Count;

    /// <summary>The next id.</summary>
    public int Reserve()
    {
        _records.Add(null);
        return _records.Count;
    }

    /// <summary>Offset of a name among the strings.</summary>
    public uint Text(string text)
    {
        if (!_texts.TryGetValue(text, out var offset))
        {
            _texts[text] = offset = (uint)_strings.Length;
            _strings.Write(Encoding.UTF8.GetBytes(text));
            _strings.WriteByte(0);
        }
        return offset;
    }

    /// <summary>Writes a reserved record.</summary>
    /// <param name="id">From <see cref="Reserve"/>.</param>
    /// <param name="kind">Kind.</param>
    /// <param name="name">Name or "".</param>
    /// <param name="count">Members, enumerators, parameters.</param>
    /// <param name="flag">The kind flag.</param>
    /// <param name="sizeOrType">Third word.</param>
    /// <param name="rest">Words that follow.</param>
    public void Set(int id, BtfKind kind, string name, int count, bool flag, uint sizeOrType, params ReadOnlySpan<uint> rest)
    {
        var record = new uint[3 + rest.Length];
        record[0] = Text(name);
        record[1] = (uint)kind << 24 | (uint)count | (flag ? 1u << 31 : 0);
        record[2] = sizeOrType;
        rest.CopyTo(record.AsSpan(3));
        _records[id - 1] = record;
    }

    public byte[] ToBytes()
    {
        const int header = 24;
        var words = 0;
        foreach (var record in _records)
            words += record?.Length ?? 3;
        var bytes = new byte[header + 4 * words + (int)_strings.Length];
        var span = bytes.AsSpan();
        BinaryPrimitives.WriteUInt16LittleEndian(span, 0xEB9F);
        span[2] = 1;
        BinaryPrimitives.WriteUInt32LittleEndian(span[4..], header);
        BinaryPrimitives.WriteUInt32LittleEndian(span[12..], (uint)(4 * words));
        BinaryPrimitives.WriteUInt32LittleEndian(span[16..], (uint)(4 * words));
        BinaryPrimitives.WriteUInt32LittleEndian(span[20..], (uint)_strings.Length);
        var at = header;
        foreach (var record in _records)
        {
            foreach (var word in record ?? [0, (uint)BtfKind.Forward << 24, 0])
            {
                BinaryPrimitives.WriteUInt32LittleEndian(span[at..], word);
                at += 4;
            }
        }
        _strings.GetBuffer().AsSpan(0, (int)_strings.Length).CopyTo(span[at..]);
        return bytes;
    }
}
