namespace SystemTap.Targets;

// The registers lie in the kernel's 64-bit struct pt_regs, four bytes of each. DWARF numbers: System V ABI, Intel386 supplement, table 2.14. All arguments are on the stack; structures are
// returned in the caller's memory.

/// <summary>32-bit x86, as programs on a 64-bit kernel see it.</summary>
public sealed class I386 : Architecture
{
    public static readonly I386 Instance = new();

    /// <summary>The code segment of 32-bit programs (__USER32_CS): tells in which mode the processor was.</summary>
    public const int CodeSegment = 0x23;

    private readonly Register[] _registers =
    [
        new("eax", 80, 4, 0), new("ecx", 88, 4, 1), new("edx", 96, 4, 2), new("ebx", 40, 4, 3), new("esp", 152, 4, 4), new("ebp", 32, 4, 5), new("esi", 104, 4, 6), new("edi", 112, 4, 7),
        new("eip", 128, 4, 8), new("eflags", 144, 4, 9),
    ];

    private I386()
    {
    }

    public override string Name => "i386";
    public override string MachineName => "i386";
    public override ushort ElfMachine => ElfMachines.I386;
    public override int PointerSize => 4;
    public override ReadOnlySpan<Register> Registers => _registers;

    // Names of parts and of 64-bit registers mean the same in both.
    protected override ReadOnlySpan<Register> Aliases => default;
    public override ReadOnlySpan<Register> CallArguments => default;
    public override ReadOnlySpan<Register> SyscallArguments => X8664.Instance.CompatSyscallArguments;
    public override ReadOnlySpan<Register> CompatSyscallArguments => X8664.Instance.CompatSyscallArguments;
    public override Register SyscallNumber => X8664.Instance.SyscallNumber;
    public override Register ReturnValue => _registers[0];
    public override Register SecondReturnValue => _registers[2];
    public override bool ReturnsMixedStructures => false;
    public override Register InstructionPointer => _registers[8];
    public override Register StackPointer => _registers[4];
    public override Register FramePointer => _registers[5];
    public override Register? ReturnAddress => null;
    public override int StackArgumentsOffset => 4;
    public override SyscallTable Syscalls => X8664.Instance.CompatSyscalls;
    public override SyscallTable CompatSyscalls => X8664.Instance.CompatSyscalls;
    public override string SyscallFunctionPrefix => X8664.Instance.CompatSyscallFunctionPrefix;
    public override string CompatSyscallFunctionPrefix => X8664.Instance.CompatSyscallFunctionPrefix;

    public override int? FindDwarfVector(int number) => null;
}
