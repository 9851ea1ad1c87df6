using SystemTap.Language.Diagnostics;
using SystemTap.Language.Parsing;
using SystemTap.Language.Text;
using Xunit;
using static SystemTap.Tests.Language.ParseHelper;

namespace SystemTap.Tests.Language;

public class DiagnosticPrinterTests
{
    private static string Errors(string text, params string[] arguments) => Text(Parse(text, new ParseOptions { Environment = Machine, Arguments = arguments }).Bag);

    [Theory]
    [InlineData("prob begin { }", """
        parse error: expected 'probe', 'global', 'private', 'function', or '%{'
        	saw: identifier 'prob' at a.stp:1:1
             source: prob begin { }
                     ^
        hint: did you mean 'probe'?

        """)]
    [InlineData("", """
        parse error: input file 'a.stp' is empty or missing
        	saw: end of file at a.stp:1:1
             source: 
                     ^

        """)]
    [InlineData("probe begin {\n\tx = 1 +\n\t}\n", """
        parse error: expected literal string or number, identifier, or '('
        	saw: operator '}' at a.stp:3:2
             source: 	}
                     	^

        """)]
    [InlineData("probe begin { if (1) { }", """
        parse error: expected statement or '}'
        	saw: end of file at a.stp:1:25
             source: probe begin { if (1) { }
                                             ^
        	the block opened here is not closed: operator '{' at a.stp:1:13
             source: probe begin { if (1) { }
                                 ^

        """)]
    [InlineData("@define f(a) %( @a + %)\nprobe begin { x = @f(1); }", """
        parse error: expected literal string or number, identifier, or '('
        	saw: operator ';' at a.stp:2:24
             source: probe begin { x = @f(1); }
                                            ^

        """)]
    [InlineData("@define f(a) %( @a ] %)\nprobe begin { x = @f(1) }", """
        parse error: expected statement
        	saw: operator ']' at a.stp:1:20
             source: @define f(a) %( @a ] %)
                                        ^
        	in expansion of macro '@f': a.stp:2:19

        """)]
    [InlineData("@define f(a) %( @a %)\nprobe begin { x = @f(1, 2) }", """
        parse error: macro '@f' needs 1 argument but gets 2
        	saw: operator '@f' at a.stp:2:19
             source: probe begin { x = @f(1, 2) }
                                       ^
        	defined here: identifier 'f' at a.stp:1:9
             source: @define f(a) %( @a %)
                             ^

        """)]
    [InlineData("probe begin { x = @cuont(y) }", """
        parse error: unknown operator '@cuont'
        	saw: operator '@cuont' at a.stp:1:19
             source: probe begin { x = @cuont(y) }
                                       ^
        hint: did you mean '@count'?

        """)]
    [InlineData("probe begin { print($2) }", """
        parse error: script argument '$2' is not given
        	saw: junk '$2' at a.stp:1:21
             source: probe begin { print($2) }
                                         ^
        hint: 1 argument was given

        """)]
    [InlineData("probe begin { return 5 }", """
        parse error: 'return' stands outside a function
        	saw: keyword 'return' at a.stp:1:15
             source: probe begin { return 5 }
                                   ^
        hint: leave a probe handler with 'next'

        """)]
    [InlineData("probe begin { x = \"abc\n }", """
        parse error: string has no closing '"' on its line
        	saw: junk '"abc' at a.stp:1:19
             source: probe begin { x = "abc
                                       ^
        hint: write \n for a line end, and \" for a quote inside a string

        """)]
    [InlineData("%( kernel == \"5\" %? %) probe begin { }", """
        parse error: expected 'kernel_v', 'kernel_vr', 'systemtap_v', 'arch', 'runtime', 'systemtap_privilege', 'guru_mode', 'CONFIG_...', a string or a number in the condition
        	saw: identifier 'kernel' at a.stp:1:4
             source: %( kernel == "5" %? %) probe begin { }
                        ^
        hint: did you mean 'kernel_v'?

        """)]
    [InlineData("probe begin { printf(\"%d %s\\n\", 1) }", """
        parse error: format of 'printf' takes 2 values but 1 value is given
        	saw: identifier 'printf' at a.stp:1:15
             source: probe begin { printf("%d %s\n", 1) }
                                   ^

        """)]
    public void Goldens(string text, string expected) => Assert.Equal(expected.ReplaceLineEndings("\n") + "\n", Errors(text, "only"));

    private static string One(Diagnostic diagnostic, DiagnosticColors? colors = null)
    {
        var writer = new StringWriter();
        new DiagnosticPrinter(writer, colors).Print(diagnostic);
        return writer.ToString();
    }

    [Fact]
    public void SemanticWarningAndPlain()
    {
        var source = new SourceText("a.stp", "probe begin { foo(1) }");
        Assert.Equal(
            "semantic error: function 'foo' is not known: identifier 'foo' at a.stp:1:15\n        source: probe begin { foo(1) }\n                              ^\n\n",
            One(new Diagnostic("x", Severity.SemanticError, "function 'foo' is not known", new SourceSpan(source, 14, 3))));
        Assert.StartsWith("WARNING: never used: identifier 'foo' at a.stp:1:15\n source: probe", One(new Diagnostic("x", Severity.Warning, "never used", new SourceSpan(source, 14, 3))));
        Assert.Equal("ERROR: no kernel\nhint: needs root\n\n", One(new Diagnostic("x", Severity.Error, "no kernel") { Hint = "needs root" }));
    }

    [Fact]
    public void LongLinesAreCutAroundTheCaret()
    {
        var text = new string('a', 5000) + " @@ " + new string('b', 5000);
        var lines = One(new Diagnostic("x", Severity.ParseError, "m", new SourceSpan(new SourceText("a", text), 5001, 1))).Split('\n');
        Assert.InRange(lines[2].Length, 100, 200);
        Assert.Equal('@', lines[2][lines[3].IndexOf('^')]);
        Assert.EndsWith("...", lines[2]);
    }

    [Fact]
    public void ControlBytesShow()
    {
        var lines = One(new Diagnostic("x", Severity.ParseError, "m\e[31m", new SourceSpan(new SourceText("a\nb", "\x01\x1b\t\x7f@\r\n"), 4, 1))).Split('\n');
        Assert.Equal("parse error: m^[[31m", lines[0]);
        Assert.Equal("\tsaw: '@' at a^Jb:1:5", lines[1]);
        Assert.Equal("     source: ^A^[\t^?@", lines[2]);
        Assert.Equal("                 \t  ^", lines[3]);
    }

    [Fact]
    public void Colors()
    {
        var colors = DiagnosticColors.Parse(null);
        var text = One(new Diagnostic("x", Severity.ParseError, "m", new SourceSpan(new SourceText("a", "foo"), 0, 3)), colors);
        Assert.StartsWith("\e[01;31m\e[Kparse error:\e[m\e[K m\n\tsaw: identifier \e[01m\e[K'foo'\e[m\e[K at a:1:1\n\e[00;34m\e[K     source: \e[m\e[Kfoo\n", text);
        Assert.Null(DiagnosticColors.Parse(""));
        Assert.Null(DiagnosticColors.Parse("error=red"));
        Assert.Null(DiagnosticColors.Parse("foo=1"));
        Assert.Equal("32", DiagnosticColors.Parse("warning=32")!.Warning);
    }
}
