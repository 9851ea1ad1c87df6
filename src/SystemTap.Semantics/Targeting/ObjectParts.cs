using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Targeting;

// Objects that are not in one place
// ---------------------------------
// Optimising compilers keep small structures in registers, take larger ones apart and forget members nobody needs; functions return structures in two
// registers. Such an object is a list of parts: these bits are the low bits of that value, these are in memory at that address, these were thrown away. Reading a
// member is gathering its bits; what was thrown away is missed only when it is asked for. Offsets count bits from the beginning of the object, the
// least significant first.

/// <summary>Some of an object's bits.</summary>
/// <param name="Offset">First bit.</param>
/// <param name="Width">How many.</param>
/// <param name="Value">A number whose low bits they are, or their address; null when they cannot be read.</param>
/// <param name="IsAddress"><paramref name="Value"/> is an address.</param>
/// <param name="Problem">Why they cannot be read.</param>
public sealed record ObjectPart(long Offset, long Width, Expr? Value, bool IsAddress, Unreadable? Problem)
{
    /// <summary>The part is a pointer that the compiler did away with: what it would point to.</summary>
    public ObjectParts? Pointee { get; init; }
}

/// <summary>An object in parts, or a stretch of one.</summary>
/// <param name="parts">All parts of the whole object, in order.</param>
/// <param name="start">Where this object begins in it, in bits.</param>
/// <param name="isUser">Parts in memory are in user memory.</param>
public sealed class ObjectParts(IReadOnlyList<ObjectPart> parts, long start, bool isUser)
{
    /// <summary>So many bytes are there, and all can be read.</summary>
    public bool IsWhole(long size)
    {
        long known = 0;
        foreach (var part in parts)
        {
            if (part.Value is null)
            {
                return false;
            }

            known += part.Width;
        }

        return known >= 8 * size;
    }

    /// <summary>What the pointer at the beginning points to, when it is one that the compiler did away with.</summary>
    public ObjectParts? Pointee()
    {
        foreach (var part in parts)
        {
            if (part.Offset == start && part.Width == 64)
            {
                return part.Pointee;
            }
        }

        return null;
    }

    /// <summary>Some of its bits as parts of another object.</summary>
    internal IEnumerable<ObjectPart> Placed(long offset, long width, long skip)
    {
        foreach (var part in parts)
        {
            var first = Math.Max(part.Offset, skip);
            var last = Math.Min(part.Offset + part.Width, skip + width);
            if (first < last)
            {
                var value = part.Value is { } whole && first > part.Offset && !part.IsAddress ? Shifted(whole, (int)(first - part.Offset), whole.Span)
                    : part.Value is { } address && first > part.Offset ? TargetBinder.Offset(address, (first - part.Offset) / 8, address.Span)
                    : part.Value;
                yield return part with { Offset = offset + first - skip, Width = last - first, Value = value };
            }
        }
    }

    /// <summary>What lies so many bytes behind the beginning.</summary>
    public ObjectParts At(long offset) => offset == 0 ? this : new(parts, start + (8 * offset), isUser);

    /// <summary>Some bits, at most 64, as a number; null with the reason when they cannot be read.</summary>
    public Expr? Read(long offset, int width, bool isSigned, SourceSpan span, out Unreadable? problem)
    {
        problem = null;
        var from = start + offset;
        Expr? joined = null;
        for (var done = 0; done < width;)
        {
            ObjectPart? part = null;
            foreach (var candidate in parts)
            {
                if (from + done >= candidate.Offset && from + done < candidate.Offset + candidate.Width)
                {
                    part = candidate;
                    break;
                }
            }

            if (part?.Value is null)
            {
                problem = part?.Problem ?? "this part of it is described nowhere";
                return null;
            }

            var skip = from + done - part.Offset;
            var count = (int)Math.Min(width - done, part.Width - skip);
            var bits = part.IsAddress ? Memory(part.Value, skip, ref count, span) : Low(Shifted(part.Value, (int)skip, span), count, span);
            if (done > 0)
            {
                bits = new BinaryExpr(BinaryOperator.ShiftLeft, bits, new LongConst(done, span), span);
            }

            joined = joined is null ? bits : new BinaryExpr(BinaryOperator.BitOr, joined, bits, span);
            done += count;
        }

        return Extended(joined!, width, isSigned, span);
    }

    /// <summary>Bits in memory; as many as one read gives.</summary>
    private Expr Memory(Expr address, long skip, ref int count, SourceSpan span)
    {
        var within = (int)(skip % 8);
        var bytes = (within + count + 7) / 8;
        var size = bytes >= 8 ? 8 : bytes >= 4 ? 4 : bytes >= 2 ? 2 : 1;
        count = Math.Min(count, (size * 8) - within);
        return Low(Shifted(new DerefExpr(TargetBinder.Offset(address, skip / 8, span), size, false, isUser, span), within, span), count, span, size * 8);
    }

    private static Expr Shifted(Expr value, int by, SourceSpan span) =>
        by == 0 ? value : new BinaryExpr(BinaryOperator.ShiftRightLogical, value, new LongConst(by, span), span);

    private static Expr Low(Expr value, int count, SourceSpan span, int known = 64) =>
        count >= known ? value
        : value is LongConst c ? new LongConst(c.Value & ((1L << count) - 1), span)
        : new BinaryExpr(BinaryOperator.BitAnd, value, new LongConst((1L << count) - 1, span), span);

    private static Expr Extended(Expr value, int width, bool isSigned, SourceSpan span)
    {
        if (!isSigned || width >= 64)
        {
            return value;
        }

        var up = new LongConst(64 - width, span);
        return value is LongConst c ? new LongConst(c.Value << (64 - width) >> (64 - width), span)
            : new BinaryExpr(BinaryOperator.ShiftRight, new BinaryExpr(BinaryOperator.ShiftLeft, value, up, span), up, span);
    }
}
