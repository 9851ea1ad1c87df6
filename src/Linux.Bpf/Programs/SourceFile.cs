namespace Linux.Bpf;

/// <summary>A text that instructions come from; its lines are quoted in verifier logs, bpftool and perf annotate.</summary>
public sealed class SourceFile(string name, string text)
{
    private int[]? _starts;

    /// <summary>Name as it should appear in logs.</summary>
    public string Name { get; } = name;

    /// <summary>A line without its end and indent, counting from 1; empty past the end.</summary>
    public string Line(int number)
    {
        int[] starts = _starts ??= Starts(text);
        if (number < 1 || number >= starts.Length)
            return "";
        return text[starts[number - 1]..starts[number]].Trim();
    }

    private static int[] Starts(string text)
    {
        var starts = new List<int> { 0 };
        for (int i = 0; i < text.Length; i++)
            if (text[i] == '\n')
                starts.Add(i + 1);
        if (starts[^1] != text.Length)
            starts.Add(text.Length);
        return [.. starts];
    }
}
