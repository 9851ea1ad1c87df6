using System.Text;
using System.Text.Unicode;

namespace SystemTap.Language.Syntax;

/// <summary>Script string literals: bytes to quoted text.</summary>
public static class StringEscapes
{
    /// <summary>Quotes a byte string so that the parser reads the same bytes back.</summary>
    public static string Quote(string value)
    {
        var sb = new StringBuilder(value.Length + 2);
        sb.Append('"');
        var isText = !Ascii.IsValid(value) && Utf8.IsValid(Encoding.Latin1.GetBytes(value));
        foreach (var c in value)
        {
            switch (c)
            {
                case '"': sb.Append("\\\""); break;
                case '\\': sb.Append("\\\\"); break;
                case '\n': sb.Append("\\n"); break;
                case '\t': sb.Append("\\t"); break;
                case '\r': sb.Append("\\r"); break;
                case '\a': sb.Append("\\a"); break;
                case '\b': sb.Append("\\b"); break;
                case '\f': sb.Append("\\f"); break;
                case '\v': sb.Append("\\v"); break;
                default:
                    if (c is >= ' ' and < (char)127 || isText && c > 127)
                    {
                        sb.Append(c);
                    }
                    else
                    {
                        sb.Append('\\').Append((char)('0' + ((c >> 6) & 3))).Append((char)('0' + ((c >> 3) & 7))).Append((char)('0' + (c & 7)));
                    }

                    break;
            }
        }

        return sb.Append('"').ToString();
    }
}
