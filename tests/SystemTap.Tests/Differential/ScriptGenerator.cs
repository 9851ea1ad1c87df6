using System.Globalization;
using System.Text;

namespace SystemTap.Tests.Differential;

// A program is: globals, functions, `probe BODY { … }` and `probe DUMP { … }`. The body does things and prints some; the dump prints all state. Differential replaces
// BODY and DUMP by probes of different engines; all combinations must print the same text.
//
// Programs depend on nothing but the language: no clock, no process, no hash order. Loops end by construction (each has a counter of its own), an array is never
// changed inside a foreach over it, recursion gets a small argument. Errors are wanted: some are caught, one in eight programs ends with one that is not.
//
// Each seed switches a random few of the expensive or rarely implemented features on, so that a construct an engine refuses does not hide all others.

/// <summary>Writes random scripts whose result depends on nothing but the language. A script is fully determined by its seed.</summary>
internal sealed partial class ScriptGenerator
{
    private const string Indentation = "                ";

    private readonly Random _random;
    private readonly StringBuilder _text = new();
    private readonly HashSet<string> _locked = [];
    private readonly Features _on;
    private string[] _longs = ["a", "b", "c", "i", "ga", "gb"];
    private string[] _strings = ["s", "t", "gs"];
    private int _depth;
    private int _budget;
    private int _counter;
    private bool _inFunction;
    private int _loopDepth;

    private ScriptGenerator(int seed)
    {
        _random = new Random(seed);
        _on = Features.Choose(_random);
        _budget = 6 + _random.Next(_on.Big ? 60 : 16);
    }

    /// <summary>The script with this seed.</summary>
    public static string Write(int seed) => new ScriptGenerator(seed).Write();

    /// <summary>What this program may use.</summary>
    private sealed record Features(bool Recursion, bool Regex, bool Foreach, bool Variance, bool Histograms, bool Wrap, bool Tokenize, bool Slices, bool Overflow, bool LongStrings, bool FatalError, bool Big, bool OwnFunctions, bool Bytes, bool Replace, bool Escape)
    {
        public static Features Choose(Random random)
        {
            bool One(int of) => random.Next(of) == 0;
            return new Features(One(10), One(6), One(4), One(10), One(8), One(10), One(8), One(8), One(12), One(8), One(8), One(4), One(2), One(6), One(6), One(8));
        }
    }

    private string Write()
    {
        _text.Append("global ga, gb = 5, gs = \"init\", m, n, w, st, sa, sv");
        _text.Append(_on.Wrap ? ", r%[3]" : ", r[16]").Append(_on.Overflow ? ", o[2]" : ", o").Append('\n');
        _text.Append(FixedFunctions);
        if (_on.Recursion)
        {
            _text.Append(RecursiveFunctions);
        }

        if (_on.OwnFunctions)
        {
            OwnFunctions();
        }

        _text.Append("probe BODY {\n  a = 3  b = -4  c = 0  i = 0  s = \"abc\"  t = \"\"\n");
        while (_budget > 0)
        {
            Statement(1);
        }

        if (_on.FatalError)
        {
            Line(1, Pick(["error(\"the end \" . s)", "println(1 / (a & 0))", "println(@min(sa[77]))", "println(b % (c & 0))"]));
        }

        _text.Append("  printf(\"%d %d %d %d %d [%s] [%s]\\n\", a, b, c, ga, gb, s, t)\n}\n");
        Dump();
        return _text.ToString();
    }

    private void Dump()
    {
        _text.Append("probe DUMP {\n  printf(\"%d %d %s\\n\", ga, gb, gs)\n");
        foreach (var key in Keys)
        {
            _text.Append(CultureInfo.InvariantCulture, $"  printf(\"m{key}=%d/%d r=%d/%d o=%d \", m[{key}], {key} in m, r[{key}], {key} in r, o[{key}])\n");
        }

        foreach (var key in TextKeys)
        {
            _text.Append(CultureInfo.InvariantCulture, $"  printf(\"n=%d w=%s \", n[\"{key}\", 1], w[\"{key}\"])\n");
        }

        _text.Append("  printf(\"\\n%d %d %d %d\\n\", @count(st), @sum(st), @count(sa[1]), @sum(sa[2]))\n");
        _text.Append("  if (@count(st) > 0) printf(\"%d %d %d\\n\", @min(st), @max(st), @avg(st))\n");
        _text.Append("  if (@count(sa[1]) > 0) printf(\"%d %d %d\\n\", @min(sa[1]), @max(sa[1]), @avg(sa[1]))\n");
        if (_on.Variance)
        {
            _text.Append("  if (@count(sv) > 1) printf(\"%d\\n\", @variance(sv))\n");
        }

        if (_on.Histograms)
        {
            _text.Append("  if (@count(st) > 0) print(@hist_log(st))\n  if (@count(sa[0]) > 0) print(@hist_linear(sa[0], 0, 200, 20))\n");
        }

        if (_on.Foreach)
        {
            _text.Append("  foreach (k in m) printf(\"%d:%d \", k, m[k])\n  foreach ([x, y] in n) printf(\"%s,%d:%d \", x, y, n[x, y])\n  foreach (v = z in w) printf(\"%s:%s \", z, v)\n  foreach (k in r) printf(\"r%d:%d \", k, r[k])\n  foreach (k in sa) printf(\"sa%d:%d \", k, @sum(sa[k]))\n");
        }

        _text.Append("}\n");
    }

    private static readonly int[] Keys = [0, 1, 2, 3];
    private static readonly string[] TextKeys = ["a", "b", "ab"];

    private T Pick<T>(T[] of) => of[_random.Next(of.Length)];

    private bool OneIn(int n) => _random.Next(n) == 0;

    private void Line(int indent, string text) => _text.Append(Indentation, 0, Math.Min(indent * 2, Indentation.Length)).Append(text).Append('\n');

    private string Fresh(string start) => start + (_counter++).ToString(CultureInfo.InvariantCulture);

    private void Block(int indent)
    {
        for (var k = _random.Next(1, 4); k > 0; k--)
        {
            Statement(indent);
        }
    }

    private void Statement(int indent)
    {
        _budget--;
        switch (_random.Next(26))
        {
            case 0 or 1 or 2:
                Line(indent, $"{Pick(_longs)} {Pick(["=", "+=", "-=", "*=", "&=", "|=", "^=", "<<=", ">>="])} {Long()}");
                break;
            case 3:
                Line(indent, $"{Pick(_longs)}{Pick(["++", "--"])};");
                break;
            case 4:
                Line(indent, $"{Pick(_strings)} = {Text()}");
                break;
            case 5:
                Line(indent, $"{Pick(_strings)} .= {Text()}");
                break;
            case 6 or 7 or 8 or 9 or 10 or 11 when !_inFunction:
                ArrayStatement(indent);
                break;
            case 12 or 13 when indent < 5:
                Line(indent, $"if ({Condition()}) {{");
                Block(indent + 1);
                if (OneIn(2))
                {
                    Line(indent, "} else {");
                    Block(indent + 1);
                }

                Line(indent, "}");
                break;
            case 14 or 15 when indent < 4:
                Loop(indent);
                break;
            case 16 when indent < 4 && !_inFunction:
                Try(indent);
                break;
            case 17 or 18:
                Line(indent, Print());
                break;
            case 19 when _on.Foreach && indent < 4 && !_inFunction:
                Foreach(indent);
                break;
            case 20 when indent > 1 && !_inFunction && OneIn(8):
                Line(indent, Pick(["next", "exit()"]));
                break;
            case 21 when _on.LongStrings:
                var longer = Pick(["s .= s . s", "t = t . s . t . \"0123456789\"", "gs .= s . t", "w[\"a\"] .= s . gs"]);

                // An array is never changed inside a foreach over it, and a function may be called there.
                Line(indent, (_inFunction || _locked.Contains("w")) && longer[0] == 'w' ? "gs .= s . gs" : longer);
                break;
            default:
                Line(indent, $"{Pick(["a", "b", "c"])} = {Long()}");
                break;
        }
    }

    private void ArrayStatement(int indent)
    {
        var (array, text) = _random.Next(12) switch
        {
            0 or 1 => ("m", $"m[{Key()}] {Pick(["=", "+=", "^=", "-=", "*=", "<<="])} {Long()}"),
            2 => ("n", $"n[{TextKey()}, {Pick(["1", "1", "a & 1"])}]{Pick(["++", "--", " += 7"])};"),
            3 or 4 => ("w", $"w[{TextKey()}] {Pick(["=", ".="])} {Text()}"),
            5 => ("st", $"st <<< {Long()} % 1000"),
            6 => ("sa", $"sa[{Key()}] <<< {Long()} & 255"),
            7 => ("sv", _on.Variance ? $"sv <<< {Long()} % 100" : "sv <<< 1"),
            8 => ("r", $"r[{Long()} & 7] = {Long()}"),
            9 => ("o", $"o[{(_on.Overflow ? Key() : "1")}] = {Long()}"),
            10 => ("*", Pick(["delete m[2]", "delete n[\"a\", 1]", "delete w[\"ab\"]", "delete ga", "delete gs", $"delete m[{Key()}]", "delete st", "delete sa[1]", "delete w", "delete m", "delete sa"])),
            _ => ("*", _on.Slices ? Pick(["delete n[*, 1]", "delete n[\"a\", *]", "delete n[*, *]"]) : "delete o[1]"),
        };

        // SystemTap refuses to change an array inside a foreach over it.
        if (array == "*" ? _locked.Count > 0 : _locked.Contains(array))
        {
            text = "a++";
        }

        if (_on.Overflow && array == "o")
        {
            text = $"try {{ {text} }} catch (e) {{ println(e) }}";
        }

        Line(indent, text);
    }

    private void Loop(int indent)
    {
        // The counter belongs to this loop alone, so nothing in the body can make it endless.
        var counter = Fresh("k");
        var most = _random.Next(1, 6);
        var kind = _random.Next(4);
        if (kind == 0)
        {
            Line(indent, $"{counter} = 0");
            Line(indent, $"while ({counter}++ < {most}) {{");
        }
        else if (kind == 1)
        {
            Line(indent, $"for (; {counter} < {most}; ) {{");
            Line(indent + 1, $"{counter}++;");
        }
        else
        {
            Line(indent, $"for ({counter} = {(kind == 2 ? "0" : "-1")}; {counter} < {most}; {counter} += {Pick(["1", "2"])}) {{");
        }

        _loopDepth++;
        Block(indent + 1);
        if (OneIn(3))
        {
            Line(indent + 1, $"if ({Condition()}) {Pick(["break", "continue"])}");
            Statement(indent + 1);
        }

        _loopDepth--;
        Line(indent, "}");
    }

    private void Try(int indent)
    {
        var name = Pick(["e", "s", "e"]);
        Line(indent, "try {");
        Block(indent + 1);
        Line(indent + 1, Pick(
            [$"a = {Long()} / {Long()}", "error(\"thrown \" . s)", $"b = {Long()} % {Long()}", "c = 1", $"c = strtol({Text()}, {Pick(["10", "16", "8"])})",
                "a = @min(sa[" + Key() + "])", $"s = substr({Text()}, {Long()} & 3, {Long()} & 7)", "gb = fails(a & 3)", "error(\"\")"]));
        if (OneIn(3))
        {
            Statement(indent + 1);
        }

        Line(indent, OneIn(6) ? "} catch {" : $"}} catch ({name}) {{ printf(\"caught %s\\n\", {name})");
        if (OneIn(3))
        {
            Statement(indent + 1);
        }

        Line(indent, "}");
    }

    private void Foreach(int indent)
    {
        var (array, head) = _random.Next(8) switch
        {
            0 or 1 => ("m", $"(fk{Sort()} in m{Limit()})"),
            2 => ("n", $"([fs, fl{Sort()}] in n{Limit()})"),
            3 => ("n", $"([fs{Sort()}, fl] in n{(_on.Slices ? Pick(["[*, 1]", "[\"a\", *]", "[substr(s, 0, 1), *]"]) : "")}{Limit()})"),
            4 => ("w", $"(fw{Sort()} = fs in w{Limit()})"),
            5 => ("w", $"(fs in w{Sort()}{Limit()})"),
            6 => ("sa", $"(fk in sa {Pick(["@count", "@sum", "@max", "@min", "@avg"])}{Pick(["+", "-"])}{Limit()})"),
            _ => ("r", $"(fv = fk in r{Sort()}{Limit()})"),
        };
        if (!_locked.Add(array))
        {
            Line(indent, "b++");
            return;
        }

        Line(indent, $"foreach {head} {{");
        Line(indent + 1, array switch
        {
            "m" => "printf(\"m%d:%d \", fk, m[fk])",
            "n" => "printf(\"n%s,%d:%d \", fs, fl, n[fs, fl])",
            "w" => "printf(\"w%s:%s \", fs, w[fs])",
            "sa" => "printf(\"sa%d:%d \", fk, @sum(sa[fk]))",
            _ => "printf(\"r%d:%d \", fk, fv)",
        });
        if (OneIn(2))
        {
            Block(indent + 1);
        }

        if (OneIn(4))
        {
            Line(indent + 1, $"if ({Condition()}) {Pick(["break", "continue"])}");
            Statement(indent + 1);
        }

        Line(indent, "}");
        _locked.Remove(array);
    }

    private string Sort() => Pick(["", "+", "-"]);

    private string Limit() => OneIn(3) ? $" limit {_random.Next(0, 4)}" : "";
}
