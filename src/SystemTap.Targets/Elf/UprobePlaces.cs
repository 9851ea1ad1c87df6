namespace SystemTap.Targets;

/// <summary>Where a breakpoint of the kernel's uprobes leaves a program as it is, and where not.</summary>
public static class UprobePlaces
{
    /// <summary>What stands there otherwise, for messages.</summary>
    public const string Unfit = "an instruction that the kernel's uprobes cannot step over (one with a lock prefix, or of vectors)";

    /// <summary>
    /// The kernel steps over the instruction there. Others it refuses – silently, when the file is mapped only later – or takes for another one, and the program goes
    /// on with wrong values.
    /// </summary>
    public static bool IsFit(ElfFile file, ulong address) =>
        file.Machine is not (ElfMachines.X8664 or ElfMachines.I386) || file.FileOffset(address) is not { } offset || file.Part((ulong)offset, LongestPrefix).Span is not { Length: > 0 } code
        || X86Instructions.IsFitForUprobes(code, file.Is64);

    /// <summary>Address of the next instruction; null when this one is not known.</summary>
    public static ulong? Next(ElfFile file, ulong address) =>
        file.Machine == ElfMachines.X8664 && file.FileOffset(address) is { } offset && file.Part((ulong)offset, LongestInstruction).Span is { Length: > 0 } code
        && X86Instructions.Decode(code).Length is > 0 and var length ? address + (ulong)length : null;

    private const int LongestPrefix = 8, LongestInstruction = 15;
}
