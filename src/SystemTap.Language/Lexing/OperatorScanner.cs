namespace SystemTap.Language.Lexing;

/// <summary>Operators and punctuation, the longest first.</summary>
internal static class OperatorScanner
{
    /// <summary>The operator at an offset and its length; <see cref="TokenKind.Junk"/> of length 1 when there is none.</summary>
    public static TokenKind Scan(string text, int at, out int length)
    {
        var c = text[at];
        var d = at + 1 < text.Length ? text[at + 1] : '\0';
        var e = at + 2 < text.Length ? text[at + 2] : '\0';
        length = 3;
        switch (c, d, e)
        {
            case ('<', '<', '<'): return TokenKind.StatisticAdd;
            case ('>', '>', '>'): return TokenKind.ShiftRightLogical;
            case ('<', '<', '='): return TokenKind.ShiftLeftAssign;
            case ('>', '>', '='): return TokenKind.ShiftRightAssign;
        }

        length = 2;
        switch (c, d)
        {
            case ('=', '='): return TokenKind.Equal;
            case ('!', '='): return TokenKind.NotEqual;
            case ('<', '='): return TokenKind.LessEqual;
            case ('>', '='): return TokenKind.GreaterEqual;
            case ('=', '~'): return TokenKind.Match;
            case ('!', '~'): return TokenKind.NotMatch;
            case ('+', '='): return TokenKind.PlusAssign;
            case ('-', '='): return TokenKind.MinusAssign;
            case ('*', '='): return TokenKind.StarAssign;
            case ('/', '='): return TokenKind.SlashAssign;
            case ('%', '='): return TokenKind.PercentAssign;
            case ('&', '='): return TokenKind.AmpersandAssign;
            case ('^', '='): return TokenKind.CaretAssign;
            case ('|', '='): return TokenKind.PipeAssign;
            case ('.', '='): return TokenKind.DotAssign;
            case ('&', '&'): return TokenKind.AndAnd;
            case ('|', '|'): return TokenKind.OrOr;
            case ('+', '+'): return TokenKind.PlusPlus;
            case ('-', '-'): return TokenKind.MinusMinus;
            case ('-', '>'): return TokenKind.Arrow;
            case ('<', '<'): return TokenKind.ShiftLeft;
            case ('>', '>'): return TokenKind.ShiftRight;
            case ('%', '('): return TokenKind.ConditionOpen;
            case ('%', '?'): return TokenKind.ConditionThen;
            case ('%', ':'): return TokenKind.ConditionElse;
            case ('%', ')'): return TokenKind.ConditionClose;
        }

        length = 1;
        return c switch
        {
            '(' => TokenKind.LeftParen,
            ')' => TokenKind.RightParen,
            '[' => TokenKind.LeftBracket,
            ']' => TokenKind.RightBracket,
            '{' => TokenKind.LeftBrace,
            '}' => TokenKind.RightBrace,
            ';' => TokenKind.Semicolon,
            ',' => TokenKind.Comma,
            '.' => TokenKind.Dot,
            ':' => TokenKind.Colon,
            '?' => TokenKind.Question,
            '=' => TokenKind.Assign,
            '+' => TokenKind.Plus,
            '-' => TokenKind.Minus,
            '*' => TokenKind.Star,
            '/' => TokenKind.Slash,
            '%' => TokenKind.Percent,
            '&' => TokenKind.Ampersand,
            '|' => TokenKind.Pipe,
            '^' => TokenKind.Caret,
            '~' => TokenKind.Tilde,
            '!' => TokenKind.Bang,
            '<' => TokenKind.Less,
            '>' => TokenKind.Greater,
            _ => TokenKind.Junk,
        };
    }
}
