namespace SystemTap.Targets;

/// <summary>Machines of ELF files (<c>e_machine</c>, System V ABI).</summary>
public static class ElfMachines
{
    public const ushort I386 = 3, X8664 = 62, Arm64 = 183;
}
