namespace SystemTap.Language.Diagnostics;

/// <summary>"Did you mean": names near a misspelt one.</summary>
public static class Suggestions
{
    private const int MaxLength = 64;

    /// <summary>The nearest name, or null when none is near enough. Of equally near ones the first.</summary>
    public static string? Nearest(string name, IEnumerable<string> candidates)
    {
        var best = Find(name, candidates, 1);
        return best.Count > 0 ? best[0] : null;
    }

    /// <summary>
    /// The nearest names, best first, at most <paramref name="count"/>; near is about one slip for every three letters (neighbours
    /// swapped count as one). Made for tens of thousands of candidates: most are ruled out by length alone.
    /// </summary>
    public static IReadOnlyList<string> Find(string name, IEnumerable<string> candidates, int count = 3)
    {
        if (name.Length is 0 or > MaxLength || count <= 0)
        {
            return [];
        }

        var limit = Math.Clamp((name.Length + 1) / 3, 1, 4);
        var found = new List<(int Distance, string Name)>();
        foreach (var candidate in candidates)
        {
            if (candidate == name || Math.Abs(candidate.Length - name.Length) > limit)
            {
                continue;
            }

            // A candidate of which nothing would be left is no suggestion: 'a' for 'b'.
            var distance = Distance(name, candidate, limit);
            if (distance > limit || distance >= Math.Max(name.Length, candidate.Length))
            {
                continue;
            }

            var at = found.Count;
            while (at > 0 && found[at - 1].Distance > distance)
            {
                at--;
            }

            if (at >= count || found.Exists(f => f.Name == candidate))
            {
                continue;
            }

            found.Insert(at, (distance, candidate));
            if (found.Count > count)
            {
                found.RemoveAt(count);
            }

            if (found.Count == count)
            {
                limit = Math.Min(limit, found[^1].Distance); // later ones must be at least as near to matter
            }
        }

        return found.ConvertAll(static f => f.Name);
    }

    /// <summary><c>did you mean 'a', 'b'?</c>; null when no name is near.</summary>
    public static string? DidYouMean(string name, IEnumerable<string> candidates, int count = 3) =>
        Find(name, candidates, count) is { Count: > 0 } near ? "did you mean '" + string.Join("', '", near) + "'?" : null;

    /// <summary>
    /// Damerau–Levenshtein distance (insert, delete, replace, swap neighbours; a piece is edited
    /// once). Anything above <paramref name="limit"/> comes out as limit + 1.
    /// </summary>
    public static int Distance(ReadOnlySpan<char> a, ReadOnlySpan<char> b, int limit)
    {
        if (Math.Abs(a.Length - b.Length) > limit || a.Length > MaxLength || b.Length > MaxLength + 8)
        {
            return limit + 1;
        }

        Span<int> before = stackalloc int[MaxLength + 9];
        Span<int> last = stackalloc int[MaxLength + 9];
        Span<int> row = stackalloc int[MaxLength + 9];
        for (var j = 0; j <= b.Length; j++)
        {
            last[j] = j;
        }

        for (var i = 1; i <= a.Length; i++)
        {
            row[0] = i;
            var smallest = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var cost = a[i - 1] == b[j - 1] ? 0 : 1;
                var d = Math.Min(Math.Min(last[j] + 1, row[j - 1] + 1), last[j - 1] + cost);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    d = Math.Min(d, before[j - 2] + 1);
                }

                row[j] = d;
                smallest = Math.Min(smallest, d);
            }

            if (smallest > limit)
            {
                return limit + 1;
            }

            var spare = before;
            before = last;
            last = row;
            row = spare;
        }

        return Math.Min(last[b.Length], limit + 1);
    }
}
