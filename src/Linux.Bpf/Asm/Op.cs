namespace Linux.Bpf;

/// <summary>The registers of the BPF machine: R0 result, R1–R5 arguments (lost by calls), R6–R9 kept, R10 frame pointer (read only).</summary>
public enum Reg : byte { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 }

/// <summary>Width of a memory access.</summary>
public enum MemSize : byte
{
    /// <summary>4 bytes.</summary>
    W = Op.W,
    /// <summary>2 bytes.</summary>
    H = Op.H,
    /// <summary>1 byte.</summary>
    B = Op.B,
    /// <summary>8 bytes.</summary>
    DW = Op.DW,
}

/// <summary>Arithmetic operations; the value is the operation part of the opcode.</summary>
public enum AluOp : byte
{
    Add = 0x00, Sub = 0x10, Mul = 0x20, Div = 0x30, Or = 0x40, And = 0x50, Lsh = 0x60, Rsh = 0x70,
    Neg = 0x80, Mod = 0x90, Xor = 0xa0, Mov = 0xb0, Arsh = 0xc0, End = 0xd0,
}

/// <summary>Conditions of a jump; the value is the operation part of the opcode. Those starting with S compare signed.</summary>
public enum JumpOp : byte
{
    Always = 0x00, Eq = 0x10, Gt = 0x20, Ge = 0x30, Set = 0x40, Ne = 0x50, SGt = 0x60, SGe = 0x70,
    Lt = 0xa0, Le = 0xb0, SLt = 0xc0, SLe = 0xd0,
}

/// <summary>Atomic operations; the value is the immediate of the instruction (<c>linux/bpf.h</c>).</summary>
public enum AtomicOp
{
    Add = 0x00, Or = 0x40, And = 0x50, Xor = 0xa0,
    FetchAdd = 0x01, FetchOr = 0x41, FetchAnd = 0x51, FetchXor = 0xa1,
    /// <summary>src ↔ memory.</summary>
    Xchg = 0xe1,
    /// <summary>If memory equals R0 then memory = src; R0 becomes the old value.</summary>
    CmpXchg = 0xf1,
    /// <summary>Linux 6.15.</summary>
    LoadAcquire = 0x100,
    /// <summary>Linux 6.15.</summary>
    StoreRelease = 0x110,
}

/// <summary>Parts of the opcode byte, as in <c>linux/bpf_common.h</c> and <c>linux/bpf.h</c>.</summary>
public static class Op
{
    // Classes (low three bits).
    public const byte Ld = 0, Ldx = 1, St = 2, Stx = 3, Alu = 4, Jmp = 5, Jmp32 = 6, Alu64 = 7;
    // Widths of loads and stores.
    public const byte W = 0x00, H = 0x08, B = 0x10, DW = 0x18;
    // Modes of loads and stores.
    public const byte Imm = 0x00, Mem = 0x60, MemSx = 0x80, Atomic = 0xc0;
    // Second operand: immediate or register.
    public const byte K = 0x00, X = 0x08;
    // Jump class specials.
    public const byte Ja = 0x00, Call = 0x80, Exit = 0x90, JCond = 0xe0;
    /// <summary>First half of a 16-byte load of a 64-bit constant.</summary>
    public const byte LdImm64 = Ld | Imm | DW;

    // Meaning of the src field in LDIMM64.
    public const byte PseudoMapFd = 1, PseudoMapValue = 2, PseudoBtfId = 3, PseudoFunc = 4, PseudoMapIdx = 5, PseudoMapIdxValue = 6;
    // Meaning of the src field in CALL.
    public const byte PseudoCall = 1, PseudoKfuncCall = 2;
}
