using System.Buffers.Binary;
using System.Diagnostics;

namespace SystemTap.Targets;

/// <summary>
/// Types of a kernel that is not running: BTF out of a <c>vmlinux</c>, a compressed <c>vmlinuz</c> (bzImage), or a raw BTF file. Decompressing is left to
/// the programs that distributions have for it (xz, zstd, gzip, …); the result is cached.
/// </summary>
public static class KernelImages
{
    private static readonly (byte[] Magic, string Program)[] Compressions =
    [
        ([0xfd, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0], "xz"), ([0x28, 0xb5, 0x2f, 0xfd], "zstd"), ([0x1f, 0x8b], "gzip"),
        ("BZh"u8.ToArray(), "bzip2"), ([0x02, 0x21, 0x4c, 0x18], "lz4"), ([0x5d, 0, 0], "lzma"),
    ];

    /// <summary>Where the image of a kernel may lie, best first. <paramref name="buildTree"/>: its build tree, or null.</summary>
    public static IEnumerable<string> Candidates(string release, string? buildTree)
    {
        if (buildTree is not null)
        {
            yield return $"{buildTree}/vmlinux";
            yield return $"{buildTree}/vmlinuz";
        }

        foreach (var path in (string[])[$"/usr/lib/debug/boot/vmlinux-{release}", $"/usr/lib/debug/lib/modules/{release}/vmlinux", $"/lib/modules/{release}/vmlinux", $"/boot/vmlinux-{release}",
            $"/lib/modules/{release}/vmlinuz", $"/boot/vmlinuz-{release}"])
        {
            yield return path;
        }
    }

    /// <summary>The BTF of an image; null when the file is not there or holds none.</summary>
    /// <exception cref="TargetException">The program that decompresses it is not installed.</exception>
    public static byte[]? ReadBtf(string path, string? cacheFolder)
    {
        var file = new FileInfo(path);
        if (!file.Exists)
        {
            return null;
        }

        var cached = cacheFolder is null ? null
            : Path.Combine(cacheFolder, "btf", CacheDirectory.KeyOf(file) + ".btf");
        if (cached is not null && File.Exists(cached))
        {
            return File.ReadAllBytes(cached);
        }

        var bytes = File.ReadAllBytes(path);
        if (bytes.AsSpan().StartsWith((ReadOnlySpan<byte>)[0x9f, 0xeb]))
        {
            return bytes;
        }

        if (!bytes.AsSpan().StartsWith("\u007fELF"u8) && Payload(bytes) is { } payload)
        {
            bytes = Decompress(path, payload);
        }

        var btf = Section(bytes, ".BTF\0"u8);
        if (btf is not null && cached is not null)
        {
            CacheDirectory.WriteAtomically(cached, btf);
        }

        return btf;
    }

    /// <summary>The compressed part of a bzImage (Documentation/arch/x86/boot: payload_offset), or the whole file when it is compressed itself.</summary>
    private static byte[]? Payload(byte[] image)
    {
        if (Compressions.Any(c => image.AsSpan().StartsWith(c.Magic)))
        {
            return image;
        }

        if (image.Length < 0x250 || !image.AsSpan(0x202).StartsWith("HdrS"u8))
        {
            return null;
        }

        var start = ((image[0x1f1] == 0 ? 4 : image[0x1f1]) + 1L) * 512 + BinaryPrimitives.ReadUInt32LittleEndian(image.AsSpan(0x248));
        var length = BinaryPrimitives.ReadUInt32LittleEndian(image.AsSpan(0x24c));
        return start + length <= image.Length ? image.AsSpan((int)start, (int)length).ToArray() : null;
    }

    /// <summary>What a compressed file holds; null when it is compressed in no known way.</summary>
    /// <exception cref="TargetException">The program that decompresses it is not installed.</exception>
    internal static byte[]? Unpack(string path)
    {
        var bytes = File.ReadAllBytes(path);
        return Compressions.Any(c => bytes.AsSpan().StartsWith(c.Magic)) ? Decompress(path, bytes) : null;
    }

    private static byte[] Decompress(string path, byte[] payload)
    {
        var program = Compressions.FirstOrDefault(c => payload.AsSpan().StartsWith(c.Magic)).Program
            ?? throw new TargetException($"kernel image \"{path}\" is compressed in an unknown way. Name an uncompressed vmlinux or a BTF file with SYSTEMTAP_BTF.");
        try
        {
            using var process = Process.Start(new ProcessStartInfo(program, ["-dc"]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;
            var output = new MemoryStream(64 << 20);
            var reading = process.StandardOutput.BaseStream.CopyToAsync(output);
            var errors = process.StandardError.ReadToEndAsync();
            try
            {
                process.StandardInput.BaseStream.Write(payload);
                process.StandardInput.Close();
            }
            catch (IOException)
            {
                // The image is followed by its size, at which some programs stop reading.
            }

            reading.GetAwaiter().GetResult();
            errors.GetAwaiter().GetResult();
            process.WaitForExit();
            return output.ToArray();
        }
        catch (System.ComponentModel.Win32Exception)
        {
            throw new TargetException($"kernel image \"{path}\" cannot be read: the program \"{program}\" is not installed. Install it, or name an uncompressed vmlinux or a BTF file with SYSTEMTAP_BTF.");
        }
    }

    /// <summary>A section of a 64-bit little-endian ELF file by its name (with the final NUL).</summary>
    private static byte[]? Section(byte[] elf, ReadOnlySpan<byte> name)
    {
        var file = elf.AsSpan();
        if (file.Length < 64 || !file.StartsWith("\u007fELF\u0002\u0001"u8))
        {
            return null;
        }

        var sections = (long)BinaryPrimitives.ReadUInt64LittleEndian(file[40..]);
        int size = BinaryPrimitives.ReadUInt16LittleEndian(file[58..]), count = BinaryPrimitives.ReadUInt16LittleEndian(file[60..]), names = BinaryPrimitives.ReadUInt16LittleEndian(file[62..]);
        if (size < 64 || names >= count || sections < 0 || sections + ((long)size * count) > file.Length)
        {
            return null;
        }

        (uint Name, long Offset, long Size) Header(int index)
        {
            var header = elf.AsSpan((int)(sections + ((long)size * index)));
            return (BinaryPrimitives.ReadUInt32LittleEndian(header), (long)BinaryPrimitives.ReadUInt64LittleEndian(header[24..]), (long)BinaryPrimitives.ReadUInt64LittleEndian(header[32..]));
        }

        var strings = Header(names).Offset;
        for (var i = 0; i < count; i++)
        {
            var (at, offset, bytes) = Header(i);
            if (strings + at < file.Length && file[(int)(strings + at)..].StartsWith(name) && offset >= 0 && bytes >= 0 && offset + bytes <= file.Length)
            {
                return file.Slice((int)offset, (int)bytes).ToArray();
            }
        }

        return null;
    }
}
