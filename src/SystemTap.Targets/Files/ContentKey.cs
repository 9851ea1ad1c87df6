using System.Globalization;
using System.Text;

namespace SystemTap.Targets;

/// <summary>
/// A name for contents, to find in a cache what was made of them: FNV-1a with 128 bits (Fowler, Noll, Vo; draft-eastlake-fnv). Equal contents have equal names, on every machine. No cryptography:
/// that is OpenSSL's, which small machines have not; caches are the user's own.
/// </summary>
public sealed class ContentKey
{
    private static readonly UInt128 Prime = new(0x0000000001000000, 0x000000000000013B);

    private UInt128 _hash = new(0x6c62272e07bb0142, 0x62b821756295c58d);

    /// <summary>The name of one text.</summary>
    public static string Of(string text)
    {
        var key = new ContentKey();
        key.Add(text);
        return key.ToString();
    }

    /// <summary>Adds bytes. It is as if all bytes added had been one piece.</summary>
    public void Add(ReadOnlySpan<byte> bytes)
    {
        foreach (var b in bytes)
        {
            _hash = (_hash ^ b) * Prime;
        }
    }

    /// <summary>Adds a text, as UTF-8, and where it ends.</summary>
    public void Add(string text)
    {
        Add(Encoding.UTF8.GetBytes(text));
        Add([0]);
    }

    /// <summary>32 hexadecimal digits.</summary>
    public override string ToString() => _hash.ToString("x32", CultureInfo.InvariantCulture);
}
