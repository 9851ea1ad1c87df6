using SystemTap.Language.Lexing;
using SystemTap.Language.Parsing;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using Xunit;
using static SystemTap.Tests.Language.ParseHelper;

namespace SystemTap.Tests.Language;

public class LexerTests
{
    private static string Kinds(string text, params string[] arguments)
    {
        var lexer = new Lexer(new SourceText("a.stp", text), arguments);
        var list = new List<string>();
        while (true)
        {
            lexer.Next(out var token);
            if (token.Kind == TokenKind.EndOfFile)
            {
                return string.Join(' ', list);
            }

            list.Add(token.Kind switch
            {
                TokenKind.Identifier => token.Text!,
                TokenKind.Number => token.Value.ToString(),
                TokenKind.String => "\"" + token.Text + "\"",
                TokenKind.AtWord => "@" + token.Text,
                TokenKind.Junk => token.Junk.ToString(),
                TokenKind.Embedded => "%{" + token.Text + "%}",
                _ => token.Kind.ToString(),
            });
        }
    }

    [Theory]
    [InlineData("#! /usr/bin/stap\na // b\n/* c * / */ d # e", "a d")]
    [InlineData("_a $b $c$$ d$e f9", "_a $b $c$$ d$e f9")]
    [InlineData("@count @foo_1", "@count @foo_1")]
    [InlineData("0 10 0x1F 017 0xffffffffffffffff 18446744073709551615", "0 10 31 15 -1 -1")]
    [InlineData("9223372036854775807 9223372036854775808", "9223372036854775807 -9223372036854775808")]
    [InlineData("08 1_000 12L 0b1 0x", "InvalidNumber 1 _000 InvalidNumber InvalidNumber InvalidNumber")]
    [InlineData("18446744073709551616", "NumberOutOfRange")]
    [InlineData("\"a\\tb\\x41\\101\\\"\\q\\\\\"", "\"a\tbAA\"q\\\"")]
    [InlineData("\"abc", "UnterminatedString")]
    [InlineData("\"abc\nd", "UnterminatedString d")]
    [InlineData("/* abc", "UnterminatedComment")]
    [InlineData("%{ a % } %}b", "%{ a % } %} b")]
    [InlineData("%{ a", "UnterminatedEmbeddedCode")]
    [InlineData("<<< >>> <<= >>= << >>", "StatisticAdd ShiftRightLogical ShiftLeftAssign ShiftRightAssign ShiftLeft ShiftRight")]
    [InlineData(">>>=", "ShiftRightLogical Assign")]
    [InlineData("== != <= >= =~ !~ += -= *= /= %= &= ^= |= .= && || ++ -- ->", "Equal NotEqual LessEqual GreaterEqual Match NotMatch PlusAssign MinusAssign StarAssign SlashAssign PercentAssign AmpersandAssign CaretAssign PipeAssign DotAssign AndAnd OrOr PlusPlus MinusMinus Arrow")]
    [InlineData("%( %? %: %)", "ConditionOpen ConditionThen ConditionElse ConditionClose")]
    [InlineData("probe exit error begin limit", "Probe exit error begin Limit")]
    [InlineData("a \\ b", "a UnexpectedCharacter b")]
    [InlineData("\x00\xff", "UnexpectedCharacter UnexpectedCharacter")]
    public void Tokens(string text, string expected) => Assert.Equal(expected, Kinds(text));

    [Fact]
    public void ArgumentsArePasted()
    {
        Assert.Equal("a Plus 1 \"a+1\" 2 \"2\" foo$1", Kinds("$1 @1 $# @# foo$1", "a+1", "x"));
        Assert.Equal("foobar", Kinds("$1bar", "foo"));
        Assert.Equal("\"say \"hi\"\\n\"", Kinds("@1", "say \"hi\"\\n"));
        Assert.Equal("ArgumentOutOfRange ArgumentOutOfRange ArgumentOutOfRange", Kinds("$2 $0 @2", "a"));
        Assert.Equal("NestedArgument", Kinds("$1", "$2", "x"));
        Assert.Equal("\"$2\"", Kinds("@1", "$2", "x"));
    }

    [Fact]
    public void AByteOrderMarkAtTheBeginningIsPassedOver()
    {
        Assert.Equal("a Plus 1", Kinds("\u00ef\u00bb\u00bfa+1"));
        Assert.NotEqual("a Plus 1", Kinds("a+\u00ef\u00bb\u00bf1"));
    }

    [Fact]
    public void PastedTokensStandWhereTheArgumentIsNamed()
    {
        var lexer = new Lexer(new SourceText("a.stp", "x $1 y"), ["p q"]);
        lexer.Next(out _);
        lexer.Next(out var p);
        lexer.Next(out var q);
        Assert.Equal(("p", 2, 2, "q", 2, 2), (p.Text, p.Start, p.Length, q.Text, q.Start, q.Length));
    }

    [Fact]
    public void UsedArgumentsAreKept()
    {
        var file = Good("probe begin { print($1) println(@3) }", new ParseOptions { Arguments = ["1", "2", "3"] });
        Assert.Equal([1, 3], file.UsedArguments.Order());
        Bad("probe begin { print($2) }", "lex.argument-range", new ParseOptions { Arguments = ["1"] });
        Bad("probe begin { print($1) }", "lex.nested-argument", new ParseOptions { Arguments = ["$1"] });
    }

    [Fact]
    public void CompatibleGates()
    {
        static ParseOptions Old(string v) => new() { GuruMode = true, Environment = new PreprocessorEnvironment { CompatibleVersion = v } };
        Assert.Equal("\"A\"", Expr("\"\\x41\"", Old("2.3")));
        Assert.Equal("\"x41\"", Expr("\"\\x41\"", Old("2.2")));
        Good("probe begin { private = 1 }", Old("2.9"));
        Bad("probe begin { private = 1 }", "parse.expected-statement");
        Bad("probe begin { print(\"a\" \"b\") }", "parse.expected-token", Old("1.9"));
        Bad("probe begin { x = @enum(\"A\") }", "parse.operator-version", Old("5.4"));
        Bad("probe begin { x = @const(\"A\") }", "parse.operator-version", Old("3.0"));
        Bad("probe begin { if ([*] in a) x = 1 }", "parse.wildcard-version", Old("2.5"));
        Assert.Equal("c ? a : (b = 3)", Expr("c ? a : b = 3", Old("3.9")));
    }

    [Fact]
    public void StringsJoinAndEndAtNul()
    {
        Assert.Equal("\"abc\"", Expr("\"a\" /* x */ \"b\" \"c\""));
        Assert.Equal("\"ax\"", Expr("\"a\" @1", new ParseOptions { Arguments = ["x"] }));
        Assert.Equal("\"a\"", Expr("\"a\\0b\""));
    }

    [Fact]
    public void SwappedEmbeddedEndWarns()
    {
        var (file, bag) = Parse("%{ x }% %}", new ParseOptions { GuruMode = true });
        Assert.NotNull(file);
        Assert.Equal("parse.embedded-swapped-end", Assert.Single(bag.All).Code);
    }

    [Theory]
    [InlineData("000", "00")]
    [InlineData("00", "01")]
    [InlineData("01", "010")]
    [InlineData("010", "09")]
    [InlineData("09", "0")]
    [InlineData("0", "1")]
    [InlineData("1", "9")]
    [InlineData("9", "10")]
    [InlineData("6.1", "6.12")]
    [InlineData("6.9", "6.12")]
    [InlineData("6.12", "6.12.5")]
    [InlineData("6.12", "6.12-rc1")]
    public void VersionsOrder(string smaller, string greater)
    {
        Assert.True(LanguageVersion.Compare(smaller, greater) < 0);
        Assert.True(LanguageVersion.Compare(greater, smaller) > 0);
        Assert.Equal(0, LanguageVersion.Compare(smaller, smaller));
    }
}
