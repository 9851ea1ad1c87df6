using SystemTap.Language.Diagnostics;
using SystemTap.Language.Formatting;
using SystemTap.Language.Parsing;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using Xunit;

namespace SystemTap.Tests.Language;

/// <summary>Parses texts for the tests of this folder.</summary>
internal static class ParseHelper
{
    public static readonly PreprocessorEnvironment Machine = new()
    {
        KernelVersion = "6.12.5",
        KernelRelease = "6.12.5-amd64",
        Architecture = "x86_64",
        Runtime = "bpf",
        Privilege = "stapdev",
        ConfigLookup = static name => name switch { "CONFIG_COMPAT" => "y", "CONFIG_HZ" => "250", "CONFIG_NR_CPUS" => "8192", _ => null },
    };

    public static (ScriptFile? File, DiagnosticBag Bag) Parse(string text, ParseOptions? options = null)
    {
        var bag = new DiagnosticBag();
        var file = Parser.Parse(new SourceText("a.stp", text), options ?? new ParseOptions { Environment = Machine }, bag);
        return (file, bag);
    }

    public static ScriptFile Good(string text, ParseOptions? options = null)
    {
        var (file, bag) = Parse(text, options);
        Assert.True(file is not null, text + "\n" + Text(bag));
        return file;
    }

    public static ScriptFile Guru(string text) => Good(text, new ParseOptions { Environment = Machine, GuruMode = true });

    /// <summary>The printed form of an expression in a probe body.</summary>
    public static string Expr(string expression, ParseOptions? options = null)
    {
        var file = Good("probe begin { zz = " + expression + " }", options);
        var statement = Assert.IsType<ExpressionStatement>(Assert.Single(((ProbeDefinition)file.Items[0]).Body.Statements));
        return ScriptPrinter.Print(((AssignmentExpression)statement.Expression).Value);
    }

    /// <summary>The printed form of the only statement of a function body.</summary>
    public static string Body(string statements)
    {
        var file = Good("function f() { " + statements + " }");
        var text = ScriptPrinter.Print(((FunctionDefinition)file.Items[0]).Body!);
        return string.Join(' ', text.Split(['\n', ' '], StringSplitOptions.RemoveEmptyEntries))[2..^2];
    }

    /// <summary>The first error of a text that must not parse.</summary>
    public static Diagnostic Bad(string text, string code, ParseOptions? options = null)
    {
        var (file, bag) = Parse(text, options);
        Assert.True(file is null, "accepted: " + text);
        var first = bag.All.First(d => d.Severity != Severity.Warning);
        Assert.True(first.Code == code, $"{text}\nwanted {code}\n{Text(bag)}");
        return first;
    }

    public static string Text(DiagnosticBag bag)
    {
        var writer = new StringWriter();
        new DiagnosticPrinter(writer).PrintAll(bag);
        return writer.ToString();
    }
}
