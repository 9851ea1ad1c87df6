using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace SystemTap.Targets;

// File: header of 64 bytes, then the index body.
//   0 magic "stapBTFi"  8 format version  12 bytes of types section  16 bytes of strings section
//  20 type count  24 bucket bits  28 named count  32 checksum of body and of bytes 0..31 and 40..63  40 key (24 bytes, hashed)
//
// A file that does not fit in every respect is treated as absent and replaced. Writing goes to a temporary name and
// renames, so readers never see half a file. Nothing here can fail a session: without a usable directory the index is
// built again each time.

/// <summary>Keeps a <see cref="BtfIndex"/> on disk between processes.</summary>
internal sealed class BtfIndexCache(string directory, string name, string key)
{
    private const int HeaderLength = 64;
    private const uint Version = 1;
    private static ReadOnlySpan<byte> Magic => "stapBTFi"u8;

    private readonly string _path = Path.Combine(directory, $"btf-{name}-{key}.index");

    public BtfIndex? TryRead(int typesLength, int stringsLength)
    {
        if (!File.Exists(_path))
            return null;
        Blob file;
        try
        {
            file = Blob.Open(_path);
        }
        catch (TargetException)
        {
            return null; // unreadable is the same as absent: the index is built anew
        }
        var span = file.Span;
        if (span.Length < HeaderLength)
            return null;
        Span<byte> expected = stackalloc byte[HeaderLength];
        int typeCount = BinaryPrimitives.ReadInt32LittleEndian(span[20..]),
            bits = BinaryPrimitives.ReadInt32LittleEndian(span[24..]),
            named = BinaryPrimitives.ReadInt32LittleEndian(span[28..]);
        if (typeCount < 0 || bits is < 1 or > 24 || named < 0 || BtfIndex.BodyLength(typeCount, bits, named) != span.Length - HeaderLength)
            return null;
        WriteHeader(expected, typesLength, stringsLength, typeCount, bits, named, span[HeaderLength..]);
        return span[..HeaderLength].SequenceEqual(expected)
            ? new BtfIndex(file.Slice(HeaderLength, file.Length - HeaderLength), typeCount, bits, named)
            : null;
    }

    public void Write(BtfIndex index, int typesLength, int stringsLength)
    {
        Span<byte> header = stackalloc byte[HeaderLength];
        WriteHeader(header, typesLength, stringsLength, index.TypeCount, index.Bits, index.NamedCount, index.Body.Span);
        CacheDirectory.WriteAtomically(_path, header, index.Body.Span);
    }

    private void WriteHeader(Span<byte> header, int typesLength, int stringsLength, int typeCount, int bits, int named, ReadOnlySpan<byte> body)
    {
        header.Clear();
        Magic.CopyTo(header);
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], Version);
        BinaryPrimitives.WriteInt32LittleEndian(header[12..], typesLength);
        BinaryPrimitives.WriteInt32LittleEndian(header[16..], stringsLength);
        BinaryPrimitives.WriteInt32LittleEndian(header[20..], typeCount);
        BinaryPrimitives.WriteInt32LittleEndian(header[24..], bits);
        BinaryPrimitives.WriteInt32LittleEndian(header[28..], named);
        BinaryPrimitives.WriteUInt64LittleEndian(header[40..], Checksum.Of(Encoding.UTF8.GetBytes(key)));
        BinaryPrimitives.WriteUInt64LittleEndian(header[32..], Checksum.Of(body) ^ Checksum.Of(header));
    }
}

/// <summary>A fast 64-bit checksum against accidents (not against forgery): four multiply-rotate lanes.</summary>
internal static class Checksum
{
    public static ulong Of(ReadOnlySpan<byte> bytes)
    {
        const ulong k = 0x9E3779B185EBCA87;
        ulong a = k, b = k << 1, c = k ^ 0x55, d = (ulong)bytes.Length;
        var words = MemoryMarshal.Cast<byte, ulong>(bytes);
        var i = 0;
        for (; i + 4 <= words.Length; i += 4)
        {
            a = ulong.RotateLeft((a ^ words[i]) * k, 31);
            b = ulong.RotateLeft((b ^ words[i + 1]) * k, 31);
            c = ulong.RotateLeft((c ^ words[i + 2]) * k, 31);
            d = ulong.RotateLeft((d ^ words[i + 3]) * k, 31);
        }
        for (var j = i * 8; j < bytes.Length; j++)
            a = ulong.RotateLeft((a ^ bytes[j]) * k, 31);
        return ulong.RotateLeft(a, 1) + ulong.RotateLeft(b, 7) + ulong.RotateLeft(c, 12) + ulong.RotateLeft(d, 18);
    }
}
