using System.Globalization;
using System.Text;

namespace SystemTap.KernelModule.Translation;

/// <summary>Indented C text.</summary>
internal sealed class CWriter
{
    private readonly StringBuilder _text = new();

    public int Indent { get; set; }

    public int Length => _text.Length;

    public void Line(string text = "")
    {
        if (text.Length > 0)
        {
            _text.Append('\t', Indent).Append(text);
        }

        _text.Append('\n');
    }

    /// <summary>A line at the left margin: preprocessor lines.</summary>
    public void Raw(string text) => _text.Append(text).Append('\n');

    /// <summary>A jump label: one level further left than the code it stands in.</summary>
    public void Label(string name) => _text.Append('\t', Math.Max(0, Indent - 1)).Append(name).Append(":\n");

    public void Open(string text = "")
    {
        Line(text.Length > 0 ? text + " {" : "{");
        Indent++;
    }

    public void Close(string after = "")
    {
        Indent--;
        Line("}" + after);
    }

    /// <summary>Puts text where the writer stood when <see cref="Length"/> had that value.</summary>
    public void InsertAt(int position, string text) => _text.Insert(position, text);

    /// <summary>Puts all lines written since the writer stood at a position into braces.</summary>
    public void Enclose(int position)
    {
        var lines = _text.ToString(position, _text.Length - position).TrimEnd('\n').Split('\n');
        _text.Length = position;
        Open();
        foreach (var line in lines)
        {
            _text.Append(line.Length > 0 ? "\t" : "").Append(line).Append('\n');
        }

        Close();
    }

    public override string ToString() => _text.ToString();
}

/// <summary>Spells literals and names in C.</summary>
internal static class C
{
    /// <summary>A 64-bit constant.</summary>
    public static string Long(long value) => value switch
    {
        long.MinValue => "(-9223372036854775807LL - 1)",
        < 0 => string.Create(CultureInfo.InvariantCulture, $"({value}LL)"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{value}LL"),
    };

    public static string Int(long value) => value.ToString(CultureInfo.InvariantCulture);

    /// <summary>A string literal; each char is a byte.</summary>
    public static string Literal(string bytes)
    {
        var text = new StringBuilder(bytes.Length + 2).Append('"');
        foreach (var c in bytes)
        {
            _ = c switch
            {
                '\n' => text.Append("\\n"),
                '\t' => text.Append("\\t"),
                '"' => text.Append("\\\""),
                '\\' => text.Append("\\\\"),

                // No trigraphs.
                '?' => text.Append("\\?"),
                >= ' ' and < '\x7f' => text.Append(c),
                _ => text.Append('\\').Append((char)('0' + (c >> 6 & 3))).Append((char)('0' + (c >> 3 & 7))).Append((char)('0' + (c & 7))),
            };
        }

        return text.Append('"').ToString();
    }

    /// <summary>A literal or NULL.</summary>
    public static string LiteralOrNull(string? text) => text is null ? "NULL" : Literal(text);

    /// <summary>A string constant as <c>struct stap_str</c>.</summary>
    public static string Text(string bytes) => bytes.Length == 0 ? "STAP_EMPTY" : $"STAP_TEXT({Literal(bytes)})";

    /// <summary>The letters of a name that C allows.</summary>
    public static string Name(string name)
    {
        var text = new StringBuilder(name.Length);
        foreach (var c in name)
        {
            text.Append(char.IsAsciiLetterOrDigit(c) || c == '_' ? c : '_');
        }

        return text.ToString();
    }

    /// <summary>Text that may stand in a comment.</summary>
    public static string Comment(ReadOnlySpan<char> text)
    {
        var result = new StringBuilder(text.Length);
        foreach (var c in text.Trim())
        {
            result.Append(c is >= ' ' and < '\x7f' ? c : c == '\t' ? ' ' : '.');
        }

        return result.Replace("*/", "* /").Replace("/*", "/ *").ToString();
    }
}

/// <summary>Gives out names that are unique in one scope of C.</summary>
internal sealed class NamePool
{
    private readonly HashSet<string> _taken = new(StringComparer.Ordinal);

    public string Take(string wanted)
    {
        var name = C.Name(wanted);
        for (var n = 2; !_taken.Add(name); n++)
        {
            name = C.Name(wanted) + "_" + C.Int(n);
        }

        return name;
    }
}
