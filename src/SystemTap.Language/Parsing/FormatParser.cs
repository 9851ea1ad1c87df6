using System.Text;
using SystemTap.Language.Syntax;

namespace SystemTap.Language.Parsing;

/// <summary>Reads printf formats: <c>%[flag][width][.precision][l]conversion</c>, one flag at most.</summary>
public static class FormatParser
{
    private const int MaxSize = 65_535;

    /// <summary>The pieces of a format. On an error the problem says what is wrong, with a hint, and the list is what came before.</summary>
    public static IReadOnlyList<FormatSegment> Parse(string format, out (string Message, string Hint)? problem)
    {
        problem = null;
        var segments = new List<FormatSegment>();
        StringBuilder? escaped = null; // literal text with a percent sign in it
        var literalStart = 0;
        var i = 0;
        while (i < format.Length)
        {
            if (format[i] != '%')
            {
                i++;
                continue;
            }

            if (i + 1 < format.Length && format[i + 1] == '%')
            {
                (escaped ??= new StringBuilder()).Append(format, literalStart, i + 1 - literalStart);
                i += 2;
                literalStart = i;
                continue;
            }

            Flush(segments, ref escaped, format, literalStart, i);
            var start = i;
            if (Directive(format, ref i) is not { } segment)
            {
                problem = i >= format.Length
                    ? ($"format directive '{Lexing.TokenFacts.Shorten(format[start..])}' has no conversion letter", "write %% for a percent sign")
                    : ($"format directive '{Lexing.TokenFacts.Shorten(format[start..(i + 1)])}' is not valid", HintFor(format[i]));
                return segments;
            }

            segments.Add(segment);
            literalStart = i;
        }

        Flush(segments, ref escaped, format, literalStart, i);
        return segments;
    }

    /// <summary>What to do about a character that a directive cannot have.</summary>
    private static string HintFor(char wrong) => wrong switch
    {
        'l' or 'h' or 'j' or 'z' or 'q' or 'L' => "all numbers have 64 bits: write no size, as in %d or %x",
        'e' or 'f' or 'g' or 'a' => "there are no fractions; print the parts, as in printf(\"%d.%03d\", us / 1000, us % 1000)",
        '$' => "values are taken in their order",
        '0' or '+' or '-' or ' ' or '#' => "a directive has one flag at most",
        'b' => "%b writes 1, 2, 4 or 8 bytes",
        _ => "a directive ends in one of d i u x X o p c s b m M; write %% for a percent sign",
    };

    /// <summary>How many values a format takes, counting <c>*</c> widths and precisions.</summary>
    public static int ArgumentCount(IReadOnlyList<FormatSegment> segments)
    {
        var count = 0;
        for (var i = 0; i < segments.Count; i++)
        {
            var segment = segments[i];
            if (segment.Conversion != FormatConversion.Literal)
            {
                count += 1 + (segment.WidthKind == FormatSize.Dynamic ? 1 : 0) + (segment.PrecisionKind == FormatSize.Dynamic ? 1 : 0);
            }
        }

        return count;
    }

    private static void Flush(List<FormatSegment> segments, ref StringBuilder? escaped, string format, int start, int end)
    {
        if (escaped is not null)
        {
            escaped.Append(format, start, end - start);
            segments.Add(new FormatSegment(FormatConversion.Literal, escaped.ToString()));
            escaped = null;
        }
        else if (end > start)
        {
            segments.Add(new FormatSegment(FormatConversion.Literal, format[start..end]));
        }
    }

    /// <summary>One directive from its percent sign; null with <paramref name="i"/> at what is wrong.</summary>
    private static FormatSegment? Directive(string format, ref int i)
    {
        i++;
        var flag = FormatFlag.None;
        if (i < format.Length)
        {
            flag = format[i] switch
            {
                '0' => FormatFlag.Zero,
                '+' => FormatFlag.Plus,
                '-' => FormatFlag.Left,
                ' ' => FormatFlag.Space,
                '#' => FormatFlag.Alternate,
                _ => FormatFlag.None,
            };
            if (flag != FormatFlag.None)
            {
                i++;
            }
        }

        if (!Size(format, ref i, out var widthKind, out var width))
        {
            return null;
        }

        var precisionKind = FormatSize.Unspecified;
        var precision = 0;
        if (i < format.Length && format[i] == '.')
        {
            i++;
            if (!Size(format, ref i, out precisionKind, out precision))
            {
                return null;
            }

            if (precisionKind == FormatSize.Unspecified)
            {
                precisionKind = FormatSize.Fixed; // "%.d" is "%.0d", as in C
            }
        }

        if (i < format.Length && format[i] == 'l')
        {
            i++;
        }

        if (i >= format.Length || Conversion(format[i]) is not { } conversion)
        {
            return null;
        }

        if (conversion == FormatConversion.Binary && widthKind == FormatSize.Fixed && width is not (1 or 2 or 4 or 8))
        {
            return null;
        }

        i++;
        return new FormatSegment(conversion, "")
        {
            Flag = flag,
            WidthKind = widthKind,
            Width = width,
            PrecisionKind = precisionKind,
            Precision = precision,
        };
    }

    private static bool Size(string format, ref int i, out FormatSize kind, out int size)
    {
        kind = FormatSize.Unspecified;
        size = 0;
        if (i < format.Length && format[i] == '*')
        {
            kind = FormatSize.Dynamic;
            i++;
            return true;
        }

        while (i < format.Length && char.IsAsciiDigit(format[i]))
        {
            kind = FormatSize.Fixed;
            size = size * 10 + (format[i] - '0');
            if (size > MaxSize)
            {
                return false;
            }

            i++;
        }

        return true;
    }

    private static FormatConversion? Conversion(char c) => c switch
    {
        'd' or 'i' => FormatConversion.Signed,
        'u' => FormatConversion.Unsigned,
        'x' => FormatConversion.HexLower,
        'X' => FormatConversion.HexUpper,
        'o' => FormatConversion.Octal,
        'p' => FormatConversion.Pointer,
        'c' => FormatConversion.Char,
        's' => FormatConversion.String,
        'b' => FormatConversion.Binary,
        'm' => FormatConversion.Memory,
        'M' => FormatConversion.MemoryHex,
        _ => null,
    };
}
