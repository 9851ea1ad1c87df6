using SystemTap.Language.Diagnostics;
using SystemTap.Language.Lexing;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;

namespace SystemTap.Language.Parsing;

/// <summary>
/// Tokens to tree: recursive descent over the preprocessed tokens of one file.
/// </summary>
/// <remarks>
/// <para>Errors. There are no exceptions and no nulls: <see cref="Error(string, string)"/> reports and puts the parser in
/// <em>panic</em>, in which the current token reads as end of file, so every loop ends and every rule returns some dummy
/// node. Who can recover (a block: at the next statement; the file: at the next definition) clears the panic and moves on.
/// Mistakes that leave the grammar intact (a break outside a loop) are <see cref="SoftError"/>s: reported, no panic.</para>
/// <para>Depth. Later passes recurse over the tree, so its height is bounded here: <see cref="MaxNesting"/> bounds what is
/// written nested, <see cref="MaxHeight"/> bounds long chains, which lean to the left and nest nothing. Every rule
/// leaves the height of its node in <c>_height</c>. <c>else if</c> and <c>?:</c> chains are read by loops.</para>
/// </remarks>
public sealed partial class Parser
{
    /// <summary>How deep parentheses, blocks, unary operators and the like may nest.</summary>
    public const int MaxNesting = 256;

    /// <summary>The greatest height of a tree.</summary>
    public const int MaxHeight = 1500;

    private const int MaxErrors = 50;

    private readonly Token[] _tokens;
    private readonly SourceText _source;
    private readonly ParseOptions _options;
    private readonly DiagnosticBag _diagnostics;
    private readonly bool _guru;
    private readonly bool _wildcards;
    private readonly Dictionary<string, GlobalDefinition> _globals = new(StringComparer.Ordinal);
    private int _pos;
    private TokenKind _kind;
    private bool _panic;
    private int _errors;
    private int _nesting;
    private int _height;
    private int _loops;
    private bool _inFunction;
    private HistogramExpression? _looseHistogram;

    private Parser(Token[] tokens, SourceText source, ParseOptions options, DiagnosticBag diagnostics)
    {
        _tokens = tokens;
        _source = source;
        _options = options;
        _diagnostics = diagnostics;
        _guru = options.GuruMode || options.Environment.GuruMode || source.IsTapset;
        _wildcards = options.Environment.LanguageHas("2.6");
        _kind = tokens[0].Kind;
    }

    /// <summary>Parses a file. Null if it has errors, which are then in the bag.</summary>
    public static ScriptFile? Parse(SourceText source, ParseOptions options, DiagnosticBag diagnostics)
    {
        var before = diagnostics.ErrorCount;
        var file = ParseWithErrors(source, options, diagnostics);
        return diagnostics.ErrorCount == before ? file : null;
    }

    /// <summary>Parses a file and returns what could be understood of it, also when there are errors (for editors).</summary>
    public static ScriptFile ParseWithErrors(SourceText source, ParseOptions options, DiagnosticBag diagnostics)
    {
        var lexer = new Lexer(source, options.Arguments, options.Environment.CompatibleVersion, diagnostics);
        var tokens = lexer.All();
        if (lexer.NeedsPreprocessor)
        {
            tokens = new Preprocessor(tokens, options.Environment, options.Macros, diagnostics).Run();
        }

        var items = new Parser(tokens.Items, source, options, diagnostics).File();
        var span = new SourceSpan(source, 0, source.Content.Length);
        return lexer.UsedArguments is { } used
            ? new ScriptFile(span, source, items) { UsedArguments = used }
            : new ScriptFile(span, source, items);
    }

    // ---- tokens ----

    private ref readonly Token Current => ref _tokens[_pos];

    private TokenKind PeekKind(int ahead)
    {
        if (_panic)
        {
            return TokenKind.EndOfFile;
        }

        // The end of file is the last token; nothing is read behind it.
        for (var i = 0; i < ahead; i++)
        {
            if (_tokens[_pos + i].Kind == TokenKind.EndOfFile)
            {
                return TokenKind.EndOfFile;
            }
        }

        return _tokens[_pos + ahead].Kind;
    }

    private void Advance()
    {
        if (_kind != TokenKind.EndOfFile)
        {
            _kind = _tokens[++_pos].Kind;
        }
    }

    private bool Accept(TokenKind kind)
    {
        if (_kind != kind)
        {
            return false;
        }

        Advance();
        return true;
    }

    private bool Expect(TokenKind kind, string message)
    {
        if (_kind == kind)
        {
            Advance();
            return true;
        }

        Error("parse.expected-token", message);
        return false;
    }

    /// <summary>From a token to the last one taken. Across macro borders: the first token alone.</summary>
    private SourceSpan SpanFrom(int start)
    {
        ref readonly var first = ref _tokens[start];
        ref readonly var last = ref _tokens[Math.Max(start, _pos - 1)];
        return ReferenceEquals(first.Use, last.Use) ? first.Span.To(last.Span) : first.Span;
    }

    private SourceSpan SpanFrom(SourceSpan first)
    {
        ref readonly var last = ref _tokens[Math.Max(0, _pos - 1)];
        return last.Use is null ? first.To(last.Span) : first;
    }

    // ---- errors ----

    private void Error(string code, string message) => Error(code, message, null);

    /// <summary>Reports what stands at the current token and starts a panic.</summary>
    private void Error(string code, string message, string? hint, SourceSpan? related = null, string? relatedMessage = null)
    {
        if (_panic)
        {
            return;
        }

        ref readonly var token = ref Current;
        _panic = true;
        _kind = TokenKind.EndOfFile;
        if (token.Junk == JunkReason.AlreadyReported)
        {
            _errors++;
            return;
        }

        if (token.Kind == TokenKind.Junk)
        {
            (code, message, hint) = JunkMessage(token);
        }

        Report(new Diagnostic(code, Severity.ParseError, message, token.Span)
        {
            Saw = token.Describe(),
            Hint = hint,
            Related = related,
            RelatedMessage = relatedMessage,
            Context = MacroContext.Of(token.Use),
        });
    }

    /// <summary>Reports without losing the grammar.</summary>
    private void SoftError(string code, SourceSpan span, string message, string? hint = null, SourceSpan? related = null, string? relatedMessage = null)
    {
        if (!_panic)
        {
            Report(new Diagnostic(code, Severity.ParseError, message, span) { Hint = hint, Related = related, RelatedMessage = relatedMessage });
        }
    }

    private void Report(Diagnostic diagnostic)
    {
        if (GaveUp)
        {
            return;
        }

        _diagnostics.Add(diagnostic);
        if (++_errors == MaxErrors)
        {
            _diagnostics.Add(new Diagnostic("parse.too-many-errors", Severity.ParseError, $"more than {MaxErrors} errors; the rest of the file is not read", diagnostic.Span));
        }
    }

    private bool GaveUp => _errors >= MaxErrors;

    private (string Code, string Message, string? Hint) JunkMessage(in Token token)
    {
        switch (token.Junk)
        {
            case JunkReason.UnterminatedString:
                return ("lex.unterminated-string", "string has no closing '\"' on its line", "write \\n for a line end, and \\\" for a quote inside a string");
            case JunkReason.UnterminatedComment:
                return ("lex.unterminated-comment", "comment '/*' has no '*/'", null);
            case JunkReason.UnterminatedEmbeddedCode:
                return ("lex.unterminated-embedded", "embedded code '%{' has no '%}'", null);
            case JunkReason.InvalidNumber:
                return ("lex.invalid-number", $"number '{TokenFacts.Shorten(TokenFacts.Written(token))}' is not valid", "numbers are decimal, octal (0...) or hexadecimal (0x...)");
            case JunkReason.NumberOutOfRange:
                return ("lex.number-range", $"number '{TokenFacts.Shorten(TokenFacts.Written(token))}' does not fit in 64 bits", null);
            case JunkReason.ArgumentOutOfRange:
                var given = _options.Arguments.Count;
                return ("lex.argument-range", $"script argument '{TokenFacts.Written(token)}' is not given",
                    given == 0 ? "the script was started without arguments" : given == 1 ? "1 argument was given" : given + " arguments were given");
            case JunkReason.NestedArgument:
                return ("lex.nested-argument", "script argument holds another '$N' or '@N'; arguments are not substituted in arguments", null);
            default:
                return ("lex.junk", "character begins no token", TokenFacts.Written(token)[0] switch
                {
                    '\'' => "strings stand in double quotes",
                    >= (char)0x80 => "names are made of the letters a to z, digits and '_'; other letters may stand in strings and comments",
                    _ => null,
                });
        }
    }

    /// <summary>Enters a nested rule. False (with an error) when that would be too deep; <see cref="Leave"/> must follow either way.</summary>
    private bool Enter()
    {
        if (++_nesting <= MaxNesting)
        {
            return !_panic;
        }

        Error("parse.too-deep", $"script nests more than {MaxNesting} levels deep here");
        return false;
    }

    private void Leave() => _nesting--;

    /// <summary>Sets the height of a node from that of its highest child.</summary>
    private void Raise(int childHeight)
    {
        _height = childHeight + 1;
        if (_height > MaxHeight)
        {
            Error("parse.too-long", $"expression or statement chain is more than {MaxHeight} levels high; split it up");
            _height = 1;
        }
    }

    private static int Max(int a, int b) => a > b ? a : b;

    // ---- recovery ----

    /// <summary>Ends a panic at a token.</summary>
    private void ResumeAt(int position)
    {
        _panic = false;
        _looseHistogram = null;
        _pos = position;
        _kind = _tokens[position].Kind;
    }

    /// <summary>True if a definition begins at the token (a keyword that is not a member or component name).</summary>
    private bool IsDefinitionStart(int i) =>
        TokenFacts.IsTopLevelKeyword(_tokens[i].Kind)
        && (i == 0 || _tokens[i - 1].Kind is not (TokenKind.Dot or TokenKind.Arrow))
        && !(i + 1 < _tokens.Length && _tokens[i + 1].Kind is TokenKind.LeftParen);

    /// <summary>Moves to the next definition after an error, at least one token further than <paramref name="start"/>.</summary>
    private void RecoverToDefinition(int start)
    {
        var i = Math.Max(_pos, start);
        if (i == start && _tokens[i].Kind != TokenKind.EndOfFile)
        {
            i++;
        }

        while (_tokens[i].Kind != TokenKind.EndOfFile && !IsDefinitionStart(i))
        {
            i++;
        }

        ResumeAt(i);
    }

    /// <summary>
    /// Moves to the next statement of a block after an error in the statement that began at <paramref name="start"/>.
    /// False when the block cannot go on (a definition or the end of the file comes first): the panic stays.
    /// </summary>
    private bool RecoverToStatement(int start)
    {
        if (GaveUp)
        {
            return false;
        }

        var parens = 0;
        for (var k = start; k < _pos; k++)
        {
            parens += _tokens[k].Kind == TokenKind.LeftParen ? 1 : _tokens[k].Kind == TokenKind.RightParen ? -1 : 0;
        }

        var braces = 0;
        for (var i = _pos; ; i++)
        {
            var kind = _tokens[i].Kind;
            switch (kind)
            {
                case TokenKind.EndOfFile:
                    return false;
                case TokenKind.LeftParen:
                    parens++;
                    break;
                case TokenKind.RightParen:
                    parens--;
                    break;
                case TokenKind.LeftBrace:
                    braces++;
                    parens = 0;
                    break;
                case TokenKind.RightBrace:
                    parens = 0;
                    if (braces-- == 0)
                    {
                        ResumeAt(i);
                        return true;
                    }

                    if (braces == 0)
                    {
                        ResumeAt(i + 1);
                        return true;
                    }

                    break;
                case TokenKind.Semicolon when braces == 0 && parens <= 0:
                    ResumeAt(i + 1);
                    return true;
                case TokenKind.If or TokenKind.While or TokenKind.For or TokenKind.Foreach or TokenKind.Return
                    or TokenKind.Delete or TokenKind.Break or TokenKind.Continue or TokenKind.Try
                    when braces == 0 && i > start && i > _pos && _tokens[i - 1].Kind is not (TokenKind.Dot or TokenKind.Arrow):
                    ResumeAt(i);
                    return true;
                default:
                    if (IsDefinitionStart(i))
                    {
                        return false;
                    }

                    break;
            }
        }
    }
}
