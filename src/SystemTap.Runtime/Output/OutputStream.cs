using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using SystemTap.Runtime.Native;

namespace SystemTap.Runtime.Output;

/// <summary>
/// The session's one output stream: standard output or the file of <c>-o</c>, buffered, rotated by <c>-S</c>. The session flushes it when idle.
/// A reader that went away (EPIPE) is reported by <see cref="IsBroken"/>; later output is dropped.
/// </summary>
public sealed class OutputStream : IDisposable
{
    private const int FlushAt = 64 * 1024;
    private readonly ByteSink _buffer = new(FlushAt + 8192);
    private readonly string? _pattern;
    private readonly long _rotateBytes;
    private readonly int _keep;
    private readonly Queue<string> _written = new();
    private int _fd;
    private int _number;
    private long _inFile;

    /// <param name="path">File name with strftime directives; null for standard output.</param>
    /// <param name="rotateBytes">Start the next file at this size; 0 never.</param>
    /// <param name="keep">Keep at most so many files; 0 all.</param>
    /// <exception cref="IOException">The file cannot be created.</exception>
    public OutputStream(string? path, long rotateBytes = 0, int keep = 0)
    {
        (_pattern, _rotateBytes, _keep) = (path, rotateBytes, keep);
        _fd = path is null ? 1 : Open();
    }

    /// <summary>True once the other end has gone or the disk refused: errno is in <see cref="Error"/>.</summary>
    public bool IsBroken => Error != 0;

    /// <summary>errno of the failed write; 0 for none.</summary>
    public int Error { get; private set; }

    /// <summary>Bytes written in all.</summary>
    public long Total { get; private set; }

    /// <summary>The buffer; what is appended here is output. Call <see cref="Written"/> after each piece.</summary>
    public ByteSink Buffer => _buffer;

    /// <summary>Tells that a whole piece (one print) is in the buffer: a good place to flush or to change files.</summary>
    public void Written()
    {
        if (_buffer.Length >= FlushAt)
        {
            Flush();
        }
    }

    public void Write(ReadOnlySpan<byte> text)
    {
        _buffer.Append(text);
        Written();
    }

    public void Flush()
    {
        if (_buffer.Length == 0)
        {
            return;
        }

        if (Error == 0)
        {
            Error = Libc.WriteAll(_fd, _buffer.Written);
            _inFile += _buffer.Length;
            Total += _buffer.Length;
        }

        _buffer.Clear();
        if (_rotateBytes > 0 && _inFile >= _rotateBytes)
        {
            NextFile();
        }
    }

    /// <summary>Closes the file and goes on in the next one; nothing for standard output.</summary>
    public void SwitchFile()
    {
        Flush();
        NextFile();
    }

    public void Dispose()
    {
        Flush();
        if (_pattern is not null && _fd >= 0)
        {
            Libc.close(_fd);
            _fd = -1;
        }
    }

    private void NextFile()
    {
        if (_pattern is null)
        {
            return;
        }

        Libc.close(_fd);
        _number++;
        _inFile = 0;
        _fd = Open();
    }

    private int Open()
    {
        var name = Expand(_pattern!, DateTime.Now);

        // Numbered when there can be several: by size, or because the pattern gives the same name again.
        if (_rotateBytes > 0 || _number > 0)
        {
            name = $"{name}.{_number.ToString(CultureInfo.InvariantCulture)}";
        }

        var fd = Libc.open(name, Libc.OpenWriteOnly | Libc.OpenCreate | Libc.OpenTruncate | Libc.OpenCloseOnExec, 0x1b4);
        if (fd < 0)
        {
            throw new IOException($"output file \"{name}\" cannot be created: {Marshal.GetLastPInvokeErrorMessage()}; choose another with -o");
        }

        _written.Enqueue(name);
        while (_keep > 0 && _written.Count > _keep)
        {
            File.Delete(_written.Dequeue());
        }

        return fd;
    }

    /// <summary>Replaces strftime directives; unknown ones stay as they are.</summary>
    public static string Expand(string pattern, DateTime time)
    {
        if (!pattern.Contains('%'))
        {
            return pattern;
        }

        var text = new StringBuilder();
        for (var i = 0; i < pattern.Length; i++)
        {
            if (pattern[i] != '%' || i + 1 == pattern.Length)
            {
                text.Append(pattern[i]);
                continue;
            }

            var directive = pattern[++i];
            var format = directive switch
            {
                'Y' => "yyyy",
                'y' => "yy",
                'm' => "MM",
                'd' => "dd",
                'H' => "HH",
                'I' => "hh",
                'M' => "mm",
                'S' => "ss",
                'F' => "yyyy-MM-dd",
                'T' => "HH:mm:ss",
                'D' => "MM/dd/yy",
                'R' => "HH:mm",
                'b' or 'h' => "MMM",
                'B' => "MMMM",
                'a' => "ddd",
                'A' => "dddd",
                'p' => "tt",
                _ => null,
            };
            _ = directive switch
            {
                _ when format is not null => text.Append(time.ToString(format, CultureInfo.InvariantCulture)),
                '%' => text.Append('%'),
                'j' => text.Append(time.DayOfYear.ToString("000", CultureInfo.InvariantCulture)),
                's' => text.Append(new DateTimeOffset(time).ToUnixTimeSeconds()),
                'e' => text.Append(time.Day.ToString(CultureInfo.InvariantCulture).PadLeft(2)),
                _ => text.Append('%').Append(directive),
            };
        }

        return text.ToString();
    }
}
