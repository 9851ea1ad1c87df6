using System.Diagnostics;
using System.Text;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Formatting;
using SystemTap.Language.Parsing;
using SystemTap.Language.Text;
using Xunit;

namespace SystemTap.Tests.Language;

public class FuzzTests
{
    private const string Script = """
        #! /usr/bin/stap
        global reads%[100], n = 0x10, lat
        @define add(a, b) %( ((@a) + (@b)) %)
        probe io = syscall.{read,write}.return ? if (n > 1) { bytes = $return } , { delete reads[tid()] }
        function f:long (a:long, b:string) : 2 { if (a =~ "^x\\.y(a|b)*$") return @add(a, 1); else next }
        probe timer.s(1), begin(-5) {
          %( kernel_v >= "4.17" && CONFIG_X == "y" %? x = 1 %: x = 2 %)
          lat[execname()] <<< $x->y[3]->z$$ . "a" "b\n"
          foreach (v = [p, q-] in reads[*, 2] limit 10) printf("%-5d %s\n", v, q)
          for (i = 0; i < 3; i++) { try { print(@hist_linear(lat["a"], 0, 10, 2)) } catch (e) { println(e) } }
          x = a ? b : c ? @cast(d, "t")->e : [1, 2] in t
        }
        %{ int c; %}
        """;

    /// <summary>Parses and prints what comes out. The time guards against hangs only; every input here takes far below 2 s.</summary>
    private static DiagnosticBag Run(string text)
    {
        var watch = Stopwatch.StartNew();
        var bag = new DiagnosticBag();
        var file = Parser.ParseWithErrors(new SourceText("f.stp", text), new ParseOptions { GuruMode = true, Arguments = ["a$1", "5"] }, bag);
        if (!bag.HasErrors)
        {
            Assert.NotNull(ScriptPrinter.Print(file));
        }

        ParseHelper.Text(bag);
        DefinitionScanner.Scan(file.Source);
        Assert.True(watch.Elapsed.TotalSeconds < 30 || Debugger.IsAttached, "took " + watch.Elapsed);
        return bag;
    }

    [Fact]
    public void ScriptItselfParses() => Assert.False(Run(Script).HasErrors);

    [Fact]
    public void MutatedScripts()
    {
        var random = new Random(12345);
        var pieces = Script.Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        for (var round = 0; round < 1500; round++)
        {
            var sb = new StringBuilder(Script);
            for (var k = random.Next(1, 6); k > 0; k--)
            {
                var at = random.Next(sb.Length);
                switch (random.Next(5))
                {
                    case 0: sb.Remove(at, Math.Min(random.Next(1, 20), sb.Length - at)); break;
                    case 1: sb.Insert(at, pieces[random.Next(pieces.Length)]); break;
                    case 2: sb[at] = (char)random.Next(256); break;
                    case 3: sb.Insert(at, sb.ToString(0, Math.Min(60, sb.Length))); break;
                    default: sb.Length = at + 1; break;
                }
            }

            Run(sb.ToString());
        }
    }

    [Fact]
    public void RandomBytesAndTokens()
    {
        var random = new Random(999);
        string[] tokens = ["probe", "global", "function", "{", "}", "(", ")", "[", "]", "%(", "%?", "%:", "%)", "%{", "%}", "@define", "@x", "x", "$x", "1",
            "\"s\"", ",", ";", ".", "->", "=", "+", "-", "in", "foreach", "if", "else", "$", "*", "?", ":", "try", "catch", "$1", "@1", "@count", "@hist_log", "print", "\\", "\0", "\xff"];
        for (var round = 0; round < 1500; round++)
        {
            var sb = new StringBuilder(round % 2 == 0 ? "" : "probe begin { ");
            for (var k = random.Next(1, 60); k > 0; k--)
            {
                sb.Append(round % 4 < 2 ? tokens[random.Next(tokens.Length)] : ((char)random.Next(256)).ToString());
                if (random.Next(3) == 0)
                {
                    sb.Append(' ');
                }
            }

            Run(sb.ToString());
        }
    }

    public static TheoryData<string> Monsters => [
        "(", "{", "!", "[", "-", "%(", "%{", "@x(", "probe x.{", "a.", "a(", "a[", "if(a)", "if(a){", "else ", "x=", "a?", "a?b:", "a.b.", "\"", "/*", "\\", "\0", "\xff", "9", "a",
        "@define x %(", "%( 1 == 1 %?", "foreach(", "try{", "{ } catch", ";", ",", "$", "@", "$1 ", "@1", "function f(){", "global a,", "probe ", "probe a{", "++", "&", "~", "return ", "while(1)", "->", "x->", "print("];

    [Theory]
    [MemberData(nameof(Monsters))]
    public void Megabytes(string piece)
    {
        var many = string.Concat(Enumerable.Repeat(piece, (1 << 20) / piece.Length));
        Assert.True(Run(many).HasErrors || piece is ";");
        var inside = Run("probe begin { x = " + many + " }");
        Assert.True(inside.HasErrors || piece is ";" or "a" or "\"" or "@1" or "$1 ", piece);
        Run("probe begin { " + many);
        Assert.InRange(inside.All.Count, 0, 200);
    }

    [Theory]
    [InlineData("@define a %( @a %) probe begin { x = @a }", "parse.macro-too-deep")]
    [InlineData("@define a %( @a @a %) probe begin { x = @a }", "parse.macro-too-deep")]
    [InlineData("@define a(x) %( @a(@x @x) %) probe begin { x = @a(1) }", "parse.macro-too-deep")]
    [InlineData("@define a(x) %( @a((@x + @x)) %) probe begin { x = @a(1) }", "parse.macro-too-deep")]
    [InlineData("@define a %( @b %) @define b %( @a %) probe @a { }", "parse.macro-too-deep")]
    [InlineData("@define a %( %( @a == 1 %? 1 %) %) probe begin { x = @a }", "parse.macro-too-deep")]
    public void EndlessMacros(string text, string code) => Assert.Contains(Run(text).All, d => d.Code == code);

    [Fact]
    public void EmptyExplosionStops()
    {
        var text = new StringBuilder("@define a0 %( %)");
        for (var i = 1; i < 60; i++)
        {
            text.Append($" @define a{i} %( @a{i - 1} @a{i - 1} %)");
        }

        Assert.Contains(Run(text + " probe begin { x = 1 @a59 }").All, d => d.Code == "parse.macro-too-long");
    }
}
