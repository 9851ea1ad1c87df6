namespace SystemTap.Targets;

/// <summary>Where a breakpoint of the kernel's uprobes leaves a program as it is, and where not.</summary>
public static class UprobePlaces
{
    private const ushort I386Machine = 3, X8664Machine = 62;

    /// <summary>
    /// The kernel steps over the instruction there. Others it refuses – silently, when the file is mapped only later – or takes for another one, and the program goes
    /// on with wrong values.
    /// </summary>
    public static bool IsFit(ElfFile file, ulong address) =>
        file.Machine is not (X8664Machine or I386Machine) || file.FileOffset(address) is not { } offset || file.Part((ulong)offset, LongestPrefix).Span is not { Length: > 0 } code
        || X86Instructions.IsFitForUprobes(code, file.Is64);

    /// <summary>Address of the next instruction; null when this one is not known.</summary>
    public static ulong? Next(ElfFile file, ulong address) =>
        file.Machine == X8664Machine && file.FileOffset(address) is { } offset && file.Part((ulong)offset, LongestInstruction).Span is { Length: > 0 } code
        && X86Instructions.Decode(code).Length is > 0 and var length ? address + (ulong)length : null;

    private const int LongestPrefix = 8, LongestInstruction = 15;
}
