using SystemTap.Language.Diagnostics;
using SystemTap.Language.Lexing;
using SystemTap.Language.Text;

namespace SystemTap.Language.Preprocessing;

/// <summary>
/// The first preprocessing pass: takes <c>@define</c>s out of the token stream and replaces macro uses.
/// </summary>
/// <remarks>
/// A stack of frames, one for each body or argument being read. An argument is a closure: a slice of the tokens of its
/// caller plus the caller's scope, so a parameter name inside it means the caller's parameter. Nothing is copied and
/// nothing is expanded before it is read, hence <c>@define</c>s in a skipped branch can be left out of the table. Endless
/// macros are stopped by depth and by a budget of steps; both give one error and then the end of the file.
/// </remarks>
internal sealed class MacroExpander
{
    private const int MaxDepth = 400;
    private const int MaxSteps = 1_000_000;
    private const int MaxErrors = 50;

    /// <summary>What the names inside a body mean: its parameters.</summary>
    private sealed class Scope(MacroDefinition definition, Slice[] arguments)
    {
        public readonly MacroDefinition Definition = definition;
        public readonly Slice[] Arguments = arguments;
    }

    /// <summary>Tokens to read, in which scope, and which macro use they come from.</summary>
    private struct Slice
    {
        public Token[] Tokens;
        public int Position;
        public int End;
        public Scope? Scope;
        public MacroUse? Use;
    }

    private readonly SourceText _source;
    private readonly MacroTable _library;
    private readonly DiagnosticBag _diagnostics;
    private readonly bool _isLibrary;
    private readonly Dictionary<string, MacroDefinition> _own = new(StringComparer.Ordinal);
    private Slice[] _frames = new Slice[8];
    private int _top;
    private int _steps;
    private int _errors;
    private bool _stopped;
    private Token _end;

    public MacroExpander(TokenList tokens, MacroTable library, DiagnosticBag diagnostics, bool isLibrary)
    {
        _end = tokens.Items[tokens.Count - 1];
        _source = _end.Source;
        _library = library;
        _diagnostics = diagnostics;
        _isLibrary = isLibrary;
        _frames[0] = new Slice { Tokens = tokens.Items, End = tokens.Count - 1 };
    }

    /// <summary>The definitions of this file in order.</summary>
    public List<MacroDefinition> Definitions { get; } = [];

    /// <summary>While true, definitions are read over but not kept: the conditional pass is in a branch it skips.</summary>
    public bool IgnoreDefinitions { get; set; }

    /// <summary>The next token that is no macro; <see cref="TokenKind.EndOfFile"/> for ever at the end.</summary>
    public void Next(out Token token)
    {
        while (!_stopped)
        {
            ref var frame = ref _frames[_top];
            if (frame.Position >= frame.End)
            {
                if (_top == 0)
                {
                    break;
                }

                _frames[_top--] = default;
                continue;
            }

            token = frame.Tokens[frame.Position++];
            if (frame.Use is not null)
            {
                token = token.WithUse(frame.Use);
                if (++_steps > MaxSteps)
                {
                    Stop(token, "parse.macro-too-long", "macro expansion yields more than 1000000 tokens");
                    continue;
                }
            }

            if (token.Kind != TokenKind.AtWord)
            {
                return;
            }

            if (token.Text == "define")
            {
                if (Define(ref token))
                {
                    continue;
                }

                return;
            }

            if (!Expand(ref token))
            {
                return;
            }
        }

        token = _end;
    }

    /// <summary>Handles a use; true when it was replaced. False when the token stands as it is (no macro) or became junk (reported).</summary>
    private bool Expand(ref Token token)
    {
        var name = token.Text!;
        ref var frame = ref _frames[_top];
        if (frame.Scope is { } scope)
        {
            var parameters = scope.Definition.Parameters;
            for (var i = 0; i < parameters.Count; i++)
            {
                if (parameters[i] == name)
                {
                    Push(scope.Arguments[i], token);
                    return true;
                }
            }
        }

        var fromLibrary = _isLibrary || frame.Scope is { Definition.IsLibrary: true };
        MacroDefinition? definition = null;
        if ((fromLibrary && !_isLibrary) || !_own.TryGetValue(name, out definition))
        {
            definition = TokenFacts.BuiltInWordSince(name) is null ? _library.Find(name) : null;
        }

        if (definition is null)
        {
            return false;
        }

        var arguments = Array.Empty<Slice>();
        if (definition.Parameters.Count > 0 && !ReadArguments(definition, ref frame, token, out arguments))
        {
            return Reported(ref token);
        }

        var body = new Slice
        {
            Tokens = definition.Body,
            End = definition.Body.Length,
            Scope = new Scope(definition, arguments),
            Use = new MacroUse(name, token.Span, token.Use),
        };
        Push(body, token);
        return true;
    }

    private void Push(in Slice slice, in Token token)
    {
        if (++_steps > MaxSteps)
        {
            Stop(token, "parse.macro-too-long", "macro expansion takes more than 1000000 steps");
            return;
        }

        // A finished frame is dropped first, so that a body's last use costs no depth.
        ref var frame = ref _frames[_top];
        if (_top > 0 && frame.Position >= frame.End)
        {
            _top--;
        }

        if (_top + 1 >= MaxDepth || token.Use is { Depth: >= MaxDepth })
        {
            Stop(token, "parse.macro-too-deep", $"macro '@{token.Text}' expands more than {MaxDepth} levels deep; it seems to contain itself");
            return;
        }

        if (++_top == _frames.Length)
        {
            Array.Resize(ref _frames, _frames.Length * 2);
        }

        _frames[_top] = slice;
    }

    /// <summary>Reads <c>(a, b)</c> behind a use; the tokens must stand in the same text as the use.</summary>
    private bool ReadArguments(MacroDefinition definition, ref Slice frame, in Token use, out Slice[] arguments)
    {
        arguments = [];
        var wanted = definition.Parameters.Count;
        if (frame.Position >= frame.End || frame.Tokens[frame.Position].Kind != TokenKind.LeftParen)
        {
            Error(use, "parse.macro-arguments", $"macro '@{definition.Name}' needs {Count(wanted)} in parentheses", definition.Span);
            return false;
        }

        var list = new List<Slice>(wanted);
        var start = frame.Position + 1;
        var depth = 0;
        for (var i = start; i < frame.End; i++)
        {
            switch (frame.Tokens[i].Kind)
            {
                case TokenKind.LeftParen or TokenKind.LeftBracket:
                    depth++;
                    break;
                case TokenKind.RightParen when depth == 0:
                    list.Add(new Slice { Tokens = frame.Tokens, Position = start, End = i, Scope = frame.Scope, Use = frame.Use });
                    frame.Position = i + 1;
                    if (list.Count != wanted)
                    {
                        Error(use, "parse.macro-arguments", $"macro '@{definition.Name}' needs {Count(wanted)} but gets {list.Count}", definition.Span);
                        return false;
                    }

                    arguments = [.. list];
                    return true;
                case TokenKind.RightParen or TokenKind.RightBracket:
                    depth--;
                    break;
                case TokenKind.Comma when depth == 0:
                    list.Add(new Slice { Tokens = frame.Tokens, Position = start, End = i, Scope = frame.Scope, Use = frame.Use });
                    start = i + 1;
                    break;
            }
        }

        frame.Position = frame.End;
        Error(use, "parse.macro-arguments", $"argument list of macro '@{definition.Name}' has no ')'", definition.Span);
        return false;
    }

    private static string Count(int n) => n == 1 ? "1 argument" : n + " arguments";

    /// <summary>Reads a definition behind <c>@define</c>. False when it was wrong and the token became junk.</summary>
    private bool Define(ref Token token)
    {
        ref var frame = ref _frames[_top];
        if (_top > 0)
        {
            Error(token, "parse.macro-nested-define", "'@define' stands inside a macro; definitions stand at file level");
            frame.Position = frame.End;
            return Reported(ref token);
        }

        var nameToken = frame.Position < frame.End ? frame.Tokens[frame.Position] : _end;
        if (nameToken.Kind != TokenKind.Identifier && !TokenFacts.IsKeyword(nameToken.Kind))
        {
            return Wrong(ref token, nameToken, "parse.macro-definition", "expected the macro's name after '@define'");
        }

        var name = nameToken.Text!;
        frame.Position++;
        var parameters = new List<string>();
        if (frame.Position < frame.End && frame.Tokens[frame.Position].Kind == TokenKind.LeftParen)
        {
            do
            {
                frame.Position++;
                var parameter = frame.Position < frame.End ? frame.Tokens[frame.Position] : _end;
                if (parameter.Kind == TokenKind.RightParen && parameters.Count == 0)
                {
                    break;
                }

                if (parameter.Kind != TokenKind.Identifier && !TokenFacts.IsKeyword(parameter.Kind))
                {
                    return Wrong(ref token, parameter, "parse.macro-definition", $"expected a parameter name in the definition of macro '@{name}'");
                }

                parameters.Add(parameter.Text!);
                frame.Position++;
            }
            while (frame.Position < frame.End && frame.Tokens[frame.Position].Kind == TokenKind.Comma);

            if (frame.Position >= frame.End || frame.Tokens[frame.Position].Kind != TokenKind.RightParen)
            {
                return Wrong(ref token, frame.Position < frame.End ? frame.Tokens[frame.Position] : _end, "parse.macro-definition", $"expected ',' or ')' in the definition of macro '@{name}'");
            }

            frame.Position++;
        }

        if (frame.Position >= frame.End || frame.Tokens[frame.Position].Kind != TokenKind.ConditionOpen)
        {
            return Wrong(ref token, frame.Position < frame.End ? frame.Tokens[frame.Position] : _end, "parse.macro-definition", $"expected '%(' before the body of macro '@{name}'");
        }

        var open = frame.Tokens[frame.Position++];
        var bodyStart = frame.Position;
        var depth = 1;
        for (; frame.Position < frame.End; frame.Position++)
        {
            var inner = frame.Tokens[frame.Position];
            if (inner.Kind == TokenKind.ConditionOpen)
            {
                depth++;
            }
            else if (inner.Kind == TokenKind.ConditionClose && --depth == 0)
            {
                break;
            }
            else if (inner.Kind == TokenKind.AtWord && inner.Text == "define")
            {
                return Wrong(ref token, inner, "parse.macro-nested-define", "'@define' stands inside a macro; definitions stand at file level");
            }
        }

        if (frame.Position >= frame.End)
        {
            return Wrong(ref token, open, "parse.macro-definition", $"body of macro '@{name}' has no '%)'");
        }

        var body = frame.Tokens[bodyStart..frame.Position++];
        if (!IgnoreDefinitions)
        {
            Catalogue(new MacroDefinition(name, nameToken.Span, parameters, body, _isLibrary), nameToken);
        }

        return true;
    }

    private void Catalogue(MacroDefinition definition, in Token nameToken)
    {
        var name = definition.Name;
        if (name == "define")
        {
            Error(nameToken, "parse.macro-name", "macro may not be named 'define'");
            return;
        }

        if (_own.TryGetValue(name, out var earlier))
        {
            Error(nameToken, "parse.macro-redefined", $"macro '@{name}' is defined twice in this file", earlier.Span);
            return;
        }

        if (TokenFacts.BuiltInWordSince(name) is not null)
        {
            _diagnostics.Warn("parse.macro-hides-operator", nameToken.Span, $"macro '@{name}' hides the built-in operator of that name");
        }

        _own.Add(name, definition);
        Definitions.Add(definition);
    }

    /// <summary>Reports a broken definition, reads over what is left of it up to the next plausible place, and makes the token junk.</summary>
    private bool Wrong(ref Token token, in Token at, string code, string message)
    {
        Error(at, code, message);
        return Reported(ref token);
    }

    /// <summary>Turns the token into junk that the parser stays silent about. Always false: "emit it".</summary>
    private static bool Reported(ref Token token)
    {
        token = new Token(TokenKind.Junk, token.Source, token.Start, token.Length, token.Text, 0, JunkReason.AlreadyReported, token.Use);
        return false;
    }

    private void Stop(in Token token, string code, string message)
    {
        _stopped = true;
        _end = new Token(TokenKind.Junk, token.Source, token.Start, token.Length, token.Text, 0, JunkReason.AlreadyReported, token.Use);
        Error(token, code, message);
        Ended = true;
    }

    /// <summary>True when expansion was given up; what comes next is junk for ever.</summary>
    public bool Ended { get; private set; }

    /// <summary>Counts an error of this file's preprocessing; after too many the rest is not read.</summary>
    public void CountError(in Token token)
    {
        if (++_errors == MaxErrors)
        {
            Stop(token, "parse.too-many-errors", $"more than {MaxErrors} errors; the rest of the file is not read");
        }
    }

    private void Error(in Token token, string code, string message, SourceSpan? definition = null)
    {
        if (_errors >= MaxErrors && code != "parse.too-many-errors")
        {
            return;
        }

        _diagnostics.Add(new Diagnostic(code, Severity.ParseError, message, token.Span)
        {
            Saw = token.Describe(),
            Related = definition,
            RelatedMessage = definition is null ? null : "defined here",
            Context = MacroContext.Of(token.Use),
        });
        CountError(token);
    }
}

/// <summary>The chain of macro uses as diagnostic context.</summary>
internal static class MacroContext
{
    private const int Shown = 8;

    public static IReadOnlyList<(string What, SourceSpan Span)> Of(MacroUse? use)
    {
        if (use is null)
        {
            return [];
        }

        var list = new List<(string, SourceSpan)>();
        for (; use is not null && list.Count < Shown; use = use.Outer)
        {
            list.Add(("in expansion of macro '@" + use.Name + "'", use.Span));
        }

        return list;
    }
}
