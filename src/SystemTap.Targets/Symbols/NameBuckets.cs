namespace SystemTap.Targets;

/// <summary>Positions 0..n-1 by the hash of their name: a counting sort into buckets of two or so, ascending within each.</summary>
internal sealed class NameBuckets
{
    private readonly int[] _ends; // where each bucket begins, with one more for the end
    private readonly int[] _positions;
    private readonly int _shift;

    public NameBuckets(ReadOnlySpan<uint> hashes)
    {
        var bits = Math.Clamp(32 - int.LeadingZeroCount(hashes.Length / 2), 4, 20);
        _shift = 32 - bits;
        _ends = new int[(1 << bits) + 1];
        _positions = new int[hashes.Length];
        foreach (var hash in hashes)
            _ends[(int)(hash >> _shift)]++;
        var total = 0;
        for (var i = 0; i < _ends.Length; i++)
            _ends[i] = total += _ends[i];
        for (var i = hashes.Length - 1; i >= 0; i--) // turns each end into the start
            _positions[--_ends[(int)(hashes[i] >> _shift)]] = i;
    }

    /// <summary>Positions whose name may have this hash.</summary>
    public ReadOnlySpan<int> Candidates(uint hash)
    {
        var bucket = (int)(hash >> _shift);
        return _positions.AsSpan(_ends[bucket].._ends[bucket + 1]);
    }
}
