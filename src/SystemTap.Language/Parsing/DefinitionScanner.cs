using SystemTap.Language.Lexing;
using SystemTap.Language.Text;

namespace SystemTap.Language.Parsing;

/// <summary>What a library file defines, by name.</summary>
public sealed class DefinitionNames
{
    /// <summary>Functions with how many parameters they take.</summary>
    public List<(string Name, int Arity)> Functions { get; } = [];

    /// <summary>Aliases: component names joined by dots, arguments in parentheses left out (<c>syscall.read.return</c>, <c>netdev.receive</c>).</summary>
    public List<string> Aliases { get; } = [];

    public List<string> Globals { get; } = [];

    /// <summary>Macros without the <c>@</c>.</summary>
    public List<string> Macros { get; } = [];
}

/// <summary>
/// Finds the names a library file defines without preprocessing or parsing it, for the library's name index.
/// </summary>
/// <remarks>
/// The result is a superset: names in both branches of a conditional are there, since an index outlives one kernel. No
/// braces are counted (branches may hold unequal ones); the definition keywords stand nowhere but at file level, save as
/// component names behind a dot. Private definitions are left out: nobody outside the file can ask for them.
/// </remarks>
public static class DefinitionScanner
{
    /// <summary>Scans a file. Never fails; ill-formed text gives fewer names.</summary>
    public static DefinitionNames Scan(SourceText source)
    {
        var names = new DefinitionNames();
        var lexer = new Lexer(source) { SkipValues = true };
        var before = TokenKind.EndOfFile;
        lexer.Next(out var token);
        while (token.Kind != TokenKind.EndOfFile)
        {
            var kind = token.Kind;
            var isName = before is TokenKind.Dot or TokenKind.Arrow;
            var isPrivate = before == TokenKind.Private;
            before = kind;
            if (isName)
            {
                lexer.Next(out token);
                continue;
            }

            switch (kind)
            {
                case TokenKind.Function:
                    Function(lexer, out token, isPrivate ? null : names);
                    break;
                case TokenKind.Probe:
                    Alias(lexer, out token, names);
                    break;
                case TokenKind.Global:
                    Globals(lexer, out token, isPrivate ? null : names);
                    break;
                case TokenKind.AtWord when token.Text == "define":
                    lexer.Next(out token);
                    if (token.Text is { } name && (token.Kind == TokenKind.Identifier || TokenFacts.IsKeyword(token.Kind)))
                    {
                        names.Macros.Add(name);
                        lexer.Next(out token);
                    }

                    break;
                default:
                    lexer.Next(out token);
                    break;
            }
        }

        return names;
    }

    private static void Function(Lexer lexer, out Token token, DefinitionNames? names)
    {
        lexer.Next(out token);
        if (token.Kind != TokenKind.Identifier)
        {
            return;
        }

        var name = token.Text!;
        do
        {
            lexer.Next(out token);
        }
        while (token.Kind is TokenKind.Colon or TokenKind.LongType or TokenKind.StringType);
        if (token.Kind != TokenKind.LeftParen)
        {
            return;
        }

        var arity = 0;
        lexer.Next(out token);
        if (token.Kind != TokenKind.RightParen)
        {
            arity = 1;
        }

        while (token.Kind is not (TokenKind.RightParen or TokenKind.EndOfFile or TokenKind.LeftBrace))
        {
            arity += token.Kind == TokenKind.Comma ? 1 : 0;
            lexer.Next(out token);
        }

        names?.Functions.Add((name, arity));
    }

    private static void Globals(Lexer lexer, out Token token, DefinitionNames? names)
    {
        lexer.Next(out token);
        while (token.Kind == TokenKind.Identifier)
        {
            names?.Globals.Add(token.Text!);
            lexer.Next(out token);
            var depth = 0;
            while (token.Kind is TokenKind.Percent or TokenKind.PercentAssign or TokenKind.LeftBracket or TokenKind.RightBracket or TokenKind.Assign
                or TokenKind.Number or TokenKind.String or TokenKind.Minus or TokenKind.AtWord
                or TokenKind.LeftParen or TokenKind.RightParen || depth > 0 && token.Kind != TokenKind.EndOfFile)
            {
                depth += token.Kind switch { TokenKind.LeftParen or TokenKind.LeftBracket => 1, TokenKind.RightParen or TokenKind.RightBracket => -1, _ => 0 };
                lexer.Next(out token);
            }

            if (token.Kind != TokenKind.Comma)
            {
                return;
            }

            lexer.Next(out token);
        }
    }

    /// <summary>
    /// Reads names up to each '=' or '+='. A conditional inside a name gives one name for each branch; the text behind the last
    /// '=' is left to the main loop.
    /// </summary>
    private static void Alias(Lexer lexer, out Token token, DefinitionNames names)
    {
        var name = new System.Text.StringBuilder();
        var prefix = "";
        var suffixStart = 0;
        List<string>? otherBranches = null;
        lexer.Next(out token);
        while (true)
        {
            switch (token.Kind)
            {
                case TokenKind.Identifier or TokenKind.Number or TokenKind.Junk:
                    name.Append(TokenFacts.Written(token));
                    break;
                case TokenKind.Star:
                    name.Append('*');
                    break;
                case TokenKind.Dot:
                    name.Append('.');
                    break;
                case TokenKind.LeftParen:
                    SkipTo(lexer, out token, TokenKind.RightParen);
                    break;
                case TokenKind.ConditionOpen:
                    SkipTo(lexer, out token, TokenKind.ConditionThen);
                    prefix = name.ToString();
                    break;
                case TokenKind.ConditionElse:
                    (otherBranches ??= []).Add(name.ToString());
                    name.Clear().Append(prefix);
                    break;
                case TokenKind.ConditionClose:
                    suffixStart = name.Length;
                    break;
                case TokenKind.Assign or TokenKind.PlusAssign or TokenKind.StarAssign:
                    names.Aliases.Add(name.ToString() + (token.Kind == TokenKind.StarAssign ? "*" : ""));
                    if (otherBranches is not null)
                    {
                        foreach (var branch in otherBranches)
                        {
                            names.Aliases.Add(branch + name.ToString(suffixStart, name.Length - suffixStart));
                        }

                        otherBranches = null;
                    }

                    name.Clear();
                    prefix = "";
                    suffixStart = 0;
                    break;
                default:
                    if (!TokenFacts.IsKeyword(token.Kind) || (TokenFacts.IsTopLevelKeyword(token.Kind) && (name.Length == 0 || name[^1] != '.')))
                    {
                        return; // '{', ',' or whatever: what was collected last is a point, not a name
                    }

                    name.Append(token.Text);
                    break;
            }

            lexer.Next(out token);
        }
    }

    private static void SkipTo(Lexer lexer, out Token token, TokenKind kind)
    {
        do
        {
            lexer.Next(out token);
        }
        while (token.Kind != kind && token.Kind is not (TokenKind.EndOfFile or TokenKind.LeftBrace));
    }
}
