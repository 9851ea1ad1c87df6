namespace SystemTap.Language.Lexing;

/// <summary>Numbers on command lines.</summary>
public static class ScriptNumber
{
    /// <summary>The value of a number written as in scripts (decimal, <c>0x…</c>, octal after a <c>0</c>), with a sign or without; null when the text is none.</summary>
    public static long? Parse(string text)
    {
        var isNegative = text.StartsWith('-');
        var digits = isNegative ? text.AsSpan(1) : text.AsSpan();
        if (digits.IsEmpty || Lexer.ParseNumber(digits, out var value) != JunkReason.None || (isNegative && value > 1UL << 63))
        {
            return null;
        }

        return unchecked(isNegative ? -(long)value : (long)value);
    }
}
