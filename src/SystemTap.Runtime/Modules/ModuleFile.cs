using System.Buffers.Binary;
using System.Text;

namespace SystemTap.Runtime.Modules;

/// <summary>What a module file says of itself: its <c>.modinfo</c> section.</summary>
public sealed class ModuleFile
{
    private const string Mark = "script module, transport ";
    private readonly Dictionary<string, string> _info;

    private ModuleFile(string path, Dictionary<string, string> info, bool isSigned)
    {
        Path = path;
        _info = info;
        IsSigned = isSigned;
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>The module's name in the kernel.</summary>
    public string Name => _info["name"];

    /// <summary>The kernel release it was built for.</summary>
    public string Release => _info.GetValueOrDefault("vermagic", "").Split(' ')[0];

    /// <summary>A signature stands at its end.</summary>
    public bool IsSigned { get; }

    /// <summary>The file that a word of the command line means: a path, or the name of a module that the administrator has put into <c>/lib/modules/RELEASE/systemtap</c>.</summary>
    public static string Find(string word)
    {
        if (word.Contains('/') || word.EndsWith(".ko", StringComparison.Ordinal) || File.Exists(word))
        {
            return word;
        }

        var release = ModuleLoader.RunningRelease();
        var path = $"/lib/modules/{release}/systemtap/{word}.ko";
        return File.Exists(path) ? path : throw new ModuleException($"module '{word}' is neither a file nor in '/lib/modules/{release}/systemtap'", "give the path of a file made by 'stap -p4'");
    }

    /// <summary>Reads a file and makes sure that it is a script module of this version.</summary>
    /// <exception cref="ModuleException">It is not.</exception>
    public static ModuleFile Open(string path)
    {
        const string Give = "give the path of a file made by 'stap -p4'";
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ModuleException($"module file '{path}' does not exist", Give);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModuleException(Directory.Exists(path) ? $"'{path}' is a folder" : $"module file '{path}' cannot be read", Give);
        }

        var info = ReadInfo(bytes);
        if (info is null || !info.ContainsKey("name") || !info.TryGetValue("stap", out var mark) || !mark.StartsWith(Mark, StringComparison.Ordinal))
        {
            throw new ModuleException($"'{path}' is not a module made by stap", "staprun loads no other modules; use insmod for them");
        }

        return mark[Mark.Length..] == ModuleTransport.Version.ToString(System.Globalization.CultureInfo.InvariantCulture) ? new ModuleFile(path, info, bytes.AsSpan().EndsWith("~Module signature appended~\n"u8))
            : throw new ModuleException($"module '{path}' was made by another version of stap", "build it again with 'stap -p4'");
    }

    /// <summary>The pairs of <c>.modinfo</c> in a 64-bit little-endian ELF file; null when it is none or malformed.</summary>
    internal static Dictionary<string, string>? ReadInfo(ReadOnlySpan<byte> elf)
    {
        if (elf.Length < 64 || !elf.StartsWith("\u007fELF\u0002\u0001"u8))
        {
            return null;
        }

        var sections = BinaryPrimitives.ReadUInt64LittleEndian(elf[40..]);
        int entrySize = BinaryPrimitives.ReadUInt16LittleEndian(elf[58..]), count = BinaryPrimitives.ReadUInt16LittleEndian(elf[60..]), names = BinaryPrimitives.ReadUInt16LittleEndian(elf[62..]);
        if (entrySize < 64 || names >= count || sections > (ulong)elf.Length || (ulong)elf.Length - sections < (ulong)(entrySize * count))
        {
            return null;
        }

        var strings = Section(elf, sections, entrySize, names, out _);
        for (var i = 0; i < count; i++)
        {
            var body = Section(elf, sections, entrySize, i, out var name);
            if (name < strings.Length && strings[(int)name..].StartsWith(".modinfo\0"u8))
            {
                var info = new Dictionary<string, string>();
                foreach (var pair in Encoding.Latin1.GetString(body).Split('\0', StringSplitOptions.RemoveEmptyEntries))
                {
                    if (pair.IndexOf('=') is > 0 and var at)
                    {
                        info.TryAdd(pair[..at], pair[(at + 1)..]);
                    }
                }

                return info;
            }
        }

        return null;
    }

    private static ReadOnlySpan<byte> Section(ReadOnlySpan<byte> elf, ulong sections, int entrySize, int index, out uint name)
    {
        var header = elf[(int)(sections + (ulong)(entrySize * index))..];
        name = BinaryPrimitives.ReadUInt32LittleEndian(header);
        ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(header[24..]), size = BinaryPrimitives.ReadUInt64LittleEndian(header[32..]);
        var isEmpty = BinaryPrimitives.ReadUInt32LittleEndian(header[4..]) == 8; // SHT_NOBITS
        return isEmpty || offset > (ulong)elf.Length || size > (ulong)elf.Length - offset ? [] : elf.Slice((int)offset, (int)size);
    }
}
