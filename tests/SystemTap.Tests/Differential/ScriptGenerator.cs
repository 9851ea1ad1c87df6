using System.Globalization;
using System.Text;

namespace SystemTap.Tests.Differential;

/// <summary>
/// Writes random script bodies whose result depends on nothing but the language: arithmetic, strings, arrays, aggregates, control flow, errors. The same body
/// run as a <c>begin</c> handler (host evaluator) and as a kernel handler (BPF) must print the same. Loops are bounded by construction; every body ends by printing all state.
/// A program is fully determined by its seed.
/// </summary>
internal sealed class ScriptGenerator
{
    private static readonly string[] Longs = ["a", "b", "c", "i", "j", "ga", "gb"];
    private static readonly string[] Strings = ["s", "t", "gs"];
    private static readonly long[] Interesting = [0, 1, -1, 2, 3, 7, 8, 63, 64, 65, 127, 128, 255, 256, 1000, 65535, int.MaxValue, int.MinValue, uint.MaxValue, long.MaxValue, long.MinValue];
    private static readonly string[] Texts = ["", "a", "b", "ab", "abc", "hello", "hello world", "0", "12", "-7", "x=y", "/etc/passwd", "tab\\there", "line\\n"];

    private readonly Random _random;
    private readonly StringBuilder _text = new();
    private int _depth;
    private int _budget;

    private ScriptGenerator(int seed)
    {
        _random = new Random(seed);
        _budget = 12 + _random.Next(20);
    }

    /// <summary>Globals that <see cref="Body"/> uses.</summary>
    public const string Globals = "global ga, gb = 5, gs = \"init\", m[64], n[64], w[64], st, sa\n";

    /// <summary>Functions that <see cref="Body"/> uses.</summary>
    public const string Functions =
        """
        function twice:long(x:long) { return x * 2 }
        function pick:string(x:long, p:string, q:string) { if (x & 1) return p  return q }
        function fact:long(x:long) { if (x <= 1) return 1  return x * fact(x - 1) }
        function safe_div:long(x:long, y:long) { try { return x / y } catch { return -99 } }
        function over:long(x:long) { if (x < 0) next  return 1 }
        function over:long(x:long) { return 2 }

        """;

    /// <summary>The statements of the program with this seed.</summary>
    public static string Body(int seed)
    {
        var generator = new ScriptGenerator(seed);
        return generator.Write();
    }

    private string Write()
    {
        _text.Append("  a = 3  b = -4  c = 0  i = 0  j = 0  s = \"abc\"  t = \"\"\n");
        while (_budget > 0)
        {
            Statement(1);
        }

        _text.Append("  printf(\"%d %d %d %d %d [%s] [%s]\\n\", a, b, c, ga, gb, s, t)\n  printf(\"%s|%d\\n\", gs, @count(st))\n");
        foreach (var key in Keys)
        {
            _text.Append(CultureInfo.InvariantCulture, $"  printf(\"m{key}=%d/%d \", m[{key}], {key} in m)\n");
        }

        foreach (var key in TextKeys)
        {
            _text.Append(CultureInfo.InvariantCulture, $"  printf(\"n=%d w=%s \", n[\"{key}\", 1], w[\"{key}\"])\n");
        }

        _text.Append("  printf(\"\\n%d %d %d\\n\", @count(st), @sum(st), @count(sa[1]))\n");
        _text.Append("  if (@count(st) > 0) printf(\"%d %d %d\\n\", @min(st), @max(st), @avg(st))\n");
        return _text.ToString();
    }

    private static readonly int[] Keys = [0, 1, 2, 3];
    private static readonly string[] TextKeys = ["a", "b", "ab"];

    private T Pick<T>(T[] of) => of[_random.Next(of.Length)];

    private void Line(int indent, string text) => _text.Append(' ', indent * 2).Append(text).Append('\n');

    private void Statement(int indent)
    {
        _budget--;
        switch (_random.Next(20))
        {
            case 0 or 1 or 2:
                Line(indent, $"{Pick(Longs)} {Pick(["=", "+=", "-=", "*=", "&=", "|=", "^=", "<<=", ">>="])} {Long()}");
                break;
            case 3:
                Line(indent, $"{Pick(Longs)}{Pick(["++", "--"])}");
                break;
            case 4:
                Line(indent, $"{Pick(Strings)} = {Text()}");
                break;
            case 5:
                Line(indent, $"{Pick(Strings)} .= {Text()}");
                break;
            case 6:
                Line(indent, $"m[{Key()}] {Pick(["=", "+=", "^="])} {Long()}");
                break;
            case 7:
                Line(indent, $"n[{TextKey()}, 1]{Pick(["++", "--", " += 7"])}");
                break;
            case 8:
                Line(indent, $"w[{TextKey()}] {Pick(["=", ".="])} {Text()}");
                break;
            case 9:
                Line(indent, _random.Next(2) == 0 ? $"st <<< {Long()} % 1000" : $"sa[{Key()}] <<< {Long()} & 255");
                break;
            case 10:
                Line(indent, Pick(["delete m[2]", "delete n[\"a\", 1]", "delete w[\"ab\"]", "delete ga", "delete gs", $"delete m[{Key()}]"]));
                break;
            case 11 or 12 when indent < 4:
                Line(indent, $"if ({Condition()}) {{");
                Block(indent + 1);
                if (_random.Next(2) == 0)
                {
                    Line(indent, "} else {");
                    Block(indent + 1);
                }

                Line(indent, "}");
                break;
            case 13 when indent < 3:
                // The counter belongs to this loop alone, so nothing in the body can make it endless.
                var counter = "k" + indent.ToString(CultureInfo.InvariantCulture) + _budget.ToString(CultureInfo.InvariantCulture);
                Line(indent, $"for ({counter} = 0; {counter} < {_random.Next(1, 6)}; {counter}++) {{");
                Block(indent + 1);
                if (_random.Next(3) == 0)
                {
                    Line(indent + 1, $"if ({Condition()}) {Pick(["break", "continue"])}");
                }

                Line(indent, "}");
                break;
            case 14 when indent < 3:
                Line(indent, "try {");
                Block(indent + 1);
                Line(indent + 1, Pick([$"a = {Long()} / {Long()}", "error(\"thrown \" . s)", $"b = {Long()} % {Long()}", "c = 1"]));
                Line(indent, "} catch (e) { printf(\"caught %s\\n\", e) }");
                break;
            case 15:
                Line(indent, $"printf(\"{Pick(["%d", "%5d", "%-6d|", "%x", "%#x", "%u", "%o", "%05d", "%+d"])} %s\\n\", {Long()}, {Text()})");
                break;
            case 16:
                Line(indent, $"println({Long()}, \" \", {Text()})");
                break;
            default:
                Line(indent, $"{Pick(["a", "b", "c"])} = {Long()}");
                break;
        }
    }

    private void Block(int indent)
    {
        var n = _random.Next(1, 4);
        for (var k = 0; k < n; k++)
        {
            Statement(indent);
        }
    }

    private string Key() => _random.Next(3) == 0 ? $"({Long()}) & 3" : Pick(Keys).ToString(CultureInfo.InvariantCulture);

    private string TextKey() => _random.Next(4) == 0 ? "substr(s, 0, 2)" : $"\"{Pick(TextKeys)}\"";

    private string Condition() => _random.Next(5) switch
    {
        0 => $"{Text()} {Pick(["==", "!=", "<", ">", "<=", ">="])} {Text()}",
        1 => $"{Key()} in m",
        2 => $"[{TextKey()}, 1] in n",
        _ => Long(),
    };

    private string Literal()
    {
        var value = _random.Next(3) == 0 ? Pick(Interesting) : _random.Next(-20, 100);

        // The smallest long cannot be written as minus a literal of the same size in every language version.
        return value == long.MinValue ? "(-9223372036854775807 - 1)" : value < 0 ? $"({value})" : value.ToString(CultureInfo.InvariantCulture);
    }

    private string Long()
    {
        if (_depth > 3)
        {
            return _random.Next(2) == 0 ? Literal() : Pick(Longs);
        }

        _depth++;
        var text = _random.Next(16) switch
        {
            0 or 1 or 2 => Literal(),
            3 or 4 or 5 => Pick(Longs),
            6 or 7 => $"({Long()} {Pick(["+", "-", "*", "&", "|", "^", "<<", ">>", ">>>"])} {Long()})",
            8 => $"({Long()} {Pick(["<", ">", "<=", ">=", "==", "!="])} {Long()})",
            9 => $"({Long()} {Pick(["&&", "||"])} {Long()})",
            10 => $"{Pick(["-", "!", "~"])}{Pick(Longs)}",
            11 => $"({Condition()} ? {Long()} : {Long()})",
            12 => Pick(["twice", "over"]) + $"({Long()})",
            13 => _random.Next(2) == 0 ? $"safe_div({Long()}, {Long()})" : $"fact(({Long()}) & 7)",
            14 => Pick([$"strlen({Text()})", $"isinstr({Text()}, {Text()})", $"m[{Key()}]", $"n[{TextKey()}, 1]", "@count(st)", "@count(st)", "@sum(st)"]),
            _ => $"({Long()} {Pick(["/", "%"])} {Pick(["3", "(-7)", "16", "1000"])})",
        };
        _depth--;
        return text;
    }

    private string Text()
    {
        if (_depth > 3)
        {
            return $"\"{Pick(Texts)}\"";
        }

        _depth++;
        var text = _random.Next(12) switch
        {
            0 or 1 or 2 => $"\"{Pick(Texts)}\"",
            3 or 4 => Pick(Strings),
            5 => $"({Text()} . {Text()})",
            6 => $"sprintf(\"{Pick(["%d", "%x", "<%d>", "%4d", "%-4d."])}\", {Long()})",
            7 => $"substr({Text()}, {_random.Next(0, 4)}, {_random.Next(0, 6)})",
            8 => $"pick({Long()}, {Text()}, {Text()})",
            9 => $"w[{TextKey()}]",
            10 => $"sprint({Long()})",
            _ => $"({Condition()} ? {Text()} : {Text()})",
        };
        _depth--;
        return text;
    }
}
