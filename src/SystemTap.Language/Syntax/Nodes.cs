using SystemTap.Language.Text;

namespace SystemTap.Language.Syntax;

/// <summary>
/// Base of the syntax tree. Trees are immutable and hold exact spans; sugar is kept as written (lowering is pass 2's work)
/// except brace expansion of probe points and adjacent string literals, which the parser joins.
/// </summary>
public abstract class SyntaxNode(SourceSpan span)
{
    /// <summary>Where the node stands, from its first to its last token.</summary>
    public SourceSpan Span { get; } = span;
}

/// <summary>The type written after a function or parameter.</summary>
public enum TypeAnnotation
{
    /// <summary>Nothing written: inferred.</summary>
    None,
    Long,
    String,
}

/// <summary>One parsed file.</summary>
public sealed class ScriptFile(SourceSpan span, SourceText source, IReadOnlyList<TopLevelNode> items) : SyntaxNode(span)
{
    public SourceText Source { get; } = source;

    /// <summary>Definitions in the order written.</summary>
    public IReadOnlyList<TopLevelNode> Items { get; } = items;

    /// <summary>Script arguments (1-based numbers) that the text referred to, for the unused-argument warning.</summary>
    public IReadOnlySet<int> UsedArguments { get; init; } = new HashSet<int>();
}

/// <summary>A probe, alias, global, function or embedded C block.</summary>
public abstract class TopLevelNode(SourceSpan span) : SyntaxNode(span);

/// <summary><c>%{ … %}</c> at file level.</summary>
public sealed class EmbeddedCDefinition(SourceSpan span, string code) : TopLevelNode(span)
{
    /// <summary>The text between <c>%{</c> and <c>%}</c>.</summary>
    public string Code { get; } = code;
}

/// <summary>One name of a <c>global</c> or <c>private</c> declaration.</summary>
public sealed class GlobalDefinition(SourceSpan span, string name, bool isPrivate, long? maxSize, bool wraps, LiteralExpression? initializer) : TopLevelNode(span)
{
    public string Name { get; } = name;

    /// <summary>Visible in its file only.</summary>
    public bool IsPrivate { get; } = isPrivate;

    /// <summary>The number in <c>name[N]</c>, or null.</summary>
    public long? MaxSize { get; } = maxSize;

    /// <summary>Declared with <c>%</c>: the oldest elements are overwritten.</summary>
    public bool Wraps { get; } = wraps;

    public LiteralExpression? Initializer { get; } = initializer;
}

/// <summary>A parameter of a function.</summary>
public sealed class Parameter(SourceSpan span, string name, TypeAnnotation type) : SyntaxNode(span)
{
    public string Name { get; } = name;

    public TypeAnnotation Type { get; } = type;
}

/// <summary>A script function, with a statement body or an embedded C body.</summary>
public sealed class FunctionDefinition(
    SourceSpan span, string name, bool isPrivate, TypeAnnotation returnType, IReadOnlyList<Parameter> parameters,
    long? priority, BlockStatement? body, string? embeddedCode) : TopLevelNode(span)
{
    public string Name { get; } = name;

    public bool IsPrivate { get; } = isPrivate;

    public TypeAnnotation ReturnType { get; } = returnType;

    public IReadOnlyList<Parameter> Parameters { get; } = parameters;

    /// <summary>The written overload priority (≥ 1), or null: 0 for user scripts, 1 for tapsets.</summary>
    public long? Priority { get; } = priority;

    /// <summary>The body; null when <see cref="EmbeddedCode"/> is set.</summary>
    public BlockStatement? Body { get; } = body;

    /// <summary>The text between <c>%{</c> and <c>%}</c>, or null.</summary>
    public string? EmbeddedCode { get; } = embeddedCode;
}

/// <summary>One dotted part of a probe point: <c>function("vfs_read")</c>.</summary>
public sealed class ProbeComponent(SourceSpan span, string name, LiteralExpression? argument) : SyntaxNode(span)
{
    /// <summary>The name; may hold <c>*</c> and <c>**</c>.</summary>
    public string Name { get; } = name;

    /// <summary>A string or number, or null when nothing is in parentheses.</summary>
    public LiteralExpression? Argument { get; } = argument;

    /// <summary>The component as script text.</summary>
    public override string ToString() => Argument is null ? Name : Name + "(" + Argument.ToScript() + ")";
}

/// <summary>A probe point after brace expansion.</summary>
public sealed class ProbePoint(SourceSpan span, IReadOnlyList<ProbeComponent> components, bool optional, bool sufficient, Expression? condition) : SyntaxNode(span)
{
    public IReadOnlyList<ProbeComponent> Components { get; } = components;

    /// <summary>Ends with <c>?</c> or <c>!</c>.</summary>
    public bool IsOptional { get; } = optional;

    /// <summary>Ends with <c>!</c>: later points of the list are not tried when this one resolves.</summary>
    public bool IsSufficient { get; } = sufficient;

    /// <summary>The expression of <c>if (…)</c>, or null.</summary>
    public Expression? Condition { get; } = condition;

    /// <summary>The point as script text without <c>? ! if</c>.</summary>
    public override string ToString() => string.Join('.', Components);
}

/// <summary><c>probe PP, PP { … }</c></summary>
public sealed class ProbeDefinition(SourceSpan span, IReadOnlyList<ProbePoint> points, BlockStatement body) : TopLevelNode(span)
{
    public IReadOnlyList<ProbePoint> Points { get; } = points;

    public BlockStatement Body { get; } = body;
}

/// <summary><c>probe NAME = PP { prologue }</c>, <c>probe NAME += PP { epilogue }</c>, <c>probe NAME = PP { prologue }, { epilogue }</c>.</summary>
public sealed class AliasDefinition(
    SourceSpan span, IReadOnlyList<ProbePoint> names, IReadOnlyList<ProbePoint> points, bool isEpilogueStyle,
    BlockStatement body, BlockStatement? epilogue) : TopLevelNode(span)
{
    /// <summary>The names (several with <c>probe A = B = PP</c>).</summary>
    public IReadOnlyList<ProbePoint> Names { get; } = names;

    public IReadOnlyList<ProbePoint> Points { get; } = points;

    /// <summary>Written with <c>+=</c>: <see cref="Body"/> runs after the user's handler.</summary>
    public bool IsEpilogueStyle { get; } = isEpilogueStyle;

    /// <summary>Prologue, or the epilogue of a <c>+=</c> alias.</summary>
    public BlockStatement Body { get; } = body;

    /// <summary>The second block of <c>{ } , { }</c>, or null.</summary>
    public BlockStatement? Epilogue { get; } = epilogue;
}
