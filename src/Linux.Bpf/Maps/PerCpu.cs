using System.Runtime.InteropServices;

namespace Linux.Bpf;

/// <summary>Layout of a per-CPU value as user space sees it: one slot per possible CPU, each rounded up to 8 bytes.</summary>
public static class PerCpu
{
    /// <summary>Bytes from one CPU's slot to the next.</summary>
    public static int Stride(int valueSize) => (valueSize + 7) & ~7;

    /// <summary>One CPU's part of a per-CPU value.</summary>
    public static Span<byte> Slot(Span<byte> values, int valueSize, int cpu) => values.Slice(cpu * Stride(valueSize), valueSize);
    /// <summary>One CPU's part of a per-CPU value.</summary>
    public static ReadOnlySpan<byte> Slot(ReadOnlySpan<byte> values, int valueSize, int cpu) => values.Slice(cpu * Stride(valueSize), valueSize);

    /// <summary>Sum over all CPUs of the 64-bit word at an offset within the value, wrapping.</summary>
    public static long Sum(ReadOnlySpan<byte> values, int valueSize, int offset = 0)
    {
        long sum = 0;
        for (int at = offset, stride = Stride(valueSize); at + 8 <= values.Length; at += stride)
            sum += MemoryMarshal.Read<long>(values[at..]);
        return sum;
    }
}
