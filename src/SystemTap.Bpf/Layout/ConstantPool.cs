using System.Text;

namespace SystemTap.Bpf.Layout;

/// <summary>The frozen map of texts that programs point into: formats of <c>bpf_snprintf</c>, long literals. Entries are NUL-terminated and 8-byte aligned.</summary>
internal sealed class ConstantPool
{
    private readonly Dictionary<string, int> _offsets = new(StringComparer.Ordinal);
    private readonly List<byte> _bytes = [];

    public bool IsEmpty => _bytes.Count == 0;

    /// <summary>Offset of a text, padded with zeros to at least <paramref name="capacity"/> bytes.</summary>
    public int Text(string text, int capacity = 0)
    {
        var size = Math.Max(capacity, (text.Length + 8) & ~7);
        var name = $"{size}:{text}";
        if (_offsets.TryGetValue(name, out var offset))
        {
            return offset;
        }

        offset = _bytes.Count;
        _offsets[name] = offset;
        var block = new byte[size];
        Encoding.Latin1.GetBytes(text, block);
        _bytes.AddRange(block);
        return offset;
    }

    /// <summary>Offset of a table of 16-bit cells.</summary>
    public int Cells(ReadOnlySpan<char> cells)
    {
        var bytes = new char[2 * cells.Length];
        for (var i = 0; i < cells.Length; i++)
        {
            (bytes[2 * i], bytes[(2 * i) + 1]) = ((char)(cells[i] & 255), (char)(cells[i] >> 8));
        }

        return Text(new string(bytes));
    }

    public byte[] ToArray() => [.. _bytes];
}
