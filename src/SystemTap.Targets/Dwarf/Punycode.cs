using System.Text;

namespace SystemTap.Targets;

/// <summary>Identifiers with letters beyond ASCII, as Rust's symbols write them: RFC 3492 with <c>_</c> in the place of the last <c>-</c>.</summary>
internal static class Punycode
{
    private const int Base = 36, LowestThreshold = 1, HighestThreshold = 26, Skew = 38, Damp = 700, InitialBias = 72, InitialRune = 0x80;

    /// <summary>The identifier; null when the text is not of that form.</summary>
    public static string? Decode(ReadOnlySpan<char> text)
    {
        var split = text.LastIndexOf('_');
        var runes = new List<int>();
        foreach (var c in split > 0 ? text[..split] : [])
        {
            runes.Add(c);
        }

        long rune = InitialRune, index = 0, bias = InitialBias;
        for (var at = split + 1; at < text.Length; index++)
        {
            var before = index;
            for (long weight = 1, k = Base; ; k += Base)
            {
                var digit = at < text.Length ? Digit(text[at++]) : -1;
                if (digit < 0 || weight > int.MaxValue)
                {
                    return null;
                }

                index += digit * weight;
                var threshold = Math.Clamp(k - bias, LowestThreshold, HighestThreshold);
                if (digit < threshold)
                {
                    break;
                }

                weight *= Base - threshold;
            }

            bias = Adapt(index - before, runes.Count + 1, before == 0);
            rune += index / (runes.Count + 1);
            index %= runes.Count + 1;
            if (rune > 0x10ffff || !Rune.IsValid((int)rune))
            {
                return null;
            }

            runes.Insert((int)index, (int)rune);
        }

        var result = new StringBuilder();
        foreach (var one in runes)
        {
            result.Append(new Rune(one).ToString());
        }

        return result.ToString();
    }

    private static int Digit(char c) => c switch { >= 'a' and <= 'z' => c - 'a', >= '0' and <= '9' => c - '0' + 26, _ => -1 };

    private static long Adapt(long delta, int count, bool first)
    {
        delta = first ? delta / Damp : delta / 2;
        delta += delta / count;
        var k = 0;
        for (; delta > (Base - LowestThreshold) * HighestThreshold / 2; k += Base)
        {
            delta /= Base - LowestThreshold;
        }

        return k + ((Base - LowestThreshold + 1) * delta / (delta + Skew));
    }
}
