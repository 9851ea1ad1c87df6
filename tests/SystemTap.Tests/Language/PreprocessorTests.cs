using SystemTap.Language.Diagnostics;
using SystemTap.Language.Lexing;
using SystemTap.Language.Parsing;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Text;
using Xunit;
using static SystemTap.Tests.Language.ParseHelper;

namespace SystemTap.Tests.Language;

public class PreprocessorTests
{
    private static string After(string text, ParseOptions? options = null)
    {
        // The value of the last assignment shows what was expanded.
        var file = Good(text, options);
        var printed = SystemTap.Language.Formatting.ScriptPrinter.Print(file.Items[^1]);
        var start = printed.IndexOf("x = ", StringComparison.Ordinal) + 4;
        return printed[start..printed.IndexOf(';', start)];
    }

    [Theory]
    [InlineData("@define one %( 1 %) probe begin { x = @one }", "1")]
    [InlineData("@define add(a,b) %( ((@a)+(@b)) %) probe begin { x = @add(2, foo(3,4)) }", "(2 + foo(3, 4))")]
    [InlineData("@define fn %( foo %) probe begin { x = @fn(1,2) }", "foo(1, 2)")]
    [InlineData("@define f(a) %( h(@a) %) probe begin { x = @f([1,(2,3)]) }", "")]
    [InlineData("@define in(a) %( @a + 1 %) @define out(a) %( @in(@a * 2) %) probe begin { x = @out(y) }", "((y * 2) + 1)")]
    [InlineData("@define g(a) %( @a %) @define h(b) %( @g(@b) %) probe begin { x = @h(@g(7)) }", "7")]
    [InlineData("@define c %( %( 1 == 1 %? 5 %: 6 %) %) probe begin { x = @c }", "5")]
    [InlineData("@define s %( \"b\" %) probe begin { x = \"a\" @s \"c\" }", "\"abc\"")]
    public void Macros(string text, string expected)
    {
        if (expected.Length == 0)
        {
            Bad(text, "parse.expected-token");
            return;
        }

        Assert.Equal(expected, After(text));
    }

    [Theory]
    [InlineData("@define a(x) %( @x %) probe begin { x = @a(1,2) }", "parse.macro-arguments")]
    [InlineData("@define a(x) %( @x %) probe begin { x = @a }", "parse.macro-arguments")]
    [InlineData("@define a(x) %( @x %) probe begin { x = @a(1 }", "parse.macro-arguments")]
    [InlineData("@define a %( 1 %) @define a %( 2 %) probe begin { x = @a }", "parse.macro-redefined")]
    [InlineData("@define a %( @define b %( 1 %) %) probe begin { x = @a }", "parse.macro-nested-define")]
    [InlineData("@define define %( 1 %) probe begin { x = 1 }", "parse.macro-name")]
    [InlineData("@define 5 %( 1 %)", "parse.macro-definition")]
    [InlineData("@define a 1", "parse.macro-definition")]
    [InlineData("@define a %( 1", "parse.macro-definition")]
    [InlineData("probe begin { x = @late } @define late %( 1 %)", "parse.unknown-operator")]
    [InlineData("@define f %( @g %) @define g %( @f %) probe begin { x = @f }", "parse.macro-too-deep")]
    [InlineData("@define f %( 1 + @f %) probe begin { x = @f }", "parse.macro-too-deep")]
    public void BadMacros(string text, string code) => Bad(text, code);

    [Fact]
    public void ManyMacroTokensStop()
    {
        var text = "@define a0 %( + 1 %)";
        for (var i = 1; i < 40; i++)
        {
            text += $" @define a{i} %( @a{i - 1} @a{i - 1} %)";
        }

        Bad(text + " probe begin { x = 1 @a39 }", "parse.macro-too-long");
    }

    [Fact]
    public void MacroErrorsTellTheChain()
    {
        var error = Bad("@define f %( @g(1) %)\n@define g(a) %( @a 2 %)\nprobe begin { x = (@f) }", "parse.expected-token");
        Assert.Equal((2, 20), error.Span!.Value.Position);
        Assert.Equal(["in expansion of macro '@g'", "in expansion of macro '@f'"], error.Context.Select(c => c.What));
        Assert.Equal((3, 20), error.Context[1].Span.Position);
    }

    [Fact]
    public void BuiltInNameWarns()
    {
        var (file, bag) = Parse("@define count(x) %( 3 %) probe begin { x = @count(y) }");
        Assert.NotNull(file);
        Assert.Equal("parse.macro-hides-operator", Assert.Single(bag.All).Code);
    }

    [Fact]
    public void LibraryMacros()
    {
        var asked = new List<string>();
        var bag = new DiagnosticBag();
        MacroTable table = null!;
        table = new MacroTable(name =>
        {
            asked.Add(name);
            return name switch
            {
                "lib" => MacroTable.ParseLibrary(new SourceText("l.stpm", "@define lib(a) %( @helper(@a) + @mine %)"), Machine, table, bag)[0],
                "helper" => MacroTable.ParseLibrary(new SourceText("h.stpm", "%( 1 == 1 %? @define helper(a) %( @a * 2 %) %: @define no %( %) %)"), Machine, table, bag)[0],
                _ => null,
            };
        });
        var options = new ParseOptions { Environment = Machine, Macros = table };

        // A library body does not see the script's macros, its arguments do.
        var error = Bad("@define mine %( 5 %) probe begin { x = @lib(@mine) }", "parse.unknown-operator", options);
        Assert.Equal("l.stpm", error.Span!.Value.Source.Path);
        Assert.Equal(["lib", "helper", "mine"], asked);
        Assert.False(bag.HasErrors);

        MacroTable.ParseLibrary(new SourceText("l.stpm", "@define a %( 1 %) probe begin {}"), Machine, MacroTable.Empty, bag);
        Assert.Equal("parse.library-macro-only", Assert.Single(bag.All).Code);
    }

    [Theory]
    [InlineData("kernel_v >= \"6.1\"", true)]
    [InlineData("kernel_v >= \"6.2\" && kernel_v < \"6.13\"", true)]
    [InlineData("kernel_v == \"6.12*\"", true)]
    [InlineData("kernel_v != \"6.12.?\"", false)]
    [InlineData("kernel_vr == \"6.12.5-[ab]*\"", true)]
    [InlineData("kernel_v > \"6.9\"", true)]
    [InlineData("systemtap_v >= \"5.6\"", true)]
    [InlineData("systemtap_v < \"2.0\"", false)]
    [InlineData("arch == \"x86_64\"", true)]
    [InlineData("arch != \"x86*\"", false)]
    [InlineData("runtime == \"bpf\"", true)]
    [InlineData("systemtap_privilege == \"stapusr\"", false)]
    [InlineData("guru_mode == 0", true)]
    [InlineData("guru_mode != 0", false)]
    [InlineData("CONFIG_COMPAT == \"y\"", true)]
    [InlineData("CONFIG_NOPE == \"\"", true)]
    [InlineData("CONFIG_NOPE == \"y\"", false)]
    [InlineData("CONFIG_HZ >= 100", true)]
    [InlineData("CONFIG_HZ < 250", false)]
    [InlineData("CONFIG_NOPE > 1", false)]
    [InlineData("CONFIG_HZ < CONFIG_NR_CPUS", true)]
    [InlineData("CONFIG_HZ == CONFIG_COMPAT", false)]
    [InlineData("\"a\" < \"b\"", true)]
    [InlineData("\"a*\" == \"ab\"", false)]
    [InlineData("3 > 2", true)]
    [InlineData("1 == 2 || 1 == 1 && 2 == 2", true)]
    [InlineData("1 == 1 || 1 == 1 && 1 == 2", true)]
    [InlineData("1 == 2 || 1 == 1 && 1 == 2", false)]
    [InlineData("$# == 0", true)]
    public void Conditions(string condition, bool expected)
    {
        Assert.Equal(expected ? "1" : "2", After("probe begin { x = %( " + condition + " %? 1 %: 2 %) }"));
        Good("probe begin { x = 1 %( " + condition + " %? + 2 %) }");
    }

    [Theory]
    [InlineData("%( CONFIG_FOO %? 1 %)", "parse.condition-operator")]
    [InlineData("%( foo == 1 %? 1 %)", "parse.condition-operand")]
    [InlineData("%( kernel_v == 5 %? 1 %)", "parse.condition-operand")]
    [InlineData("%( arch < \"a\" %? 1 %)", "parse.condition-operator")]
    [InlineData("%( guru_mode == 2 %? 1 %)", "parse.condition-operand")]
    [InlineData("%( systemtap_privilege == \"root\" %? 1 %)", "parse.condition-operand")]
    [InlineData("%( 1 == \"a\" %? 1 %)", "parse.condition-operand")]
    [InlineData("%( 1 == 1 2 %? 1 %)", "parse.condition-operator")]
    [InlineData("%( %? 1 %)", "parse.condition-operand")]
    [InlineData("%( (1 == 1) %? 1 %)", "parse.condition-operand")]
    [InlineData("%( 1 == 1 %? 1", "parse.conditional")]
    [InlineData("%( 1 == 2 %? 1", "parse.conditional")]
    [InlineData("%( 1 == 1", "parse.conditional")]
    [InlineData("1 %)", "parse.conditional")]
    [InlineData("%( 1 == 1 %? 1 %: 2 %: 3 %)", "parse.conditional")]
    public void BadConditions(string text, string code) => Bad("probe begin { x = " + text + " }", code);

    [Fact]
    public void UnknownOperandHasHint() => Assert.Equal("did you mean 'kernel_v'?", Bad("%( kernal_v == \"6\" %? %)", "parse.condition-operand").Hint);

    [Fact]
    public void SkippedBranches()
    {
        Assert.Equal("f(1)", After("probe begin { x = f(1 %( $# > 1 %? , $2 %)) }"));
        Assert.Equal("3", After("%( 1 == 2 %? @define a %( 2 %) %: @define a %( 3 %) %) probe begin { x = @a }"));
        Assert.Equal("4", After("probe begin { x = %( 1 == 2 %? %( junk \\ \"%? %: %)\" %? 1 %: 2 %) %: 4 %) }"));
        Assert.Equal("1", After("probe begin { x = %( 1 == 1 %? %( 2 == 2 %? 1 %: 2 %) %: 3 %) }"));
    }

    [Theory]
    [InlineData("a*", "abc", true)]
    [InlineData("*c", "abc", true)]
    [InlineData("a?c", "abc", true)]
    [InlineData("a[!x-z]c", "abc", true)]
    [InlineData("a[]]c", "a]c", true)]
    [InlineData("a[c", "a[c", true)]
    [InlineData("a\\*", "a*", true)]
    [InlineData("a\\*", "ab", false)]
    [InlineData("", "a", false)]
    public void Globs(string pattern, string text, bool matches) => Assert.Equal(matches, Glob.Matches(pattern, text));
}
