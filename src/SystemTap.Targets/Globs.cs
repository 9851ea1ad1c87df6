namespace SystemTap.Targets;

/// <summary>
/// Shell patterns over names: <c>*</c>, <c>?</c>, <c>[a-z]</c>, <c>[!a-z]</c> (or <c>[^a-z]</c>), <c>\x</c> for x itself.
/// No braces, no special meaning of "/" or leading dots. Case matters. Time is at most pattern × text: on a mismatch only
/// the last star is tried again, which is enough because an earlier star could not reach further.
/// </summary>
public static class Globs
{
    /// <summary>Whether text has a character that makes it a pattern rather than a plain name.</summary>
    public static bool IsPattern(ReadOnlySpan<char> text) => text.IndexOfAny("*?[\\") >= 0;

    /// <summary>Whether all of the text fits the pattern. An unclosed "[" stands for itself.</summary>
    public static bool Matches(ReadOnlySpan<char> pattern, ReadOnlySpan<char> text)
    {
        int p = 0, t = 0, star = -1, starText = 0;
        while (t < text.Length)
        {
            if (p < pattern.Length && pattern[p] == '*')
            {
                star = ++p;
                starText = t;
                continue;
            }
            if (p < pattern.Length && One(pattern, p, text[t], out var next))
            {
                p = next;
                t++;
                continue;
            }
            if (star < 0)
                return false;
            p = star;
            t = ++starText;
        }
        while (p < pattern.Length && pattern[p] == '*')
            p++;
        return p == pattern.Length;
    }

    /// <summary>The characters a match must begin with: what narrows a search before matching. Escapes end it.</summary>
    public static ReadOnlySpan<char> LiteralPrefix(ReadOnlySpan<char> pattern) =>
        pattern.IndexOfAny("*?[\\") is >= 0 and var end ? pattern[..end] : pattern;

    private static bool One(ReadOnlySpan<char> pattern, int at, char c, out int next)
    {
        next = at + 1;
        switch (pattern[at])
        {
            case '?':
                return true;
            case '\\' when at + 1 < pattern.Length:
                next = at + 2;
                return pattern[at + 1] == c;
            case '[':
                return Bracket(pattern, at, c, ref next);
            default:
                return pattern[at] == c;
        }
    }

    private static bool Bracket(ReadOnlySpan<char> pattern, int at, char c, ref int next)
    {
        var i = at + 1;
        var negated = i < pattern.Length && pattern[i] is '!' or '^';
        if (negated)
            i++;
        var found = false;
        for (var first = true; i < pattern.Length; first = false)
        {
            if (pattern[i] == ']' && !first)
            {
                next = i + 1;
                return found != negated;
            }
            var low = Member(pattern, ref i);
            var high = low;
            if (i + 1 < pattern.Length && pattern[i] == '-' && pattern[i + 1] != ']')
            {
                i++;
                high = Member(pattern, ref i);
            }
            found |= low <= c && c <= high;
        }
        return c == '['; // never closed: an ordinary character
    }

    private static char Member(ReadOnlySpan<char> pattern, ref int i)
    {
        if (pattern[i] == '\\' && i + 1 < pattern.Length)
            i++;
        return pattern[i++];
    }
}
