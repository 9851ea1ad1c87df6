using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;

namespace SystemTap.KernelModule.Translation;

// Strings, formatted output, regular expressions.
internal sealed partial class BodyEmitter
{
    private Operand CompareTexts(StringCompareExpr e)
    {
        var o = Operands([e.Left, e.Right]);
        var reads = o[0].Reads | o[1].Reads;
        return new Operand(e.Operator switch
        {
            BinaryOperator.Equal => $"stap_same({o[0].Code}, {o[1].Code})",
            BinaryOperator.NotEqual => $"(!stap_same({o[0].Code}, {o[1].Code}))",
            _ => Arithmetic(e.Operator, $"stap_compare({o[0].Code}, {o[1].Code})", "0"),
        }, reads);
    }

    private Operand Concat(ConcatExpr e)
    {
        var operands = Operands(e.Parts);
        var parts = Fresh("parts");
        _declares = true;
        _w.Line($"const struct stap_str {parts}[] = {{ {string.Join(", ", operands.Select(o => o.Code))} }};");
        return StoreText($"stap_concat(c, {P(e.Span)}, {parts}, {operands.Length})");
    }

    private Operand Regex(RegexExpr e)
    {
        var subject = Value(e.Subject);
        var regex = _context.Data.Regex(e.Regex);
        var matched = Store($"stap_matches{(e.Regex.NeedsGroups ? "_groups" : "")}(c, {regex}, {subject.Code})");
        return e.IsNegated ? Temporary($"(!{matched.Code})") : matched;
    }

    private Operand Format(FormatExpr e)
    {
        var operands = Operands(e.Arguments);
        UsesText();
        _declares = true;
        var sink = Fresh("text");
        _w.Line($"struct stap_sink {sink};");
        _w.Line();
        _w.Line($"stap_format_begin(c, &{sink});");
        Put("&" + sink, e.Segments, e.Arguments, operands, e.Span);
        return StoreText($"stap_format_result(c, {P(e.Span)}, &{sink})");
    }

    private void Print(PrintStmt s)
    {
        // A constant alone needs no pieces.
        var operands = Operands(s.Arguments);
        _w.Line("stap_print_begin(c);");
        Put("&c->sink", s.Segments, s.Arguments, operands, s.Span);
        _w.Line("stap_print_end(c);");
    }

    private void Put(string sink, IReadOnlyList<FormatSegment> segments, IReadOnlyList<Expr> arguments, Operand[] operands, SystemTap.Language.Text.SourceSpan span)
    {
        var at = 0;
        foreach (var segment in segments)
        {
            if (segment.Conversion == FormatConversion.Literal)
            {
                if (segment.Text.Length > 0)
                {
                    _w.Line($"stap_put({sink}, {C.Literal(segment.Text)}, {segment.Text.Length});");
                }

                continue;
            }

            var width = Size(segment.WidthKind, segment.Width, "0");
            var precision = Size(segment.PrecisionKind, segment.Precision, "-1");
            var plain = segment.Flag == FormatFlag.None && width == "0" && precision == "-1";
            var value = operands[at];
            var flag = segment.Flag switch
            {
                FormatFlag.Zero => "STAP_FLAG_ZERO",
                FormatFlag.Plus => "STAP_FLAG_PLUS",
                FormatFlag.Left => "STAP_FLAG_LEFT",
                FormatFlag.Space => "STAP_FLAG_SPACE",
                FormatFlag.Alternate => "STAP_FLAG_ALTERNATE",
                _ => "STAP_FLAG_NONE",
            };
            switch (segment.Conversion)
            {
                case FormatConversion.String when value.Histogram is { } histogram:
                    _w.Line($"stap_put_histogram({sink}, {histogram.Shape}, &{histogram.Stat});");
                    break;
                case FormatConversion.String:
                    _w.Line(plain ? $"stap_put_text({sink}, {value.Code});" : $"stap_put_string({sink}, {flag}, {width}, {precision}, {value.Code});");
                    break;
                case FormatConversion.Memory or FormatConversion.MemoryHex:
                    var hex = segment.Conversion == FormatConversion.MemoryHex ? 1 : 0;
                    _w.Line($"if (!stap_put_memory(c, {P(span)}, {sink}, {hex}, {flag}, {width}, {precision}, (u64)({Bare(value.Code)})))");
                    _w.Line($"\tgoto {FailLabel()};");
                    break;
                default:
                    _w.Line(plain && segment.Conversion == FormatConversion.Signed
                        ? $"stap_put_long({sink}, {Bare(value.Code)});"
                        : $"stap_put_number({sink}, '{Letter(segment.Conversion)}', {flag}, {width}, {precision}, {Bare(value.Code)});");
                    break;
            }

            at++;
        }

        string Size(FormatSize kind, int value, string none) => kind switch
        {
            FormatSize.Fixed => C.Int(value),
            FormatSize.Dynamic => Bare(operands[at++].Code),
            _ => none,
        };
    }

    private static char Letter(FormatConversion conversion) => conversion switch
    {
        FormatConversion.Signed => 'd',
        FormatConversion.Unsigned => 'u',
        FormatConversion.HexLower => 'x',
        FormatConversion.HexUpper => 'X',
        FormatConversion.Octal => 'o',
        FormatConversion.Pointer => 'p',
        FormatConversion.Char => 'c',
        FormatConversion.Binary => 'b',
        _ => throw new InvalidOperationException($"conversion {conversion} does not print a number"),
    };
}
