using System.Globalization;

namespace SystemTap.Targets;

/// <summary>A field of a classic event's record.</summary>
/// <param name="Name">As in the format.</param>
/// <param name="Type">Its C type: "char", "const char *", "unsigned long"; without array bounds and __data_loc.</param>
/// <param name="Offset">Bytes from the beginning of the record (the common fields take the first 8).</param>
/// <param name="Size">Bytes; of a dynamic field, of its locator.</param>
/// <param name="IsSigned">Whether to sign-extend.</param>
/// <param name="ArrayLength">Elements of an array; -1 when it is none, 0 when the length is dynamic or unknown.</param>
/// <param name="Location">How the record says where the data is.</param>
public sealed record TracepointField(string Name, string Type, int Offset, int Size, bool IsSigned, int ArrayLength, TracepointFieldLocation Location);

/// <summary>Where a field's data is.</summary>
public enum TracepointFieldLocation
{
    /// <summary>In place.</summary>
    Inline,
    /// <summary><c>__data_loc</c>: a u32 of (length &lt;&lt; 16 | offset from the record's beginning).</summary>
    FromRecord,
    /// <summary><c>__rel_loc</c> (5.17): the same, but counted from the end of the locator.</summary>
    FromLocator,
}

/// <summary>The "format" file of a classic event in tracefs.</summary>
public sealed class TracepointFormat
{
    private TracepointFormat(string name, int id, TracepointField[] fields) => (Name, Id, Fields) = (name, id, fields);

    public string Name { get; }

    /// <summary>What perf_event_open(2) takes as config for type PERF_TYPE_TRACEPOINT.</summary>
    public int Id { get; }

    /// <summary>All fields, the common ones first.</summary>
    public IReadOnlyList<TracepointField> Fields { get; }

    public TracepointField? Find(string name)
    {
        foreach (var field in Fields)
            if (field.Name == name)
                return field;
        return null;
    }

    /// <exception cref="TargetException">The text is not such a file.</exception>
    public static TracepointFormat Parse(string text)
    {
        string? name = null;
        int? id = null;
        var fields = new List<TracepointField>();
        foreach (var line in text.AsSpan().EnumerateLines())
        {
            var trimmed = line.Trim();
            if (trimmed.StartsWith("name:"))
                name = trimmed[5..].Trim().ToString();
            else if (trimmed.StartsWith("ID:"))
                id = int.TryParse(trimmed[3..], NumberStyles.AllowLeadingWhite, CultureInfo.InvariantCulture, out var number) ? number : null;
            else if (trimmed.StartsWith("field:"))
                fields.Add(Field(trimmed));
            else if (trimmed.StartsWith("print fmt:"))
                break;
        }
        return name is not null && id is not null
            ? new TracepointFormat(name, id.Value, [.. fields])
            : throw new TargetException("tracepoint format is malformed: it has no name or no ID. Is it the \"format\" file of an event in tracefs?");
    }

    private static TracepointField Field(ReadOnlySpan<char> line)
    {
        ReadOnlySpan<char> declaration = default;
        int offset = -1, size = -1, signed = 0;
        foreach (var range in line.Split(';'))
        {
            var part = line[range].Trim();
            if (part.StartsWith("field:"))
                declaration = part[6..].Trim();
            else if (part.StartsWith("offset:") && !int.TryParse(part[7..], out offset)
                || part.StartsWith("size:") && !int.TryParse(part[5..], out size)
                || part.StartsWith("signed:") && !int.TryParse(part[7..], out signed))
                throw Malformed(line);
        }
        if (offset < 0 || size < 0 || declaration.IsEmpty)
            throw Malformed(line);

        var location = TracepointFieldLocation.Inline;
        if (declaration.StartsWith("__data_loc "))
            location = TracepointFieldLocation.FromRecord;
        else if (declaration.StartsWith("__rel_loc "))
            location = TracepointFieldLocation.FromLocator;
        if (location != TracepointFieldLocation.Inline)
            declaration = declaration[(declaration.IndexOf(' ') + 1)..];

        var length = -1;
        if (declaration is [.., ']'] && declaration.LastIndexOf('[') is > 0 and var bracket)
        {
            // "char comm[16]"; the bound may be an expression, then size tells
            length = int.TryParse(declaration[(bracket + 1)..^1], out var bound) ? bound : 0;
            declaration = declaration[..bracket].TrimEnd();
        }
        var start = declaration.Length;
        while (start > 0 && (char.IsAsciiLetterOrDigit(declaration[start - 1]) || declaration[start - 1] == '_'))
            start--;
        var type = declaration[..start].TrimEnd();
        if (type.EndsWith("[]")) // "__data_loc char[] name"
        {
            length = 0;
            type = type[..^2].TrimEnd();
        }
        return new TracepointField(declaration[start..].ToString(), type.ToString(), offset, size, signed != 0, length, location);
    }

    private static TargetException Malformed(ReadOnlySpan<char> line) =>
        new($"tracepoint format is malformed: \"{line}\" is not a field. Is it the \"format\" file of an event in tracefs?");
}
