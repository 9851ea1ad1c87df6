using SystemTap.Language.Text;

namespace SystemTap.Language.Syntax;

/// <summary><c>$name</c> (with the dollar sign), including <c>$$vars</c>, <c>$$parms</c>, <c>$$name</c>. A trailing <c>$</c>/<c>$$</c> (pretty print) is not part of it.</summary>
public sealed class TargetVariable(SourceSpan span, string name) : Expression(span)
{
    public string Name { get; } = name;
}

/// <summary><c>@var("name@cu", "module")</c></summary>
public sealed class AtVarExpression(SourceSpan span, StringLiteral name, StringLiteral? module) : Expression(span)
{
    public StringLiteral Name { get; } = name;

    public StringLiteral? Module { get; } = module;
}

/// <summary><c>@cast(e, "type", "module")</c></summary>
public sealed class CastExpression(SourceSpan span, Expression operand, StringLiteral type, StringLiteral? module) : Expression(span)
{
    public Expression Operand { get; } = operand;

    public StringLiteral Type { get; } = type;

    public StringLiteral? Module { get; } = module;
}

/// <summary>One step behind a target value.</summary>
public abstract class Accessor(SourceSpan span) : SyntaxNode(span);

/// <summary><c>-&gt;name</c></summary>
public sealed class MemberAccessor(SourceSpan span, string name) : Accessor(span)
{
    public string Name { get; } = name;
}

/// <summary><c>[i]</c></summary>
public sealed class IndexAccessor(SourceSpan span, Expression index) : Accessor(span)
{
    public Expression Index { get; } = index;
}

/// <summary>Accessors, <c>&amp;</c> and pretty-print suffix around a typed value.</summary>
/// <remarks>
/// The parser makes one for <c>$x-&gt;a[1]$</c>, <c>&amp;$x</c>, <c>@cast(…)-&gt;f</c> and for <c>t-&gt;f</c> on any expression (autocast). A bare
/// <c>$x</c>, <c>@var(…)</c>, <c>@cast(…)</c> without any of these stands as itself. <c>t[i]</c> on an identifier is an
/// <see cref="IndexExpression"/>: binding decides whether it is an array element or an autocast index.
/// </remarks>
public sealed class TargetExpression(SourceSpan span, Expression value, IReadOnlyList<Accessor> accessors, bool addressOf, int prettyDepth) : Expression(span)
{
    /// <summary>The value the accessors start from.</summary>
    public Expression Value { get; } = value;

    public IReadOnlyList<Accessor> Accessors { get; } = accessors;

    /// <summary>Written with <c>&amp;</c> in front.</summary>
    public bool AddressOf { get; } = addressOf;

    /// <summary>0 none, 1 for <c>$</c>, 2 for <c>$$</c> at the end.</summary>
    public int PrettyDepth { get; } = prettyDepth;
}

/// <summary><c>@defined(e)</c></summary>
public sealed class DefinedExpression(SourceSpan span, Expression operand) : Expression(span)
{
    public Expression Operand { get; } = operand;
}

/// <summary><c>@entry(e)</c></summary>
public sealed class EntryExpression(SourceSpan span, Expression operand) : Expression(span)
{
    public Expression Operand { get; } = operand;
}

/// <summary><c>@perf("name")</c></summary>
public sealed class PerfExpression(SourceSpan span, StringLiteral counter) : Expression(span)
{
    public StringLiteral Counter { get; } = counter;
}

/// <summary><c>@probewrite(v)</c></summary>
public sealed class ProbeWriteExpression(SourceSpan span, string variable) : Expression(span)
{
    public string Variable { get; } = variable;
}

/// <summary><c>@const("C")</c></summary>
public sealed class ConstExpression(SourceSpan span, StringLiteral code) : Expression(span)
{
    public StringLiteral Code { get; } = code;
}

/// <summary><c>@enum("NAME")</c></summary>
public sealed class EnumExpression(SourceSpan span, StringLiteral name) : Expression(span)
{
    public StringLiteral Name { get; } = name;
}

/// <summary><c>@enumname(e, "enum t", "module")</c></summary>
public sealed class EnumNameExpression(SourceSpan span, Expression operand, StringLiteral? type, StringLiteral? module) : Expression(span)
{
    public Expression Operand { get; } = operand;

    public StringLiteral? Type { get; } = type;

    public StringLiteral? Module { get; } = module;
}

/// <summary><c>@kderef(size, addr)</c>, <c>@uderef(size, addr)</c></summary>
public sealed class DerefExpression(SourceSpan span, bool isUser, long size, Expression address) : Expression(span)
{
    public bool IsUser { get; } = isUser;

    /// <summary>1, 2, 4 or 8 bytes.</summary>
    public long Size { get; } = size;

    public Expression Address { get; } = address;
}

/// <summary><c>@kregister(n)</c>, <c>@uregister(n)</c> (DWARF numbers)</summary>
public sealed class RegisterExpression(SourceSpan span, bool isUser, long number) : Expression(span)
{
    public bool IsUser { get; } = isUser;

    public long Number { get; } = number;
}
