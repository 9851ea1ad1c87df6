using System.Globalization;
using System.Text;

namespace SystemTap.Runtime.Host;

/// <summary>
/// Tables of named values (errno names, open flags, …), files <c>tapset/tables/NAME.tbl</c> read when first asked for. A line is
/// <c>VALUE NAME</c>, or <c>MASK/VALUE NAME</c> for a field of several bits; numbers as in C; <c>#</c> begins a comment.
/// </summary>
/// <param name="folders">Folders to search, first hit wins.</param>
public sealed class ValueTables(IReadOnlyList<string> folders)
{
    private readonly record struct Row(ulong Mask, ulong Value, string Name);

    private sealed class Table
    {
        public readonly List<Row> Rows = [];
        public readonly Dictionary<long, string> Names = [];
    }

    private readonly Dictionary<string, Table> _tables = new(StringComparer.Ordinal);

    /// <summary>Name of a value; null when the table has none.</summary>
    /// <exception cref="IOException">No such table.</exception>
    public string? Name(string table, long value) => Load(table).Names.GetValueOrDefault(value);

    /// <summary>Names of the set bits joined by <c>|</c>, what is left over as <c>0x…</c>.</summary>
    public string Flags(string table, long value)
    {
        var text = new StringBuilder();
        var rest = (ulong)value;
        foreach (var row in Load(table).Rows)
        {
            if (row.Value != 0 && ((ulong)value & row.Mask) == row.Value && (rest & row.Value) != 0)
            {
                text.Append(text.Length > 0 ? "|" : "").Append(row.Name);
                rest &= ~row.Mask;
            }
        }

        if (rest != 0)
        {
            text.Append(text.Length > 0 ? "|" : "").Append("0x").Append(rest.ToString("x", CultureInfo.InvariantCulture));
        }

        // A name for zero stands for "nothing set", and for a field whose value is zero (O_RDONLY) when no other value of the field is set.
        if (text.Length == 0)
        {
            foreach (var row in Load(table).Rows)
            {
                if (row.Value == 0)
                {
                    return row.Name;
                }
            }

            return "0x0";
        }

        return text.ToString();
    }

    private Table Load(string name)
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
                var table = Parse(File.ReadLines(path));
                _tables.Add(name, table);
                return table;
            }
        }

        throw new FileNotFoundException($"table \"{name}\" is in none of: {string.Join(", ", folders)}");
    }

    private static Table Parse(IEnumerable<string> lines)
    {
        var table = new Table();
        foreach (var raw in lines)
        {
            var line = raw.AsSpan();
            if (line.IndexOf('#') is >= 0 and var hash)
            {
                line = line[..hash];
            }

            line = line.Trim();
            var gap = line.IndexOfAny(' ', '\t');
            if (gap < 0)
            {
                continue;
            }

            var number = line[..gap];
            var slash = number.IndexOf('/');
            var value = Number(slash < 0 ? number : number[(slash + 1)..]);
            var mask = slash < 0 ? value : Number(number[..slash]);
            var name = line[gap..].Trim().ToString();
            table.Rows.Add(new Row(mask, value, name));
            table.Names.TryAdd((long)value, name);
        }

        return table;
    }

    private static ulong Number(ReadOnlySpan<char> text) => (ulong)TextFunctions.ParseLong(text.ToString(), 0);
}
