namespace SystemTap.Targets;

// struct pt_regs: arch/arm64/include/asm/ptrace.h; its head is the user_pt_regs of the kernel's ABI and cannot change,
// orig_x0 and syscallno follow it in all kernels since 4.15.
// DWARF numbers: "DWARF for the Arm 64-bit Architecture", section 4.1. Calls: AAPCS64, section 6.

/// <summary>64-bit Arm, little-endian.</summary>
public sealed class Arm64 : Architecture
{
    public static readonly Arm64 Instance = new();

    private readonly Register[] _registers, _aliases, _call, _syscall, _compat;

    private Arm64()
    {
        _registers = new Register[36];
        _aliases = new Register[31 + 4];
        for (var i = 0; i < 31; i++)
        {
            _registers[i] = new($"x{i}", 8 * i, 8, i);
            _aliases[i] = new($"w{i}", 8 * i, 4, -1);
        }
        _registers[31] = new("sp", 248, 8, 31);
        _registers[32] = new("pc", 256, 8, 32);
        _registers[33] = new("pstate", 264, 8, -1);
        _registers[34] = new("orig_x0", 272, 8, -1);
        _registers[35] = new("syscallno", 280, 4, -1);
        _aliases[31] = new("fp", 8 * 29, 8, -1);
        _aliases[32] = new("lr", 8 * 30, 8, -1);
        _aliases[33] = new("wsp", 248, 4, -1);
        _aliases[34] = new("ip", 256, 8, -1);
        _call = _registers[..8];
        // x0 is overwritten by the result, orig_x0 keeps the first argument; the 32-bit ABI agrees in all but the names.
        _syscall = [_registers[34], .. _registers[1..6]];
        _compat = [new("orig_r0", 272, 4, -1), .. _aliases[1..6]];
    }

    public override string Name => "arm64";
    public override string MachineName => "aarch64";
    public override ushort ElfMachine => ElfMachines.Arm64;

    public override ReadOnlySpan<Register> Registers => _registers;
    protected override ReadOnlySpan<Register> Aliases => _aliases;
    public override ReadOnlySpan<Register> CallArguments => _call;
    public override ReadOnlySpan<Register> SyscallArguments => _syscall;
    public override ReadOnlySpan<Register> CompatSyscallArguments => _compat;
    public override Register SyscallNumber => _registers[35];
    public override Register ReturnValue => _registers[0];
    public override Register SecondReturnValue => _registers[1];
    public override bool ReturnsMixedStructures => false;
    public override Register InstructionPointer => _registers[32];
    public override Register StackPointer => _registers[31];
    public override Register FramePointer => _registers[29];
    public override Register? ReturnAddress => _registers[30];
    public override int StackArgumentsOffset => 0;

    public override int? FindDwarfVector(int number) => number is >= 64 and <= 95 ? number - 64 : null;

    public override SyscallTable Syscalls { get; } = new(Arm64Syscalls.Source);
    public override SyscallTable CompatSyscalls { get; } = new(Arm32Syscalls.Source);
    public override string SyscallFunctionPrefix => "__arm64_sys_";
    public override string CompatSyscallFunctionPrefix => "__arm64_compat_sys_";
}
