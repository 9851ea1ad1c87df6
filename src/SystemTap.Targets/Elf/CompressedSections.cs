using System.Buffers.Binary;
using System.IO.Compression;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace SystemTap.Targets;

// Sections that the compiler or objcopy compressed (SHF_COMPRESSED: a header with method and size, then the data). elfutils reads those of zlib; those of zstd only from 0.189 on and
// only where it was built with that library. Such a file is therefore handed to it as a copy in memory whose sections are plain.

/// <summary>Compressed sections of ELF files.</summary>
internal static unsafe partial class CompressedSections
{
    private const ulong Flag = 0x800;
    private const uint Zlib = 1, Zstd = 2;

    /// <summary>Sections beyond this are not believed.</summary>
    private const ulong Most = 1 << 30;

    public static bool IsCompressed(ElfSection section) => (section.Flags & Flag) != 0;

    /// <summary>The file has debug information in sections compressed with zstd.</summary>
    public static bool HasZstd(ElfFile file)
    {
        foreach (var section in file.Sections)
        {
            if (IsCompressed(section) && section.Name.StartsWith(".debug_", StringComparison.Ordinal) && Method(file, section) == Zstd)
                return true;
        }
        return false;
    }

    /// <summary>zstd's library (package libzstd1) is installed.</summary>
    public static bool CanZstd => Library.Value;

    private static readonly Lazy<bool> Library = new(static () => NativeLibrary.TryLoad(ZstdLibrary, out _));

    /// <summary>The bytes of a section as they were before; null when they cannot be had.</summary>
    public static byte[]? Expand(ElfFile file, ElfSection section)
    {
        var bytes = file.Contents(section);
        var head = file.Is64 ? 24 : 12;
        if (bytes.Length < head)
            return null;
        var size = file.Is64 ? BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]) : BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]);
        if (size > Most)
            return null;
        var result = new byte[(int)size];
        var packed = bytes[head..];
        switch (Method(file, section))
        {
            case Zstd when CanZstd:
                fixed (byte* to = result, from = packed)
                    return ZSTD_decompress(to, (nuint)result.Length, from, (nuint)packed.Length) == (nuint)result.Length ? result : null;
            case Zlib:
                try
                {
                    using var stream = new ZLibStream(new MemoryStream(packed.ToArray()), CompressionMode.Decompress);
                    stream.ReadExactly(result);
                    return result;
                }
                catch (Exception e) when (e is InvalidDataException or IOException)
                {
                    return null;
                }
            default:
                return null;
        }
    }

    /// <summary>A file in memory that is the same with plain sections: its descriptor, or −1.</summary>
    public static int PlainCopy(ElfFile file)
    {
        var image = new MemoryStream();
        image.Write(file.Bytes);
        var (table, entry) = file.SectionTable;
        for (var i = 0; i < file.Sections.Count; i++)
        {
            var section = file.Sections[i];
            if (!IsCompressed(section) || Expand(file, section) is not { } plain)
                continue;
            image.Position = (image.Length + 15) & ~15L;
            var offset = (ulong)image.Position;
            image.Write(plain);
            var header = image.GetBuffer().AsSpan((int)table + (i * entry), entry);
            if (file.Is64)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(header[8..], section.Flags & ~Flag);
                BinaryPrimitives.WriteUInt64LittleEndian(header[24..], offset);
                BinaryPrimitives.WriteUInt64LittleEndian(header[32..], (ulong)plain.Length);
            }
            else
            {
                BinaryPrimitives.WriteUInt32LittleEndian(header[8..], (uint)(section.Flags & ~Flag));
                BinaryPrimitives.WriteUInt32LittleEndian(header[16..], (uint)offset);
                BinaryPrimitives.WriteUInt32LittleEndian(header[20..], (uint)plain.Length);
            }
        }

        int descriptor;
        fixed (byte* name = "stap-debug\0"u8)
            descriptor = memfd_create(name, 1);
        if (descriptor < 0)
            return -1;
        using var handle = new SafeFileHandle(descriptor, ownsHandle: false);
        RandomAccess.Write(handle, image.GetBuffer().AsSpan(0, (int)image.Length), 0);
        return descriptor;
    }

    private static uint Method(ElfFile file, ElfSection section) => file.Contents(section) is { Length: >= 4 } bytes ? BinaryPrimitives.ReadUInt32LittleEndian(bytes) : 0;

    private const string ZstdLibrary = "libzstd.so.1";

    [LibraryImport(ZstdLibrary)]
    private static partial nuint ZSTD_decompress(byte* to, nuint room, byte* from, nuint length);

    [LibraryImport("libc")]
    private static partial int memfd_create(byte* name, uint flags);
}
