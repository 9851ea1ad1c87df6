using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Host;

/// <summary>A key of an array: longs and byte strings in order. Compared by value.</summary>
public readonly struct ArrayKey(Value[] parts) : IEquatable<ArrayKey>
{
    public Value[] Parts { get; } = parts;

    public bool Equals(ArrayKey other) => Parts.AsSpan().SequenceEqual(other.Parts);

    public override bool Equals(object? obj) => obj is ArrayKey other && Equals(other);

    public override int GetHashCode()
    {
        var hash = new HashCode();
        foreach (var part in Parts)
        {
            hash.Add(part);
        }

        return hash.ToHashCode();
    }
}

/// <summary>A long or a string of the host evaluator.</summary>
public readonly record struct Value(long Long, string? Text)
{
    public static implicit operator Value(long value) => new(value, null);

    public static implicit operator Value(string value) => new(0, value);
}

/// <summary>An aggregate merged over CPUs: what extractors and histograms are computed from.</summary>
public sealed class StatSnapshot
{
    public long Count { get; set; }

    public long Sum { get; set; }

    public long Min { get; set; } = long.MaxValue;

    public long Max { get; set; } = long.MinValue;

    /// <summary>Sample variance, already merged and unscaled as <c>@variance</c> yields it.</summary>
    public long Variance { get; set; }

    public long[] Buckets { get; set; } = [];
}

/// <summary>One element of an array as a foreach sees it.</summary>
/// <param name="Sequence">Insertion order.</param>
/// <param name="Statistics">For arrays of aggregates; else null.</param>
public readonly record struct ArrayEntry(ArrayKey Key, Value Value, StatSnapshot? Statistics, long Sequence);

/// <summary>
/// The globals as handlers that run in stap see them. Two implementations: in stap's memory (sessions without kernel programs, globals no kernel
/// handler touches) and on the maps of a BPF session. Single updates are atomic against kernel handlers.
/// </summary>
public interface IGlobalStore
{
    Value Read(Global scalar);

    void Write(Global scalar, Value value);

    /// <summary>Adds (or applies the operator) atomically; returns the old value.</summary>
    long Update(Global scalar, BinaryOperator op, long operand);

    bool TryRead(Global array, in ArrayKey key, out Value value);

    /// <summary>False when the array is full and does not wrap.</summary>
    bool Write(Global array, in ArrayKey key, Value value);

    /// <summary>Applies the operator atomically, creating the element; returns false when the array is full.</summary>
    bool Update(Global array, in ArrayKey key, BinaryOperator op, long operand, out long oldValue);

    bool Contains(Global array, in ArrayKey key);

    void Delete(Global array, in ArrayKey key);

    /// <summary>Resets a scalar or aggregate, empties an array.</summary>
    void Clear(Global global);

    /// <summary>All elements, insertion order. A snapshot: later changes do not show.</summary>
    IReadOnlyList<ArrayEntry> Entries(Global array);

    /// <summary>Adds a sample; null key for a scalar aggregate. False when the array is full.</summary>
    bool AddSample(Global aggregate, in ArrayKey? key, long sample);

    /// <summary>Adds samples counted elsewhere to an element. False when the array is full.</summary>
    bool AddSamples(Global array, in ArrayKey key, StatCell samples);

    /// <summary>Merged aggregate; null key for a scalar; null result when there is no such element.</summary>
    StatSnapshot? Statistics(Global aggregate, in ArrayKey? key);
}
