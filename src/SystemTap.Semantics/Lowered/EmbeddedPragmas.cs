namespace SystemTap.Semantics.Lowered;

/// <summary>The pragma comments inside embedded C that say which globals it reaches.</summary>
public static class EmbeddedPragmas
{
    private const string Start = "/* pragma:";
    private const string End = " */";

    /// <summary>Names after <c>/* pragma:read:VAR */</c> and <c>/* pragma:write:VAR */</c>, in order.</summary>
    public static IEnumerable<(string Name, bool IsWrite)> Globals(string code)
    {
        for (var at = code.IndexOf(Start, StringComparison.Ordinal); at >= 0; at = code.IndexOf(Start, at + 1, StringComparison.Ordinal))
        {
            var end = code.IndexOf(End, at, StringComparison.Ordinal);
            var word = end < 0 ? "" : code[(at + Start.Length)..end];
            if (word.StartsWith("read:", StringComparison.Ordinal))
            {
                yield return (word["read:".Length..], false);
            }
            else if (word.StartsWith("write:", StringComparison.Ordinal))
            {
                yield return (word["write:".Length..], true);
            }
        }
    }
}
