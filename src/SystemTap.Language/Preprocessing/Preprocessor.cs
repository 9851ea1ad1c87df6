using SystemTap.Language.Diagnostics;
using SystemTap.Language.Lexing;

namespace SystemTap.Language.Preprocessing;

/// <summary>
/// The second preprocessing pass: pulls macro-free tokens and keeps or drops the branches of
/// <c>%( CONDITION %? TOKENS %: TOKENS %)</c>.
/// </summary>
/// <remarks>
/// Nesting is a stack of open conditionals, not recursion. Inside a dropped branch nested conditionals are only counted,
/// never evaluated, and definitions are not catalogued; macros are expanded there all the same, as the language says.
/// </remarks>
internal sealed class Preprocessor(TokenList tokens, PreprocessorEnvironment environment, MacroTable library, DiagnosticBag diagnostics, bool isLibrary = false)
{
    private readonly MacroExpander _macros = new(tokens, library, diagnostics, isLibrary);
    private readonly TokenList _output = new(tokens.Count);
    private readonly Stack<(Token Open, bool HadElse)> _open = new();

    /// <summary>The macros the file defined.</summary>
    public IReadOnlyList<MacroDefinition> Definitions => _macros.Definitions;

    /// <summary>All tokens that remain, ending with one end of file.</summary>
    public TokenList Run()
    {
        while (true)
        {
            _macros.Next(out var token);
            switch (token.Kind)
            {
                case TokenKind.ConditionOpen:
                    Conditional(token);
                    break;
                case TokenKind.ConditionElse when _open.Count > 0:
                    var (open, hadElse) = _open.Pop();
                    if (hadElse)
                    {
                        Error(token, "parse.conditional", "conditional has two '%:' branches");
                    }

                    if (SkipBranch(open, stopAtElse: false, oneElse: !hadElse) != TokenKind.EndOfFile && hadElse)
                    {
                        Reported(token);
                    }

                    break;
                case TokenKind.ConditionClose when _open.Count > 0:
                    _open.Pop();
                    break;
                case TokenKind.ConditionElse or TokenKind.ConditionClose or TokenKind.ConditionThen:
                    Error(token, "parse.conditional", $"'{TokenFacts.Written(token)}' stands outside a conditional");
                    Reported(token);
                    break;
                case TokenKind.EndOfFile:
                    if (_open.Count > 0)
                    {
                        Error(_open.Peek().Open, "parse.conditional", "conditional has no '%)'");
                    }

                    _output.Add(token);
                    return _output;
                default:
                    _output.Add(token);
                    if (_macros.Ended)
                    {
                        _output.Add(EndAt(token));
                        return _output;
                    }

                    break;
            }
        }
    }

    private static Token EndAt(in Token token) => new(TokenKind.EndOfFile, token.Source, token.Source.Content.Length, 0);

    private void Conditional(in Token open)
    {
        var terms = new List<Token>();
        while (true)
        {
            _macros.Next(out var token);
            if (token.Kind == TokenKind.ConditionThen)
            {
                break;
            }

            if (_macros.Ended)
            {
                return;
            }

            if (token.Kind is TokenKind.EndOfFile or TokenKind.ConditionOpen or TokenKind.ConditionElse or TokenKind.ConditionClose)
            {
                Error(token.Kind == TokenKind.EndOfFile ? open : token, "parse.conditional", "conditional has no '%?' behind its condition");
                Reported(open);
                if (token.Kind is TokenKind.ConditionOpen)
                {
                    SkipBranch(token, stopAtElse: false);
                }

                if (token.Kind is TokenKind.ConditionOpen or TokenKind.ConditionElse)
                {
                    SkipBranch(open, stopAtElse: false);
                }

                return;
            }

            terms.Add(token);
        }

        var condition = new ConditionEvaluator(terms, open, environment);
        if (condition.Evaluate() is not { } value)
        {
            if (condition.ErrorToken.Junk != JunkReason.AlreadyReported)
            {
                diagnostics.Add(new Diagnostic(condition.ErrorCode, Severity.ParseError, condition.ErrorMessage, condition.ErrorToken.Span)
                {
                    Saw = condition.ErrorToken.Describe(),
                    Hint = condition.Hint,
                    Context = MacroContext.Of(condition.ErrorToken.Use),
                });
                _macros.CountError(condition.ErrorToken);
            }

            // Neither branch is worth parsing; the junk keeps the parser quiet about the hole.
            Reported(open);
            SkipBranch(open, stopAtElse: false);
            return;
        }

        if (value)
        {
            _open.Push((open, false));
        }
        else if (SkipBranch(open, stopAtElse: true) == TokenKind.ConditionElse)
        {
            _open.Push((open, true));
        }
    }

    /// <summary>Reads over a branch. Returns what ended it: its <c>%)</c>, its <c>%:</c> (only if asked for) or the end of the file (reported).</summary>
    private TokenKind SkipBranch(in Token open, bool stopAtElse, bool oneElse = false)
    {
        var depth = 0;
        _macros.IgnoreDefinitions = true;
        try
        {
            while (true)
            {
                _macros.Next(out var token);
                switch (token.Kind)
                {
                    case TokenKind.ConditionOpen:
                        depth++;
                        break;
                    case TokenKind.ConditionClose when depth-- == 0:
                        return token.Kind;
                    case TokenKind.ConditionElse when depth == 0 && stopAtElse:
                        return token.Kind;
                    case TokenKind.ConditionElse when depth == 0 && oneElse:
                        Error(token, "parse.conditional", "conditional has two '%:' branches");
                        oneElse = false;
                        break;
                    case TokenKind.EndOfFile:
                        Error(open, "parse.conditional", "conditional has no '%)'");
                        return token.Kind;
                    default:
                        if (_macros.Ended)
                        {
                            return TokenKind.EndOfFile;
                        }

                        break;
                }
            }
        }
        finally
        {
            _macros.IgnoreDefinitions = false;
        }
    }

    private void Reported(in Token at) =>
        _output.Add(new Token(TokenKind.Junk, at.Source, at.Start, at.Length, at.Text, 0, JunkReason.AlreadyReported, at.Use));

    private void Error(in Token token, string code, string message)
    {
        if (_macros.Ended)
        {
            return;
        }

        diagnostics.Add(new Diagnostic(code, Severity.ParseError, message, token.Span)
        {
            Saw = token.Describe(),
            Context = MacroContext.Of(token.Use),
        });
        _macros.CountError(token);
    }
}
