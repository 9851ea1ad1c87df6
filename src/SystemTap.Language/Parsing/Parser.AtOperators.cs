using SystemTap.Language.Diagnostics;
using SystemTap.Language.Lexing;
using SystemTap.Language.Syntax;

namespace SystemTap.Language.Parsing;

// The built-in @words.
public sealed partial class Parser
{
    private const int MaxHistogramBuckets = 128;

    private static StatisticKind? StatisticOf(string word) => word switch
    {
        "count" => StatisticKind.Count,
        "sum" => StatisticKind.Sum,
        "min" => StatisticKind.Min,
        "max" => StatisticKind.Max,
        "avg" => StatisticKind.Average,
        "variance" => StatisticKind.Variance,
        _ => null,
    };

    private Expression AtOperator()
    {
        var start = _pos;
        var word = Current.Text!;
        var since = TokenFacts.BuiltInWordSince(word);
        if (since is null || (since.Length > 0 && !_options.Environment.LanguageHas(since)))
        {
            UnknownWord(word, since);
            return Dummy();
        }

        if (since.Length > 0)
        {
            _options.Environment.VersionDependent?.Invoke(Current.Span, $"operator '@{word}' is there since version {since} of the language only");
        }

        if (word is "const" or "kregister" or "kderef" && !_guru)
        {
            SoftError("parse.operator-needs-guru", Current.Span, $"operator '@{word}' is not permitted in an unprivileged script; need stap -g", "run with -g if you trust the script");
        }

        Advance();
        if (word is "hist_log" or "hist_linear")
        {
            return HistogramValue(start, word == "hist_linear");
        }

        Expect(TokenKind.LeftParen, "expected '('");
        Expression result;
        switch (word)
        {
            case "cast":
                var operand = Expression();
                Expect(TokenKind.Comma, "expected ','");
                var type = ExpectString("expected literal string as type");
                var module = Accept(TokenKind.Comma) ? ExpectString("expected literal string as module") : null;
                Close();
                Raise(_height);
                return new CastExpression(SpanFrom(start), operand, type, module);
            case "var":
                var name = ExpectString("expected literal string as variable name");
                var varModule = Accept(TokenKind.Comma) ? ExpectString("expected literal string as module") : null;
                Close();
                _height = 1;
                return new AtVarExpression(SpanFrom(start), name, varModule);
            case "defined":
                result = Expression();
                Close();
                Raise(_height);
                return new DefinedExpression(SpanFrom(start), result);
            case "entry":
                result = Expression();
                Close();
                Raise(_height);
                return new EntryExpression(SpanFrom(start), result);
            case "perf":
                var counter = ExpectString("expected literal string as counter name");
                Close();
                _height = 1;
                return new PerfExpression(SpanFrom(start), counter);
            case "probewrite":
                var variable = Variable("expected identifier");
                Close();
                _height = 1;
                return new ProbeWriteExpression(SpanFrom(start), variable.Name);
            case "const":
                var code = ExpectString("expected literal string as C expression");
                Close();
                _height = 1;
                return new ConstExpression(SpanFrom(start), code);
            case "enum":
                var enumerator = ExpectString("expected literal string as enumerator name");
                Close();
                _height = 1;
                return new EnumExpression(SpanFrom(start), enumerator);
            case "enumname":
                var value = Expression();
                var enumType = Accept(TokenKind.Comma) ? ExpectString("expected literal string as enum type") : null;
                var enumModule = enumType is not null && Accept(TokenKind.Comma) ? ExpectString("expected literal string as module") : null;
                Close();
                Raise(_height);
                return new EnumNameExpression(SpanFrom(start), value, enumType, enumModule);
            case "kderef" or "uderef":
                return Deref(start, word);
            case "kregister" or "uregister":
                var register = LiteralNumber("expected literal number as register");
                Close();
                _height = 1;
                return new RegisterExpression(SpanFrom(start), word[0] == 'u', register);
            default:
                return Statistic(start, StatisticOf(word)!.Value, word);
        }
    }

    private void Close() => Expect(TokenKind.RightParen, "expected ')'");

    private void UnknownWord(string word, string? since)
    {
        if (since is not null)
        {
            Error("parse.operator-version", $"operator '@{word}' needs language version {since} or newer");
            return;
        }

        var near = Suggestions.Nearest(word, TokenFacts.BuiltInWords) ?? Suggestions.Nearest(word, _options.Macros.KnownNames);
        Error("parse.unknown-operator", $"unknown operator '@{TokenFacts.Shorten(word)}'", near is null ? $"a macro is defined before its use: @define {TokenFacts.Shorten(word)} %( … %)" : $"did you mean '@{near}'?");
    }

    private DerefExpression Deref(int start, string word)
    {
        var sizeSpan = Current.Span;
        var size = LiteralNumber("expected literal number as size");
        if (!_panic && size is not (1 or 2 or 4 or 8))
        {
            SoftError("parse.deref-size", sizeSpan, $"size of '@{word}' is {size}; it must be 1, 2, 4 or 8");
            size = 8;
        }

        Expect(TokenKind.Comma, "expected ','");
        var address = Expression();
        Close();
        Raise(_height);
        return new DerefExpression(SpanFrom(start), word[0] == 'u', size, address);
    }

    /// <summary>The operand of an extractor: a variable or an array element.</summary>
    private Expression StatisticOperand(string word)
    {
        var operand = Expression();
        if (operand is not (IdentifierExpression or IndexExpression { Array: IdentifierExpression }) && !_panic)
        {
            SoftError("parse.statistic-operand", operand.Span, $"operand of '@{word}' is not an aggregate variable or array element");
        }

        return operand;
    }

    private StatisticExpression Statistic(int start, StatisticKind kind, string word)
    {
        var operand = StatisticOperand(word);
        var height = _height;
        long? shift = null;
        if (kind == StatisticKind.Variance && Accept(TokenKind.Comma))
        {
            var shiftSpan = Current.Span;
            shift = LiteralNumber("expected literal number as bit shift");
            if (!_panic && shift is < 0 or > 62)
            {
                SoftError("parse.variance-shift", shiftSpan, $"bit shift of '@variance' is {shift}; it must be from 0 to 62");
                shift = 0;
            }
        }

        Close();
        Raise(height);
        return new StatisticExpression(SpanFrom(start), kind, operand, shift);
    }

    /// <summary>A histogram: with an index a bucket, in print and foreach itself, elsewhere an error.</summary>
    private Expression HistogramValue(int start, bool isLinear)
    {
        var word = isLinear ? "hist_linear" : "hist_log";
        Expect(TokenKind.LeftParen, "expected '('");
        var operand = StatisticOperand(word);
        var height = _height;
        long low = 0, high = 0, step = 0;
        if (isLinear)
        {
            const string comma = "expected ',' (write @hist_linear(STATISTIC, LOWEST, HIGHEST, STEP))";
            Expect(TokenKind.Comma, comma);
            low = LiteralNumber("expected literal number as lower bound");
            Expect(TokenKind.Comma, comma);
            high = LiteralNumber("expected literal number as upper bound");
            Expect(TokenKind.Comma, comma);
            var stepSpan = Current.Span;
            step = LiteralNumber("expected literal number as step");
            if (!_panic)
            {
                CheckHistogram(start, low, high, step, stepSpan);
            }
        }

        Close();
        Raise(height);
        var histogram = new HistogramExpression(SpanFrom(start), operand, isLinear, low, high, step);
        if (_kind == TokenKind.LeftBracket)
        {
            Advance();
            height = _height;
            var index = Expression();
            Expect(TokenKind.RightBracket, "expected ']'");
            Raise(Max(height, _height));
            return new IndexExpression(SpanFrom(start), histogram, [index]);
        }

        _looseHistogram ??= histogram;
        return histogram;
    }

    /// <summary>A histogram in a place where it may stand by itself.</summary>
    private void Settle(Expression value)
    {
        if (ReferenceEquals(value, _looseHistogram))
        {
            _looseHistogram = null;
        }
    }

    /// <summary>Reports a histogram that no print, foreach or index has taken.</summary>
    private void CheckLooseHistogram()
    {
        if (_looseHistogram is { } loose)
        {
            SoftError("parse.histogram-place", loose.Span, "histogram stands outside 'print', 'foreach' and a bucket index");
            _looseHistogram = null;
        }
    }

    private void CheckHistogram(int start, long low, long high, long step, Text.SourceSpan stepSpan)
    {
        if (step <= 0)
        {
            SoftError("parse.histogram-step", stepSpan, $"step of '@hist_linear' is {step}; it must be above 0");
        }
        else if (high <= low)
        {
            SoftError("parse.histogram-range", SpanFrom(start), $"upper bound {high} of '@hist_linear' is not above its lower bound {low}");
        }
        else if (((Int128)high - low) / step + 3 > MaxHistogramBuckets)
        {
            SoftError("parse.histogram-buckets", SpanFrom(start), $"'@hist_linear' has more than {MaxHistogramBuckets} buckets; use a larger step");
        }
    }
}
