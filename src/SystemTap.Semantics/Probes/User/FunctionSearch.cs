using SystemTap.Language.Text;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

/// <summary>A function found, by debug information or by symbol.</summary>
/// <param name="Name">As listed: <c>main@/src/main.c:12</c>, or a bare (demangled) symbol.</param>
/// <param name="Symbol">Plain name.</param>
/// <param name="Entry">First instruction, as linked.</param>
/// <param name="Function">Debug information, or null.</param>
internal sealed record FoundFunction(string Name, string Symbol, ulong Entry, DwarfFunction? Function)
{
    // As scripts have texts: names need not be ASCII.
    public string Name { get; } = ByteText.FromText(Name);

    public string Symbol { get; } = ByteText.FromText(Symbol);

    public bool IsInlined => Function is { IsInlined: true };
}

/// <summary>Finds functions of a file by pattern.</summary>
internal static class FunctionSearch
{
    /// <summary>Functions that fit, by ascending address; inline instances only when asked for.</summary>
    public static List<FoundFunction> Find(UserFile file, FunctionPattern pattern, bool inlines)
    {
        var result = new List<FoundFunction>();
        if (file.Dwarf is { } dwarf)
        {
            foreach (var function in dwarf.Functions(pattern.MayBe, f => pattern.Fits(f) && FitsLine(dwarf, pattern, f), inlines, pattern.File))
            {
                if (file.IsCode(function.Entry))
                {
                    result.Add(new FoundFunction(Text(function, pattern.NameOf(function)), function.Name, function.Entry, function));
                }
            }
        }

        // By symbol what the debug information does not have: other names of a function, assembly, files compiled without -g. A name without wildcards is looked for only when it has none such.
        if (pattern.File is null && file.IsUser && (result.Count == 0 || pattern.IsGlob))
        {
            var known = result.ConvertAll(f => f.Entry).ToHashSet();
            foreach (var symbol in Symbols(file, pattern))
            {
                if (known.Contains(symbol.Entry))
                {
                    continue;
                }

                if (file.Dwarf?.FunctionAt(symbol.Entry, inlines: false) is not { } debug)
                {
                    result.Add(symbol);
                }
                else if (debug.Entry == symbol.Entry)
                {
                    result.Add(new FoundFunction(Text(debug), debug.Name, debug.Entry, debug));
                }
                else if (!pattern.IsGlob)
                {
                    // Within a function: another entry of assembly. Patterns do not mean these, which are mostly pieces of it (name.cold).
                    result.Add(symbol);
                }
            }
        }

        result.Sort(static (a, b) => a.Entry != b.Entry ? a.Entry.CompareTo(b.Entry) : string.CompareOrdinal(a.Name, b.Name));
        return result;
    }

    /// <summary><c>name@file:line</c></summary>
    public static string Text(DwarfFunction function, string? name = null) => function.File.Length == 0 ? name ?? function.Name : $"{name ?? function.Name}@{function.File}:{function.Line}";

    /// <summary>How a label's probe point names the function: with the label's place, as SystemTap does; with the function's where the label has none.</summary>
    public static string TextOfLabel(FoundFunction found, string file, int line) =>
        found.Function is { File.Length: > 0 } f && file.Length > 0 && line > 0 && ByteText.FromText($"@{f.File}:{f.Line}") is var place && found.Name.EndsWith(place, StringComparison.Ordinal)
            ? $"{found.Name[..^place.Length]}@{ByteText.FromText(file)}:{line}"
            : found.Name;

    private static bool FitsLine(DwarfFile dwarf, FunctionPattern pattern, DwarfFunction function)
    {
        switch (pattern.Lines)
        {
            case LineChoice.None or LineChoice.All:
                return true;
            case LineChoice.Relative:
                return pattern.Line == 0;
        }

        if (pattern.Includes(function.Line))
        {
            return true;
        }

        // A line within the function means the function.
        return !function.IsInlined && dwarf.ContainsLine(function, pattern.Line);
    }

    private static List<FoundFunction> Symbols(UserFile file, FunctionPattern pattern)
    {
        var result = new List<FoundFunction>();
        var byAddress = new Dictionary<ulong, int>();
        var symbols = file.Symbols;

        // What an older version of a function chosen at the start stands for is not what programs call.
        var isIndirect = !pattern.IsGlob && symbols.Find(pattern.Function) is { Type: ElfSymbolType.IndirectFunction };
        for (var i = 0; i < symbols.Count; i++)
        {
            var symbol = symbols[i];
            if (!symbol.IsFunction || symbol.Type == ElfSymbolType.IndirectFunction || isIndirect && symbol.IsSuperseded || !file.IsCode(symbol.Value) || !pattern.Fits(symbol))
            {
                continue;
            }

            // Several names of one place are one probe: the one asked for, else the first global one.
            if (byAddress.TryGetValue(symbol.Value, out var at))
            {
                if (pattern.IsGlob && !symbol.IsGlobal || !pattern.IsGlob && symbol.Name != pattern.Function)
                {
                    continue;
                }

                if (pattern.IsGlob && !IsLocal(result[at].Name))
                {
                    continue;
                }
            }
            else
            {
                at = result.Count;
                byAddress[symbol.Value] = at;
                result.Add(null!);
            }

            var name = symbol.Name;
            var shown = name != pattern.Function && Demangler.Plain(name) is { } plain ? plain : name;
            result[at] = new FoundFunction(shown, shown, symbol.Value, null);
        }

        return result;

        static bool IsLocal(string name) => name.StartsWith('_');
    }

    /// <summary>Names of functions, for suggestions.</summary>
    public static IEnumerable<string> Names(UserFile file)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        if (file.Dwarf is { } dwarf)
        {
            foreach (var function in dwarf.Functions(null, null, inlines: false))
            {
                names.Add(function.Name);
            }
        }

        // Symbols, too: of an aliased function (malloc, __libc_malloc) debug information has one name only.
        var symbols = file.Symbols;
        for (var i = 0; i < symbols.Count; i++)
        {
            if (symbols[i].IsFunction)
            {
                names.Add(symbols[i].Name);
            }
        }

        return names;
    }

    /// <summary>The symbol that is chosen when the program starts, which cannot be probed by name; null when the pattern means no such symbol.</summary>
    public static bool IsIndirect(UserFile file, FunctionPattern pattern)
    {
        var symbols = file.Symbols;
        for (var i = 0; i < symbols.Count; i++)
        {
            if (symbols[i] is { IsFunction: true, Type: ElfSymbolType.IndirectFunction } symbol && pattern.Fits(symbol))
            {
                return true;
            }
        }

        return false;
    }
}
