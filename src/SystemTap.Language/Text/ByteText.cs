using System.Buffers;
using System.Text;

namespace SystemTap.Language.Text;

// Two forms of text meet in stap. Scripts, script strings and the words of the command line are in byte form: one char for each byte, whatever the bytes
// mean. Paths and messages of the operating system are ordinary text. A path is turned from one form into the other where it is handed over, and
// ForTerminal writes a message in which both may stand.

/// <summary>Conversions between text in byte form (see <see cref="SourceText"/>) and ordinary text.</summary>
public static class ByteText
{
    /// <summary>Ordinary text in byte form: its UTF-8 bytes.</summary>
    public static string FromText(string text) => Ascii.IsValid(text) ? text : Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(text));

    /// <summary>What the bytes say as UTF-8, for paths that the operating system is asked for.</summary>
    public static string ToText(string bytes) => Ascii.IsValid(bytes) ? bytes : Encoding.UTF8.GetString(Encoding.Latin1.GetBytes(bytes));

    /// <summary>The bytes to show for text in which both forms may stand: characters in byte form that are UTF-8 together stay these bytes, all others are encoded.</summary>
    public static byte[] ForTerminal(ReadOnlySpan<char> text)
    {
        var bytes = new byte[text.Length * 3];
        var count = 0;
        Span<byte> sequence = stackalloc byte[4];
        for (var i = 0; i < text.Length;)
        {
            var length = 0;
            while (length < 4 && i + length < text.Length && text[i + length] <= 0xff)
            {
                sequence[length] = (byte)text[i + length];
                length++;
            }

            if (length > 0 && Rune.DecodeFromUtf8(sequence[..length], out _, out var used) == OperationStatus.Done)
            {
                sequence[..used].CopyTo(bytes.AsSpan(count));
                (i, count) = (i + used, count + used);
            }
            else
            {
                Rune.DecodeFromUtf16(text[i..], out var rune, out used);
                (i, count) = (i + used, count + rune.EncodeToUtf8(bytes.AsSpan(count)));
            }
        }

        return bytes[..count];
    }
}
