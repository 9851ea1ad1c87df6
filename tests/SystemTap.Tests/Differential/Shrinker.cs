namespace SystemTap.Tests.Differential;

/// <summary>
/// Makes a failing body short: takes out lines and whole blocks, then the braces around a block, then replaces bracketed expressions by constants, as long as the same kind of
/// difference remains. It works on text: a candidate that is no program any more simply differs in kind.
/// </summary>
internal static class Shrinker
{
    private const int MostTries = 1500, MostMilliseconds = 60_000;

    public static string Shrink(string body, string kind)
    {
        // A program the verifier takes seconds to refuse would otherwise be shrunk for an hour.
        var until = Environment.TickCount64 + MostMilliseconds;
        var tries = 0;
        bool Fails(string candidate) => tries++ < MostTries && Environment.TickCount64 < until && Differential.Compare(candidate, [])?.Kind == kind;
        for (var changed = true; changed && tries < MostTries && Environment.TickCount64 < until;)
        {
            changed = Lines(ref body, Fails);
            changed |= Brackets(ref body, Fails);
        }

        return body;
    }

    private static bool Lines(ref string body, Func<string, bool> fails)
    {
        var lines = body.Split('\n').Where(l => l.Length > 0).ToList();
        var changed = false;
        for (var size = Math.Max(1, lines.Count / 2); size >= 1; size /= 2)
        {
            for (var i = lines.Count - 1; i >= 0; i--)
            {
                foreach (var candidate in Without(lines, i, size))
                {
                    if (fails(string.Join('\n', candidate)))
                    {
                        lines = candidate;
                        i = Math.Min(i, lines.Count);
                        changed = true;
                        break;
                    }
                }
            }
        }

        body = string.Join('\n', lines);
        return changed;
    }

    // A line that opens a block goes with it, or leaves its inside behind.
    private static IEnumerable<List<string>> Without(List<string> lines, int at, int size)
    {
        if (at >= lines.Count)
        {
            yield break;
        }

        if (size > 1)
        {
            if (at + size <= lines.Count)
            {
                yield return [.. lines[..at], .. lines[(at + size)..]];
            }

            yield break;
        }

        var end = Close(lines, at);
        yield return [.. lines[..at], .. lines[(end + 1)..]];
        if (end > at)
        {
            yield return [.. lines[..at], .. lines[(at + 1)..end], .. lines[(end + 1)..]];
        }
    }

    private static int Close(List<string> lines, int at)
    {
        var depth = 0;
        for (var i = at; i < lines.Count; i++)
        {
            depth += lines[i].Count(c => c == '{') - lines[i].Count(c => c == '}');
            if (depth <= 0)
            {
                return i;
            }
        }

        return at;
    }

    private static bool Brackets(ref string body, Func<string, bool> fails)
    {
        var changed = false;
        for (var i = 0; i < body.Length; i++)
        {
            if (body[i] != '(' || Match(body, i) is not { } end)
            {
                continue;
            }

            var inside = body[(i + 1)..end];
            var start = i;
            while (start > 0 && (char.IsLetterOrDigit(body[start - 1]) || body[start - 1] is '_' or '@'))
            {
                start--;
            }

            string[] candidates = ["1", "a", "\"a\"", "s", .. Parts(inside)];
            foreach (var candidate in candidates)
            {
                if (candidate.Length < end - start + 1 && fails(body[..start] + candidate + body[(end + 1)..]))
                {
                    body = body[..start] + candidate + body[(end + 1)..];
                    changed = true;
                    i = start;
                    break;
                }
            }
        }

        return changed;
    }

    // The operands of the outermost operator, the arguments of a call.
    private static IEnumerable<string> Parts(string inside)
    {
        yield return inside;
        var depth = 0;
        var from = 0;
        for (var i = 0; i < inside.Length; i++)
        {
            var c = inside[i];
            if (c == '"')
            {
                for (i++; i < inside.Length && inside[i] != '"'; i++)
                {
                    i += inside[i] == '\\' ? 1 : 0;
                }
            }

            depth += c is '(' or '[' ? 1 : c is ')' or ']' ? -1 : 0;
            if (depth == 0 && (c == ' ' || c == ','))
            {
                yield return inside[from..i].Trim();
                from = i + 1;
            }
        }

        yield return inside[from..].Trim();
    }

    private static int? Match(string text, int open)
    {
        var depth = 0;
        for (var i = open; i < text.Length; i++)
        {
            if (text[i] == '"')
            {
                for (i++; i < text.Length && text[i] != '"'; i++)
                {
                    i += text[i] == '\\' ? 1 : 0;
                }

                continue;
            }

            depth += text[i] == '(' ? 1 : text[i] == ')' ? -1 : 0;
            if (depth == 0)
            {
                return i;
            }
        }

        return null;
    }
}
