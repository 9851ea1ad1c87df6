using SystemTap.Language.Text;

namespace SystemTap.Language.Syntax;

/// <summary>Which of the built-in output forms a <see cref="PrintExpression"/> is.</summary>
public enum PrintKind
{
    /// <summary><c>print sprint</c></summary>
    Print,

    /// <summary><c>println sprintln</c></summary>
    PrintLine,

    /// <summary><c>printd sprintd</c></summary>
    Delimited,

    /// <summary><c>printdln sprintdln</c></summary>
    DelimitedLine,

    /// <summary><c>printf sprintf</c></summary>
    Format,

    /// <summary><c>print_char</c></summary>
    Char,
}

/// <summary>A call of the print family.</summary>
public sealed class PrintExpression(
    SourceSpan span, PrintKind kind, bool toString, string? delimiter, IReadOnlyList<FormatSegment> format,
    IReadOnlyList<Expression> arguments) : Expression(span)
{
    public PrintKind Kind { get; } = kind;

    /// <summary>True for the <c>s…</c> forms, which return the text.</summary>
    public bool ReturnsString { get; } = toString;

    /// <summary>The literal delimiter of <c>printd</c>/<c>printdln</c>, or null.</summary>
    public string? Delimiter { get; } = delimiter;

    /// <summary>The parsed format of <c>printf</c>; empty for the other kinds.</summary>
    public IReadOnlyList<FormatSegment> Format { get; } = format;

    /// <summary>Values; for <c>printf</c> in format order, including those for <c>*</c> widths and precisions. May hold <see cref="HistogramExpression"/>s (print forms only).</summary>
    public IReadOnlyList<Expression> Arguments { get; } = arguments;

    /// <summary>The format literal, for re-printing and messages; null when <see cref="Kind"/> is not Format.</summary>
    public StringLiteral? FormatLiteral { get; init; }
}

/// <summary>The conversion letter of a directive.</summary>
public enum FormatConversion
{
    /// <summary>Literal text, no directive.</summary>
    Literal,

    /// <summary><c>%d %i</c></summary>
    Signed,

    /// <summary><c>%u</c></summary>
    Unsigned,

    /// <summary><c>%x</c></summary>
    HexLower,

    /// <summary><c>%X</c></summary>
    HexUpper,

    /// <summary><c>%o</c></summary>
    Octal,

    /// <summary><c>%p</c></summary>
    Pointer,

    /// <summary><c>%c</c></summary>
    Char,

    /// <summary><c>%s</c></summary>
    String,

    /// <summary><c>%b</c></summary>
    Binary,

    /// <summary><c>%m</c></summary>
    Memory,

    /// <summary><c>%M</c></summary>
    MemoryHex,
}

/// <summary>The one flag character a directive may carry.</summary>
public enum FormatFlag
{
    None,

    /// <summary><c>0</c></summary>
    Zero,

    /// <summary><c>+</c></summary>
    Plus,

    /// <summary><c>-</c></summary>
    Left,

    /// <summary>space</summary>
    Space,

    /// <summary><c>#</c></summary>
    Alternate,
}

/// <summary>How a width or precision is given.</summary>
public enum FormatSize
{
    Unspecified,

    /// <summary>A number in the format.</summary>
    Fixed,

    /// <summary><c>*</c>: the next argument.</summary>
    Dynamic,
}

/// <summary>One piece of a printf format: literal text (percent signs resolved) or a directive.</summary>
/// <param name="Conversion">Literal or the conversion.</param>
/// <param name="Text">The literal text; empty for directives.</param>
public sealed record FormatSegment(FormatConversion Conversion, string Text)
{
    public FormatFlag Flag { get; init; }

    public FormatSize WidthKind { get; init; }

    public int Width { get; init; }

    public FormatSize PrecisionKind { get; init; }

    public int Precision { get; init; }
}
