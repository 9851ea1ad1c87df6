using SystemTap.Language.Diagnostics;

namespace SystemTap.Semantics.Probes;

/// <summary>"Did you mean" for probe points, members and the like.</summary>
public static class Names
{
    /// <summary>At most this many are shown.</summary>
    public const int Most = 5;

    /// <summary>
    /// The candidates nearest to <paramref name="wanted"/>, best first: those a few slips away, then those that contain it (as SystemTap's users
    /// shorten names), shortest first. A glob is compared without its stars.
    /// </summary>
    public static List<string> Similar(string wanted, IEnumerable<string> candidates)
    {
        var plain = wanted.Replace("*", "").Replace("?", "");
        if (plain.Length == 0)
        {
            return [];
        }

        var all = candidates as IReadOnlyList<string> ?? [.. candidates];
        var result = new List<string>(Suggestions.Find(plain, all, Most));
        if (plain.Length < 3 || result.Count >= Most)
        {
            return result;
        }

        var containing = new List<string>();
        foreach (var name in all)
        {
            if (name.Contains(plain, StringComparison.OrdinalIgnoreCase) || name.Length >= 4 && plain.Contains(name, StringComparison.OrdinalIgnoreCase))
            {
                containing.Add(name);
            }
        }

        containing.Sort(static (a, b) => a.Length != b.Length ? a.Length - b.Length : string.CompareOrdinal(a, b));
        foreach (var name in containing)
        {
            if (result.Count < Most && !result.Contains(name))
            {
                result.Add(name);
            }
        }

        return result;
    }

    /// <summary><c>did you mean 'a'?</c> or <c>similar: a, b, c</c>; null for no names.</summary>
    public static string? Hint(IReadOnlyList<string> similar) => similar.Count switch
    {
        0 => null,
        1 => "did you mean '" + similar[0] + "'?",
        _ => "similar: " + string.Join(", ", similar),
    };
}
