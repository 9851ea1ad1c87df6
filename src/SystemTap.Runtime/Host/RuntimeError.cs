using SystemTap.Language.Diagnostics;
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
    /// <summary>The line of a warning, without its end; a script's text may end its line itself.</summary>
    public static string Warning(string text) => "WARNING: " + (text.EndsWith('\n') ? text[..^1] : text);

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
            text.Append(" near ").Append(TokenText.Describe(place)).Append(" at ").Append(place.ToString());
        }

        if (depth > 0)
        {
            text.Append(" (called from ").Append(callers[depth - 1].ToString()).Append(')');
        }

        return text.Append(" in probe ").Append(probe).ToString();
    }
}
