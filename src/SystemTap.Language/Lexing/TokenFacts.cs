using System.Text;

namespace SystemTap.Language.Lexing;

/// <summary>Tables over token kinds: spelling, keywords, built-in @words, names for messages.</summary>
public static class TokenFacts
{
    /// <summary>The built-in @words, newest last.</summary>
    public static readonly string[] BuiltInWords =
    [
        "cast", "defined", "probewrite", "entry", "perf", "var", "avg", "count", "sum", "min", "max", "hist_linear",
        "hist_log", "const", "variance", "kregister", "uregister", "kderef", "uderef", "enum", "enumname",
    ];

    /// <summary>The keywords.</summary>
    public static readonly string[] Keywords =
    [
        "probe", "global", "private", "function", "if", "else", "for", "foreach", "in", "limit", "return", "delete",
        "while", "break", "continue", "next", "string", "long", "try", "catch",
    ];

    /// <summary>True for the keywords.</summary>
    public static bool IsKeyword(TokenKind kind) => kind is >= TokenKind.Probe and <= TokenKind.Catch;

    /// <summary>True for the words that begin a definition.</summary>
    public static bool IsTopLevelKeyword(TokenKind kind) => kind is >= TokenKind.Probe and <= TokenKind.Function;

    /// <summary>The keyword's kind, or <see cref="TokenKind.Identifier"/>.</summary>
    public static TokenKind KeywordKind(ReadOnlySpan<char> name) => name switch
    {
        "probe" => TokenKind.Probe,
        "global" => TokenKind.Global,
        "private" => TokenKind.Private,
        "function" => TokenKind.Function,
        "if" => TokenKind.If,
        "else" => TokenKind.Else,
        "for" => TokenKind.For,
        "foreach" => TokenKind.Foreach,
        "in" => TokenKind.In,
        "limit" => TokenKind.Limit,
        "return" => TokenKind.Return,
        "delete" => TokenKind.Delete,
        "while" => TokenKind.While,
        "break" => TokenKind.Break,
        "continue" => TokenKind.Continue,
        "next" => TokenKind.Next,
        "string" => TokenKind.StringType,
        "long" => TokenKind.LongType,
        "try" => TokenKind.Try,
        "catch" => TokenKind.Catch,
        _ => TokenKind.Identifier,
    };

    /// <summary>The version of the language that introduced a built-in @word, "" if it was always there, null if there is no such word.</summary>
    public static string? BuiltInWordSince(ReadOnlySpan<char> word) => word switch
    {
        "cast" or "defined" or "probewrite" or "entry" or "perf" or "var" or "avg" or "count" or "sum" or "min" or "max"
            or "hist_linear" or "hist_log" => "",
        "const" or "variance" => "3.1",
        "kregister" or "uregister" or "kderef" or "uderef" => "4.0",
        "enum" => "5.5",
        "enumname" => "5.6",
        _ => null,
    };

    /// <summary>The token for messages.</summary>
    public static string Describe(in Token token)
    {
        switch (token.Kind)
        {
            case TokenKind.EndOfFile:
                return "end of file";
            case TokenKind.Identifier:
                return "identifier '" + Shorten(token.Text!) + "'";
            case TokenKind.Number:
                return "number '" + Shorten(Written(token)) + "'";
            case TokenKind.String:
                return "string '" + Shorten(token.Text!) + "'";
            case TokenKind.Embedded:
                return "embedded code";
            case TokenKind.AtWord:
                return "operator '@" + Shorten(token.Text!) + "'";
            case TokenKind.Junk:
                return "junk '" + Shorten(Written(token)) + "'";
            default:
                return (IsKeyword(token.Kind) ? "keyword '" : "operator '") + Shorten(Written(token)) + "'";
        }
    }

    /// <summary>The token as it is written in the source.</summary>
    internal static string Written(in Token token)
    {
        if (token.Text is { } text && token.Kind != TokenKind.AtWord)
        {
            return text;
        }

        var content = token.Source.Content;
        return token.End <= content.Length ? content.Substring(token.Start, Math.Min(token.Length, 64)) : "";
    }

    /// <summary>Cuts long text and makes control bytes visible, for one-line messages.</summary>
    internal static string Shorten(string text, int limit = 40)
    {
        var clean = text.Length <= limit;
        if (clean)
        {
            foreach (var c in text)
            {
                clean &= c is >= ' ' and not (char)127;
            }
        }

        if (clean)
        {
            return text;
        }

        var sb = new StringBuilder(limit + 8);
        foreach (var c in text)
        {
            if (sb.Length >= limit)
            {
                sb.Append("...");
                break;
            }

            AppendVisible(sb, c);
        }

        return sb.ToString();
    }

    private static void AppendVisible(StringBuilder sb, char c)
    {
        switch (c)
        {
            case '\n': sb.Append("\\n"); break;
            case '\t': sb.Append("\\t"); break;
            case '\r': sb.Append("\\r"); break;
            default:
                if (c is < ' ' or (char)127)
                {
                    sb.Append("\\x").Append("0123456789abcdef"[(c >> 4) & 15]).Append("0123456789abcdef"[c & 15]);
                }
                else
                {
                    sb.Append(c);
                }

                break;
        }
    }
}
