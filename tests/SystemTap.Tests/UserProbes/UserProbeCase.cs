using System.Text;
using SystemTap.Tests.Corpus;

namespace SystemTap.Tests.UserProbes;

/// <summary>
/// A script of <c>tests/corpus/user</c> and a program of <c>tests/programs</c> it probes. The layout is that of the corpus with further head lines:
/// <c>%program SOURCE</c>, <c>%builds FLAGS | FLAGS …</c> (one case for each), <c>%library SOURCE FLAGS</c>, <c>%words</c> (of the program's command line),
/// <c>%args</c> (options of stap), <c>%alone</c> (no <c>-c</c>), <c>%matrix</c> (also for <see cref="TruthMatrixTests"/>). PROGRAM and LIBRARY stand for the paths, ADDRESS(f) for the address of a symbol of the program. Without <c>--- out</c> the script must print exactly what
/// the program prints.
/// </summary>
internal sealed record UserProbeCase(string Name, string Program, string Flags, string Script)
{
    public string? Library { get; init; }

    public string LibraryFlags { get; init; } = "";

    public string Words { get; init; } = "";

    public string[] Options { get; init; } = [];

    public bool IsAlone { get; init; }

    /// <summary>Name without the build, when the case is also one of the matrix.</summary>
    public string? Matrix { get; init; }

    public int Status { get; init; }

    public string? Out { get; init; }

    public string[] Err { get; init; } = [];

    public static List<UserProbeCase> Load()
    {
        var result = new List<UserProbeCase>();
        foreach (var path in Directory.EnumerateFiles(Path.Combine(StapProcess.Root, "tests", "corpus", "user"), "*.cases").Order(StringComparer.Ordinal))
        {
            Read(path, result);
        }

        return result;
    }

    private static void Read(string path, List<UserProbeCase> result)
    {
        var title = "";
        var head = new Dictionary<string, string>();
        var parts = new Dictionary<string, StringBuilder>();
        var part = "";
        foreach (var line in File.ReadLines(path))
        {
            if (line.StartsWith("=== ", StringComparison.Ordinal))
            {
                Add();
                (title, part) = (line[4..], "script");
                head.Clear();
                parts.Clear();
                parts[part] = new StringBuilder();
            }
            else if (title.Length == 0)
            {
                continue;
            }
            else if (line.StartsWith("--- ", StringComparison.Ordinal))
            {
                parts[part = line[4..]] = new StringBuilder();
            }
            else if (part == "script" && line.StartsWith('%') && char.IsAsciiLetter(line.ElementAtOrDefault(1)) && parts[part].Length == 0)
            {
                var space = line.IndexOf(' ');
                head[space < 0 ? line[1..] : line[1..space]] = space < 0 ? "" : line[(space + 1)..];
            }
            else
            {
                parts[part].Append(line).Append('\n');
            }
        }

        Add();

        void Add()
        {
            if (title.Length == 0)
            {
                return;
            }

            foreach (var build in head["builds"].Split('|', StringSplitOptions.TrimEntries))
            {
                var library = head.GetValueOrDefault("library")?.Split(' ', 2);
                result.Add(new UserProbeCase($"{Path.GetFileNameWithoutExtension(path)}: {title} ({build})", head["program"], build, parts["script"].ToString())
                {
                    Library = library?[0],
                    LibraryFlags = library is null ? "" : "-shared -fPIC " + library[1],
                    Words = head.GetValueOrDefault("words", ""),
                    Options = head.GetValueOrDefault("args", "").Split(' ', StringSplitOptions.RemoveEmptyEntries),
                    Matrix = head.ContainsKey("matrix") ? title : null,
                    IsAlone = head.ContainsKey("alone"),
                    Status = int.Parse(head.GetValueOrDefault("status", "0"), System.Globalization.CultureInfo.InvariantCulture),
                    Out = parts.GetValueOrDefault("out")?.ToString(),
                    Err = parts.GetValueOrDefault("err")?.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries) ?? [],
                });
            }
        }
    }
}
