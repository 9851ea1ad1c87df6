using SystemTap.Language.Text;

namespace SystemTap.Language.Syntax;

public abstract class Expression(SourceSpan span) : SyntaxNode(span);

public abstract class LiteralExpression(SourceSpan span) : Expression(span)
{
    /// <summary>The literal as script text.</summary>
    public abstract string ToScript();
}

/// <summary>A number (a leading minus in literal contexts is already applied).</summary>
public sealed class NumberLiteral(SourceSpan span, long value) : LiteralExpression(span)
{
    public long Value { get; } = value;

    public override string ToScript() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}

/// <summary>A string after escapes and joining; chars are bytes.</summary>
public sealed class StringLiteral(SourceSpan span, string value) : LiteralExpression(span)
{
    public string Value { get; } = value;

    public override string ToScript() => StringEscapes.Quote(Value);
}

/// <summary>A plain name: local, parameter or global.</summary>
public sealed class IdentifierExpression(SourceSpan span, string name) : Expression(span)
{
    public string Name { get; } = name;
}

/// <summary><c>a[i, j]</c>; an index of null is <c>*</c>.</summary>
public sealed class IndexExpression(SourceSpan span, Expression array, IReadOnlyList<Expression?> indexes) : Expression(span)
{
    /// <summary>An <see cref="IdentifierExpression"/> or a <see cref="HistogramExpression"/> (bucket count).</summary>
    public Expression Array { get; } = array;

    public IReadOnlyList<Expression?> Indexes { get; } = indexes;
}

public enum UnaryOperator
{
    Plus,
    Minus,

    /// <summary><c>!</c></summary>
    Not,

    /// <summary><c>~</c></summary>
    Complement,
}

public sealed class UnaryExpression(SourceSpan span, UnaryOperator op, Expression operand) : Expression(span)
{
    public UnaryOperator Operator { get; } = op;

    public Expression Operand { get; } = operand;
}

/// <summary><c>++x x++ --x x--</c></summary>
public sealed class IncrementExpression(SourceSpan span, Expression operand, bool isPrefix, bool isDecrement) : Expression(span)
{
    public Expression Operand { get; } = operand;

    public bool IsPrefix { get; } = isPrefix;

    public bool IsDecrement { get; } = isDecrement;
}

public enum BinaryOperator
{
    Multiply,
    Divide,
    Modulo,
    Add,
    Subtract,

    /// <summary><c>.</c></summary>
    Concat,
    ShiftLeft,

    /// <summary><c>&gt;&gt;</c>, arithmetic</summary>
    ShiftRight,

    /// <summary><c>&gt;&gt;&gt;</c>, logical</summary>
    ShiftRightLogical,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    Equal,
    NotEqual,
    BitAnd,
    BitXor,
    BitOr,

    /// <summary><c>&amp;&amp;</c></summary>
    LogicalAnd,

    /// <summary><c>||</c></summary>
    LogicalOr,
}

public sealed class BinaryExpression(SourceSpan span, BinaryOperator op, Expression left, Expression right) : Expression(span)
{
    /// <summary>Where the operator stands; run-time errors ("division by 0") are reported near it.</summary>
    public SourceSpan OperatorSpan { get; init; } = span;

    public BinaryOperator Operator { get; } = op;

    public Expression Left { get; } = left;

    public Expression Right { get; } = right;
}

/// <summary><c>s =~ "re"</c>, <c>s !~ "re"</c></summary>
public sealed class RegexExpression(SourceSpan span, Expression operand, StringLiteral pattern, bool negated) : Expression(span)
{
    public Expression Operand { get; } = operand;

    public StringLiteral Pattern { get; } = pattern;

    public bool IsNegated { get; } = negated;
}

/// <summary><c>k in a</c>, <c>[x, *] in a</c>; null is <c>*</c></summary>
public sealed class InExpression(SourceSpan span, IReadOnlyList<Expression?> keys, IdentifierExpression array) : Expression(span)
{
    public IReadOnlyList<Expression?> Keys { get; } = keys;

    public IdentifierExpression Array { get; } = array;
}

public sealed class TernaryExpression(SourceSpan span, Expression condition, Expression whenTrue, Expression whenFalse) : Expression(span)
{
    public Expression Condition { get; } = condition;

    public Expression WhenTrue { get; } = whenTrue;

    public Expression WhenFalse { get; } = whenFalse;
}

/// <summary>An assignment; <see cref="Operator"/> null is <c>=</c>. <c>&lt;&lt;&lt;</c> is <see cref="StatisticAddExpression"/>.</summary>
public sealed class AssignmentExpression(SourceSpan span, BinaryOperator? op, Expression target, Expression value) : Expression(span)
{
    public SourceSpan OperatorSpan { get; init; } = span;

    public BinaryOperator? Operator { get; } = op;

    /// <summary>An identifier, an <see cref="IndexExpression"/> or a <see cref="TargetExpression"/>.</summary>
    public Expression Target { get; } = target;

    public Expression Value { get; } = value;
}

/// <summary><c>x &lt;&lt;&lt; e</c></summary>
public sealed class StatisticAddExpression(SourceSpan span, Expression target, Expression value) : Expression(span)
{
    public Expression Target { get; } = target;

    public Expression Value { get; } = value;
}

/// <summary>A call of a script or tapset function. The print family is <see cref="PrintExpression"/>.</summary>
public sealed class CallExpression(SourceSpan span, string name, IReadOnlyList<Expression> arguments) : Expression(span)
{
    /// <summary>Where the name alone stands.</summary>
    public SourceSpan NameSpan { get; init; } = span;

    public string Name { get; } = name;

    public IReadOnlyList<Expression> Arguments { get; } = arguments;
}

/// <summary>Which statistic an extractor reads.</summary>
public enum StatisticKind
{
    Count,
    Sum,
    Min,
    Max,
    Average,
    Variance,
}

/// <summary><c>@count(x)</c> … <c>@variance(x, shift)</c></summary>
public sealed class StatisticExpression(SourceSpan span, StatisticKind kind, Expression operand, long? shift) : Expression(span)
{
    public StatisticKind Kind { get; } = kind;

    /// <summary>An identifier or <see cref="IndexExpression"/>.</summary>
    public Expression Operand { get; } = operand;

    /// <summary>The second argument of <c>@variance</c>, or null.</summary>
    public long? Shift { get; } = shift;
}

/// <summary><c>@hist_log(x)</c>, <c>@hist_linear(x, low, high, step)</c>; only inside print, foreach and index.</summary>
public sealed class HistogramExpression(SourceSpan span, Expression operand, bool isLinear, long low, long high, long step) : Expression(span)
{
    public Expression Operand { get; } = operand;

    public bool IsLinear { get; } = isLinear;

    public long Low { get; } = low;

    public long High { get; } = high;

    public long Step { get; } = step;
}

/// <summary><c>%{ … %}</c> as a value (guru).</summary>
public sealed class EmbeddedCExpression(SourceSpan span, string code) : Expression(span)
{
    public string Code { get; } = code;
}
