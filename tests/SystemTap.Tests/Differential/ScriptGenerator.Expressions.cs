using System.Globalization;

namespace SystemTap.Tests.Differential;

internal sealed partial class ScriptGenerator
{
    private const string FixedFunctions =
        """
        function twice:long(x:long) { return x * 2 }
        function pick:string(x:long, p:string, q:string) { if (x & 1) return p  return q }
        function safe_div:long(x:long, y:long) { try { return x / y } catch { return -99 } }
        function over:long(x:long) { if (x < 0) next  return 1 }
        function over:long(x:long) { return 2 }
        function fails:long(x:long) { if (x == 1) error("one")  return 10 / x }
        function join:string(p:string, x:long) { return sprintf("%s<%d>", p, x) }
        function bump:long(x:long) { ga += x  return ga }

        """;

    private const string RecursiveFunctions =
        """
        function fact:long(x:long) { if (x <= 1) return 1  return x * fact(x - 1) }
        function fib:long(x:long) { if (x < 2) return x  return fib(x - 1) + fib(x - 2) }
        function climb:long(x:long, y:long) { if (x <= 0) return y  for (j = 0; j < 2; j++) y = y * 3 + climb(x - 1 - j, y & 15)  return y }
        function hop:long(x:long) { if (x & 1) next  return x + (x > 0 ? hop(x - 1) : 0) }
        function hop:long(x:long) { return x < 0 ? -x : 2 * hop(x - 3) }
        function tour:long(x:long) { if (x == 0) return 1  foreach (k- in m limit 2) z += k + tour(x - 1)  return z }
        function rev:string(p:string) { if (strlen(p) <= 1) return p  return rev(substr(p, 1, strlen(p))) . substr(p, 0, 1) }

        """;

    private static readonly long[] Interesting = [0, 1, -1, 2, 3, 7, 8, 63, 64, 65, 127, 128, 255, 256, 1000, 65535, int.MaxValue, int.MinValue, uint.MaxValue, long.MaxValue, long.MinValue, 1L << 32, -(1L << 31) - 1];
    private static readonly string[] Texts = ["", "a", "b", "ab", "abc", "hello", "hello world", "0", "12", "-7", "0x1f", "x=y", "/etc/passwd", "tab\\there", "line\\n", "aXbXc", "100%"];
    private static readonly string[] ByteTexts = ["\\200\\377", "\\001x", "caf\\303\\251", "\\033[0m"];
    private static readonly string[] Patterns = ["a", "^a", "b$", "a.c", "[a-c]+", "l{2}", "(h|x)e", "^[^/]*$", "o w", "^$", "[0-9]+", "(a)(b)?", "x*", "^(.*)=(.*)$", "[[:digit:]]"];

    private string[] _functions = [];

    // Functions of their own for a program: parameters, locals, loops and early returns, calls of those before.
    private void OwnFunctions()
    {
        var (longs, strings, budget) = (_longs, _strings, _budget);
        var made = new List<string>();
        for (var n = _random.Next(1, 4); n > 0; n--)
        {
            var name = Fresh("f");
            _inFunction = true;
            _budget = 5;
            (_longs, _strings) = (["p", "q", "l", "ga"], ["z", "u"]);
            _text.Append("function ").Append(name).Append(":long(p:long, q:long, z:string) {\n  l = 1  u = z\n");
            while (_budget > 0)
            {
                Statement(1);
            }

            if (OneIn(2))
            {
                Line(1, $"if ({Condition()}) return {Long()}");
                Statement(1);
            }

            Line(1, $"return {Long()}\n}}");
            made.Add(name);
            _functions = [.. made];
        }

        _inFunction = false;
        (_longs, _strings, _budget) = (longs, strings, budget);
    }

    private string Key() => OneIn(3) ? $"({Long()}) & 3" : Pick(Keys).ToString(CultureInfo.InvariantCulture);

    private string TextKey() => OneIn(4) ? $"substr({Pick(_strings)}, 0, 2)" : $"\"{Pick(TextKeys)}\"";

    private string Condition() => _random.Next(8) switch
    {
        0 or 1 => $"{Text()} {Pick(["==", "!=", "<", ">", "<=", ">="])} {Text()}",
        2 => $"{Key()} in m",
        3 => $"[{TextKey()}, 1] in n",
        4 => $"{TextKey()} in w",
        5 when _on.Regex => $"{Text()} {Pick(["=~", "!~"])} \"{Pick(Patterns)}\"",
        6 when _on.Slices => Pick(["[*, 1] in n", "[\"a\", *] in n"]),
        _ => Long(),
    };

    private string Literal()
    {
        var value = OneIn(3) ? Pick(Interesting) : _random.Next(-20, 100);

        // The smallest long cannot be written as minus a literal of the same size in every language version.
        return value == long.MinValue ? "(-9223372036854775807 - 1)" : value < 0 ? $"({value})" : value.ToString(CultureInfo.InvariantCulture);
    }

    private string Long()
    {
        if (_depth > 3)
        {
            return OneIn(2) ? Literal() : Pick(_longs);
        }

        _depth++;
        var text = _random.Next(20) switch
        {
            0 or 1 or 2 => Literal(),
            3 or 4 or 5 => Pick(_longs),
            6 or 7 => $"({Long()} {Pick(["+", "-", "*", "&", "|", "^", "<<", ">>", ">>>"])} {Long()})",
            8 => $"({Long()} {Pick(["<", ">", "<=", ">=", "==", "!="])} {Long()})",
            9 => $"({Long()} {Pick(["&&", "||"])} {Long()})",
            10 => $"{Pick(["-", "!", "~"])}{Pick(_longs)}",
            11 => $"({Condition()} ? {Long()} : {Long()})",
            12 => Pick(["twice", "over", "bump"]) + $"({Long()})",
            13 => Call(),
            14 or 15 => LongOfText(),
            16 => Pick([$"m[{Key()}]", $"n[{TextKey()}, 1]", "@count(st)", "@sum(st)", $"@count(sa[{Key()}])", $"@sum(sa[{Key()}])", $"r[{Key()}]"]),
            17 => $"({Pick(_longs)} {Pick(["=", "+=", "-=", "^="])} {Long()})",
            18 => Pick([$"{Pick(_longs)}++", $"++{Pick(_longs)}", $"{Pick(_longs)}--"]) is var x ? $"({x})" : "",
            _ => $"({Long()} {Pick(["/", "%"])} {Pick(["3", "(-7)", "16", "1000", "(-1)"])})",
        };
        _depth--;
        return text;
    }

    private string Call()
    {
        if (_functions.Length > 0 && OneIn(2))
        {
            return $"{Pick(_functions)}({Long()}, {Long()}, {Text()})";
        }

        return _on.Recursion && OneIn(2) ? Pick([$"fact(({Long()}) & 7)", $"fib(({Long()}) & 7)", $"climb(({Long()}) & 3, {Long()})", $"hop(({Long()}) & 7)", $"tour(({Long()}) & 3)"]) : $"safe_div({Long()}, {Long()})";
    }

    private string LongOfText() => _random.Next(7) switch
    {
        0 => $"strlen({Text()})",
        1 => $"isinstr({Text()}, {Text()})",
        2 => $"strpos({Text()}, {Text()})",
        3 => $"stringat({Text()}, {_random.Next(0, 6)})",
        4 => $"isdigit({Text()})",
        5 when _on.Regex => $"({Text()} =~ \"{Pick(Patterns)}\")",
        _ => $"({Text()} {Pick(["==", "<", ">="])} {Text()})",
    };

    private string Text()
    {
        if (_depth > 3)
        {
            return $"\"{Pick(Texts)}\"";
        }

        _depth++;
        var text = _random.Next(18) switch
        {
            0 or 1 => $"\"{Pick(_on.Bytes ? ByteTexts : Texts)}\"",
            2 => $"\"{Pick(Texts)}\"",
            3 or 4 or 5 => Pick(_strings),
            6 => $"({Text()} . {Text()})",
            7 => $"sprintf(\"{Pick(["%d", "%x", "<%d>", "%4d", "%-4d.", "%#o", "%c", "%05d"])}\", {Long()})",
            8 => $"substr({Text()}, {_random.Next(0, 4)}, {_random.Next(0, 6)})",
            9 => $"pick({Long()}, {Text()}, {Text()})",
            10 => $"w[{TextKey()}]",
            11 => $"sprint({Long()})",
            12 => $"({Condition()} ? {Text()} : {Text()})",
            13 => $"join({Text()}, {Long()})",
            14 when _on.Replace => $"str_replace({Text()}, {Pick(["\"a\"", "\"b\"", "\"X\"", "\"lo\"", "s"])}, {Pick(["\"\"", "\"--\"", "\"a\"", "t"])})",
            15 when _on.Escape => Pick([$"text_str({Text()})", $"text_strn({Text()}, {_random.Next(1, 9)}, {_random.Next(0, 2)})", $"string_quoted({Text()})"]),
            16 => _on.Tokenize ? $"tokenize({Text()}, {Pick(["\" \"", "\"X\"", "\"/=\""])})" : _on.Recursion ? $"rev({Text()})" : $"({Text()} . {Text()})",
            _ => $"sprintf(\"{Pick(["%s", "%5s|", "%-6s|", "%.2s", "%10.3s"])}\", {Text()})",
        };
        _depth--;
        return text;
    }

    private string Print() => _random.Next(8) switch
    {
        0 or 1 => $"printf(\"{Pick(["%d", "%5d", "%-6d|", "%x", "%#x", "%X", "%u", "%o", "%05d", "%+d", "%.4d", "%8.3d", "% d", "%p", "%#o", "%i"])} %s\\n\", {Long()}, {Text()})",
        2 => $"printf(\"{Pick(["%s", "%8s", "%-8s|", "%.3s|", "%12.4s|"])}\\n\", {Text()})",
        3 => $"println({Long()}, \" \", {Text()})",
        4 => $"printdln(\",\", {Long()}, {Text()}, {Long()})",
        5 => $"printf(\"%*d %-*s|%.*s\\n\", {Long()} & 15, {Long()}, {Long()} & 7, {Text()}, {Long()} & 3, {Text()})",
        6 => $"printf(\"%c%#c %d%%\\n\", ({Long()} & 63) + 32, {Long()} & 127, {Long()})",
        _ => $"print({Text()}, {Long()}, \"\\n\")",
    };
}
