namespace SystemTap.Semantics.Probes;

/// <summary>"Did you mean": names near to one that does not exist.</summary>
public static class Names
{
    /// <summary>At most this many suggestions are shown.</summary>
    public const int MostSuggestions = 5;

    /// <summary>
    /// The candidates nearest to <paramref name="wanted"/>, best first. Near is an edit distance (exchanged neighbours count one) of at most a third of
    /// the length, or one name being part of the other. A glob is compared without its stars.
    /// </summary>
    public static List<string> Similar(string wanted, IEnumerable<string> candidates)
    {
        var plain = wanted.Replace("*", "").Replace("?", "");
        var scored = new List<(int Score, string Name)>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        if (plain.Length == 0)
        {
            return [];
        }

        var limit = Math.Max(1, plain.Length / 3);
        foreach (var name in candidates)
        {
            if (name.Length == 0 || !seen.Add(name))
            {
                continue;
            }

            if (Math.Abs(name.Length - plain.Length) <= limit && Distance(plain, name, limit) is var distance && distance <= limit)
            {
                scored.Add((distance * 4, name));
            }
            else if (plain.Length >= 3 && name.Contains(plain, StringComparison.OrdinalIgnoreCase))
            {
                scored.Add((2 + ((name.Length - plain.Length) * 2), name));
            }
            else if (name.Length >= 4 && plain.Contains(name, StringComparison.OrdinalIgnoreCase))
            {
                scored.Add((3 + ((plain.Length - name.Length) * 2), name));
            }
        }

        scored.Sort(static (a, b) => a.Score != b.Score ? a.Score.CompareTo(b.Score) : string.CompareOrdinal(a.Name, b.Name));
        var result = new List<string>(MostSuggestions);
        for (var i = 0; i < scored.Count && i < MostSuggestions; i++)
        {
            result.Add(scored[i].Name);
        }

        return result;
    }

    /// <summary><c>did you mean "a"</c>, or <c>similar: a, b, c</c>; null for no names.</summary>
    public static string? Hint(IReadOnlyList<string> similar) => similar.Count switch
    {
        0 => null,
        1 => "did you mean '" + similar[0] + "'?",
        _ => "similar: " + string.Join(", ", similar),
    };

    /// <summary>Restricted Damerau–Levenshtein distance; more than <paramref name="limit"/> means only "more".</summary>
    internal static int Distance(ReadOnlySpan<char> a, ReadOnlySpan<char> b, int limit)
    {
        if (b.Length > 250)
        {
            return limit + 1;
        }

        Span<int> before = stackalloc int[b.Length + 1];
        Span<int> last = stackalloc int[b.Length + 1];
        Span<int> now = stackalloc int[b.Length + 1];
        before.Clear();
        for (var j = 0; j <= b.Length; j++)
        {
            last[j] = j;
        }

        for (var i = 1; i <= a.Length; i++)
        {
            now[0] = i;
            var best = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var cost = char.ToLowerInvariant(a[i - 1]) == char.ToLowerInvariant(b[j - 1]) ? 0 : 1;
                var d = Math.Min(Math.Min(now[j - 1], last[j]) + 1, last[j - 1] + cost);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    d = Math.Min(d, before[j - 2] + 1);
                }

                now[j] = d;
                best = Math.Min(best, d);
            }

            if (best > limit)
            {
                return limit + 1;
            }

            var swap = before;
            before = last;
            last = now;
            now = swap;
        }

        return last[b.Length];
    }
}
