using Linux.Bpf;

namespace SystemTap.Bpf.Emit;

/// <summary>A place in memory the verifier knows: base register (R10 stack, R7 frame, or a map value) and offset.</summary>
internal readonly record struct Mem(Reg Base, int Offset)
{
    public Mem At(int more) => new(Base, Offset + more);
}

/// <summary>Holds a long across other code: R8, R9, a stack slot or a word of the frame.</summary>
internal readonly record struct Temp(Reg Register, Mem Memory)
{
    public bool IsRegister => Register != Reg.R10;

    public static Temp InRegister(Reg r) => new(r, default);

    public static Temp InMemory(Mem m) => new(Reg.R10, m);
}

/// <summary>
/// A string value: a literal, or a zero-padded buffer in memory of <paramref name="Capacity"/> bytes. The length is a constant (literal), a word in
/// memory (<paramref name="Length"/>), or unknown until counted.
/// </summary>
internal readonly record struct StringValue(string? Literal, Mem Bytes, int Capacity, Mem? Length)
{
    public static StringValue Of(string literal) => new(literal, default, (literal.Length + 8) & ~7, null);

    /// <summary>Most content bytes.</summary>
    public int MaxLength => Literal?.Length ?? Capacity - 1;
}

/// <summary>Where a local lives.</summary>
/// <param name="Memory">The long, or the length word of a string whose bytes follow.</param>
/// <param name="Capacity">Bytes of a string's buffer; 0 for longs.</param>
internal readonly record struct LocalSlot(Mem Memory, int Capacity)
{
    public StringValue AsString => new(null, Memory.At(8), Capacity, Memory);
}
