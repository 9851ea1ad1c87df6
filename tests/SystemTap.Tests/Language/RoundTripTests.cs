using CsCheck;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Formatting;
using SystemTap.Language.Parsing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using Xunit;

namespace SystemTap.Tests.Language;

public class RoundTripTests
{
    private const string Seed = "0000KOIPe036";

    private static ScriptFile Parse(string text)
    {
        var bag = new DiagnosticBag();
        var file = Parser.Parse(new SourceText("t.stp", text), new ParseOptions { GuruMode = true }, bag);
        if (file is null)
        {
            throw new InvalidOperationException(ParseHelper.Text(bag) + "\n" + text);
        }

        return file;
    }

    /// <summary>Random trees print to text that parses to the same tree, and that tree prints to the same text.</summary>
    [Fact]
    public void PrintedTreesParseBack() => SyntaxGen.File.Sample(
        file =>
        {
            var text = ScriptPrinter.Print(file);
            var again = Parse(text);
            return SyntaxComparer.Equal(file, again) && ScriptPrinter.Print(again) == text;
        },
        seed: Seed, iter: 3000, threads: 1, print: ScriptPrinter.Print);

    /// <summary>The comparer tells different trees apart: equal only if they print alike.</summary>
    [Fact]
    public void ComparerSeesDifferences() => SyntaxGen.ExpressionOf(2).Select(SyntaxGen.ExpressionOf(2)).Sample(
        (a, b) => SyntaxComparer.Equal(a, b) == (ScriptPrinter.Print(a) == ScriptPrinter.Print(b)),
        seed: Seed, iter: 3000, threads: 1);

    [Fact]
    public void DumpParsesBack()
    {
        var file = ParseHelper.Good("global a probe begin { a = 1 + 2 * 3 }");
        Assert.Equal("# parse tree dump\n# file a.stp\nglobal a\nprobe begin {\n  a = (1 + (2 * 3));\n}\n", ScriptPrinter.PrintDump(file));
        Assert.True(SyntaxComparer.Equal(file, Parse(ScriptPrinter.PrintDump(file))));
    }
}
