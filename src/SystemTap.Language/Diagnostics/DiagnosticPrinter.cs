using System.Text;
using SystemTap.Language.Lexing;
using SystemTap.Language.Text;

namespace SystemTap.Language.Diagnostics;

/// <summary>
/// Writes diagnostics in SystemTap's form: message, place, source line, caret, then context and hints.
/// </summary>
/// <remarks>
/// Source text is shown with control bytes made visible, tabs as they are (the caret line repeats them, so it stays aligned
/// at any tab width), and cut to a window around the caret when the line is long. Lines of the script are in byte form, paths in messages
/// may be ordinary text: the writer must turn both into bytes (<see cref="ByteText.ForTerminal"/>), and a line is given to it in one piece.
/// </remarks>
public sealed class DiagnosticPrinter
{
    private const int LineWidth = 160;
    private const int WindowBefore = 100;

    private readonly TextWriter _writer;
    private readonly DiagnosticColors? _colors;

    /// <param name="writer">Where to.</param>
    /// <param name="colors">Colours, or null for none.</param>
    public DiagnosticPrinter(TextWriter writer, DiagnosticColors? colors = null)
    {
        _writer = writer;
        _colors = colors;
    }

    /// <summary>Writes all reports of a bag in order.</summary>
    public void PrintAll(DiagnosticBag bag)
    {
        foreach (var diagnostic in bag.All)
        {
            Print(diagnostic);
        }
    }

    /// <summary>Writes one report.</summary>
    public void Print(Diagnostic diagnostic)
    {
        var isWarning = diagnostic.Severity == Severity.Warning;
        var label = diagnostic.Severity switch
        {
            Severity.Warning => "WARNING:",
            Severity.ParseError => "parse error:",
            Severity.SemanticError => "semantic error:",
            _ => "ERROR:",
        };
        Colored(label, isWarning ? _colors?.Warning : _colors?.Error);
        _writer.Write(' ');
        WriteVisible(diagnostic.Message);

        if (diagnostic.Span is not { Source: not null } span)
        {
            _writer.Write('\n');
        }
        else if (diagnostic.Severity == Severity.ParseError)
        {
            _writer.Write("\n\tsaw: ");
            WriteToken(diagnostic.Saw ?? DescribeAt(span));
            _writer.Write(" at ");
            WriteVisible(span.ToString());
            _writer.Write('\n');
            WriteSource("     source: ", span);
        }
        else
        {
            _writer.Write(": ");
            WriteToken(diagnostic.Saw ?? DescribeAt(span));
            _writer.Write(" at ");
            WriteVisible(span.ToString());
            _writer.Write('\n');
            WriteSource(diagnostic.Severity == Severity.SemanticError ? "        source: " : " source: ", span);
        }

        PrintRest(diagnostic);
        _writer.Write('\n');
    }

    private void PrintRest(Diagnostic diagnostic)
    {
        foreach (var (what, place) in diagnostic.Context)
        {
            _writer.Write('\t');
            WriteVisible(what);
            _writer.Write(": ");
            WriteVisible(place.ToString());
            _writer.Write('\n');
        }

        if (diagnostic.Related is { Source: not null } related)
        {
            _writer.Write('\t');
            WriteVisible(diagnostic.RelatedMessage ?? "see also");
            _writer.Write(": ");
            WriteToken(DescribeAt(related));
            _writer.Write(" at ");
            WriteVisible(related.ToString());
            _writer.Write('\n');
            WriteSource("     source: ", related);
        }

        if (diagnostic.More > 0)
        {
            _writer.Write($"\tand {diagnostic.More} more of this kind at the same place\n");
        }

        if (diagnostic.Hint is { } hint)
        {
            _writer.Write("hint: ");
            WriteVisible(hint);
            _writer.Write('\n');
        }
    }

    /// <summary>The token that stands at a place, such as <c>identifier 'foo'</c>.</summary>
    private static string DescribeAt(SourceSpan span)
    {
        var content = span.Source.Content;
        if (span.Start >= content.Length)
        {
            return "end of file";
        }

        // One token is enough; a window keeps this cheap for tokens that would run to the end of a huge file.
        var window = content.Substring(span.Start, Math.Min(256, content.Length - span.Start));
        new Lexer(new SourceText(span.Source.Path, window)).Next(out var token);
        return token.Start != 0 || token.Kind == TokenKind.Junk
            ? "'" + TokenFacts.Shorten(window[..Math.Min(Math.Max(1, span.Length), window.Length)]) + "'"
            : token.Describe();
    }

    private void WriteSource(string prefix, SourceSpan span)
    {
        var (lineNumber, column) = span.Position;
        var line = span.Source.LineText(lineNumber);
        if (line.EndsWith("\r"))
        {
            line = line[..^1];
        }

        column = Math.Min(column, line.Length + 1);
        var start = 0;
        if (line.Length > LineWidth)
        {
            start = Math.Clamp(column - 1 - WindowBefore, 0, Math.Max(0, line.Length - LineWidth));
        }

        var end = Math.Min(line.Length, start + LineWidth);
        var shown = new StringBuilder();
        var caret = new StringBuilder();
        if (start > 0)
        {
            shown.Append("...");
            caret.Append("   ");
        }

        for (var i = start; i < end; i++)
        {
            var before = shown.Length;
            AppendVisible(shown, line[i], keepTabs: true);
            if (i < column - 1)
            {
                caret.Append(line[i] == '\t' ? "\t" : new string(' ', Width(shown, before)));
            }
        }

        if (end < line.Length)
        {
            shown.Append("...");
        }

        Colored(prefix, _colors?.Source);
        _writer.Write(shown);
        _writer.Write('\n');
        _writer.Write(new string(' ', prefix.Length));
        _writer.Write(caret);
        Colored("^", _colors?.Caret);
        _writer.Write('\n');
    }

    /// <summary>Columns of what was appended: continuation bytes of UTF-8 take none.</summary>
    private static int Width(StringBuilder shown, int from)
    {
        var width = 0;
        for (var i = from; i < shown.Length; i++)
        {
            width += (shown[i] & 0xC0) == 0x80 ? 0 : 1;
        }

        return width;
    }

    private void WriteToken(string description)
    {
        // The quoted part alone is coloured, as SystemTap does.
        var quote = description.IndexOf('\'');
        if (_colors is null || quote < 0)
        {
            WriteVisible(description);
            return;
        }

        WriteVisible(description[..quote]);
        Colored(description[quote..], _colors.Token);
    }

    private void Colored(string text, string? color)
    {
        if (color is null)
        {
            _writer.Write(text);
            return;
        }

        _writer.Write("\e[");
        _writer.Write(color);
        _writer.Write("m\e[K");
        _writer.Write(text);
        _writer.Write("\e[m\e[K");
    }

    private void WriteVisible(string text)
    {
        var sb = new StringBuilder(text.Length);
        foreach (var c in text)
        {
            AppendVisible(sb, c, keepTabs: false);
        }

        _writer.Write(sb);
    }

    private static void AppendVisible(StringBuilder sb, char c, bool keepTabs)
    {
        if (c is >= ' ' and not (char)127 || (c == '\t' && keepTabs))
        {
            sb.Append(c);
        }
        else if (c == (char)127)
        {
            sb.Append("^?");
        }
        else
        {
            sb.Append('^').Append((char)(c + 64));
        }
    }
}
