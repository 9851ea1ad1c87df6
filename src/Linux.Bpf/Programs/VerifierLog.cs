using System.Globalization;
using System.Text;

namespace Linux.Bpf;

/// <summary>Reads verifier logs. The only thing taken from their text as fact is the number of the last instruction shown.</summary>
public static class VerifierLog
{
    /// <summary>The NUL-terminated text in a log buffer.</summary>
    public static string Text(ReadOnlySpan<byte> buffer)
    {
        int end = buffer.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? buffer : buffer[..end]);
    }

    /// <summary>
    /// The line that says why: the last one but for statistics, with the line before it when the last alone does not
    /// make sense (it is indented, or only continues a register's story).
    /// </summary>
    public static string Summary(string log)
    {
        string[] lines = log.TrimEnd('\n', '\0', ' ').Split('\n');
        int last = lines.Length - 1;
        while (last > 0 && (lines[last].StartsWith("processed ", StringComparison.Ordinal) || IsStatistics(lines[last]) || lines[last].Length == 0))
            last--;
        if (last < 0)
            return "";
        string line = lines[last].Trim();
        bool lead = last > 0 && (lines[last].StartsWith('\t') || line.StartsWith("invalid bpf_context access", StringComparison.Ordinal) ||
            (line.Length > 1 && line[0] == 'R' && char.IsAsciiDigit(line[1])));
        return lead ? lines[last - 1].Trim() + ": " + line : line;
    }

    private static bool IsStatistics(string line) =>
        line.StartsWith("verification time ", StringComparison.Ordinal) || line.StartsWith("stack depth ", StringComparison.Ordinal) ||
        line.StartsWith("mark_precise", StringComparison.Ordinal);

    /// <summary>Number of the last instruction the verifier showed (<c>12: (85) call …</c>), the one it stopped at; -1 if none.</summary>
    public static int LastInstruction(string log)
    {
        for (int end = log.Length; end > 0;)
        {
            int start = log.LastIndexOf('\n', end - 1) + 1;
            ReadOnlySpan<char> line = log.AsSpan(start, end - start);
            int colon = line.IndexOf(':');
            if (colon > 0 && colon + 2 < line.Length && line[colon + 2] == '(' &&
                int.TryParse(line[..colon], NumberStyles.None, CultureInfo.InvariantCulture, out int slot))
                return slot;
            end = start - 1;
        }
        return -1;
    }
}

/// <summary>The verifier refused a program. For generated code this is the generator's bug: the message leads to the source line.</summary>
public sealed class VerifierException : BpfException
{
    internal VerifierException(ProgramSpec spec, int errno, string log)
        : this(spec, errno, log, VerifierLog.Summary(log), VerifierLog.LastInstruction(log)) { }

    private VerifierException(ProgramSpec spec, int errno, string log, string summary, int slot)
        : base(Describe(spec, errno, summary, log, slot), $"program \"{spec.Name}\"", "load", errno)
    {
        (Summary, Log, Slot, Mark) = (summary, log, slot, MarkOf(spec, slot));
        File = Mark is { } mark && (uint)mark.File < (uint)spec.Sources.Count ? spec.Sources[mark.File] : null;
    }

    /// <summary>Why, in a line.</summary>
    public string Summary { get; }
    /// <summary>All the verifier said.</summary>
    public string Log { get; }
    /// <summary>Instruction it stopped at, -1 if not known.</summary>
    public int Slot { get; }
    /// <summary>Source place of that instruction, if it has one.</summary>
    public SourceMark? Mark { get; }
    /// <summary>The text <see cref="Mark"/> points into, if it is known.</summary>
    public SourceFile? File { get; }

    // An instruction without a place belongs to what stands before it.
    private static SourceMark? MarkOf(ProgramSpec spec, int slot)
    {
        ReadOnlySpan<SourceMark> marks = spec.Code.Marks.Span;
        for (int i = Math.Min(slot, marks.Length - 1); i >= 0; i--)
            if (marks[i].IsKnown)
                return marks[i];
        return null;
    }

    private static string Describe(ProgramSpec spec, int errno, string summary, string log, int slot)
    {
        var text = new StringBuilder($"program \"{spec.Name}\": refused by the kernel's verifier: {summary} ({Errno.Name(errno)})");
        if (MarkOf(spec, slot) is { } mark && (uint)mark.File < (uint)spec.Sources.Count)
            text.Append(CultureInfo.InvariantCulture, $"; at {spec.Sources[mark.File].Name}:{mark.Line}:{mark.Column}: {spec.Sources[mark.File].Line(mark.Line)}");
        int lines = log.AsSpan().Count('\n');
        if (lines > 1)
            text.Append(CultureInfo.InvariantCulture, $" ({lines - 1} lines of log omitted)");
        return text.ToString();
    }
}
