using SystemTap.Language.Text;

namespace SystemTap.Runtime.Host;

/// <summary>
/// A run-time error of a script ("division by 0", "Array overflow, check …", the text of <c>error()</c>): ends the handler unless a <c>try</c> catches it.
/// Not a fault of stap.
/// </summary>
/// <param name="message">The text <c>catch (msg)</c> receives.</param>
/// <param name="span">Where it happened.</param>
/// <param name="isCatchable">False for MAXACTION: the handler has used up its time.</param>
public sealed class RuntimeError(string message, SourceSpan span, bool isCatchable = true) : Exception(message)
{
    public SourceSpan Span { get; } = span;

    public bool IsCatchable { get; } = isCatchable;
}

/// <summary><c>abort()</c>: leaves the handler at once; the session ends without end probes.</summary>
public sealed class AbortSignal() : Exception("abort()");

/// <summary>How an uncaught error is told to people: <c>text near TOKEN at FILE:LINE:COL (called from …) in probe X</c>.</summary>
public static class ErrorText
{
    private static readonly HashSet<string> Keywords = new(StringComparer.Ordinal)
    {
        "probe", "global", "private", "function", "if", "else", "for", "foreach", "in", "limit", "return", "delete", "while", "break", "continue",
        "next", "string", "long", "try", "catch",
    };

    private static readonly string[] Operators =
        ["<<<", ">>>", "<<=", ">>=", "==", "!=", "<=", ">=", "=~", "!~", "+=", "-=", "*=", "/=", "%=", "&=", "^=", "|=", ".=", "&&", "||", "++", "--", "->", "<<", ">>"];

    /// <summary>The whole line after <c>ERROR: </c>.</summary>
    /// <param name="message">The error.</param>
    /// <param name="span">Its place.</param>
    /// <param name="callers">Places of the calls that led there, outermost first.</param>
    /// <param name="probe">The probe point.</param>
    public static string Describe(string message, SourceSpan span, ReadOnlySpan<SourceSpan> callers, string probe)
    {
        // The library's own lines mean nothing to the script's author: name the call that entered the library.
        var place = span;
        var depth = callers.Length;
        while (depth > 0 && (place.Source is null || place.Source.IsTapset))
        {
            place = callers[--depth];
        }

        var text = new System.Text.StringBuilder(message);
        if (place.Source is not null)
        {
            text.Append(" near ").Append(Token(place)).Append(" at ").Append(place.ToString());
        }

        if (depth > 0)
        {
            text.Append(" (called from ").Append(callers[depth - 1].ToString()).Append(')');
        }

        return text.Append(" in probe ").Append(probe).ToString();
    }

    /// <summary>The token at a place with its kind, as diagnostics call it: <c>operator '/'</c>, <c>identifier 'foo'</c>.</summary>
    public static string Token(SourceSpan span)
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
