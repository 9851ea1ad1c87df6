using SystemTap.Language.Lexing;
using SystemTap.Language.Syntax;

namespace SystemTap.Language.Parsing;

// The print family.
public sealed partial class Parser
{
    private const int MaxPrintValues = 32;

    /// <summary>The functions that are part of the language, for suggestions.</summary>
    public static IReadOnlyList<string> PrintNames { get; } =
        ["print", "println", "printd", "printdln", "printf", "print_char", "sprint", "sprintln", "sprintd", "sprintdln", "sprintf"];

    private static (PrintKind Kind, bool Returns)? PrintForm(string name) => name switch
    {
        "print" => (PrintKind.Print, false),
        "println" => (PrintKind.PrintLine, false),
        "printd" => (PrintKind.Delimited, false),
        "printdln" => (PrintKind.DelimitedLine, false),
        "printf" => (PrintKind.Format, false),
        "print_char" => (PrintKind.Char, false),
        "sprint" => (PrintKind.Print, true),
        "sprintln" => (PrintKind.PrintLine, true),
        "sprintd" => (PrintKind.Delimited, true),
        "sprintdln" => (PrintKind.DelimitedLine, true),
        "sprintf" => (PrintKind.Format, true),
        _ => null,
    };

    private PrintExpression Print(int start, string name, PrintKind kind, bool toString)
    {
        Advance(); // '('
        string? delimiter = null;
        StringLiteral? format = null;
        IReadOnlyList<FormatSegment> segments = [];
        var arguments = new List<Expression>();
        var height = 0;
        switch (kind)
        {
            case PrintKind.Format:
                format = ExpectString("expected literal format string");
                break;
            case PrintKind.Delimited or PrintKind.DelimitedLine:
                delimiter = ExpectString("expected literal delimiter string").Value;
                break;
        }

        var first = format is null && delimiter is null;
        while (!_panic && _kind != TokenKind.RightParen)
        {
            if (!first)
            {
                Expect(TokenKind.Comma, "expected ',' or ')'");
            }

            first = false;
            arguments.Add(PrintValue());
            height = Max(height, _height);
        }

        Expect(TokenKind.RightParen, "expected ',' or ')'");
        if (!_panic)
        {
            var span = SpanFrom(start);
            if (format is not null)
            {
                var parsed = FormatParser.Parse(format.Value, out var problem);
                if (problem is var (message, hint))
                {
                    SoftError("parse.format", format.Span, message, hint);
                }
                else
                {
                    segments = parsed;
                    var wanted = FormatParser.ArgumentCount(parsed);
                    if (wanted != arguments.Count)
                    {
                        SoftError("parse.format-arguments", span, $"format of '{name}' takes {Values(wanted)} but {Values(arguments.Count)} {(arguments.Count == 1 ? "is" : "are")} given");
                    }
                }
            }

            CheckPrintArguments(name, kind, arguments, span);
        }

        Raise(height);
        return new PrintExpression(SpanFrom(start), kind, toString, delimiter, segments, arguments) { FormatLiteral = format };
    }

    /// <summary>A value, or a histogram alone.</summary>
    private Expression PrintValue()
    {
        var value = Expression();
        Settle(value);
        return value;
    }

    private void CheckPrintArguments(string name, PrintKind kind, List<Expression> arguments, Text.SourceSpan span)
    {
        var fewest = kind switch
        {
            PrintKind.Print or PrintKind.Char => 1,
            PrintKind.Delimited or PrintKind.DelimitedLine => 2,
            _ => 0,
        };
        if (arguments.Count < fewest)
        {
            SoftError("parse.print-arguments", span, $"'{name}' needs {(kind == PrintKind.Char ? "exactly" : "at least")} {Values(fewest)}{(kind is PrintKind.Delimited or PrintKind.DelimitedLine ? " besides the delimiter" : "")}");
        }
        else if (kind == PrintKind.Char && arguments.Count > 1)
        {
            SoftError("parse.print-arguments", span, $"'{name}' needs exactly 1 value");
        }
        else if (arguments.Count > MaxPrintValues)
        {
            SoftError("parse.print-arguments", span, $"'{name}' has {arguments.Count} values; at most {MaxPrintValues} are allowed");
        }

        foreach (var argument in arguments)
        {
            if (argument is HistogramExpression && (arguments.Count > 1 || kind is not (PrintKind.Print or PrintKind.PrintLine)))
            {
                SoftError("parse.histogram-place", argument.Span, "histogram must be the only value of 'print', 'println', 'sprint' or 'sprintln'");
            }
        }
    }

    private static string Values(int n) => n == 1 ? "1 value" : n + " values";
}
