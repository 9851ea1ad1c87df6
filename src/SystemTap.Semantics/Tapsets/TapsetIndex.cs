using System.Globalization;
using System.Text;

namespace SystemTap.Semantics.Tapsets;

/// <summary>Which kind of name an index section holds.</summary>
internal enum TapsetSection
{
    Functions,
    Globals,

    /// <summary>Dotted, without arguments.</summary>
    Aliases,
    Macros,
}

// The names a library defines and the files they are in, as one text that can be searched without building anything:
//
//   systemtap tapset index 2 CHECKSUM KEY
//   D MTIME PATH                    every folder looked at (MTIME 0: it does not exist)
//   F SIZE MTIME PATH \t PREFIX     every file, numbered from 0 in this order
//   %                               then the sections, each sorted by bytes:
//   NAME N,N                        name and the numbers of the files that define it
//
// A hello-world session asks for two or three names: a binary search over 100 KB of text costs less than the first
// dictionary entry. Freshness: every folder and every file is asked for its time (and size). Folder times alone would be
// fewer calls, but a file edited in place does not change its folder's time, and a library author who sees yesterday's
// names would not forgive it; 200 stats cost 0.3 ms.

/// <summary>An index in its text form.</summary>
internal sealed class TapsetIndex
{
    private const string Magic = "systemtap tapset index 2 ";

    private readonly byte[] _text;
    private readonly (int Start, int End)[] _sections;

    private TapsetIndex(byte[] text, List<TapsetFolder> folders, List<TapsetFile> files, (int, int)[] sections)
    {
        _text = text;
        Folders = folders;
        Files = files;
        _sections = sections;
    }

    public IReadOnlyList<TapsetFolder> Folders { get; }

    public IReadOnlyList<TapsetFile> Files { get; }

    /// <summary>Reads the text form; null when it is not one, is damaged, or was made for another key.</summary>
    public static TapsetIndex? Parse(byte[] text, string key)
    {
        var span = text.AsSpan();
        var end = span.IndexOf((byte)'\n');
        if (end < 0)
        {
            return null;
        }

        var body = span[(end + 1)..];
        if (!span[..end].SequenceEqual(Encoding.UTF8.GetBytes(Magic + Hash(body).ToString("x16", CultureInfo.InvariantCulture) + " " + key)))
        {
            return null;
        }

        var folders = new List<TapsetFolder>();
        var files = new List<TapsetFile>();
        var sections = new (int, int)[4];
        var section = -1;
        var at = end + 1;
        while (at < span.Length)
        {
            var length = span[at..].IndexOf((byte)'\n');
            if (length < 0)
            {
                return null;
            }

            var line = span.Slice(at, length);
            if (line.SequenceEqual("%"u8))
            {
                if (section >= 0)
                {
                    sections[section].Item2 = at;
                }

                if (++section >= 4)
                {
                    break;
                }

                sections[section] = (at + 2, at + 2);
                if (section == 0)
                {
                    // The rest is sections: only their borders are needed.
                    for (at += 2; section < 4; section++)
                    {
                        var next = span[at..].IndexOf("\n%\n"u8);
                        var empty = span[at..].StartsWith("%\n"u8);
                        if (next < 0 && !empty)
                        {
                            return null;
                        }

                        sections[section] = (at, empty ? at : at + next + 1);
                        at = sections[section].Item2 + 2;
                    }

                    return new TapsetIndex(text, folders, files, sections);
                }
            }

            if (!Header(Encoding.UTF8.GetString(line), folders, files))
            {
                return null;
            }

            at += length + 1;
        }

        return null;
    }

    private static bool Header(string line, List<TapsetFolder> folders, List<TapsetFile> files)
    {
        var parts = line.Split(' ', line.StartsWith('D') ? 3 : 4);
        if (parts[0] == "D" && parts.Length == 3 && long.TryParse(parts[1], out var time))
        {
            folders.Add(new TapsetFolder(parts[2], time));
            return true;
        }

        var tab = parts.Length == 4 ? parts[3].IndexOf('\t') : -1;
        if (parts[0] != "F" || tab < 0 || !long.TryParse(parts[1], out var size) || !long.TryParse(parts[2], out time))
        {
            return false;
        }

        files.Add(new TapsetFile(parts[3][..tab], size, time, tab + 1 == parts[3].Length ? null : parts[3][(tab + 1)..]));
        return true;
    }

    /// <summary>Makes the text form.</summary>
    public static TapsetIndex Build(List<TapsetFolder> folders, List<TapsetFile> files, SortedDictionary<string, List<int>>[] names, string key, out byte[] text)
    {
        var body = new StringBuilder();
        foreach (var folder in folders)
        {
            body.Append("D ").Append(folder.Time).Append(' ').Append(folder.Path).Append('\n');
        }

        foreach (var file in files)
        {
            body.Append("F ").Append(file.Size).Append(' ').Append(file.Time).Append(' ').Append(file.Path).Append('\t').Append(file.ProcessPathPrefix).Append('\n');
        }

        body.Append("%\n");
        foreach (var section in names)
        {
            foreach (var (name, numbers) in section)
            {
                body.Append(name).Append(' ').AppendJoin(',', numbers).Append('\n');
            }

            body.Append("%\n");
        }

        var bytes = Encoding.UTF8.GetBytes(body.ToString());
        text = [.. Encoding.UTF8.GetBytes(Magic + Hash(bytes).ToString("x16", CultureInfo.InvariantCulture) + " " + key + "\n"), .. bytes];
        return Parse(text, key) ?? throw new InvalidOperationException("a tapset index that was just written cannot be read");
    }

    /// <summary>Numbers of the files that define a name, in file order.</summary>
    public List<int> Find(TapsetSection section, string name)
    {
        var wanted = Encoding.UTF8.GetBytes(name);
        var at = LowerBound(section, wanted);
        var end = _sections[(int)section].End;
        if (at < end)
        {
            var line = Line(at, end);
            var space = line.LastIndexOf((byte)' ');
            if (line[..space].SequenceEqual(wanted))
            {
                return Numbers(line[(space + 1)..]);
            }
        }

        return [];
    }

    /// <summary>Names that begin with a text, with their files.</summary>
    public IEnumerable<(string Name, List<int> Files)> WithPrefix(TapsetSection section, string prefix)
    {
        var start = Encoding.UTF8.GetBytes(prefix);
        var end = _sections[(int)section].End;
        for (var at = LowerBound(section, start); at < end;)
        {
            var (name, files, length) = Entry(at, end, start);
            if (name is null)
            {
                yield break;
            }

            yield return (name, files!);
            at += length + 1;
        }
    }

    private (string? Name, List<int>? Files, int Length) Entry(int at, int end, byte[] prefix)
    {
        var line = Line(at, end);
        if (!line.StartsWith(prefix))
        {
            return default;
        }

        var space = line.LastIndexOf((byte)' ');
        return (Encoding.UTF8.GetString(line[..space]), Numbers(line[(space + 1)..]), line.Length);
    }

    private int LowerBound(TapsetSection section, ReadOnlySpan<byte> wanted)
    {
        var (low, high) = _sections[(int)section];
        var end = high;
        while (low < high)
        {
            // Some byte in the middle, then back to where its line begins.
            var middle = low + ((high - low) / 2);
            var start = low + (_text.AsSpan(low, middle - low).LastIndexOf((byte)'\n') + 1);
            var line = Line(start, end);
            if (line[..line.LastIndexOf((byte)' ')].SequenceCompareTo(wanted) < 0)
            {
                low = start + line.Length + 1;
            }
            else
            {
                high = start;
            }
        }

        return low;
    }

    private ReadOnlySpan<byte> Line(int start, int end)
    {
        var rest = _text.AsSpan(start, end - start);
        return rest[..rest.IndexOf((byte)'\n')];
    }

    private static List<int> Numbers(ReadOnlySpan<byte> text)
    {
        var result = new List<int>(1);
        foreach (var range in text.Split((byte)','))
        {
            if (int.TryParse(text[range], NumberStyles.None, CultureInfo.InvariantCulture, out var number))
            {
                result.Add(number);
            }
        }

        return result;
    }

    /// <summary>FNV-1a over 8 bytes at a time: against torn and edited files, not against people.</summary>
    private static ulong Hash(ReadOnlySpan<byte> bytes)
    {
        var hash = 0xcbf29ce484222325UL ^ (ulong)bytes.Length;
        while (bytes.Length >= 8)
        {
            hash = (hash ^ System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(bytes)) * 0x100000001b3UL;
            hash ^= hash >> 29;
            bytes = bytes[8..];
        }

        foreach (var b in bytes)
        {
            hash = (hash ^ b) * 0x100000001b3UL;
        }

        return hash ^ (hash >> 32);
    }

    public static string KeyHash(string key) => Hash(Encoding.UTF8.GetBytes(key)).ToString("x16", CultureInfo.InvariantCulture);
}

/// <summary>A folder looked at; <paramref name="Time"/> in ticks, 0 when it does not exist.</summary>
internal sealed record TapsetFolder(string Path, long Time);

/// <summary>A library file.</summary>
/// <param name="Path">Absolute.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Time">Last write, in ticks.</param>
/// <param name="ProcessPathPrefix">For files under <c>PATH/</c>.</param>
internal sealed record TapsetFile(string Path, long Size, long Time, string? ProcessPathPrefix)
{
    public bool IsMacros => Path.EndsWith(".stpm", StringComparison.Ordinal);
}
