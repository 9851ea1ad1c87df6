using SystemTap.Language.Text;

namespace SystemTap.Language.Syntax;

public abstract class Statement(SourceSpan span) : SyntaxNode(span);

public sealed class BlockStatement(SourceSpan span, IReadOnlyList<Statement> statements) : Statement(span)
{
    public IReadOnlyList<Statement> Statements { get; } = statements;
}

/// <summary>A lone <c>;</c>.</summary>
public sealed class EmptyStatement(SourceSpan span) : Statement(span);

public sealed class ExpressionStatement(SourceSpan span, Expression expression) : Statement(span)
{
    public Expression Expression { get; } = expression;
}

public sealed class IfStatement(SourceSpan span, Expression condition, Statement then, Statement? @else) : Statement(span)
{
    public Expression Condition { get; } = condition;

    public Statement Then { get; } = then;

    public Statement? Else { get; } = @else;
}

public sealed class WhileStatement(SourceSpan span, Expression condition, Statement body) : Statement(span)
{
    public Expression Condition { get; } = condition;

    public Statement Body { get; } = body;
}

public sealed class ForStatement(SourceSpan span, Expression? initializer, Expression? condition, Expression? increment, Statement body) : Statement(span)
{
    public Expression? Initializer { get; } = initializer;

    public Expression? Condition { get; } = condition;

    public Expression? Increment { get; } = increment;

    public Statement Body { get; } = body;
}

/// <summary>Which way a <c>foreach</c> sorts.</summary>
public enum SortDirection
{
    None,
    Ascending,
    Descending,
}

/// <summary><c>foreach (v = [k1, k2] in A[slice] @sum- limit N) body</c></summary>
public sealed class ForeachStatement(
    SourceSpan span, IReadOnlyList<IdentifierExpression> keys, IdentifierExpression? value, Expression array,
    IReadOnlyList<Expression?>? slice, SortDirection direction, int sortKey, StatisticKind? sortStatistic,
    Expression? limit, Statement body) : Statement(span)
{
    /// <summary>The key variables.</summary>
    public IReadOnlyList<IdentifierExpression> Keys { get; } = keys;

    /// <summary>The variable that gets the value, or null.</summary>
    public IdentifierExpression? Value { get; } = value;

    /// <summary>An <see cref="IdentifierExpression"/> or a <see cref="HistogramExpression"/>.</summary>
    public Expression Array { get; } = array;

    /// <summary>One entry per key, null for <c>*</c>; null when no slice is written.</summary>
    public IReadOnlyList<Expression?>? Slice { get; } = slice;

    public SortDirection Direction { get; } = direction;

    /// <summary>0: by value; n ≥ 1: by the n-th key. Meaningless when <see cref="Direction"/> is None.</summary>
    public int SortKey { get; } = sortKey;

    /// <summary>The extractor in front of the direction, such as <c>@sum-</c>; null when not written.</summary>
    public StatisticKind? SortStatistic { get; } = sortStatistic;

    public Expression? Limit { get; } = limit;

    public Statement Body { get; } = body;
}

public sealed class BreakStatement(SourceSpan span) : Statement(span);

public sealed class ContinueStatement(SourceSpan span) : Statement(span);

public sealed class NextStatement(SourceSpan span) : Statement(span);

public sealed class ReturnStatement(SourceSpan span, Expression? value) : Statement(span)
{
    public Expression? Value { get; } = value;
}

/// <summary><c>delete x</c>, <c>delete a[1,*]</c></summary>
public sealed class DeleteStatement(SourceSpan span, Expression operand) : Statement(span)
{
    /// <summary>An <see cref="IdentifierExpression"/> or <see cref="IndexExpression"/>.</summary>
    public Expression Operand { get; } = operand;
}

public sealed class TryStatement(SourceSpan span, BlockStatement body, IdentifierExpression? variable, BlockStatement handler) : Statement(span)
{
    public BlockStatement Body { get; } = body;

    /// <summary>The variable of <c>catch (msg)</c>, or null.</summary>
    public IdentifierExpression? Variable { get; } = variable;

    public BlockStatement Handler { get; } = handler;
}
