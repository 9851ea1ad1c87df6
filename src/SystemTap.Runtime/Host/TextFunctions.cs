using System.Text;
using SystemTap.Runtime.Output;

namespace SystemTap.Runtime.Host;

/// <summary>String built-ins of the language on byte strings.</summary>
public static class TextFunctions
{
    /// <summary><c>substr</c>: "" when the start is outside or the length not positive; cut at the end.</summary>
    public static string Substring(string text, long start, long length) =>
        start < 0 || start >= text.Length || length <= 0 ? "" : text.Substring((int)start, (int)Math.Min(length, text.Length - start));

    /// <summary>Byte at a position, −1 outside.</summary>
    public static long ByteAt(string text, long at) => at < 0 || at >= text.Length ? -1 : (byte)text[(int)at];

    /// <summary>Every occurrence replaced, left to right; an empty search changes nothing.</summary>
    public static string Replace(string text, string search, string replacement) =>
        search.Length == 0 ? text : text.Replace(search, replacement, StringComparison.Ordinal);

    /// <summary>As C's strtol with bases 0 and 2–36: leading blanks, sign, prefix; stops at the first other character; 0 without digits; wraps at 64 bits.</summary>
    public static long ParseLong(string text, long numberBase)
    {
        var at = 0;
        while (at < text.Length && text[at] is ' ' or (>= '\t' and <= '\r'))
        {
            at++;
            if (at == text.Length)
            {
                return 0;
            }
        }

        var negative = false;
        if (at < text.Length && text[at] is '-' or '+')
        {
            negative = text[at++] == '-';
        }

        var isHex = at + 2 < text.Length + 0 && text[at] == '0' && text[at + 1] is 'x' or 'X' && char.IsAsciiHexDigit(text[at + 2]);
        if (numberBase == 0)
        {
            numberBase = isHex ? 16 : at < text.Length && text[at] == '0' ? 8 : 10;
        }

        if (numberBase is < 2 or > 36)
        {
            return 0;
        }

        if (numberBase == 16 && isHex)
        {
            at += 2;
        }

        ulong value = 0;
        for (; at < text.Length; at++)
        {
            var c = text[at];
            var digit = c is >= '0' and <= '9' ? c - '0' : c is >= 'a' and <= 'z' ? c - 'a' + 10 : c is >= 'A' and <= 'Z' ? c - 'A' + 10 : 99;
            if (digit >= numberBase)
            {
                break;
            }

            value = unchecked((value * (ulong)numberBase) + (ulong)digit);
        }

        return negative ? -(long)value : (long)value;
    }

    /// <summary>C escapes for unprintable bytes; quoted adds quotes, and "..." after them when the text was cut.</summary>
    /// <param name="text">Byte string, which may hold NULs.</param>
    /// <param name="most">Most bytes of output, quotes included; not positive: no limit.</param>
    /// <param name="quoted">Add quotes.</param>
    public static string Escape(string text, long most, bool quoted)
    {
        var limit = most <= 0 ? int.MaxValue : (int)Math.Min(most, int.MaxValue);
        var result = new StringBuilder();
        Span<byte> room = stackalloc byte[4];
        if (quoted)
        {
            result.Append('"');
        }

        // With quotes the text must leave room for the closing one and, when it is cut, for the dots: remember where that still fits.
        var fits = result.Length;
        var cut = false;
        foreach (var c in text)
        {
            var length = Formatter.Escape((byte)c, '"', room);
            if (result.Length + length + (quoted ? 1 : 0) > limit)
            {
                cut = true;
                break;
            }

            for (var i = 0; i < length; i++)
            {
                result.Append((char)room[i]);
            }

            if (result.Length + 4 <= limit)
            {
                fits = result.Length;
            }
        }

        if (!quoted)
        {
            return result.ToString();
        }

        if (cut)
        {
            result.Length = fits;
            return result.Append("\"...").ToString();
        }

        return result.Append('"').ToString();
    }

    public static string Lower(string text) => string.Create(text.Length, text, static (span, source) =>
    {
        for (var i = 0; i < span.Length; i++)
        {
            span[i] = char.IsAsciiLetterUpper(source[i]) ? (char)(source[i] + 32) : source[i];
        }
    });

    public static string Upper(string text) => string.Create(text.Length, text, static (span, source) =>
    {
        for (var i = 0; i < span.Length; i++)
        {
            span[i] = char.IsAsciiLetterLower(source[i]) ? (char)(source[i] - 32) : source[i];
        }
    });
}
