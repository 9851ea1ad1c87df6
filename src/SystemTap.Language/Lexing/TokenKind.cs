namespace SystemTap.Language.Lexing;

/// <summary>What a token is. Keywords and operators have one member each, so the parser switches on a single byte.</summary>
public enum TokenKind : byte
{
    EndOfFile,
    Identifier,
    Number,
    String,

    /// <summary><c>%{ … %}</c>; the token's text is what stands between.</summary>
    Embedded,

    /// <summary><c>@word</c>; the token's text is the word without the <c>@</c>.</summary>
    AtWord,

    /// <summary>Something that is no token; <see cref="Token.Junk"/> says why.</summary>
    Junk,

    // Keywords: Probe first, Catch last (TokenFacts.IsKeyword relies on the order).
    Probe,
    Global,
    Private,
    Function,
    If,
    Else,
    For,
    Foreach,
    In,
    Limit,
    Return,
    Delete,
    While,
    Break,
    Continue,
    Next,
    StringType,
    LongType,
    Try,
    Catch,

    // Operators and punctuation.
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    LeftBrace,
    RightBrace,
    Semicolon,
    Comma,
    Dot,
    Colon,
    Question,
    Assign,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Ampersand,
    Pipe,
    Caret,
    Tilde,
    Bang,
    Less,
    Greater,
    Equal,
    NotEqual,
    LessEqual,
    GreaterEqual,
    Match,
    NotMatch,
    PlusAssign,
    MinusAssign,
    StarAssign,
    SlashAssign,
    PercentAssign,
    AmpersandAssign,
    CaretAssign,
    PipeAssign,
    DotAssign,
    ShiftLeftAssign,
    ShiftRightAssign,
    StatisticAdd,
    ShiftRightLogical,
    ShiftLeft,
    ShiftRight,
    AndAnd,
    OrOr,
    PlusPlus,
    MinusMinus,
    Arrow,

    /// <summary><c>%(</c></summary>
    ConditionOpen,

    /// <summary><c>%?</c></summary>
    ConditionThen,

    /// <summary><c>%:</c></summary>
    ConditionElse,

    /// <summary><c>%)</c></summary>
    ConditionClose,
}

/// <summary>Why a stretch of text is no token.</summary>
public enum JunkReason : byte
{
    None,

    /// <summary>A byte that begins no token.</summary>
    UnexpectedCharacter,
    UnterminatedString,
    UnterminatedComment,
    UnterminatedEmbeddedCode,
    InvalidNumber,
    NumberOutOfRange,

    /// <summary><c>$N</c>/<c>@N</c> with no such script argument.</summary>
    ArgumentOutOfRange,

    /// <summary><c>$N</c>/<c>@N</c> inside the text of an argument.</summary>
    NestedArgument,

    /// <summary>Stands where the preprocessor already reported an error; the parser stays silent there.</summary>
    AlreadyReported,
}
