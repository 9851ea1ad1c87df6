using System.Globalization;
using System.Text;

namespace SystemTap.Semantics.Tapsets;

/// <summary>A table of named values: one file <c>tapset/tables/NAME.tbl</c>, format in the README there.</summary>
public sealed class NameTable
{
    /// <summary>One line of the table.</summary>
    /// <param name="IsField">The value of a field of several bits, not a bit of its own.</param>
    /// <param name="Mask">The field's bits.</param>
    public readonly record struct Row(bool IsField, ulong Mask, long Value, string Name);

    private readonly List<Row> _rows = [];
    private readonly Dictionary<long, string> _names = [];
    private bool _octalRest;

    /// <summary>The lines in the order of the file.</summary>
    public IReadOnlyList<Row> Rows => _rows;

    /// <summary>What no name covers is shown in octal.</summary>
    public bool OctalRest => _octalRest;

    /// <summary>All (value, name) pairs that <see cref="Name"/> can yield.</summary>
    public IReadOnlyDictionary<long, string> Names => _names;

    /// <summary>Bytes of the longest name.</summary>
    public int LongestName { get; private set; }

    /// <summary>Most bytes of <see cref="Flags"/>: each flag and the longest entry of each field, and the rest as a number.</summary>
    public int LongestFlags
    {
        get
        {
            var sum = 23;
            var inField = 0;
            for (var i = 0; i < _rows.Count; i++)
            {
                if (!_rows[i].IsField)
                {
                    sum += _rows[i].Name.Length + 1;
                    continue;
                }

                inField = Math.Max(inField, _rows[i].Name.Length + 1);
                if (i + 1 == _rows.Count || !_rows[i + 1].IsField || _rows[i + 1].Mask != _rows[i].Mask)
                {
                    (sum, inField) = (sum + inField, 0);
                }
            }

            return sum;
        }
    }

    /// <summary>Parses a table's text for an architecture (kernel name). Lines that are neither entry nor directive are skipped: a test checks the files.</summary>
    public static NameTable Parse(string text, string architecture)
    {
        var table = new NameTable();
        var active = true;
        ulong? mask = null;
        foreach (var raw in text.AsSpan().EnumerateLines())
        {
            var line = raw;
            if (line.IndexOf('#') is >= 0 and var comment)
            {
                line = line[..comment];
            }

            line = line.Trim();
            if (line.IsEmpty)
            {
                continue;
            }

            var gap = line.IndexOfAny(' ', '\t');
            var first = gap < 0 ? line : line[..gap];
            var rest = gap < 0 ? default : line[gap..].Trim();
            if (first[0] == '@')
            {
                switch (first)
                {
                    case "@arch":
                        active = rest is "*" || Mentions(rest, architecture);
                        break;
                    case "@field" when active && TryNumber(rest, out var number):
                        mask = (ulong)number;
                        break;
                    case "@bits" when active:
                        mask = null;
                        break;
                    case "@rest" when active:
                        table._octalRest = rest is "octal";
                        break;
                }
            }
            else if (active && TryNumber(rest, out var value))
            {
                var name = first.ToString();
                table._rows.Add(new Row(mask is not null, mask ?? 0, value, name));
                table._names.TryAdd(value, name);
                table.LongestName = Math.Max(table.LongestName, name.Length);
            }
        }

        return table;
    }

    /// <summary>The first name of a value, null when there is none.</summary>
    public string? Name(long value) => _names.GetValueOrDefault(value);

    /// <summary>Names of the set bits and fields joined by <c>|</c>, what no name covers as a number.</summary>
    public string Flags(long value)
    {
        var text = new StringBuilder();
        var rest = (ulong)value;
        string? zero = null;
        ulong fieldDone = 0;
        var fieldIndex = -1;
        for (var i = 0; i < _rows.Count; i++)
        {
            var row = _rows[i];
            if (!row.IsField)
            {
                fieldIndex = -1;
                if (row.Value == 0)
                {
                    zero ??= row.Name;
                }
                else if ((rest & (ulong)row.Value) == (ulong)row.Value)
                {
                    Append(text, row.Name);
                    rest &= ~(ulong)row.Value;
                }

                continue;
            }

            // Entries of one field follow each other; the field is compared as it was when its first entry was reached.
            if (fieldIndex < 0 || fieldDone != row.Mask)
            {
                (fieldIndex, fieldDone) = (i, row.Mask);
                for (var k = i; k < _rows.Count && _rows[k].IsField && _rows[k].Mask == row.Mask; k++)
                {
                    if ((ulong)_rows[k].Value == (rest & row.Mask))
                    {
                        Append(text, _rows[k].Name);
                        rest &= ~row.Mask;
                        break;
                    }
                }
            }
        }

        if (rest != 0)
        {
            Append(text, _octalRest ? "0" + Convert.ToString((long)rest, 8) : "0x" + rest.ToString("x", CultureInfo.InvariantCulture));
        }

        return text.Length > 0 ? text.ToString() : zero ?? "0x0";
    }

    private static void Append(StringBuilder text, string part) => text.Append(text.Length > 0 ? "|" : "").Append(part);

    private static bool Mentions(ReadOnlySpan<char> words, ReadOnlySpan<char> word)
    {
        foreach (var range in words.SplitAny(' ', '\t'))
        {
            if (words[range].SequenceEqual(word))
            {
                return true;
            }
        }

        return false;
    }

    private static bool TryNumber(ReadOnlySpan<char> text, out long value)
    {
        if (text.StartsWith("0x", StringComparison.Ordinal))
        {
            var ok = ulong.TryParse(text[2..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var bits);
            value = (long)bits;
            return ok;
        }

        return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);
    }
}

/// <summary>The tables of a session, read when first asked for.</summary>
/// <param name="folders">Folders with <c>NAME.tbl</c> files, first hit wins.</param>
/// <param name="architecture">The kernel's name of the architecture.</param>
public sealed class NameTables(IReadOnlyList<string> folders, string architecture)
{
    private readonly Dictionary<string, NameTable> _tables = new(StringComparer.Ordinal);

    /// <summary>A table by name.</summary>
    /// <exception cref="IOException">There is no such table, or it cannot be read.</exception>
    public NameTable Get(string name)
    {
        if (_tables.TryGetValue(name, out var known))
        {
            return known;
        }

        foreach (var folder in folders)
        {
            var path = Path.Combine(folder, name + ".tbl");
            if (File.Exists(path))
            {
                return _tables[name] = NameTable.Parse(File.ReadAllText(path), architecture);
            }
        }

        throw new IOException($"table '{name}' does not exist: no '{name}.tbl' in {string.Join(", ", folders)}; check the tapset folder");
    }
}
