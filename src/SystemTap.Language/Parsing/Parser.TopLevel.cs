using SystemTap.Language.Diagnostics;
using SystemTap.Language.Lexing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;

namespace SystemTap.Language.Parsing;

// Files, globals, functions.
public sealed partial class Parser
{
    private static readonly string[] TopLevelWords = ["probe", "global", "private", "function"];

    private List<TopLevelNode> File()
    {
        var items = new List<TopLevelNode>();
        if (_kind == TokenKind.EndOfFile && _errors == 0 && !_diagnostics.HasErrors)
        {
            // Macro definitions alone are fine in a library, not as a script.
            Error("parse.empty", $"input file '{_source.Path}' is empty or missing");
            return items;
        }

        while (_kind != TokenKind.EndOfFile && !GaveUp)
        {
            var start = _pos;
            Definition(items);
            if (_panic)
            {
                RecoverToDefinition(start);
                _nesting = 0;
                _loops = 0;
                _inFunction = false;
            }
        }

        return items;
    }

    private void Definition(List<TopLevelNode> items)
    {
        switch (_kind)
        {
            case TokenKind.Probe:
                items.Add(Probe());
                break;
            case TokenKind.Global:
                Advance();
                Globals(items, isPrivate: false);
                break;
            case TokenKind.Private:
                Advance();
                if (_kind == TokenKind.Function)
                {
                    items.Add(Function(_pos - 1, isPrivate: true));
                }
                else
                {
                    Accept(TokenKind.Global);
                    Globals(items, isPrivate: true);
                }

                break;
            case TokenKind.Function:
                items.Add(Function(_pos, isPrivate: false));
                break;
            case TokenKind.Embedded:
                CheckEmbedded();
                items.Add(new EmbeddedCDefinition(Current.Span, Current.Text!));
                Advance();
                break;
            case TokenKind.Semicolon:
                Advance(); // what is left behind by "};"
                break;
            default:
                var hint = _kind == TokenKind.Identifier ? Suggestions.DidYouMean(Current.Text!, TopLevelWords, 1) : null;
                Error("parse.expected-definition", "expected 'probe', 'global', 'private', 'function', or '%{'", hint);
                break;
        }
    }

    /// <summary>Embedded C at the current token needs guru mode.</summary>
    private void CheckEmbedded()
    {
        if (!_guru)
        {
            SoftError("parse.embedded-needs-guru", Current.Span, "embedded code in unprivileged script; need stap -g", "run with -g if you trust the script");
        }
    }

    private void Globals(List<TopLevelNode> items, bool isPrivate)
    {
        do
        {
            var start = _pos;
            if (_kind != TokenKind.Identifier)
            {
                Error("parse.expected-identifier", "expected identifier");
                return;
            }

            var name = Current.Text!;
            var nameSpan = Current.Span;
            if (name[0] == '$')
            {
                Error("parse.global-name", $"global variable '{name}' may not begin with '$'");
                return;
            }

            Advance();
            var wraps = Accept(TokenKind.Percent);
            var wrapsWithValue = !wraps && Accept(TokenKind.PercentAssign); // 'x%=1' is 'x%' and '=1'
            wraps |= wrapsWithValue;
            long? size = null;
            if (_kind == TokenKind.LeftBracket)
            {
                Advance();
                var sizeSpan = Current.Span;
                size = LiteralNumber("expected literal number as array size");
                if (!_panic && size is < 1 or > int.MaxValue)
                {
                    SoftError("parse.array-size", sizeSpan, $"array size of '{name}' is {size}; it must be from 1 to 2147483647");
                    size = 1;
                }

                Expect(TokenKind.RightBracket, "expected ']'");
                wraps |= Accept(TokenKind.Percent);
            }

            LiteralExpression? value = null;
            if (wrapsWithValue || _kind == TokenKind.Assign)
            {
                if (!wrapsWithValue)
                {
                    Advance();
                }

                if (size is not null || wraps)
                {
                    SoftError("parse.array-initializer", nameSpan, $"array '{name}' has an initial value; only scalars may have one");
                }

                value = Literal("expected literal string or number");
            }

            if (_panic)
            {
                return;
            }

            var global = new GlobalDefinition(SpanFrom(start), name, isPrivate, size, wraps, value);
            CheckGlobal(global, nameSpan);
            items.Add(global);
        }
        while (Accept(TokenKind.Comma));

        Accept(TokenKind.Semicolon);
    }

    /// <summary>A name is declared once in a file, and not both as private and as global.</summary>
    private void CheckGlobal(GlobalDefinition global, SourceSpan nameSpan)
    {
        if (_globals.TryAdd(global.Name, global))
        {
            return;
        }

        var other = _globals[global.Name];
        if (other.IsPrivate == global.IsPrivate)
        {
            SoftError("parse.duplicate-global", nameSpan, $"global variable '{global.Name}' is declared twice", null, other.Span, "declared here");
        }
        else
        {
            SoftError("parse.private-and-global", nameSpan, $"variable '{global.Name}' is both private and global in this file", null, other.Span, "declared here");
        }
    }

    private FunctionDefinition Function(int start, bool isPrivate)
    {
        Advance(); // 'function'
        var name = "";
        if (_kind == TokenKind.Identifier && Current.Text![0] != '$')
        {
            name = Current.Text!;
            Advance();
        }
        else
        {
            Error("parse.expected-identifier", "expected identifier as function name");
        }

        var returnType = TypeSuffix();
        var parameters = new List<Parameter>();
        Expect(TokenKind.LeftParen, "expected '('");
        if (_kind != TokenKind.RightParen)
        {
            do
            {
                ParameterOf(parameters);
            }
            while (Accept(TokenKind.Comma));
        }

        Expect(TokenKind.RightParen, "expected ',' or ')'");
        long? priority = null;
        if (Accept(TokenKind.Colon))
        {
            var prioritySpan = Current.Span;
            priority = LiteralNumber("expected literal number as function priority");
            if (!_panic && priority < 1)
            {
                SoftError("parse.function-priority", prioritySpan, $"priority of function '{name}' is {priority}; it must be 1 or more");
                priority = 1;
            }
        }

        BlockStatement? body = null;
        string? code = null;
        if (_kind == TokenKind.Embedded)
        {
            CheckEmbedded();
            code = Current.Text!;
            Advance();
        }
        else
        {
            _inFunction = true;
            body = Block("expected '{' or '%{'");
            _inFunction = false;
        }

        return new FunctionDefinition(SpanFrom(start), name, isPrivate, returnType, parameters, priority, body, code);
    }

    private void ParameterOf(List<Parameter> parameters)
    {
        var start = _pos;
        if (_kind != TokenKind.Identifier || Current.Text![0] == '$')
        {
            Error("parse.expected-identifier", "expected identifier as parameter name");
            return;
        }

        var name = Current.Text!;
        foreach (var other in parameters)
        {
            if (other.Name == name)
            {
                SoftError("parse.duplicate-parameter", Current.Span, $"parameter '{name}' is declared twice", null, other.Span, "declared here");
            }
        }

        Advance();
        var type = TypeSuffix();
        parameters.Add(new Parameter(SpanFrom(start), name, type));
    }

    private TypeAnnotation TypeSuffix()
    {
        if (_kind != TokenKind.Colon)
        {
            return TypeAnnotation.None;
        }

        Advance();
        if (Accept(TokenKind.LongType))
        {
            return TypeAnnotation.Long;
        }

        if (Accept(TokenKind.StringType))
        {
            return TypeAnnotation.String;
        }

        Error("parse.expected-type", "expected 'string' or 'long'");
        return TypeAnnotation.None;
    }

    // ---- literals ----

    /// <summary>A number, which may have a minus.</summary>
    private long LiteralNumber(string message)
    {
        var negative = _kind == TokenKind.Minus && PeekKind(1) == TokenKind.Number;
        if (negative)
        {
            Advance();
        }

        if (_kind != TokenKind.Number)
        {
            Error("parse.expected-number", message);
            return 0;
        }

        var value = Current.Value;
        Advance();
        return negative ? unchecked(-value) : value;
    }

    /// <summary>A string or a number with or without minus.</summary>
    private LiteralExpression Literal(string message)
    {
        var start = _pos;
        if (_kind == TokenKind.String)
        {
            return StringOf();
        }

        if (_kind == TokenKind.Number || (_kind == TokenKind.Minus && PeekKind(1) == TokenKind.Number))
        {
            var value = LiteralNumber(message);
            return new NumberLiteral(SpanFrom(start), value);
        }

        Error("parse.expected-literal", message);
        return new NumberLiteral(Current.Span, 0);
    }

    /// <summary>A string at the current token with the ones that follow joined to it; a NUL ends the value.</summary>
    private StringLiteral StringOf()
    {
        var start = _pos;
        var value = Current.Text!;
        Advance();
        if (_kind == TokenKind.String && _options.Environment.LanguageHas("2.0"))
        {
            var joined = new System.Text.StringBuilder(value);
            do
            {
                joined.Append(Current.Text);
                Advance();
            }
            while (_kind == TokenKind.String);
            value = joined.ToString();
        }

        var nul = value.IndexOf('\0');
        return new StringLiteral(SpanFrom(start), nul < 0 ? value : value[..nul]);
    }

    /// <summary>A string literal or an error.</summary>
    private StringLiteral ExpectString(string message)
    {
        if (_kind == TokenKind.String)
        {
            return StringOf();
        }

        Error("parse.expected-string", message);
        return new StringLiteral(Current.Span, "");
    }
}
