using SystemTap.Language.Text;

namespace SystemTap.Language.Diagnostics;

/// <summary>What a diagnostic means for the session.</summary>
public enum Severity
{
    /// <summary>Printed as <c>WARNING: …</c>; the session goes on unless <c>-W</c>.</summary>
    Warning,

    /// <summary>Printed as <c>parse error: …</c>; pass 1 fails.</summary>
    ParseError,

    /// <summary>Printed as <c>semantic error: …</c>; pass 2 fails.</summary>
    SemanticError,

    /// <summary>Printed as <c>ERROR: …</c>; environment, options, kernel.</summary>
    Error,
}

/// <summary>
/// One message to the user, as data. The printer gives it SystemTap's form: message, <c>saw:</c> or
/// <c>source:</c> place, source line, caret, then hints.
/// </summary>
public sealed class Diagnostic
{
    /// <param name="code">Stable id such as <c>parse.expected-token</c>; every code has a test.</param>
    /// <param name="severity">What it means for the session.</param>
    /// <param name="message">Subject first, names in quotes, cause; no final full stop, no place.</param>
    /// <param name="span">Where, when it is about script text.</param>
    public Diagnostic(string code, Severity severity, string message, SourceSpan? span = null)
    {
        Code = code;
        Severity = severity;
        Message = message;
        Span = span;
    }

    public string Code { get; }

    public Severity Severity { get; }

    public string Message { get; }

    public SourceSpan? Span { get; }

    /// <summary>For parse errors: what stood there, such as <c>identifier 'foo'</c>; printed after <c>saw:</c>.</summary>
    public string? Saw { get; init; }

    /// <summary>A second place, for instance the other side of a type mismatch.</summary>
    public SourceSpan? Related { get; init; }

    /// <summary>What the second place is, for instance "first used as long here".</summary>
    public string? RelatedMessage { get; init; }

    /// <summary>One action: "did you mean 'execname'", "needs -g".</summary>
    public string? Hint { get; init; }

    /// <summary>Places this came through, innermost first: macro uses, alias uses, callers. Each is printed as <c>in expansion of macro '@x': FILE:LINE:COL</c> or the like.</summary>
    public IReadOnlyList<(string What, SourceSpan Span)> Context { get; init; } = [];

    /// <summary>Reports of the same kind at the same place that are not listed: those of the other events that one written probe stands for.</summary>
    public int More { get; internal set; }
}

/// <summary>
/// Where passes put their diagnostics. Identical (code, message, place) reports are kept once. Of those that differ in the message only, as the
/// 350 events of <c>syscall.*</c> make them, the first is kept and the others are counted.
/// </summary>
public sealed class DiagnosticBag
{
    private readonly List<Diagnostic> _all = [];
    private readonly HashSet<(string, string, SourceText?, int)> _seen = [];
    private readonly Dictionary<(string, SourceText, int), Diagnostic> _places = [];

    /// <summary>All reports in order.</summary>
    public IReadOnlyList<Diagnostic> All => _all;

    /// <summary>How many are errors (not warnings).</summary>
    public int ErrorCount { get; private set; }

    /// <summary>True if any report is an error.</summary>
    public bool HasErrors => ErrorCount > 0;

    /// <summary>Adds a report.</summary>
    public void Add(Diagnostic diagnostic)
    {
        if (!_seen.Add((diagnostic.Code, diagnostic.Message, diagnostic.Span?.Source, diagnostic.Span?.Start ?? -1)))
        {
            return;
        }

        if (diagnostic.Severity != Severity.Warning)
        {
            ErrorCount++;
        }

        if (diagnostic.Span is { Source: not null } span && !_places.TryAdd((diagnostic.Code, span.Source, span.Start), diagnostic))
        {
            _places[(diagnostic.Code, span.Source, span.Start)].More++;
            return;
        }

        _all.Add(diagnostic);
    }

    /// <summary>Adds a semantic error.</summary>
    public void Error(string code, SourceSpan span, string message, string? hint = null) =>
        Add(new Diagnostic(code, Severity.SemanticError, message, span) { Hint = hint });

    /// <summary>Adds a warning.</summary>
    public void Warn(string code, SourceSpan? span, string message, string? hint = null) =>
        Add(new Diagnostic(code, Severity.Warning, message, span) { Hint = hint });
}
