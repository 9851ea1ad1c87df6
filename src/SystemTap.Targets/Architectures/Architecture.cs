namespace SystemTap.Targets;

/// <summary>A register as a probe finds it saved in the kernel's <c>struct pt_regs</c>.</summary>
/// <param name="Name">As scripts and assembler name it, without "%".</param>
/// <param name="Offset">Bytes from the beginning of <c>struct pt_regs</c>.</param>
/// <param name="Size">Bytes; parts of a register ("eax", "ah") have entries of their own.</param>
/// <param name="DwarfNumber">Its number in DWARF of this architecture, or -1 when it has none.</param>
public sealed record Register(string Name, int Offset, int Size, int DwarfNumber);

/// <summary>The system call that goes back to what a signal interrupted.</summary>
/// <param name="Code">Its instructions, at which the stack pointer is that of a <c>struct ucontext</c>.</param>
/// <param name="Registers">DWARF numbers, and where in it the registers are.</param>
public sealed record SignalReturn(byte[] Code, IReadOnlyList<(int Register, int Offset)> Registers);

/// <summary>
/// Everything that depends on the processor: registers, calling conventions, system-call numbers.
/// One file per architecture; nothing elsewhere asks "which processor is it".
/// </summary>
public abstract class Architecture
{
    /// <summary>As the kernel's build and the tapset's folders name it: "x86_64", "arm64".</summary>
    public abstract string Name { get; }

    /// <summary>As <c>uname -m</c> says it: "x86_64", "aarch64".</summary>
    public abstract string MachineName { get; }

    /// <summary>EM_* of its ELF files (elf.h).</summary>
    public abstract ushort ElfMachine { get; }

    /// <summary>Bytes of a pointer and of a C <c>long</c>.</summary>
    public virtual int PointerSize => 8;

    /// <summary>That of programs whose files are of this ELF class.</summary>
    public virtual Architecture Of(ElfFile file) => this;

    /// <summary>That of a program with these registers (struct pt_regs).</summary>
    public virtual Architecture Of(ReadOnlySpan<byte> registers) => this;

    /// <summary>Bytes of the usual page. arm64 kernels may use 16 or 64 KiB: ask <see cref="Target.PageSize"/>.</summary>
    public int DefaultPageSize => 4096;

    /// <summary>Full-width registers in the order of <c>struct pt_regs</c>.</summary>
    public abstract ReadOnlySpan<Register> Registers { get; }

    /// <summary>Other names and parts of registers: "eax", "ah", "lr".</summary>
    protected abstract ReadOnlySpan<Register> Aliases { get; }

    /// <summary>Where the C calling convention puts integer arguments, first to last.</summary>
    public abstract ReadOnlySpan<Register> CallArguments { get; }

    /// <summary>Where a system call's arguments are, first to sixth, also at its exit.</summary>
    public abstract ReadOnlySpan<Register> SyscallArguments { get; }

    /// <summary>Holds the system call's number throughout the call.</summary>
    public abstract Register SyscallNumber { get; }

    /// <summary>Where functions and system calls leave their result.</summary>
    public abstract Register ReturnValue { get; }

    /// <summary>Where the second eight bytes of a small structure are left.</summary>
    public abstract Register SecondReturnValue { get; }

    /// <summary>Members of floating-point types in a small structure are returned in vector registers each eight bytes by itself (x86-64), not only when all members are such.</summary>
    public abstract bool ReturnsMixedStructures { get; }

    public abstract Register InstructionPointer { get; }
    public abstract Register StackPointer { get; }
    public abstract Register FramePointer { get; }

    /// <summary>The register holding the return address on entry to a function; null when it is at the stack pointer.</summary>
    public abstract Register? ReturnAddress { get; }

    /// <summary>
    /// Bytes between the stack pointer on entry to a function and its first argument on the stack (the return address on x86).
    /// </summary>
    public abstract int StackArgumentsOffset { get; }

    /// <summary>How handlers of signals end, for C libraries that describe it by no frame information (musl) and for Go; null when not known.</summary>
    public virtual SignalReturn? SignalReturn => null;

    /// <summary>System calls of 64-bit programs.</summary>
    public abstract SyscallTable Syscalls { get; }

    /// <summary>System calls of 32-bit programs on this kernel.</summary>
    public abstract SyscallTable CompatSyscalls { get; }

    /// <summary>Where 32-bit programs put the arguments of a system call, first to sixth.</summary>
    public abstract ReadOnlySpan<Register> CompatSyscallArguments { get; }

    /// <summary>Prefix of the kernel functions that receive native system calls: "__x64_sys_".</summary>
    public abstract string SyscallFunctionPrefix { get; }

    /// <summary>Prefix of the kernel functions that receive 32-bit system calls where they differ: "__ia32_sys_".</summary>
    public abstract string CompatSyscallFunctionPrefix { get; }

    /// <summary>A register or a part of one by name (case matters, no "%"), or null.</summary>
    public Register? FindRegister(ReadOnlySpan<char> name) => Named(Registers, name) ?? Named(Aliases, name);

    /// <summary>The register DWARF numbers so, or null.</summary>
    public Register? FindDwarfRegister(int number)
    {
        foreach (var register in Registers)
            if (register.DwarfNumber == number && number >= 0)
                return register;
        return null;
    }

    /// <summary>The vector register DWARF numbers so, counted from 0; null when it is none that holds C's floating-point numbers.</summary>
    public abstract int? FindDwarfVector(int number);

    private static Register? Named(ReadOnlySpan<Register> registers, ReadOnlySpan<char> name)
    {
        foreach (var register in registers)
            if (name.SequenceEqual(register.Name))
                return register;
        return null;
    }

    /// <summary>The architecture that <c>uname -m</c> or the kernel's build names so, or null when it is not supported.</summary>
    public static Architecture? Find(string name) => name switch
    {
        "x86_64" or "amd64" => X8664.Instance,
        "arm64" or "aarch64" => Arm64.Instance,
        _ => null,
    };
}
