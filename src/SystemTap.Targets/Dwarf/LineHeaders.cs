using System.Buffers.Binary;
using System.Text;

namespace SystemTap.Targets;

// Which source files the units of a file have code of. libdw tells it by decoding whole line tables, which for the kernel's thousands of units takes seconds and a gigabyte; the heads of the tables
// say it too. Where something in a head is unknown, the unit counts as one that may have any file.

/// <summary>The heads of the line tables of one ELF file.</summary>
internal sealed class LineHeaders
{
    private const uint Path = 1, Directory = 2;

    private readonly ElfFile _file;
    private readonly ElfSection _lines;
    private readonly ElfSection? _lineStrings, _strings;

    private LineHeaders(ElfFile file, ElfSection lines) => (_file, _lines, _lineStrings, _strings) = (file, lines, file.FindSection(".debug_line_str"), file.FindSection(".debug_str"));

    /// <summary>Those of a file or of its separate debug file; null when they cannot be read directly (compressed sections, object files).</summary>
    public static LineHeaders? Of(string path)
    {
        if (ElfFile.TryOpen(path) is not { } file)
            return null;
        if (!file.HasDebugInfo && DebugFiles.Find(file) is { } debug)
            file = debug;
        const ushort relocatable = 1;
        return file.Type == relocatable || file.FindSection(".debug_line") is not { } lines || CompressedSections.IsCompressed(lines)
            || file.FindSection(".debug_line_str") is { } strings && CompressedSections.IsCompressed(strings) ? null : new LineHeaders(file, lines);
    }

    /// <summary>False only when the line table has no file that a script means by a pattern (<see cref="SourceFiles.Matches"/>).</summary>
    /// <param name="offset">Of the unit's table.</param>
    /// <param name="folder">The compiler's working directory.</param>
    /// <param name="pattern">As written in the script.</param>
    /// <param name="known">Answers for last parts of names: they are the same again and again.</param>
    public bool MayHave(ulong offset, string folder, string pattern, Dictionary<string, bool> known)
    {
        var reader = new Reader(_file.Contents(_lines), offset, this);
        var version = reader.Begin();
        if (version is < 2 or > 5)
            return true;
        var last = pattern[(pattern.LastIndexOf('/') + 1)..];
        last = last.Contains('*') ? last[last.LastIndexOf('*')..] : last; // a star may stand for slashes too
        var folders = new List<string>();
        if (version < 5)
        {
            folders.Add("");
            while (reader.String() is { Length: > 0 } name)
                folders.Add(name);
            while (reader.String() is { Length: > 0 } name)
            {
                var number = reader.Unsigned();
                reader.Unsigned();
                reader.Unsigned();
                if (Fits(name, number))
                    return true;
            }
            return reader.Failed;
        }

        foreach (var isFolder in (bool[])[true, false])
        {
            var format = reader.Format();
            var count = reader.Unsigned();
            for (var i = 0ul; i < count && !reader.Failed; i++)
            {
                var (name, number) = reader.Entry(format);
                if (isFolder)
                    folders.Add(name);
                else if (Fits(name, number))
                    return true;
            }
        }
        return reader.Failed;

        bool Fits(string name, ulong number)
        {
            var own = name[(name.LastIndexOf('/') + 1)..];
            if (!known.TryGetValue(own, out var fits))
                known[own] = fits = Globs.Matches(last, own);
            if (!fits)
                return false;
            var inFolder = number < (ulong)folders.Count ? folders[(int)number] : "";
            var relative = System.IO.Path.Combine(inFolder, name);
            return SourceFiles.Matches(pattern, relative, folder) || SourceFiles.Matches(pattern, System.IO.Path.Combine(folder, relative), folder);
        }
    }

    private string StringAt(ElfSection? section, ulong offset)
    {
        var bytes = section is { } there ? _file.Contents(there) : default;
        return offset < (ulong)bytes.Length ? ElfFile.Text(bytes, (uint)offset) : "";
    }

    private ref struct Reader(ReadOnlySpan<byte> data, ulong offset, LineHeaders owner)
    {
        private readonly ReadOnlySpan<byte> _data = data;
        private int _at = (int)Math.Min(offset, int.MaxValue);
        private bool _isWide;

        public bool Failed { get; private set; }

        /// <summary>Up to the folders; the version, 0 for a head that makes no sense.</summary>
        public int Begin()
        {
            _isWide = U32() == 0xffffffff;
            if (_isWide)
                Take(8);
            var version = U16();
            if (version >= 5)
                Take(2); // sizes of addresses and segments
            Take(_isWide ? 8 : 4);
            Take(version >= 4 ? 5 : 4);
            var opcodes = U8();
            Take(Math.Max(opcodes - 1, 0));
            return Failed ? 0 : version;
        }

        public List<(ulong What, ulong Form)> Format()
        {
            var result = new List<(ulong, ulong)>();
            for (var count = U8(); count > 0 && !Failed; count--)
                result.Add((Unsigned(), Unsigned()));
            return result;
        }

        public (string Name, ulong Folder) Entry(List<(ulong What, ulong Form)> format)
        {
            var (name, folder) = ("", 0ul);
            foreach (var (what, form) in format)
            {
                switch (form)
                {
                    case 0x08:
                        var text = String();
                        name = what == Path ? text : name;
                        break;
                    case 0x1f or 0x0e: // line_strp, strp
                        var at = _isWide ? U64() : U32();
                        name = what == Path ? owner.StringAt(form == 0x1f ? owner._lineStrings : owner._strings, at) : name;
                        break;
                    case 0x0b or 0x05 or 0x06 or 0x07 or 0x0f:
                        var number = form switch { 0x0b => U8(), 0x05 => U16(), 0x06 => U32(), 0x07 => U64(), _ => Unsigned() };
                        folder = what == Directory ? number : folder;
                        break;
                    case 0x1e: // data16: a checksum
                        Take(16);
                        break;
                    case 0x09:
                        Take((int)Math.Min(Unsigned(), int.MaxValue));
                        break;
                    default:
                        Failed = true;
                        break;
                }
            }
            return (name, folder);
        }

        public string String()
        {
            var end = _at < _data.Length ? _data[_at..].IndexOf((byte)0) : -1;
            if (end < 0)
            {
                Failed = true;
                return "";
            }
            return Encoding.UTF8.GetString(Take(end + 1)[..end]);
        }

        public ulong Unsigned()
        {
            var result = 0ul;
            for (var shift = 0; ; shift += 7)
            {
                var part = U8();
                if (shift < 64)
                    result |= (ulong)(part & 0x7f) << shift;
                if (part < 0x80)
                    return result;
            }
        }

        private byte U8() => Take(1)[0];

        private ushort U16() => BinaryPrimitives.ReadUInt16LittleEndian(Take(2));

        private uint U32() => BinaryPrimitives.ReadUInt32LittleEndian(Take(4));

        private ulong U64() => BinaryPrimitives.ReadUInt64LittleEndian(Take(8));

        private ReadOnlySpan<byte> Take(int count)
        {
            if (count < 0 || count > _data.Length - _at)
            {
                Failed = true;
                return new byte[Math.Clamp(count, 0, 16)];
            }
            var result = _data.Slice(_at, count);
            _at += count;
            return result;
        }
    }
}
