using System.Text;

namespace SystemTap.Language.Lexing;

/// <summary>Reads the inside of a string literal that has escapes.</summary>
internal static class StringReader
{
    /// <summary>Reads from behind the opening quote.</summary>
    /// <returns>The offset behind the closing quote, or the complement of where the unclosed literal stops.</returns>
    public static int Read(string text, int start, bool hexEscapes, bool skipValue, out string value)
    {
        var sb = skipValue ? null : new StringBuilder();
        var i = start;
        while (i < text.Length)
        {
            var c = text[i++];
            if (c == '"')
            {
                value = sb?.ToString() ?? "";
                return i;
            }

            if (c == '\n')
            {
                value = "";
                return ~(i - 1);
            }

            if (c != '\\')
            {
                sb?.Append(c);
                continue;
            }

            if (i >= text.Length)
            {
                break;
            }

            i = ReadEscape(text, i, hexEscapes, out c);
            sb?.Append(c);
        }

        value = "";
        return ~text.Length;
    }

    private static int ReadEscape(string text, int i, bool hexEscapes, out char value)
    {
        var c = text[i++];
        switch (c)
        {
            case 'a': value = '\a'; return i;
            case 'b': value = '\b'; return i;
            case 't': value = '\t'; return i;
            case 'n': value = '\n'; return i;
            case 'v': value = '\v'; return i;
            case 'f': value = '\f'; return i;
            case 'r': value = '\r'; return i;
        }

        if (c is >= '0' and <= '7')
        {
            var octal = c - '0';
            for (var digits = 1; digits < 3 && i < text.Length && text[i] is >= '0' and <= '7'; digits++)
            {
                octal = octal * 8 + (text[i++] - '0');
            }

            value = (char)(octal & 255);
            return i;
        }

        if (c == 'x' && hexEscapes && i < text.Length && char.IsAsciiHexDigit(text[i]))
        {
            var hex = 0;
            for (var digits = 0; digits < 2 && i < text.Length && char.IsAsciiHexDigit(text[i]); digits++)
            {
                hex = hex * 16 + Convert.ToInt32(text[i++].ToString(), 16);
            }

            value = (char)hex;
            return i;
        }

        value = c;
        return i;
    }
}
