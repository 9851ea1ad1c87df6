using SystemTap.Language.Text;

namespace SystemTap.Language.Diagnostics;

/// <summary>Names the token at a place of a script, for messages of running scripts that have no token list any more.</summary>
public static class TokenText
{
    private static readonly HashSet<string> Keywords = new(StringComparer.Ordinal)
    {
        "probe", "global", "private", "function", "if", "else", "for", "foreach", "in", "limit", "return", "delete", "while", "break", "continue",
        "next", "string", "long", "try", "catch",
    };

    private static readonly string[] Operators =
        ["<<<", ">>>", "<<=", ">>=", "==", "!=", "<=", ">=", "=~", "!~", "+=", "-=", "*=", "/=", "%=", "&=", "^=", "|=", ".=", "&&", "||", "++", "--", "->", "<<", ">>"];

    /// <summary>The token at a place with its kind, as diagnostics call it: <c>operator '/'</c>, <c>identifier 'foo'</c>.</summary>
    public static string Describe(SourceSpan span)
    {
        var text = span.Source.Content.AsSpan(Math.Min(span.Start, span.Source.Content.Length));
        if (text.IsEmpty)
        {
            return "end of file";
        }

        var c = text[0];
        if (char.IsAsciiLetter(c) || c is '_' or '$' or '@')
        {
            var n = 1;
            while (n < text.Length && (char.IsAsciiLetterOrDigit(text[n]) || text[n] is '_' or '$'))
            {
                n++;
            }

            var word = text[..n].ToString();
            return Keywords.Contains(word) ? $"keyword '{word}'" : c == '@' ? $"operator '{word}'" : $"identifier '{word}'";
        }

        if (char.IsAsciiDigit(c))
        {
            var n = 1;
            while (n < text.Length && char.IsAsciiLetterOrDigit(text[n]))
            {
                n++;
            }

            return $"number '{text[..n]}'";
        }

        if (c == '"')
        {
            var end = text[1..].IndexOf('"');
            return $"string '{(end < 0 ? text[1..] : text.Slice(1, end))}'";
        }

        foreach (var op in Operators)
        {
            if (text.StartsWith(op, StringComparison.Ordinal))
            {
                return $"operator '{op}'";
            }
        }

        return $"operator '{c}'";
    }
}
