using SystemTap.Language.Diagnostics;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Regex;
using SystemTap.Semantics.Tapsets;

namespace SystemTap.KernelModule.Translation;

/// <summary>The constant data of a script: places for messages, name tables, regular expressions. Written when the code that uses them is known.</summary>
internal sealed class DataTables(TranslationOptions options)
{
    private readonly Dictionary<SourceSpan, int> _placeNumbers = [];
    private readonly List<SourceSpan> _places = [];
    private readonly Dictionary<string, (string Name, NameTable Table)> _tables = new(StringComparer.Ordinal);
    private readonly NamePool _names = new();
    private readonly Dictionary<RegexPattern, (string Name, RegexProgram Program)> _regexes = new(ReferenceEqualityComparer.Instance);

    /// <summary>Bytes of scratch memory that the regular expressions used so far need (see runtime/core/regex.c).</summary>
    public int RegexScratch { get; private set; }

    /// <summary>Most groups of those.</summary>
    public int RegexGroups { get; private set; }

    /// <summary>The address of a place, as an argument.</summary>
    public string Place(SourceSpan span)
    {
        if (span.Source is null)
        {
            return "NULL";
        }

        if (!_placeNumbers.TryGetValue(span, out var number))
        {
            number = _places.Count;
            _places.Add(span);
            _placeNumbers.Add(span, number);
        }

        return "&places[" + C.Int(number) + "]";
    }

    /// <summary>The address of a name table.</summary>
    /// <exception cref="IOException">There is no such table.</exception>
    public string Table(string name)
    {
        if (!_tables.TryGetValue(name, out var known))
        {
            known = (_names.Take("table_" + name), options.Table(name));
            _tables.Add(name, known);
        }

        return "&" + known.Name;
    }

    /// <summary>The address of a regular expression.</summary>
    public string Regex(RegexPattern pattern)
    {
        if (!_regexes.TryGetValue(pattern, out var known))
        {
            known = ("regex_" + C.Int(_regexes.Count), RegexProgram.Compile(pattern.Pattern));
            _regexes.Add(pattern, known);
            if (pattern.NeedsGroups || known.Program.Dfa is null)
            {
                var (steps, slots) = (known.Program.Code.Count, 2 * known.Program.GroupCount);
                RegexScratch = Math.Max(RegexScratch, (steps * (20 + (4 * slots))) + (4 * slots) + 64);
                RegexGroups = Math.Max(RegexGroups, known.Program.GroupCount);
            }
        }

        return "&" + known.Name;
    }

    /// <summary>Writes the definitions.</summary>
    public void Write(CWriter w)
    {
        if (_places.Count > 0)
        {
            w.Open("static const struct stap_place places[] =");
            foreach (var span in _places)
            {
                w.Line($"{{ {C.Literal(TokenText.Describe(span))}, {C.Literal(span.ToString())}, {(span.Source.IsTapset ? 1 : 0)} }},");
            }

            w.Close(";");
            w.Line();
        }

        foreach (var (name, table) in _tables.Values)
        {
            WriteTable(w, name, table);
        }

        foreach (var (pattern, (name, program)) in _regexes)
        {
            WriteRegex(w, name, pattern, program);
        }
    }

    private static void WriteTable(CWriter w, string name, NameTable table)
    {
        w.Open($"static const struct stap_name {name}_rows[] =");
        var sorted = new SortedDictionary<long, int>();
        for (var i = 0; i < table.Rows.Count; i++)
        {
            var row = table.Rows[i];
            sorted.TryAdd(row.Value, i);
            w.Line($"{{ {C.Long(row.Value)}, 0x{row.Mask:x}ULL, {C.Literal(row.Name)}, {(row.IsField ? 1 : 0)} }},");
        }

        w.Close(";");
        w.Line($"static const u16 {name}_sorted[] = {{ {string.Join(", ", sorted.Values)} }};");
        w.Line($"static const struct stap_table {name} = {{ {name}_rows, {name}_sorted, {table.Rows.Count}, {sorted.Count}, {(table.OctalRest ? 1 : 0)} }};");
        w.Line();
    }

    private static void WriteRegex(CWriter w, string name, RegexPattern pattern, RegexProgram program)
    {
        w.Line($"/* {C.Comment(pattern.Pattern)} */");
        var dfa = program.Dfa;
        if (dfa is not null)
        {
            Numbers(w, $"static const u8 {name}_classes[]", dfa.Classes.Select(c => (int)c));
            Numbers(w, $"static const s16 {name}_next[]", dfa.Next);
            Numbers(w, $"static const u8 {name}_accepts[]", Enumerable.Range(0, dfa.StateCount).Select(s => (dfa.Accepts[s] ? 1 : 0) | (dfa.AcceptsAtEnd[s] ? 2 : 0)));
        }

        if (dfa is null || pattern.NeedsGroups)
        {
            w.Open($"static const struct stap_regex_step {name}_steps[] =");
            foreach (var step in program.Code)
            {
                w.Line($"{{ STAP_RE_{step.Op.ToString().ToUpperInvariant()}, {step.A}, {step.B} }},");
            }

            w.Close(";");
            w.Open($"static const u32 {name}_sets[][8] =");
            foreach (var set in program.Sets)
            {
                var words = new uint[8];
                for (var b = 0; b < 256; b++)
                {
                    words[b / 32] |= set.Contains((byte)b) ? 1u << (b % 32) : 0;
                }

                w.Line($"{{ {string.Join(", ", words.Select(word => $"0x{word:x}u"))} }},");
            }

            if (program.Sets.Count == 0)
            {
                w.Line("{ 0 },");
            }

            w.Close(";");
        }

        var table = dfa is null ? "NULL, NULL, NULL, 0" : $"{name}_classes, {name}_next, {name}_accepts, {dfa.ClassCount}";
        var steps = dfa is null || pattern.NeedsGroups ? $"{program.Code.Count}, {program.GroupCount}, {name}_steps, {name}_sets" : $"0, {program.GroupCount}, NULL, NULL";
        w.Line($"static const struct stap_regex {name} = {{ {table}, {steps} }};");
        w.Line();
    }

    private static void Numbers(CWriter w, string declaration, IEnumerable<int> numbers)
    {
        w.Open(declaration + " =");
        foreach (var row in numbers.Chunk(32))
        {
            w.Line(string.Join(", ", row) + ",");
        }

        w.Close(";");
    }
}
