using System.Text;

namespace SystemTap.Language.Text;

/// <summary>
/// One script, tapset file or command-line script. The text is kept as bytes: every <see cref="char"/> of
/// <see cref="Content"/> is one byte (0–255, Latin-1), so ill-formed UTF-8 passes through unharmed and offsets are
/// byte offsets. The whole system keeps script strings in this form; <see cref="Encoding.Latin1"/> turns them back
/// into the bytes that are printed.
/// </summary>
public sealed class SourceText
{
    private int[]? _lineStarts;

    /// <summary>Creates a source from text that is already in byte form.</summary>
    /// <param name="path">Name shown in diagnostics: the file's path as the user gave it, <c>&lt;input&gt;</c> for <c>-e</c> and standard input.</param>
    /// <param name="content">The text, one char for each byte.</param>
    /// <param name="isTapset">True for library files: parsed in guru mode, their globals are not printed at the end.</param>
    public SourceText(string path, string content, bool isTapset = false)
    {
        Path = path;
        Content = content;
        IsTapset = isTapset;
    }

    /// <summary>Name shown in diagnostics.</summary>
    public string Path { get; }

    /// <summary>The bytes of the file, one char each.</summary>
    public string Content { get; }

    /// <summary>True for a file of the tapset library.</summary>
    public bool IsTapset { get; }

    /// <summary>For a tapset file under <c>PATH/</c>: the directory prefix (such as <c>/usr/bin/</c>) of relative process paths in it; else null.</summary>
    public string? ProcessPathPrefix { get; init; }

    /// <summary>Reads a file. Throws <see cref="IOException"/> or <see cref="UnauthorizedAccessException"/>, which callers turn into a diagnostic.</summary>
    public static SourceText Load(string path, bool isTapset = false) =>
        new(path, Encoding.Latin1.GetString(File.ReadAllBytes(path)), isTapset);

    /// <summary>1-based line and column of a byte offset.</summary>
    public (int Line, int Column) Position(int offset)
    {
        var starts = LineStarts();
        var i = Array.BinarySearch(starts, offset);
        if (i < 0)
        {
            i = ~i - 1;
        }

        return (i + 1, offset - starts[i] + 1);
    }

    /// <summary>The text of a 1-based line, without its newline.</summary>
    public ReadOnlySpan<char> LineText(int line)
    {
        var starts = LineStarts();
        if (line < 1 || line > starts.Length)
        {
            return default;
        }

        var start = starts[line - 1];
        var end = line < starts.Length ? starts[line] - 1 : Content.Length;
        return Content.AsSpan(start, Math.Max(0, end - start));
    }

    private int[] LineStarts()
    {
        if (_lineStarts is { } known)
        {
            return known;
        }

        var list = new List<int> { 0 };
        for (var i = 0; i < Content.Length; i++)
        {
            if (Content[i] == '\n')
            {
                list.Add(i + 1);
            }
        }

        return _lineStarts = [.. list];
    }
}

/// <summary>A stretch of a source text: where a token or a node stands.</summary>
/// <param name="Source">The text.</param>
/// <param name="Start">Byte offset of the first byte.</param>
/// <param name="Length">Length in bytes.</param>
public readonly record struct SourceSpan(SourceText Source, int Start, int Length)
{
    /// <summary>Offset after the last byte.</summary>
    public int End => Start + Length;

    /// <summary>1-based line and column of the first byte.</summary>
    public (int Line, int Column) Position => Source.Position(Start);

    /// <summary>The place of code that stap makes itself, for messages.</summary>
    public const string Unwritten = "<builtin>";

    /// <summary>False for code that stap makes itself, such as pictures of structures.</summary>
    public bool IsWritten => Source is not null;

    /// <summary><c>FILE:LINE:COL</c>, as diagnostics print it.</summary>
    public override string ToString()
    {
        if (Source is null)
        {
            return Unwritten;
        }

        var (line, column) = Position;
        return $"{Source.Path}:{line}:{column}";
    }

    /// <summary>The smallest span that holds both (of the same source; else <paramref name="other"/> is ignored).</summary>
    public SourceSpan To(SourceSpan other) =>
        ReferenceEquals(Source, other.Source) && other.End > Start ? this with { Length = other.End - Start } : this;
}
