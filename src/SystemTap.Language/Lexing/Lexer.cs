using System.Globalization;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Text;

namespace SystemTap.Language.Lexing;

/// <summary>
/// Bytes to tokens. Never fails: what is no token comes out as <see cref="TokenKind.Junk"/>, so that an ill-formed piece in
/// a branch the preprocessor skips is no error. The end is an endless row of <see cref="TokenKind.EndOfFile"/>.
/// </summary>
/// <remarks>
/// Script arguments are pasted here: <c>$N</c> at the start of a token lexes the argument's text in its place (all its
/// tokens carry the place of the <c>$N</c>), <c>@N</c> is the argument as one string.
/// </remarks>
public sealed class Lexer
{
    private readonly SourceText _source;
    private readonly string _text;
    private readonly NameTable _names;
    private readonly IReadOnlyList<string> _arguments;
    private readonly bool _hexEscapes;
    private readonly bool _hasPrivate;
    private readonly bool _isPasted;
    private readonly DiagnosticBag? _diagnostics;
    private int _pos;
    private Lexer? _pasted;
    private int _pasteStart;
    private int _pasteLength;

    /// <param name="source">The text.</param>
    /// <param name="arguments">The script arguments, one char for each byte.</param>
    /// <param name="compatibleVersion">The <c>--compatible</c> version, or null for the newest language.</param>
    /// <param name="diagnostics">Takes warnings about the text; may be null.</param>
    public Lexer(SourceText source, IReadOnlyList<string>? arguments = null, string? compatibleVersion = null, DiagnosticBag? diagnostics = null)
        : this(source, source.Content, arguments ?? [], compatibleVersion, new NameTable(), false, diagnostics)
    {
    }

    private Lexer(SourceText source, string text, IReadOnlyList<string> arguments, string? compatibleVersion, NameTable names, bool isPasted, DiagnosticBag? diagnostics)
    {
        _source = source;
        _text = text;
        _arguments = arguments;
        _names = names;
        _isPasted = isPasted;
        _diagnostics = diagnostics;
        CompatibleVersion = compatibleVersion;
        _hexEscapes = LanguageVersion.AtLeast(compatibleVersion, "2.3");
        _hasPrivate = LanguageVersion.AtLeast(compatibleVersion, "3.0");

        // Some editors begin UTF-8 files with a byte-order mark.
        _pos = text.StartsWith("\u00ef\u00bb\u00bf", StringComparison.Ordinal) ? 3 : 0;
    }

    /// <summary>Numbers of the script arguments that were referred to; null when none was.</summary>
    public HashSet<int>? UsedArguments { get; private set; }

    /// <summary>True once a <c>%(</c>, <c>@define</c> or an @word that is not built in has come by: the tokens need the preprocessor.</summary>
    public bool NeedsPreprocessor { get; private set; }

    /// <summary>Leaves out string values and embedded code: for scans that want names only.</summary>
    public bool SkipValues { get; init; }

    private string? CompatibleVersion { get; }

    /// <summary>All tokens up to and with the first end of file.</summary>
    internal TokenList All()
    {
        var list = new TokenList(Math.Min(_text.Length / 3, 1 << 20) + 16);
        Token token;
        do
        {
            Next(out token);
            list.Add(token);
        }
        while (token.Kind != TokenKind.EndOfFile);
        return list;
    }

    /// <summary>The next token.</summary>
    public void Next(out Token token)
    {
        while (true)
        {
            if (_pasted is not null)
            {
                _pasted.Next(out token);
                if (token.Kind != TokenKind.EndOfFile)
                {
                    NeedsPreprocessor |= _pasted.NeedsPreprocessor;
                    token = new Token(token.Kind, _source, _pasteStart, _pasteLength, token.Text ?? WrittenIn(_pasted, token), token.Value, token.Junk);
                    return;
                }

                _pasted = null;
            }

            if (!SkipSpace(out token))
            {
                return;
            }

            if (Scan(out token))
            {
                return;
            }
        }
    }

    private static string WrittenIn(Lexer pasted, in Token token) => pasted._text.Substring(token.Start, token.Length);

    /// <summary>Skips white space and comments. False when that ends in an unclosed comment, which is then the token.</summary>
    private bool SkipSpace(out Token token)
    {
        var text = _text;
        var i = _pos;
        while (i < text.Length)
        {
            var c = text[i];
            if (c is ' ' or '\n' or '\t' or '\r' or '\v' or '\f')
            {
                i++;
            }
            else if (c == '#' || (c == '/' && i + 1 < text.Length && text[i + 1] == '/'))
            {
                var end = text.AsSpan(i).IndexOf('\n');
                i = end < 0 ? text.Length : i + end + 1;
            }
            else if (c == '/' && i + 1 < text.Length && text[i + 1] == '*')
            {
                var end = text.AsSpan(i + 2).IndexOf("*/");
                if (end < 0)
                {
                    _pos = text.Length;
                    token = new Token(TokenKind.Junk, _source, i, 2, junk: JunkReason.UnterminatedComment);
                    return false;
                }

                i += end + 4;
            }
            else
            {
                break;
            }
        }

        _pos = i;
        token = default;
        return true;
    }

    /// <summary>Scans one token at the position. False when an argument was pasted there instead.</summary>
    private bool Scan(out Token token)
    {
        var text = _text;
        var start = _pos;
        if (start >= text.Length)
        {
            token = new Token(TokenKind.EndOfFile, _source, text.Length, 0);
            return true;
        }

        var c = text[start];
        if (IsNameStart(c))
        {
            if (c == '$' && start + 1 < text.Length && (char.IsAsciiDigit(text[start + 1]) || text[start + 1] == '#'))
            {
                return PasteArgument(start, out token);
            }

            var i = start + 1;
            while (i < text.Length && IsNamePart(text[i]))
            {
                i++;
            }

            _pos = i;
            var name = _names.Get(text.AsSpan(start, i - start), out var kind);
            if (kind == TokenKind.Private && !_hasPrivate)
            {
                kind = TokenKind.Identifier;
            }

            token = new Token(kind, _source, start, i - start, name);
            return true;
        }

        if (char.IsAsciiDigit(c))
        {
            ScanNumber(start, out token);
            return true;
        }

        switch (c)
        {
            case '"':
                ScanString(start, out token);
                return true;
            case '@':
                return ScanAt(start, out token);
            case '%' when start + 1 < text.Length && text[start + 1] == '{':
                ScanEmbedded(start, out token);
                return true;
        }

        var operatorKind = OperatorScanner.Scan(text, start, out var length);
        if (operatorKind == TokenKind.Junk)
        {
            // A letter of several bytes is one piece of junk.
            while (start + length < text.Length && (text[start + length] & 0xc0) == 0x80)
            {
                length++;
            }
        }

        _pos = start + length;
        token = operatorKind == TokenKind.Junk
            ? new Token(TokenKind.Junk, _source, start, length, junk: JunkReason.UnexpectedCharacter)
            : new Token(operatorKind, _source, start, length);
        NeedsPreprocessor |= operatorKind >= TokenKind.ConditionOpen;
        return true;
    }

    private static bool IsNameStart(char c) => char.IsAsciiLetter(c) || c == '_' || c == '$';

    private static bool IsNamePart(char c) => char.IsAsciiLetterOrDigit(c) || c == '_' || c == '$';

    private bool ScanAt(int start, out Token token)
    {
        var text = _text;
        var i = start + 1;
        if (i < text.Length && (char.IsAsciiDigit(text[i]) || text[i] == '#'))
        {
            return PasteArgument(start, out token);
        }

        while (i < text.Length && IsNamePart(text[i]))
        {
            i++;
        }

        _pos = i;
        if (i == start + 1)
        {
            token = new Token(TokenKind.Junk, _source, start, 1, junk: JunkReason.UnexpectedCharacter);
            return true;
        }

        var word = _names.Get(text.AsSpan(start + 1, i - start - 1), out _);
        NeedsPreprocessor |= TokenFacts.BuiltInWordSince(word) is null;
        token = new Token(TokenKind.AtWord, _source, start, i - start, word);
        return true;
    }

    /// <summary><c>$N @N $# @#</c> at the position: true with a token, false when the text of an argument is to be lexed.</summary>
    private bool PasteArgument(int start, out Token token)
    {
        var text = _text;
        var asString = text[start] == '@';
        var i = start + 1;
        if (text[i] == '#')
        {
            _pos = i + 1;
            var count = _arguments.Count.ToString(CultureInfo.InvariantCulture);
            token = _isPasted
                ? new Token(TokenKind.Junk, _source, start, 2, junk: JunkReason.NestedArgument)
                : new Token(asString ? TokenKind.String : TokenKind.Number, _source, start, 2, count, asString ? 0 : _arguments.Count);
            return true;
        }

        var number = 0;
        while (i < text.Length && char.IsAsciiDigit(text[i]))
        {
            number = Math.Min(number * 10 + (text[i] - '0'), 1_000_000);
            i++;
        }

        _pos = i;
        if (_isPasted)
        {
            token = new Token(TokenKind.Junk, _source, start, i - start, junk: JunkReason.NestedArgument);
            return true;
        }

        if (number < 1 || number > 999 || number > _arguments.Count)
        {
            token = new Token(TokenKind.Junk, _source, start, i - start, junk: JunkReason.ArgumentOutOfRange);
            return true;
        }

        (UsedArguments ??= []).Add(number);
        var argument = _arguments[number - 1];
        if (asString)
        {
            token = new Token(TokenKind.String, _source, start, i - start, argument);
            return true;
        }

        // Pasted as characters: a name or number goes on into the name characters right behind the `$N`.
        if (argument.Length > 0 && IsNamePart(argument[^1]))
        {
            var tail = i;
            while (tail < text.Length && IsNamePart(text[tail]))
            {
                tail++;
            }

            argument += text[i..tail];
            _pos = i = tail;
        }

        _pasted = new Lexer(_source, argument, _arguments, CompatibleVersion, _names, true, _diagnostics);
        _pasteStart = start;
        _pasteLength = i - start;
        token = default;
        return false;
    }

    private void ScanNumber(int start, out Token token)
    {
        var text = _text;
        var i = start;
        while (i < text.Length && char.IsAsciiLetterOrDigit(text[i]))
        {
            i++;
        }

        _pos = i;
        var junk = ParseNumber(text.AsSpan(start, i - start), out var value);
        token = new Token(junk == JunkReason.None ? TokenKind.Number : TokenKind.Junk, _source, start, i - start, null, unchecked((long)value), junk);
    }

    /// <summary>Reads a number as C does: <c>0x</c> hexadecimal, leading <c>0</c> octal, else decimal.</summary>
    internal static JunkReason ParseNumber(ReadOnlySpan<char> digits, out ulong value)
    {
        value = 0;
        var numberBase = 10u;
        if (digits.Length > 2 && digits[0] == '0' && (digits[1] | 0x20) == 'x')
        {
            numberBase = 16;
            digits = digits[2..];
        }
        else if (digits.Length > 1 && digits[0] == '0')
        {
            numberBase = 8;
            digits = digits[1..];
        }

        var overflow = false;
        foreach (var c in digits)
        {
            var digit = char.IsAsciiDigit(c) ? (uint)(c - '0') : (uint)((c | 0x20) - 'a' + 10);
            if (digit >= numberBase)
            {
                return JunkReason.InvalidNumber;
            }

            if (value > (ulong.MaxValue - digit) / numberBase)
            {
                overflow = true;
            }

            value = unchecked(value * numberBase + digit);
        }

        return overflow ? JunkReason.NumberOutOfRange : JunkReason.None;
    }

    private void ScanString(int start, out Token token)
    {
        var text = _text;
        var rest = text.AsSpan(start + 1);
        var stop = rest.IndexOfAny('"', '\\', '\n');
        if (stop >= 0 && rest[stop] == '"')
        {
            _pos = start + stop + 2;
            token = new Token(TokenKind.String, _source, start, stop + 2, SkipValues ? "" : rest[..stop].ToString());
            return;
        }

        var end = StringReader.Read(text, start + 1, _hexEscapes, SkipValues, out var value);
        if (end < 0)
        {
            _pos = ~end;
            token = new Token(TokenKind.Junk, _source, start, _pos - start, junk: JunkReason.UnterminatedString);
            return;
        }

        _pos = end;
        token = new Token(TokenKind.String, _source, start, end - start, value);
    }

    private void ScanEmbedded(int start, out Token token)
    {
        var text = _text;
        var body = text.AsSpan(start + 2);
        var end = body.IndexOf("%}");
        if (end < 0)
        {
            _pos = text.Length;
            token = new Token(TokenKind.Junk, _source, start, 2, junk: JunkReason.UnterminatedEmbeddedCode);
            return;
        }

        _pos = start + end + 4;
        body = body[..end];
        var swapped = _diagnostics is null ? -1 : body.IndexOf("}%");
        if (swapped >= 0)
        {
            _diagnostics!.Warn("parse.embedded-swapped-end", new SourceSpan(_source, start + 2 + swapped, 2),
                "embedded code contains '}%'; its end is written '%}'");
        }

        token = new Token(TokenKind.Embedded, _source, start, end + 4, SkipValues ? "" : body.ToString());
    }
}
