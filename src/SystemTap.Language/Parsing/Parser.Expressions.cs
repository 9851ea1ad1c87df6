using SystemTap.Language.Lexing;
using SystemTap.Language.Syntax;

namespace SystemTap.Language.Parsing;

// Assignment, ?:, binary and unary operators.
public sealed partial class Parser
{
    private const int InPrecedence = 8;
    private const int ComparisonPrecedence = 9;

    private Expression Expression()
    {
        if (!Enter())
        {
            Leave();
            return Dummy();
        }

        var result = Assignment();
        Leave();
        return result;
    }

    /// <summary>What rules return in a panic; never reaches a tree that is used.</summary>
    private NumberLiteral Dummy()
    {
        _height = 1;
        return new NumberLiteral(Current.Span, 0);
    }

    private Expression Assignment()
    {
        var start = _pos;
        var target = Ternary();
        var kind = _kind;
        if (kind is not (TokenKind.Assign or TokenKind.StatisticAdd or (>= TokenKind.PlusAssign and <= TokenKind.ShiftRightAssign)))
        {
            return target;
        }

        var height = _height;
        var operatorSpan = Current.Span;
        if (kind == TokenKind.StatisticAdd)
        {
            if (target is not (IdentifierExpression or IndexExpression { Array: IdentifierExpression }))
            {
                SoftError("parse.not-assignable", target.Span, "left side of '<<<' is not a variable or array element");
            }
        }
        else if (!IsAssignable(target))
        {
            SoftError("parse.not-assignable", target.Span, $"left side of '{TokenFacts.Written(Current)}' cannot be assigned to");
        }

        Advance();
        var value = Expression(); // right-associative
        Raise(Max(height, _height));
        return kind == TokenKind.StatisticAdd
            ? new StatisticAddExpression(SpanFrom(target.Span), target, value)
            : new AssignmentExpression(SpanFrom(target.Span), CompoundOperator(kind), target, value) { OperatorSpan = operatorSpan };
    }

    private static BinaryOperator? CompoundOperator(TokenKind kind) => kind switch
    {
        TokenKind.PlusAssign => BinaryOperator.Add,
        TokenKind.MinusAssign => BinaryOperator.Subtract,
        TokenKind.StarAssign => BinaryOperator.Multiply,
        TokenKind.SlashAssign => BinaryOperator.Divide,
        TokenKind.PercentAssign => BinaryOperator.Modulo,
        TokenKind.AmpersandAssign => BinaryOperator.BitAnd,
        TokenKind.CaretAssign => BinaryOperator.BitXor,
        TokenKind.PipeAssign => BinaryOperator.BitOr,
        TokenKind.DotAssign => BinaryOperator.Concat,
        TokenKind.ShiftLeftAssign => BinaryOperator.ShiftLeft,
        TokenKind.ShiftRightAssign => BinaryOperator.ShiftRight,
        _ => null,
    };

    private static bool IsAssignable(Expression target) => target switch
    {
        IdentifierExpression or TargetVariable or AtVarExpression => true,
        IndexExpression index => index.Array is IdentifierExpression,
        TargetExpression t => !t.AddressOf && t.PrettyDepth == 0,
        _ => false,
    };

    /// <summary>Reads a chain <c>a ? b : c ? d : e</c> by a loop and folds it from its end.</summary>
    private Expression Ternary()
    {
        var first = Binary(0);
        if (_kind != TokenKind.Question)
        {
            return first;
        }

        var tightThird = _options.Environment.LanguageHas("4.0");
        var parts = new List<(Expression Condition, Expression WhenTrue, int Height)>(1);
        var last = first;
        while (_kind == TokenKind.Question)
        {
            var height = _height;
            Advance();
            var whenTrue = Expression();
            height = Max(height, _height);
            Expect(TokenKind.Colon, "expected ':'");
            parts.Add((last, whenTrue, height));
            last = tightThird ? Binary(0) : Expression();
        }

        var below = _height;
        for (var i = parts.Count - 1; i >= 0; i--)
        {
            Raise(Max(below, parts[i].Height));
            below = _height;
            last = new TernaryExpression(SpanFrom(parts[i].Condition.Span), parts[i].Condition, parts[i].WhenTrue, last);
        }

        return last;
    }

    /// <summary>Precedence of a binary operator (language.md §5.1, higher binds tighter), 0 for other tokens.</summary>
    private static int Precedence(TokenKind kind) => kind switch
    {
        TokenKind.OrOr => 3,
        TokenKind.AndAnd => 4,
        TokenKind.Pipe => 5,
        TokenKind.Caret => 6,
        TokenKind.Ampersand => 7,
        TokenKind.In => InPrecedence,
        TokenKind.Less or TokenKind.Greater or TokenKind.LessEqual or TokenKind.GreaterEqual or TokenKind.Equal
            or TokenKind.NotEqual or TokenKind.Match or TokenKind.NotMatch => ComparisonPrecedence,
        TokenKind.ShiftLeft or TokenKind.ShiftRight or TokenKind.ShiftRightLogical => 10,
        TokenKind.Dot => 11,
        TokenKind.Plus or TokenKind.Minus => 12,
        TokenKind.Star or TokenKind.Slash or TokenKind.Percent => 13,
        _ => 0,
    };

    private static BinaryOperator OperatorOf(TokenKind kind) => kind switch
    {
        TokenKind.OrOr => BinaryOperator.LogicalOr,
        TokenKind.AndAnd => BinaryOperator.LogicalAnd,
        TokenKind.Pipe => BinaryOperator.BitOr,
        TokenKind.Caret => BinaryOperator.BitXor,
        TokenKind.Ampersand => BinaryOperator.BitAnd,
        TokenKind.Less => BinaryOperator.Less,
        TokenKind.Greater => BinaryOperator.Greater,
        TokenKind.LessEqual => BinaryOperator.LessOrEqual,
        TokenKind.GreaterEqual => BinaryOperator.GreaterOrEqual,
        TokenKind.Equal => BinaryOperator.Equal,
        TokenKind.NotEqual => BinaryOperator.NotEqual,
        TokenKind.ShiftLeft => BinaryOperator.ShiftLeft,
        TokenKind.ShiftRight => BinaryOperator.ShiftRight,
        TokenKind.ShiftRightLogical => BinaryOperator.ShiftRightLogical,
        TokenKind.Dot => BinaryOperator.Concat,
        TokenKind.Plus => BinaryOperator.Add,
        TokenKind.Minus => BinaryOperator.Subtract,
        TokenKind.Star => BinaryOperator.Multiply,
        TokenKind.Slash => BinaryOperator.Divide,
        _ => BinaryOperator.Modulo,
    };

    /// <summary>Operators of at least a precedence, by climbing. After <c>in</c> and regex matches only looser operators may follow.</summary>
    private Expression Binary(int minimum)
    {
        Expression left;
        var maximum = int.MaxValue;
        if (_kind == TokenKind.LeftBracket && minimum <= InPrecedence)
        {
            left = TupleIn();
            maximum = InPrecedence - 1;
        }
        else
        {
            left = Unary();
        }

        while (true)
        {
            var kind = _kind;
            var precedence = Precedence(kind);
            if (precedence == 0 || precedence < minimum || precedence > maximum)
            {
                return left;
            }

            var operatorSpan = Current.Span;
            var height = _height;
            Advance();
            maximum = precedence;
            switch (kind)
            {
                case TokenKind.In:
                    var array = Variable("expected array name");
                    Raise(height);
                    left = new InExpression(SpanFrom(left.Span), [left], array);
                    maximum = InPrecedence - 1;
                    break;
                case TokenKind.Match or TokenKind.NotMatch:
                    var pattern = ExpectString("expected literal string as regular expression");
                    Raise(height);
                    left = new RegexExpression(SpanFrom(left.Span), left, pattern, kind == TokenKind.NotMatch);
                    maximum = ComparisonPrecedence - 1;
                    break;
                default:
                    var right = Binary(precedence + 1);
                    Raise(Max(height, _height));
                    left = new BinaryExpression(SpanFrom(left.Span), OperatorOf(kind), left, right) { OperatorSpan = operatorSpan };
                    break;
            }
        }
    }

    /// <summary><c>[a, *] in array</c></summary>
    private InExpression TupleIn()
    {
        var start = _pos;
        var keys = IndexList();
        var height = _height;
        Expect(TokenKind.In, "expected 'in'");
        var array = Variable("expected array name");
        Raise(height);
        return new InExpression(SpanFrom(start), keys, array);
    }

    /// <summary><c>[a, *, b]</c>; null is the star.</summary>
    private List<Expression?> IndexList()
    {
        Advance(); // '['
        var list = new List<Expression?>();
        var height = 1;
        do
        {
            if (_kind == TokenKind.Star && PeekKind(1) is TokenKind.Comma or TokenKind.RightBracket)
            {
                if (!_wildcards)
                {
                    Error("parse.wildcard-version", "'*' as index needs language version 2.6 or newer");
                }

                Advance();
                list.Add(null);
            }
            else
            {
                list.Add(Expression());
                height = Max(height, _height);
            }
        }
        while (Accept(TokenKind.Comma));
        Expect(TokenKind.RightBracket, "expected ',' or ']'");
        _height = height;
        return list;
    }

    private Expression Unary()
    {
        UnaryOperator op;
        switch (_kind)
        {
            case TokenKind.Plus: op = UnaryOperator.Plus; break;
            case TokenKind.Minus: op = UnaryOperator.Minus; break;
            case TokenKind.Bang: op = UnaryOperator.Not; break;
            case TokenKind.Tilde: op = UnaryOperator.Complement; break;
            default: return Increment();
        }

        var start = _pos;
        if (!Enter())
        {
            Leave();
            return Dummy();
        }

        Advance();
        var operand = Unary();
        Leave();
        Raise(_height);
        return new UnaryExpression(SpanFrom(start), op, operand);
    }

    private Expression Increment()
    {
        if (_kind is TokenKind.PlusPlus or TokenKind.MinusMinus)
        {
            var start = _pos;
            var decrement = _kind == TokenKind.MinusMinus;
            Advance();
            var operand = Postfix();
            CheckIncrement(operand, decrement);
            Raise(_height);
            return new IncrementExpression(SpanFrom(start), operand, isPrefix: true, decrement);
        }

        var value = Postfix();
        if (_kind is not (TokenKind.PlusPlus or TokenKind.MinusMinus))
        {
            return value;
        }

        var isDecrement = _kind == TokenKind.MinusMinus;
        if (!IsAssignable(value))
        {
            // "f() ++x" is two statements.
            return value;
        }

        Advance();
        Raise(_height);
        return new IncrementExpression(SpanFrom(value.Span), value, isPrefix: false, isDecrement);
    }

    private void CheckIncrement(Expression operand, bool decrement)
    {
        if (!IsAssignable(operand))
        {
            SoftError("parse.not-assignable", operand.Span, $"operand of '{(decrement ? "--" : "++")}' cannot be assigned to");
        }
    }
}
