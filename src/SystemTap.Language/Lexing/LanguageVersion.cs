namespace SystemTap.Language.Lexing;

/// <summary>Version strings, ordered as glibc's strverscmp(3) orders them.</summary>
public static class LanguageVersion
{
    /// <summary>The version of the language this system speaks.</summary>
    public const string Current = "5.6";

    /// <summary>True if a language version (null: the current one) has a feature that came with <paramref name="since"/>.</summary>
    public static bool AtLeast(string? compatible, string since) => Compare(compatible ?? Current, since) >= 0;

    /// <summary>
    /// Compares like strverscmp(3): runs of digits count as numbers, except runs with a leading zero, which count as
    /// fractions ("1.01" &lt; "1.1", "000" &lt; "00" &lt; "01" &lt; "010" &lt; "09" &lt; "0" &lt; "1" &lt; "9" &lt; "10").
    /// </summary>
    /// <returns>Below, equal to or above zero.</returns>
    public static int Compare(ReadOnlySpan<char> a, ReadOnlySpan<char> b)
    {
        var i = 0;
        while (i < a.Length && i < b.Length && a[i] == b[i])
        {
            i++;
        }

        if (i == a.Length && i == b.Length)
        {
            return 0;
        }

        var plain = At(a, i) - At(b, i);

        // The run of digits that holds the first difference, if it stands in one.
        var start = i;
        while (start > 0 && char.IsAsciiDigit(a[start - 1]))
        {
            start--;
        }

        var digitA = char.IsAsciiDigit(At(a, i));
        var digitB = char.IsAsciiDigit(At(b, i));
        if (start == i && !(digitA && digitB))
        {
            return plain;
        }

        if (At(a, start) == '0' || At(b, start) == '0')
        {
            return CompareFractions(a, b, i, start, plain, digitA, digitB);
        }

        var lengthA = i;
        while (char.IsAsciiDigit(At(a, lengthA)))
        {
            lengthA++;
        }

        var lengthB = i;
        while (char.IsAsciiDigit(At(b, lengthB)))
        {
            lengthB++;
        }

        return lengthA != lengthB ? lengthA - lengthB : plain;
    }

    private static int CompareFractions(ReadOnlySpan<char> a, ReadOnlySpan<char> b, int i, int start, int plain, bool digitA, bool digitB)
    {
        if (start == i)
        {
            return plain; // "0…" against "1…": the fraction is the smaller, as the characters say
        }

        // All zeros so far: the run that goes on with a digit is the smaller ("00" < "0"); else the digits decide.
        var zeros = true;
        for (var k = start; k < i; k++)
        {
            zeros &= a[k] == '0';
        }

        return zeros && digitA != digitB ? (digitA ? -1 : 1) : plain;
    }

    private static char At(ReadOnlySpan<char> s, int i) => i < s.Length ? s[i] : '\0';
}
