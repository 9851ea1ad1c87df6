using System.Globalization;
using System.Text;
using SystemTap.Language.Text;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

/// <summary>Which lines a pattern names.</summary>
public enum LineChoice
{
    /// <summary>None: the function itself.</summary>
    None,

    /// <summary><c>:N</c></summary>
    Absolute,

    /// <summary><c>+N</c>: N lines behind the function's own.</summary>
    Relative,

    /// <summary><c>:A-B</c>, or several lines and ranges with commas between.</summary>
    Range,

    /// <summary><c>:*</c></summary>
    All,
}

/// <summary>
/// <c>FUNCTION[@FILE[:LINE|:A-B|:A,B-C|:*|+LINE]]</c>: what stands in <c>function("…")</c> and <c>statement("…")</c>. FUNCTION is a glob. With <c>::</c> in it, it means as many
/// namespaces and classes around a function as it names, each by its own glob: <c>box::get</c> is <c>ns::box&lt;int&gt;::get</c>, too, but <c>ns::*</c> are the functions of ns alone. A
/// <c>::</c> in front leaves nothing around. Without one it is the plain name.
/// </summary>
public sealed record FunctionPattern(string Function, string? File, LineChoice Lines, int Line, int LastLine)
{
    private byte[]? _utf8;
    private List<string>? _scopes, _demangled;

    private IReadOnlyList<(int First, int Last)> Ranges { get; init; } = [];

    /// <summary>The function part has wildcards.</summary>
    public bool IsGlob { get; } = Globs.IsPattern(Function);

    public bool IsQualified { get; } = Function.Contains("::", StringComparison.Ordinal);

    /// <summary>Reads a pattern; null when the line part is not one.</summary>
    public static FunctionPattern? Parse(string text)
    {
        text = ByteText.ToText(text);
        var at = text.IndexOf('@');
        if (at < 0)
        {
            return text.Length == 0 ? null : new FunctionPattern(text, null, LineChoice.None, 0, 0);
        }

        var function = at == 0 ? "*" : text[..at];
        var file = text[(at + 1)..];
        var colon = file.LastIndexOf(':');
        if (colon > 0)
        {
            var lines = file.AsSpan(colon + 1);
            var name = file[..colon];
            if (lines.SequenceEqual("*"))
            {
                return new FunctionPattern(function, name, LineChoice.All, 0, int.MaxValue);
            }

            if (!lines.ContainsAny(',', '-'))
            {
                return Number(lines) is { } line ? new FunctionPattern(function, name, LineChoice.Absolute, line, line) : null;
            }

            return ParseRanges(lines) is { } ranges
                ? new FunctionPattern(function, name, LineChoice.Range, ranges.Min(r => r.First), ranges.Max(r => r.Last)) { Ranges = ranges }
                : null;
        }

        var plus = file.LastIndexOf('+');
        if (plus > 0 && Number(file.AsSpan(plus + 1)) is { } offset)
        {
            return new FunctionPattern(function, file[..plus], LineChoice.Relative, offset, offset);
        }

        return file.Length == 0 ? null : new FunctionPattern(function, file, LineChoice.None, 0, 0);
    }

    private static List<(int First, int Last)>? ParseRanges(ReadOnlySpan<char> text)
    {
        var result = new List<(int, int)>();
        foreach (var part in text.Split(','))
        {
            var range = text[part];
            var dash = range.IndexOf('-');
            var last = Number(range[(dash + 1)..]);
            if ((dash < 0 ? last : Number(range[..dash])) is not { } first || last is null || last < first)
            {
                return null;
            }

            result.Add((first, last.Value));
        }

        return result;
    }

    /// <summary>The line lies between the first and the last one, and in one of the ranges when there are several.</summary>
    public bool Includes(int line) => line >= Line && line <= LastLine && (Ranges.Count == 0 || Ranges.Any(r => line >= r.First && line <= r.Last));

    /// <summary>A quick test of an unqualified name's bytes: false only when the pattern cannot mean it.</summary>
    public bool MayBe(ReadOnlySpan<byte> name)
    {
        if (Function == "*")
        {
            return true;
        }

        if (!IsGlob && !IsQualified)
        {
            _utf8 ??= Encoding.UTF8.GetBytes(Function);
            // twice<int> answers to "twice" too.
            return name.StartsWith(_utf8) && (name.Length == _utf8.Length || name[_utf8.Length] == (byte)'<') || Demangler.IsMangled(_utf8);
        }

        return true;
    }

    /// <summary>The whole test of a function of the debug information.</summary>
    public bool Fits(DwarfFunction function)
    {
        if (File is not null && !SourceFiles.Matches(File, function.File))
        {
            return false;
        }

        if (Function == "*")
        {
            return true;
        }

        return IsQualified ? FitsQualified(function.QualifiedName) || !ReferenceEquals(function.ScopedName, function.QualifiedName) && FitsQualified(function.ScopedName)
            : FitsName(function.Name) || function.LinkageName is { } linkage && Globs.Matches(Function, linkage);
    }

    /// <summary>The test of a symbol: by its own name, and a mangled one by what it means.</summary>
    public bool Fits(ElfSymbol symbol)
    {
        if (Function == "*")
        {
            return true;
        }

        if (!IsGlob)
        {
            _utf8 ??= Encoding.UTF8.GetBytes(Function);
            if (symbol.NameUtf8.SequenceEqual(_utf8))
            {
                return true;
            }
        }

        if (!Demangler.IsMangled(symbol.NameUtf8))
        {
            return IsGlob && Globs.Matches(Function, symbol.Name);
        }

        // A mangled name contains its parts in clear: most are ruled out without demangling.
        if (!IsGlob)
        {
            var last = Demangler.WithoutTemplate(Demangler.Last(Function));
            if (symbol.NameUtf8.IndexOf(Encoding.UTF8.GetBytes(last)) < 0 && !last.Contains("operator", StringComparison.Ordinal) && !last.StartsWith('~') && !IsQualified)
            {
                return false;
            }
        }

        var name = symbol.Name;
        if (IsGlob && Globs.Matches(Function, name))
        {
            return true;
        }

        return Demangler.Plain(name) is { } plain && (IsQualified ? FitsQualified(plain) : FitsName(Demangler.Last(plain)));
    }

    private bool FitsName(string name) => Globs.Matches(Function, name) || Demangler.WithoutTemplate(name) is { } bare && bare.Length != name.Length && Globs.Matches(Function, bare);

    private bool FitsQualified(string qualified) => FitsScopes(Scopes(qualified)) || TypeOfTrait(qualified) is { } own && FitsScopes(Scopes(own));

    /// <summary><c>shape::Circle::draw</c> of Rust's <c>&lt;shape::Circle as shape::Draw&gt;::draw</c>, which people write so; null when it is no such name.</summary>
    private static string? TypeOfTrait(string qualified)
    {
        var (depth, type) = (0, 0);
        for (var i = 0; i < qualified.Length && qualified[0] == '<'; i++)
        {
            if (qualified[i] == '<')
            {
                depth++;
            }
            else if (qualified[i] == '>' && qualified[i - 1] != '-' && --depth == 0)
            {
                return type > 0 ? qualified[1..type] + qualified[(i + 1)..] : null;
            }
            else if (depth == 1 && type == 0 && qualified.AsSpan(i).StartsWith(" as "))
            {
                type = i;
            }
        }

        return null;
    }

    private bool FitsScopes(List<string> scopes)
    {
        var wanted = Wanted;
        var count = Depth;
        if (count < wanted.Count ? scopes.Count != count : scopes.Count < count)
        {
            return false;
        }

        for (var i = 1; i <= count; i++)
        {
            var name = scopes[^i];
            if (!Globs.Matches(wanted[^i], name) && !Globs.Matches(wanted[^i], Bare(name)) && !(wanted[^i].Contains('<') && Globs.Matches(WantedDemangled[^i], name)))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>How a function that fits is called: with as much around it as the pattern names.</summary>
    public string NameOf(DwarfFunction function)
    {
        if (!IsQualified)
        {
            return function.Name;
        }

        var scopes = Scopes(function.ScopedName);
        if (scopes.Count < Depth || function.ScopedName.Contains("{impl#", StringComparison.Ordinal))
        {
            scopes = Scopes(function.QualifiedName); // how Rust's debug information numbers the places where functions of a type are written says nothing
        }

        return string.Join("::", [.. scopes[Math.Max(0, scopes.Count - Depth)..^1], function.Name]);
    }

    /// <summary>How many names there are; one in front that is empty means the beginning.</summary>
    private int Depth => Wanted[0].Length == 0 ? Wanted.Count - 1 : Wanted.Count;

    private List<string> Wanted => _scopes ??= Scopes(Function);

    private List<string> WantedDemangled => _demangled ??= Wanted.ConvertAll(Demangled);

    /// <summary>Template arguments as demangled names spell them, where debug information and listings say <c>long int</c>.</summary>
    private static string Demangled(string name)
    {
        foreach (var (listed, demangled) in (ReadOnlySpan<(string, string)>)[("long long unsigned int", "unsigned long long"), ("long unsigned int", "unsigned long"), ("short unsigned int", "unsigned short"),
            ("long long int", "long long"), ("long int", "long"), ("short int", "short")])
        {
            name = name.Replace(listed, demangled, StringComparison.Ordinal);
        }

        return name;
    }

    /// <summary>Namespaces, classes and the function: what stands between <c>::</c> outside of brackets.</summary>
    private static List<string> Scopes(string name)
    {
        var result = new List<string>();
        var (depth, start) = (0, 0);
        for (var i = 0; i < name.Length; i++)
        {
            if (i == start && name.AsSpan(i).StartsWith("operator"))
            {
                break; // operator<, operator(), operator ns::type
            }

            if (name[i] is '<' or '(')
            {
                depth++;
            }
            else if (name[i] is '>' or ')')
            {
                depth--;
            }
            else if (depth <= 0 && name[i] == ':' && i + 1 < name.Length && name[i + 1] == ':')
            {
                result.Add(name[start..i]);
                start = i + 2;
                i++;
            }
        }

        result.Add(name[start..]);
        return result;
    }

    /// <summary>Without any template arguments.</summary>
    private static string Bare(string name)
    {
        if (!name.Contains('<') || name.Contains("operator", StringComparison.Ordinal))
        {
            return name;
        }

        var text = new StringBuilder();
        var depth = 0;
        foreach (var c in name)
        {
            if (c == '<')
            {
                depth++;
            }
            else if (c == '>' && depth > 0)
            {
                depth--;
            }
            else if (depth == 0)
            {
                text.Append(c);
            }
        }

        return text.ToString();
    }

    private static int? Number(ReadOnlySpan<char> text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;
}
