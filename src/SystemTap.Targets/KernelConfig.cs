using System.IO.Compression;
using System.Text;

namespace SystemTap.Targets;

/// <summary>The configuration the kernel was built with. Kept as its text: a session asks a few names, if any.</summary>
public sealed class KernelConfig
{
    private readonly byte[] _text; // begins with a newline, so that every line is found after one

    private KernelConfig(byte[] text) => _text = text;

    /// <summary>What a kernel without a readable configuration has: every answer is null.</summary>
    public static KernelConfig Empty { get; } = new([]);

    /// <summary>Whether there was no configuration to read, as opposed to options not set.</summary>
    public bool IsEmpty => _text.Length == 0;

    /// <summary>Takes the text of a <c>.config</c> file.</summary>
    public static KernelConfig Parse(ReadOnlySpan<byte> text)
    {
        if (text.IsEmpty)
            return Empty;
        var copy = new byte[text.Length + 1];
        copy[0] = (byte)'\n';
        text.CopyTo(copy.AsSpan(1));
        return new KernelConfig(copy);
    }

    /// <inheritdoc cref="Parse(ReadOnlySpan{byte})"/>
    public static KernelConfig Parse(string text) => Parse(Encoding.UTF8.GetBytes(text));

    /// <summary>
    /// Reads the running kernel's configuration: /proc/config.gz (needs CONFIG_IKCONFIG_PROC), /boot/config-RELEASE,
    /// /lib/modules/RELEASE/build/.config, /lib/modules/RELEASE/config. Unreadable or damaged ones count as absent.
    /// </summary>
    public static KernelConfig Read(string release)
    {
        ReadOnlySpan<string> places =
        [
            "/proc/config.gz", $"/boot/config-{release}", $"/lib/modules/{release}/build/.config", $"/lib/modules/{release}/config",
        ];
        foreach (var path in places)
        {
            if (!File.Exists(path))
                continue;
            try
            {
                var bytes = File.ReadAllBytes(path);
                if (bytes is [0x1f, 0x8b, ..])
                {
                    using var plain = new MemoryStream(bytes.Length * 5);
                    using var packed = new GZipStream(new MemoryStream(bytes), CompressionMode.Decompress);
                    packed.CopyTo(plain);
                    return Parse(plain.GetBuffer().AsSpan(0, (int)plain.Length));
                }
                return Parse(bytes);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
            {
                // the next place may do
            }
        }
        return Empty;
    }

    /// <summary>
    /// The value of an option given with its "CONFIG_": "y", "m", a number, or text as it stands in the file
    /// without surrounding quotes. Null when it is not set or nothing is known.
    /// </summary>
    public string? this[string name]
    {
        get
        {
            var key = Encoding.UTF8.GetBytes("\n" + name + "=");
            var at = _text.AsSpan().IndexOf(key);
            if (at < 0)
                return null;
            var value = _text.AsSpan(at + key.Length);
            var end = value.IndexOf((byte)'\n');
            if (end >= 0)
                value = value[..end];
            value = value.TrimEnd(" \t\r"u8);
            if (value is [(byte)'"', .., (byte)'"'])
                value = value[1..^1];
            return Encoding.UTF8.GetString(value);
        }
    }

    /// <summary>Whether an option is "y" or "m"; null when no configuration could be read.</summary>
    public bool? IsEnabled(string name) => IsEmpty ? null : this[name] is "y" or "m";
}
