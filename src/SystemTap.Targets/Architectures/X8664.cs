namespace SystemTap.Targets;

// struct pt_regs: arch/x86/include/asm/ptrace.h (unchanged since 2.6; checked against BTF by a test).
// DWARF numbers and calling convention: System V ABI, AMD64 supplement, figure 3.36 and section 3.2.3.
// System calls: entry_64.S. The fourth argument travels in r10 because the instruction overwrites rcx.

/// <summary>64-bit x86.</summary>
public sealed class X8664 : Architecture
{
    public static readonly X8664 Instance = new();

    private readonly Register[] _registers, _aliases, _call, _syscall, _compat;

    private X8664()
    {
        _registers =
        [
            new("r15", 0, 8, 15), new("r14", 8, 8, 14), new("r13", 16, 8, 13), new("r12", 24, 8, 12),
            new("rbp", 32, 8, 6), new("rbx", 40, 8, 3), new("r11", 48, 8, 11), new("r10", 56, 8, 10),
            new("r9", 64, 8, 9), new("r8", 72, 8, 8), new("rax", 80, 8, 0), new("rcx", 88, 8, 2),
            new("rdx", 96, 8, 1), new("rsi", 104, 8, 4), new("rdi", 112, 8, 5), new("orig_rax", 120, 8, -1),
            new("rip", 128, 8, 16), new("cs", 136, 8, -1), new("rflags", 144, 8, 49), new("rsp", 152, 8, 7),
            new("ss", 160, 8, -1),
        ];
        _aliases = MakeAliases();
        _call = [Get("rdi"), Get("rsi"), Get("rdx"), Get("rcx"), Get("r8"), Get("r9")];
        _syscall = [Get("rdi"), Get("rsi"), Get("rdx"), Get("r10"), Get("r8"), Get("r9")];
        _compat = [Get("ebx"), Get("ecx"), Get("edx"), Get("esi"), Get("edi"), Get("ebp")];
        SyscallNumber = Get("orig_rax");
        ReturnValue = Get("rax");
        SecondReturnValue = Get("rdx");
        InstructionPointer = Get("rip");
        StackPointer = Get("rsp");
        FramePointer = Get("rbp");
    }

    public override Architecture Of(ElfFile file) => file.Is64 ? this : I386.Instance;
    public override Architecture Of(ReadOnlySpan<byte> registers) => registers[Get("cs").Offset] == I386.CodeSegment ? I386.Instance : this;

    public override string Name => "x86_64";
    public override string MachineName => "x86_64";
    public override ushort ElfMachine => ElfMachines.X8664;

    public override ReadOnlySpan<Register> Registers => _registers;
    protected override ReadOnlySpan<Register> Aliases => _aliases;
    public override ReadOnlySpan<Register> CallArguments => _call;
    public override ReadOnlySpan<Register> SyscallArguments => _syscall;
    public override ReadOnlySpan<Register> CompatSyscallArguments => _compat;
    public override Register SyscallNumber { get; }
    public override Register ReturnValue { get; }
    public override Register SecondReturnValue { get; }
    public override bool ReturnsMixedStructures => true;
    public override Register InstructionPointer { get; }
    public override Register StackPointer { get; }
    public override Register FramePointer { get; }
    public override Register? ReturnAddress => null;
    public override int StackArgumentsOffset => 8;

    // mov $__NR_rt_sigreturn, %rax; syscall. The offsets are those of uc_mcontext (asm/sigcontext.h) behind uc_flags, uc_link and uc_stack.
    public override SignalReturn SignalReturn { get; } = new([0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05],
        [(8, 40), (9, 48), (10, 56), (11, 64), (12, 72), (13, 80), (14, 88), (15, 96), (5, 104), (4, 112), (6, 120), (3, 128), (1, 136), (0, 144), (2, 152), (7, 160), (16, 168)]);

    public override SyscallTable Syscalls { get; } = new(X8664Syscalls.Source);
    public override SyscallTable CompatSyscalls { get; } = new(I386Syscalls.Source);
    public override string SyscallFunctionPrefix => "__x64_sys_";
    public override string CompatSyscallFunctionPrefix => "__ia32_sys_";

    public override int? FindDwarfVector(int number) => number is >= 17 and <= 32 ? number - 17 : null;

    private Register Get(string name) => FindRegister(name)!;

    private Register[] MakeAliases()
    {
        var list = new List<Register>(96);
        foreach (var register in _registers)
        {
            var name = register.Name;
            var offset = register.Offset;
            if (name is "cs" or "ss")
                continue;
            if (name.StartsWith('r') && char.IsAsciiDigit(name[1]))
            {
                list.Add(new(name + "d", offset, 4, -1));
                list.Add(new(name + "w", offset, 2, -1));
                list.Add(new(name + "b", offset, 1, -1));
                continue;
            }
            if (name == "orig_rax")
            {
                list.Add(new("orig_ax", offset, 8, -1));
                list.Add(new("orig_eax", offset, 4, -1));
                continue;
            }
            var stem = name[1..];
            list.Add(new("e" + stem, offset, 4, -1));
            if (name is "rip" or "rflags")
            {
                // the kernel's own field names
                list.Add(new(stem, offset, 8, -1));
                continue;
            }
            list.Add(new(stem, offset, 2, -1));
            if (stem is [var letter, 'x'])
            {
                list.Add(new($"{letter}l", offset, 1, -1));
                list.Add(new($"{letter}h", offset + 1, 1, -1));
            }
            else
            {
                list.Add(new(stem + "l", offset, 1, -1));
            }
        }
        return [.. list];
    }
}
