using System.Globalization;

namespace SystemTap.Tests.Tapsets;

/// <summary>A file of tapset/tables with what only tests need: headers and comments. Strict, where the product's reader skips.</summary>
internal sealed class TableFile
{
    public static readonly string Folder = Path.Combine(Repository.Root, "tapset", "tables");

    public sealed record Entry(string Name, long Value, ulong Field, string Architectures, string Comment);

    public required string Name { get; init; }

    public required string[] Headers { get; init; }

    public required List<Entry> Entries { get; init; }

    public static IEnumerable<TableFile> All() => Directory.EnumerateFiles(Folder, "*.tbl").Order().Select(Read);

    public static TableFile Read(string path)
    {
        var entries = new List<Entry>();
        string[] headers = [];
        ulong field = 0;
        var architectures = "*";
        foreach (var line in File.ReadLines(path))
        {
            if (line.StartsWith("# headers:", StringComparison.Ordinal))
            {
                headers = line["# headers:".Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            }

            var hash = line.IndexOf('#');
            var words = (hash < 0 ? line : line[..hash]).Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
            switch (words)
            {
                case []: break;
                case ["@field", var mask]: field = (ulong)Number(mask); break;
                case ["@bits"]: field = 0; break;
                case ["@arch", ..]: architectures = string.Join(' ', words[1..]); break;
                case ["@rest", "octal"]: break;
                case [var name, var value] when name[0] != '@': entries.Add(new Entry(name, Number(value), field, architectures, hash < 0 ? "" : line[(hash + 1)..].Trim())); break;
                default: throw new FormatException($"{path}: '{line}'");
            }
        }

        return new TableFile { Name = Path.GetFileNameWithoutExtension(path), Headers = headers, Entries = entries };
    }

    private static long Number(string text) => text.StartsWith("0x", StringComparison.Ordinal)
        ? (long)ulong.Parse(text.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture)
        : long.Parse(text, CultureInfo.InvariantCulture);

    public bool IsOn(Entry entry, string architecture) => entry.Architectures == "*" || entry.Architectures.Split(' ').Contains(architecture);
}
