using SystemTap.Language.Lexing;
using SystemTap.Language.Syntax;

namespace SystemTap.Language.Parsing;

// Statements except foreach.
public sealed partial class Parser
{
    private BlockStatement Block(string message)
    {
        var start = _pos;
        var statements = new List<Statement>();
        if (!Expect(TokenKind.LeftBrace, message))
        {
            return new BlockStatement(Current.Span, statements);
        }

        var open = _tokens[start].Span;
        var highest = 0;
        if (Enter())
        {
            var nesting = _nesting;
            var loops = _loops;
            while (_kind != TokenKind.RightBrace && !_panic)
            {
                if (_kind == TokenKind.EndOfFile || IsDefinitionStart(_pos))
                {
                    Error("parse.expected-statement", "expected statement or '}'", null, open, "the block opened here is not closed");
                    break;
                }

                var statementStart = _pos;
                statements.Add(Statement());
                highest = Max(highest, _height);
                if (_panic && RecoverToStatement(statementStart))
                {
                    _nesting = nesting;
                    _loops = loops;
                }
            }
        }

        Leave();
        Expect(TokenKind.RightBrace, "expected statement or '}'");
        Raise(highest);
        return new BlockStatement(SpanFrom(start), statements);
    }

    private Statement Statement()
    {
        var start = _pos;
        Statement result;
        if (!Enter())
        {
            Leave();
            _height = 1;
            return new EmptyStatement(Current.Span);
        }

        switch (_kind)
        {
            case TokenKind.LeftBrace:
                result = Block("expected '{'");
                break;
            case TokenKind.Semicolon:
                result = new EmptyStatement(Current.Span);
                _height = 1;
                Advance();
                break;
            case TokenKind.If:
                result = If();
                break;
            case TokenKind.While:
                result = While();
                break;
            case TokenKind.For:
                result = For();
                break;
            case TokenKind.Foreach:
                result = Foreach();
                break;
            case TokenKind.Try:
                result = Try();
                break;
            case TokenKind.Break:
                Advance();
                if (_loops == 0)
                {
                    SoftError("parse.break-outside-loop", _tokens[start].Span, "'break' stands outside a loop");
                }

                result = new BreakStatement(SpanFrom(start));
                _height = 1;
                Accept(TokenKind.Semicolon);
                break;
            case TokenKind.Continue:
                Advance();
                if (_loops == 0)
                {
                    SoftError("parse.continue-outside-loop", _tokens[start].Span, "'continue' stands outside a loop");
                }

                result = new ContinueStatement(SpanFrom(start));
                _height = 1;
                Accept(TokenKind.Semicolon);
                break;
            case TokenKind.Next:
                Advance();
                result = new NextStatement(SpanFrom(start));
                _height = 1;
                Accept(TokenKind.Semicolon);
                break;
            case TokenKind.Return:
                result = Return();
                break;
            case TokenKind.Delete:
                result = Delete();
                break;
            default:
                if (!StartsExpression())
                {
                    Error("parse.expected-statement", "expected statement");
                }

                var expression = Expression();
                Raise(_height);
                result = new ExpressionStatement(expression.Span, expression);
                Accept(TokenKind.Semicolon);
                break;
        }

        CheckLooseHistogram();
        Leave();
        return result;
    }

    /// <summary>True if the current token can begin an expression.</summary>
    private bool StartsExpression() => _kind is TokenKind.Identifier or TokenKind.Number or TokenKind.String or TokenKind.Embedded
        or TokenKind.AtWord or TokenKind.LeftParen or TokenKind.LeftBracket or TokenKind.Plus or TokenKind.Minus or TokenKind.Bang
        or TokenKind.Tilde or TokenKind.Ampersand or TokenKind.PlusPlus or TokenKind.MinusMinus;

    private Expression ParenthesisedCondition()
    {
        Expect(TokenKind.LeftParen, "expected '('");
        var condition = Expression();
        Expect(TokenKind.RightParen, "expected ')'");
        return condition;
    }

    /// <summary>Reads a chain of <c>else if</c> by a loop and folds it from its end.</summary>
    private IfStatement If()
    {
        var parts = new List<(int Start, Expression Condition, Statement Then, int Height)>(1);
        Statement? otherwise = null;
        var height = 0;
        do
        {
            var start = _pos;
            Advance(); // 'if'
            var condition = ParenthesisedCondition();
            var conditionHeight = _height;
            var then = Statement();
            parts.Add((start, condition, then, Max(conditionHeight, _height)));
            if (_kind != TokenKind.Else)
            {
                break;
            }

            Advance();
            if (_kind != TokenKind.If)
            {
                otherwise = Statement();
                height = _height;
                break;
            }
        }
        while (true);

        IfStatement? result = null;
        for (var i = parts.Count - 1; i >= 0; i--)
        {
            var (start, condition, then, partHeight) = parts[i];
            Raise(Max(height, partHeight));
            height = _height;
            result = new IfStatement(SpanFrom(start), condition, then, (Statement?)result ?? otherwise);
        }

        return result!;
    }

    private WhileStatement While()
    {
        var start = _pos;
        Advance();
        var condition = ParenthesisedCondition();
        var height = _height;
        var body = LoopBody();
        Raise(Max(height, _height));
        return new WhileStatement(SpanFrom(start), condition, body);
    }

    private Statement LoopBody()
    {
        _loops++;
        var body = Statement();
        _loops--;
        return body;
    }

    private ForStatement For()
    {
        var start = _pos;
        Advance();
        Expect(TokenKind.LeftParen, "expected '('");
        var height = 0;
        Expression? initializer = null;
        Expression? condition = null;
        Expression? increment = null;
        if (_kind != TokenKind.Semicolon)
        {
            initializer = Expression();
            height = _height;
        }

        Expect(TokenKind.Semicolon, "expected ';'");
        if (_kind != TokenKind.Semicolon)
        {
            condition = Expression();
            height = Max(height, _height);
        }

        Expect(TokenKind.Semicolon, "expected ';'");
        if (_kind != TokenKind.RightParen)
        {
            increment = Expression();
            height = Max(height, _height);
        }

        Expect(TokenKind.RightParen, "expected ')'");
        var body = LoopBody();
        Raise(Max(height, _height));
        return new ForStatement(SpanFrom(start), initializer, condition, increment, body);
    }

    private ReturnStatement Return()
    {
        var start = _pos;
        Advance();
        if (!_inFunction)
        {
            SoftError("parse.return-outside-function", _tokens[start].Span, "'return' stands outside a function", "leave a probe handler with 'next'");
        }

        Expression? value = null;
        _height = 0;
        if (_kind is not (TokenKind.Semicolon or TokenKind.RightBrace) && (StartsExpression() || _kind == TokenKind.Junk))
        {
            value = Expression();
        }

        Raise(_height);
        var result = new ReturnStatement(SpanFrom(start), value);
        Accept(TokenKind.Semicolon);
        return result;
    }

    private DeleteStatement Delete()
    {
        var start = _pos;
        Advance();
        var operandStart = Current.Span;
        var operand = Postfix(allowWildcards: true);
        if (operand is not (IdentifierExpression or IndexExpression { Array: IdentifierExpression }))
        {
            SoftError("parse.delete-operand", operandStart, "'delete' needs a variable, an array or an array element");
        }

        Raise(_height);
        var result = new DeleteStatement(SpanFrom(start), operand);
        Accept(TokenKind.Semicolon);
        return result;
    }

    private TryStatement Try()
    {
        var start = _pos;
        Advance();
        var body = Block("expected '{'");
        var height = _height;
        Expect(TokenKind.Catch, "expected 'catch'");
        IdentifierExpression? variable = null;
        if (Accept(TokenKind.LeftParen))
        {
            variable = Variable("expected identifier");
            Expect(TokenKind.RightParen, "expected ')'");
        }

        var handler = Block("expected '{'");
        Raise(Max(height, _height));
        return new TryStatement(SpanFrom(start), body, variable, handler);
    }

    /// <summary>A plain name.</summary>
    private IdentifierExpression Variable(string message)
    {
        if (_kind == TokenKind.Identifier && Current.Text![0] != '$')
        {
            var result = new IdentifierExpression(Current.Span, Current.Text!);
            Advance();
            return result;
        }

        Error("parse.expected-identifier", message);
        return new IdentifierExpression(Current.Span, "");
    }
}
