using System.Text;

namespace SystemTap.Cli.CommandLine;

/// <summary>
/// Options that stand before those of the command line: the words of <c>$SYSTEMTAP_DIR/rc</c>, else <c>~/.systemtap/rc</c>. Words are separated by blanks and
/// newlines; quotes, backslashes, a leading <c>~</c> and <c>$NAME</c> or <c>${NAME}</c> mean what they mean to a shell. Commands are not run.
/// </summary>
internal static class RcFile
{
    /// <summary>Words of the user's file; none when there is no such file.</summary>
    /// <exception cref="UsageException">It cannot be read, or a quote is not closed.</exception>
    public static IReadOnlyList<string> Words()
    {
        var folder = Environment.GetEnvironmentVariable("SYSTEMTAP_DIR") is { Length: > 0 } own ? own
            : Environment.GetEnvironmentVariable("HOME") is { Length: > 0 } home ? Path.Combine(home, ".systemtap") : null;
        var path = folder is null ? null : Path.Combine(folder, "rc");
        if (path is null || !File.Exists(path))
        {
            return [];
        }

        try
        {
            return Split(File.ReadAllText(path, Encoding.Latin1), path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"file of options '{path}' cannot be read: {(e is UnauthorizedAccessException ? "permission denied" : e.Message)}", "change its permissions or remove it");
        }
    }

    /// <summary>Splits text into words as a shell would.</summary>
    public static List<string> Split(string text, string path)
    {
        var words = new List<string>();
        var word = new StringBuilder();
        var inWord = false;
        var quote = '\0';
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (quote != '\0' && c == quote)
            {
                quote = '\0';
            }
            else if (quote == '\'')
            {
                word.Append(c);
            }
            else if (c == '\\' && i + 1 < text.Length && (quote == '\0' || text[i + 1] is '"' or '\\' or '$'))
            {
                inWord = true;
                word.Append(text[++i]);
            }
            else if (c == '$' && i + 1 < text.Length && (char.IsAsciiLetter(text[i + 1]) || text[i + 1] is '_' or '{'))
            {
                inWord = true;
                word.Append(Variable(text, ref i));
            }
            else if (quote != '\0')
            {
                word.Append(c);
            }
            else if (c is '\'' or '"')
            {
                (quote, inWord) = (c, true);
            }
            else if (c is ' ' or '\t' or '\n' or '\r')
            {
                Take();
            }
            else if (c == '~' && !inWord && (i + 1 == text.Length || text[i + 1] is '/' or ' ' or '\n'))
            {
                inWord = true;
                word.Append(Environment.GetEnvironmentVariable("HOME"));
            }
            else
            {
                inWord = true;
                word.Append(c);
            }
        }

        if (quote != '\0')
        {
            throw new UsageException($"file of options '{path}': a quote {quote} is not closed", "close it");
        }

        Take();
        return words;

        void Take()
        {
            if (inWord)
            {
                words.Add(word.ToString());
                word.Clear();
                inWord = false;
            }
        }
    }

    private static string? Variable(string text, ref int i)
    {
        var braces = text[i + 1] == '{';
        var start = i + (braces ? 2 : 1);
        var end = start;
        while (end < text.Length && (char.IsAsciiLetterOrDigit(text[end]) || text[end] == '_'))
        {
            end++;
        }

        i = braces && end < text.Length && text[end] == '}' ? end : end - 1;
        return Environment.GetEnvironmentVariable(text[start..end]);
    }
}
