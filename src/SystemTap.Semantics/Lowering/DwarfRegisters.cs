using System.Runtime.InteropServices;

namespace SystemTap.Semantics.Lowering;

/// <summary>Names of the DWARF register numbers (System V ABI supplements of the architectures).</summary>
internal static class DwarfRegisters
{
    private static readonly string[] s_x86 =
        ["rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip"];

    /// <summary>The register's name on the machine's architecture, null when there is none.</summary>
    public static string? NameOf(long number)
    {
        if (RuntimeInformation.ProcessArchitecture == Architecture.Arm64)
        {
            return number is >= 0 and <= 30 ? "x" + number : number == 31 ? "sp" : null;
        }

        return number >= 0 && number < s_x86.Length ? s_x86[number] : null;
    }
}
