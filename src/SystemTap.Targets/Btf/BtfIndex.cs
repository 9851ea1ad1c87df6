using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace SystemTap.Targets;

// The index is one flat block of ints, the same in memory and in the cache file:
//
//   offsets[TypeCount]     where each record begins in the types section
//   buckets[2^Bits + 1]    where each bucket begins in `ids`
//   ids[NamedCount]        type ids by bucket of their name's hash, ascending within a bucket
//
// A counting sort into buckets is chosen over a sorted array of (hash, id): it needs two passes and no comparison,
// half the memory, and a look-up touches one bucket of one or two ids instead of 17 places.

/// <summary>Offsets of all records of one BTF file, and its names.</summary>
internal sealed class BtfIndex
{
    private readonly Blob _body;

    public int TypeCount { get; }
    public int Bits { get; }
    public int NamedCount { get; }

    public BtfIndex(Blob body, int typeCount, int bits, int namedCount)
    {
        if (bits is < 1 or > 24 || typeCount < 0 || namedCount < 0 || body.Length != BodyLength(typeCount, bits, namedCount))
            throw new ArgumentException("index parts do not add up", nameof(body));
        _body = body;
        TypeCount = typeCount;
        Bits = bits;
        NamedCount = namedCount;
    }

    public Blob Body => _body;

    public static long BodyLength(long typeCount, int bits, long namedCount) => 4 * (typeCount + (1L << bits) + 1 + namedCount);

    private ReadOnlySpan<int> Words => MemoryMarshal.Cast<byte, int>(_body.Span);

    public ReadOnlySpan<int> Offsets => Words[..TypeCount];

    public int Offset(int position) => Offsets[position];

    /// <summary>Ids of types whose name may have this hash.</summary>
    public ReadOnlySpan<int> Candidates(uint hash)
    {
        var bucket = (int)(hash >> (32 - Bits));
        var words = Words;
        int start = words[TypeCount + bucket], end = words[TypeCount + bucket + 1];
        // A cache file passed its checksum, yet may have been made with intent: answer nothing rather than fail.
        return (uint)end > (uint)NamedCount || (uint)start > (uint)end ? [] : words.Slice(TypeCount + (1 << Bits) + 1 + start, end - start);
    }

    public static BtfIndex Build(Btf btf, ReadOnlySpan<byte> types, ReadOnlySpan<byte> strings, int firstString)
    {
        var offsets = ArrayPool<int>.Shared.Rent(types.Length / Btf.RecordHeader + 1);
        var hashes = ArrayPool<uint>.Shared.Rent(types.Length / Btf.RecordHeader + 1);
        try
        {
            var count = Scan(btf, types, strings, firstString, offsets, hashes, out var named);
            var bits = Math.Clamp(32 - int.LeadingZeroCount(named / 2), 4, 20);
            var body = GC.AllocateUninitializedArray<byte>((int)BodyLength(count, bits, named));
            var words = MemoryMarshal.Cast<byte, int>(body.AsSpan());
            offsets.AsSpan(0, count).CopyTo(words);

            var buckets = words.Slice(count, (1 << bits) + 1);
            var ids = words[(count + buckets.Length)..];
            buckets.Clear();
            var shift = 32 - bits;
            for (var i = 0; i < count; i++)
                if (hashes[i] != 0)
                    buckets[(int)(hashes[i] >> shift)]++;
            var total = 0;
            for (var i = 0; i < buckets.Length; i++)
                buckets[i] = total += buckets[i]; // the end of each; filling backwards turns it into the start
            for (var i = count - 1; i >= 0; i--)
                if (hashes[i] != 0)
                    ids[--buckets[(int)(hashes[i] >> shift)]] = btf.FirstId + i;
            return new BtfIndex(new Blob(body), count, bits, named);
        }
        finally
        {
            ArrayPool<int>.Shared.Return(offsets);
            ArrayPool<uint>.Shared.Return(hashes);
        }
    }

    /// <summary>Walks all records: validates their extent, notes where they begin, hashes their names (0 = no name).</summary>
    private static int Scan(Btf btf, ReadOnlySpan<byte> types, ReadOnlySpan<byte> strings, int firstString, int[] offsets, uint[] hashes, out int named)
    {
        named = 0;
        int count = 0, position = 0;
        while (position < types.Length)
        {
            if (types.Length - position < Btf.RecordHeader)
                throw btf.Malformed("its last type record is cut off");
            var nameOffset = MemoryMarshal.Read<uint>(types[position..]);
            var info = MemoryMarshal.Read<uint>(types[(position + 4)..]);
            var kind = (BtfKind)(info >> 24 & 0x1f);
            var length = Btf.RecordHeader + Extra(kind, (int)(info & 0xffff));
            if (length < Btf.RecordHeader)
                throw btf.Malformed($"type {btf.FirstId + count} is of kind {(int)kind}, which this program does not know");
            if (length > types.Length - position)
                throw btf.Malformed($"the record of type {btf.FirstId + count} is cut off");

            var hash = 0u;
            if (nameOffset != 0 && kind is not (BtfKind.DeclarationTag or BtfKind.TypeTag))
            {
                if (nameOffset >= firstString)
                {
                    if (nameOffset - (uint)firstString >= strings.Length)
                        throw btf.Malformed($"the name of type {btf.FirstId + count} lies outside its strings");
                    hash = HashTerminated(strings[(int)(nameOffset - (uint)firstString)..]);
                }
                else
                {
                    hash = Hash(btf.String(nameOffset));
                }
                named++;
            }
            offsets[count] = position;
            hashes[count++] = hash;
            position += length;
        }
        return count;
    }

    /// <summary>Bytes after a record's header; negative for an unknown kind.</summary>
    private static int Extra(BtfKind kind, int count) => kind switch
    {
        BtfKind.Int or BtfKind.Variable or BtfKind.DeclarationTag => 4,
        BtfKind.Array => 12,
        BtfKind.Struct or BtfKind.Union or BtfKind.DataSection or BtfKind.Enum64 => 12 * count,
        BtfKind.Enum or BtfKind.FunctionPrototype => 8 * count,
        BtfKind.Pointer or BtfKind.Forward or BtfKind.Typedef or BtfKind.Volatile or BtfKind.Const
            or BtfKind.Restrict or BtfKind.Function or BtfKind.Float or BtfKind.TypeTag => 0,
        _ => -1 - Btf.RecordHeader,
    };

    // ------------------------------------------------------------------------------------------------------ hashing
    // Eight bytes a step, the last step zero-padded (and always present), so that a terminated string can be hashed
    // without knowing its length. Never 0.

    public static uint Hash(ReadOnlySpan<byte> text)
    {
        ulong hash = 0;
        for (; text.Length >= 8; text = text[8..])
            hash = Mix(hash, MemoryMarshal.Read<ulong>(text));
        ulong last = 0;
        for (var i = text.Length - 1; i >= 0; i--)
            last = last << 8 | text[i];
        return Finish(Mix(hash, last));
    }

    private static uint HashTerminated(ReadOnlySpan<byte> text)
    {
        ulong hash = 0;
        ref var start = ref MemoryMarshal.GetReference(text);
        for (var i = 0; i <= text.Length - 8; i += 8)
        {
            var word = Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref start, i));
            var zero = word - 0x0101010101010101 & ~word & 0x8080808080808080;
            if (zero != 0)
            {
                var bytes = System.Numerics.BitOperations.TrailingZeroCount(zero) >> 3;
                return Finish(Mix(hash, word & (1UL << 8 * bytes) - 1));
            }
            hash = Mix(hash, word);
        }
        return Hash(text[..text.IndexOf((byte)0)]); // within the last bytes of the section
    }

    private static ulong Mix(ulong hash, ulong word)
    {
        hash = (hash ^ word) * 0x9E3779B97F4A7C15;
        return hash ^ hash >> 32;
    }

    private static uint Finish(ulong hash)
    {
        var result = (uint)(hash * 0xC2B2AE3D27D4EB4F >> 32);
        return result == 0 ? 1 : result;
    }
}
