using System.Globalization;
using System.Text;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Lowering;

internal sealed partial class BodyLowering
{
    private static readonly FormatSegment s_long = new(FormatConversion.Signed, "");
    private static readonly FormatSegment s_string = new(FormatConversion.String, "");
    private static readonly FormatSegment s_char = new(FormatConversion.Char, "");

    private void LowerPrint(PrintExpression p, List<Stmt> to)
    {
        var (segments, arguments) = LowerFormat(p);
        if (segments.Count > 0 || !_fold)
        {
            to.Add(new PrintStmt(segments, arguments, At(p.Span)));
        }
    }

    private Expr LowerSprint(PrintExpression p)
    {
        var (segments, arguments) = LowerFormat(p);
        if (!p.ReturnsString)
        {
            // A print where a value is needed has been reported; keep the shape.
            return new SequenceExpr([new PrintStmt(segments, arguments, At(p.Span))], new LongConst(0, At(p.Span)), At(p.Span));
        }

        if (segments.Count == 0)
        {
            return new StringConst("", At(p.Span));
        }

        if (segments.Count == 1 && _fold)
        {
            if (segments[0].Conversion == FormatConversion.Literal)
            {
                return new StringConst(segments[0].Text, At(p.Span));
            }

            if (segments[0] == s_string && arguments[0] is not HistogramTextExpr)
            {
                return arguments[0];
            }
        }

        return new FormatExpr(segments, arguments, At(p.Span));
    }

    /// <summary>Every print form as format segments; literals that stand for values are joined with the text around them.</summary>
    private (List<FormatSegment> Segments, List<Expr> Arguments) LowerFormat(PrintExpression p)
    {
        var segments = new List<FormatSegment>();
        var arguments = new List<Expr>();
        var text = new StringBuilder();
        if (p.Kind == PrintKind.Format)
        {
            var next = 0;
            foreach (var segment in p.Format)
            {
                if (segment.Conversion == FormatConversion.Literal)
                {
                    text.Append(segment.Text);
                    continue;
                }

                var count = 1 + (segment.WidthKind == FormatSize.Dynamic ? 1 : 0) + (segment.PrecisionKind == FormatSize.Dynamic ? 1 : 0);
                if (next + count > p.Arguments.Count)
                {
                    break;
                }

                if (count == 1)
                {
                    Add(segment, Lower(p.Arguments[next++]));
                    continue;
                }

                Flush();
                segments.Add(segment);
                while (count-- > 0)
                {
                    arguments.Add(Lower(p.Arguments[next++]));
                }
            }
        }
        else
        {
            for (var i = 0; i < p.Arguments.Count; i++)
            {
                if (i > 0 && p.Delimiter is { } delimiter)
                {
                    text.Append(delimiter);
                }

                var value = Lower(p.Arguments[i]);
                Add(p.Kind == PrintKind.Char ? s_char : value.Type == ScriptType.String ? s_string : s_long, value);
            }

            if (p.Kind is PrintKind.PrintLine or PrintKind.DelimitedLine)
            {
                text.Append('\n');
            }
        }

        Flush();
        return (segments, arguments);

        void Add(FormatSegment segment, Expr value)
        {
            if (_fold && value is StringConst s && segment == s_string)
            {
                text.Append(s.Value);
                return;
            }

            if (_fold && value is LongConst n && segment == s_long)
            {
                text.Append(n.Value.ToString(CultureInfo.InvariantCulture));
                return;
            }

            Flush();
            segments.Add(segment);
            arguments.Add(value);
        }

        void Flush()
        {
            if (text.Length > 0)
            {
                segments.Add(new FormatSegment(FormatConversion.Literal, text.ToString()));
                text.Clear();
            }
        }
    }
}
