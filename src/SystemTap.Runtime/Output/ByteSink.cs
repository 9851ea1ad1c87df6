using System.Runtime.CompilerServices;
using System.Text;

namespace SystemTap.Runtime.Output;

/// <summary>A growing byte buffer that is filled, used and cleared again and again without giving its memory back.</summary>
public sealed class ByteSink(int capacity = 1024)
{
    private byte[] _bytes = new byte[capacity];

    public int Length { get; private set; }

    public ReadOnlySpan<byte> Written => _bytes.AsSpan(0, Length);

    public void Clear() => Length = 0;

    /// <summary>Drops what was written after <paramref name="length"/>.</summary>
    public void CutTo(int length) => Length = Math.Min(Length, length);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Append(byte value)
    {
        if (Length == _bytes.Length)
        {
            Grow(1);
        }

        _bytes[Length++] = value;
    }

    public void Append(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(Take(bytes.Length));
    }

    /// <summary>Appends a script string: each char is one byte.</summary>
    public void Append(ReadOnlySpan<char> text)
    {
        var room = Take(text.Length);
        Encoding.Latin1.GetBytes(text, room);
    }

    public void Fill(byte value, int count)
    {
        if (count > 0)
        {
            Take(count).Fill(value);
        }
    }

    /// <summary>Room for so many bytes, counted as written; the caller fills it.</summary>
    public Span<byte> Take(int count)
    {
        if (count > _bytes.Length - Length)
        {
            Grow(count);
        }

        var room = _bytes.AsSpan(Length, count);
        Length += count;
        return room;
    }

    /// <summary>The content as a script string.</summary>
    public override string ToString() => Encoding.Latin1.GetString(Written);

    private void Grow(int more) => Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, checked(Length + more)));
}
