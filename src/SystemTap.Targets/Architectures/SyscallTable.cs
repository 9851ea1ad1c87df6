namespace SystemTap.Targets;

/// <summary>
/// System-call numbers of one binary interface. The source is text, one call after the other: a number says where
/// counting goes on, a name takes the next number. It is read on first use (some 20 µs).
/// </summary>
public sealed class SyscallTable(string source)
{
    private (string?[] Names, Dictionary<string, int> Numbers)? _parsed;

    private (string?[] Names, Dictionary<string, int> Numbers) Parsed => _parsed ??= Parse();

    /// <summary>One more than the highest number; there are holes below.</summary>
    public int Length => Parsed.Names.Length;

    /// <summary>The name of a call, or null for a number that is not one.</summary>
    public string? Name(long number) => (ulong)number < (ulong)Parsed.Names.Length ? Parsed.Names[number] : null;

    /// <summary>The number of a call, or -1.</summary>
    public int Number(string name) => Parsed.Numbers.GetValueOrDefault(name, -1);

    /// <summary>Names by number; null in holes.</summary>
    public ReadOnlySpan<string?> Names => Parsed.Names;

    private (string?[] Names, Dictionary<string, int> Numbers) Parse()
    {
        var names = new string?[1024];
        var numbers = new Dictionary<string, int>(512);
        int next = 0, end = 0;
        var text = source.AsSpan();
        foreach (var range in text.SplitAny(' ', '\n', '\r'))
        {
            var word = text[range];
            if (word.IsEmpty)
                continue;
            if (char.IsAsciiDigit(word[0]))
            {
                next = int.Parse(word);
                continue;
            }
            var name = word.ToString();
            names[next] = name;
            numbers.TryAdd(name, next++);
            end = Math.Max(end, next);
        }
        return (names[..end], numbers);
    }
}
