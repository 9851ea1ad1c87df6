using SystemTap.Language.Lexing;
using SystemTap.Language.Syntax;

namespace SystemTap.Language.Parsing;

// Values and what may stand behind them: array indexes, members, pretty-print suffixes.
public sealed partial class Parser
{
    /// <summary>A value with its accessors and an '&amp;' in front.</summary>
    private Expression Postfix(bool allowWildcards = false)
    {
        var start = _pos;
        var addressOf = Accept(TokenKind.Ampersand);
        var prettyDepth = 0;
        var value = Primary(allowWildcards, ref prettyDepth);
        var height = _height;
        if (_panic)
        {
            return value;
        }

        var canIndex = value is not (LiteralExpression or PrintExpression or HistogramExpression);
        List<Accessor>? accessors = null;
        while (prettyDepth == 0)
        {
            var accessorStart = _pos;
            if (_kind == TokenKind.Arrow)
            {
                Advance();
                if (_kind != TokenKind.Identifier && !TokenFacts.IsKeyword(_kind))
                {
                    Error("parse.expected-identifier", "expected member name behind '->'");
                    return value;
                }

                var name = SplitPretty(Current.Text!, out prettyDepth);
                Advance();
                if (name.Length == 0)
                {
                    SoftError("parse.expected-identifier", _tokens[_pos - 1].Span, "expected member name behind '->'");
                }

                (accessors ??= []).Add(new MemberAccessor(SpanFrom(accessorStart), name));
            }
            else if (_kind == TokenKind.LeftBracket && canIndex)
            {
                Advance();
                var index = Expression();
                height = Max(height, _height);
                Expect(TokenKind.RightBracket, "expected ']'");
                (accessors ??= []).Add(new IndexAccessor(SpanFrom(accessorStart), index));
            }
            else if (_kind == TokenKind.Identifier && Current.Text is "$" or "$$" && canIndex)
            {
                prettyDepth = Current.Text!.Length;
                Advance();
            }
            else
            {
                break;
            }
        }

        if (accessors is null && !addressOf && prettyDepth == 0)
        {
            _height = height;
            return value;
        }

        if (prettyDepth > 0 && _kind is TokenKind.Arrow or TokenKind.LeftBracket && value is not PrintExpression)
        {
            Error("parse.pretty-not-last", "pretty-print suffix '$' must be the last part of a target expression");
        }

        if (addressOf && prettyDepth > 0)
        {
            SoftError("parse.pretty-address", SpanFrom(start), "address '&' of a pretty-printed value cannot be taken");
        }

        Raise(height);
        return new TargetExpression(SpanFrom(start), value, accessors ?? (IReadOnlyList<Accessor>)[], addressOf, prettyDepth);
    }

    /// <summary>Cuts one or two dollars off the end of a name.</summary>
    private static string SplitPretty(string name, out int depth)
    {
        depth = 0;
        var length = name.Length;
        while (depth < 2 && length > 0 && name[length - 1] == '$')
        {
            length--;
            depth++;
        }

        return depth == 0 ? name : name[..length];
    }

    private Expression Primary(bool allowWildcards, ref int prettyDepth)
    {
        var start = _pos;
        switch (_kind)
        {
            case TokenKind.Number:
                var number = new NumberLiteral(Current.Span, Current.Value);
                Advance();
                _height = 1;
                return number;
            case TokenKind.String:
                _height = 1;
                return StringOf();
            case TokenKind.LeftParen:
                Advance();
                var inner = Expression();
                Expect(TokenKind.RightParen, "expected ')'");
                return inner;
            case TokenKind.Identifier:
                return Current.Text![0] == '$' ? Target(out prettyDepth) : Symbol(allowWildcards, ref prettyDepth);
            case TokenKind.AtWord:
                return AtOperator();
            case TokenKind.Embedded:
                CheckEmbedded();
                var code = new EmbeddedCExpression(Current.Span, Current.Text!);
                Advance();
                _height = 1;
                return code;
            case TokenKind.LeftBracket:
                Error("parse.expected-expression", "expected expression", "put '[...] in array' in parentheses here");
                return Dummy();
            default:
                Error("parse.expected-expression", "expected literal string or number, identifier, or '('");
                return Dummy();
        }
    }

    /// <summary><c>$name</c>, <c>$$vars</c>, each with pretty-print dollars at the end.</summary>
    private TargetVariable Target(out int prettyDepth)
    {
        var span = Current.Span;
        var name = Current.Text!;
        var prefix = name.Length > 1 && name[1] == '$' ? 2 : 1;
        var body = SplitPretty(name[prefix..], out prettyDepth);
        Advance();
        if (body.Length == 0 || body[0] == '$')
        {
            prettyDepth = 0;
            SoftError("parse.target-name", span, $"target variable '{name}' has no name");
        }

        _height = 1;
        return new TargetVariable(span, name[..prefix] + body);
    }

    /// <summary>A variable, an array element, a call or one of the print family.</summary>
    private Expression Symbol(bool allowWildcards, ref int prettyDepth)
    {
        var start = _pos;
        var name = Current.Text!;
        var nameSpan = Current.Span;
        Advance();
        switch (_kind)
        {
            case TokenKind.LeftParen:
                if (PrintForm(name) is { } form)
                {
                    return Print(start, name, form.Kind, form.Returns);
                }

                var (arguments, height) = Arguments();
                Raise(height);
                return new CallExpression(SpanFrom(start), name, arguments) { NameSpan = nameSpan };
            case TokenKind.LeftBracket:
                var indexes = IndexList();
                Raise(_height);
                if (!allowWildcards)
                {
                    CheckNoWildcard(indexes, start);
                }

                return new IndexExpression(SpanFrom(start), new IdentifierExpression(nameSpan, name), indexes);
            default:
                _height = 1;
                return new IdentifierExpression(nameSpan, SplitPretty(name, out prettyDepth));
        }
    }

    private void CheckNoWildcard(List<Expression?> indexes, int start)
    {
        if (indexes.Contains(null))
        {
            SoftError("parse.wildcard-place", SpanFrom(start), "'*' as index stands outside 'in', 'delete' and the slice of 'foreach'");
        }
    }

    /// <summary><c>(a, b)</c> and the height of its highest member.</summary>
    private (List<Expression> Arguments, int Height) Arguments()
    {
        Advance(); // '('
        var list = new List<Expression>();
        var height = 0;
        if (_kind != TokenKind.RightParen)
        {
            do
            {
                list.Add(Expression());
                height = Max(height, _height);
            }
            while (Accept(TokenKind.Comma));
        }

        Expect(TokenKind.RightParen, "expected ',' or ')'");
        return (list, height);
    }
}
