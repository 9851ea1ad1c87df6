using System.Text;
using SystemTap.Language.Parsing;
using SystemTap.Language.Text;

namespace SystemTap.Semantics.Tapsets;

/// <summary>Adds the names of one library file to an index that is being built.</summary>
internal static class TapsetScanner
{
    public static void Scan(TapsetFile file, int number, SortedDictionary<string, List<int>>[] names)
    {
        string text;
        try
        {
            text = Encoding.Latin1.GetString(File.ReadAllBytes(file.Path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return; // it offers no names; who names the file itself hears of it
        }

        var found = DefinitionScanner.Scan(new SourceText(file.Path, text, isTapset: true));
        if (file.IsMacros)
        {
            Add(names[(int)TapsetSection.Macros], found.Macros, number);
            return;
        }

        foreach (var (name, _) in found.Functions)
        {
            Add(names[(int)TapsetSection.Functions], name, number);
        }

        Add(names[(int)TapsetSection.Globals], found.Globals, number);
        Add(names[(int)TapsetSection.Aliases], found.Aliases, number);
    }

    private static void Add(SortedDictionary<string, List<int>> section, List<string> names, int number)
    {
        foreach (var name in names)
        {
            Add(section, name, number);
        }
    }

    private static void Add(SortedDictionary<string, List<int>> section, string name, int number)
    {
        if (name.Length == 0 || name.AsSpan().IndexOfAny('\n', ' ', '%') >= 0)
        {
            return;
        }

        if (!section.TryGetValue(name, out var numbers))
        {
            section[name] = numbers = [];
        }

        if (numbers.Count == 0 || numbers[^1] != number)
        {
            numbers.Add(number);
        }
    }
}
