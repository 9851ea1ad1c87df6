using SystemTap.Language.Lexing;
using SystemTap.Language.Syntax;

namespace SystemTap.Language.Parsing;

// foreach: which of the names is the value shows only at the '=', the sort mark may stand in three places.
public sealed partial class Parser
{
    private ForeachStatement Foreach()
    {
        var start = _pos;
        Advance();
        Expect(TokenKind.LeftParen, "expected '('");
        var sort = new ForeachSort();
        IdentifierExpression? value = null;
        var keys = new List<IdentifierExpression>();
        if (_kind == TokenKind.LeftBracket)
        {
            ForeachKeys(keys, ref sort);
        }
        else
        {
            var first = Variable("expected '[' or identifier");
            var direction = SortMark(out var assigned);
            if (assigned || _kind == TokenKind.Assign)
            {
                // v = k, v = [k1, k2]
                value = first;
                SetSort(ref sort, direction, 0, _pos - 1);
                if (!assigned)
                {
                    Advance();
                }

                if (_kind == TokenKind.LeftBracket)
                {
                    ForeachKeys(keys, ref sort);
                }
                else
                {
                    keys.Add(Variable("expected '[' or identifier"));
                    SetSort(ref sort, SortMark(out _), 1, _pos - 1);
                }
            }
            else
            {
                keys.Add(first);
                SetSort(ref sort, direction, 1, _pos - 1);
            }
        }

        Expect(TokenKind.In, "expected 'in'");
        var height = 0;
        var array = ForeachArray();
        height = Max(height, _height);
        IReadOnlyList<Expression?>? slice = null;
        if (_kind == TokenKind.LeftBracket)
        {
            var sliceStart = _pos;
            slice = IndexList();
            height = Max(height, _height);
            if (!_panic && slice.Count != keys.Count)
            {
                SoftError("parse.foreach-slice", SpanFrom(sliceStart), $"slice has {slice.Count} places but the loop has {keys.Count} keys");
            }
        }

        StatisticKind? statistic = null;
        if (_kind == TokenKind.AtWord)
        {
            statistic = StatisticOf(Current.Text!);
            if (statistic is null)
            {
                Error("parse.foreach-extractor", "expected '@count', '@sum', '@min', '@max', '@avg' or '@variance'");
            }

            Advance();
            if (_kind is not (TokenKind.Plus or TokenKind.Minus))
            {
                Error("parse.expected-token", "expected '+' or '-' behind the sort operator");
            }
        }

        SetSort(ref sort, SortMark(out _), 0, _pos - 1);
        Expression? limit = null;
        if (Accept(TokenKind.Limit))
        {
            limit = Expression();
            height = Max(height, _height);
        }

        Expect(TokenKind.RightParen, "expected ')'");
        var body = LoopBody();
        Raise(Max(height, _height));
        return new ForeachStatement(SpanFrom(start), keys, value, array, slice, sort.Direction, sort.Key, statistic, limit, body);
    }

    private struct ForeachSort
    {
        public SortDirection Direction;
        public int Key;
    }

    private void ForeachKeys(List<IdentifierExpression> keys, ref ForeachSort sort)
    {
        Advance(); // '['
        do
        {
            keys.Add(Variable("expected identifier"));
            SetSort(ref sort, SortMark(out _), keys.Count, _pos - 1);
        }
        while (Accept(TokenKind.Comma));
        Expect(TokenKind.RightBracket, "expected ',' or ']'");
    }

    private Expression ForeachArray()
    {
        if (_kind == TokenKind.AtWord && Current.Text is "hist_log" or "hist_linear")
        {
            var histogram = AtOperator();
            Settle(histogram);
            if (!_panic && histogram is not HistogramExpression)
            {
                SoftError("parse.foreach-slice", histogram.Span, "histogram in 'foreach' may not have an index");
            }

            return histogram;
        }

        _height = 1;
        return Variable("expected array name or histogram");
    }

    /// <summary>A sort mark, if one stands here. <paramref name="assigned"/>: it was written together with the '=' behind it.</summary>
    private SortDirection SortMark(out bool assigned)
    {
        assigned = _kind is TokenKind.PlusAssign or TokenKind.MinusAssign;
        var direction = _kind switch
        {
            TokenKind.Plus or TokenKind.PlusAssign => SortDirection.Ascending,
            TokenKind.Minus or TokenKind.MinusAssign => SortDirection.Descending,
            _ => SortDirection.None,
        };
        if (direction != SortDirection.None)
        {
            Advance();
        }

        return direction;
    }

    private void SetSort(ref ForeachSort sort, SortDirection direction, int key, int markPosition)
    {
        if (direction == SortDirection.None)
        {
            return;
        }

        if (sort.Direction != SortDirection.None)
        {
            SoftError("parse.foreach-two-sorts", _tokens[markPosition].Span, "'foreach' has two sort directions; one '+' or '-' is allowed");
            return;
        }

        sort.Direction = direction;
        sort.Key = key;
    }
}
