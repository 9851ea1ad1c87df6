using System.Runtime.InteropServices;

namespace Linux.Bpf;

/// <summary>
/// One 8-byte slot of BPF code: <c>opcode:8 dst:4 src:4 off:16 imm:32</c>, in host byte order
/// (<c>struct bpf_insn</c>; nibble order is that of little-endian hosts). A 64-bit constant load is two slots;
/// see <see cref="LdImm64(Reg,long)"/> and <see cref="Assembler.LdImm64"/>.
/// </summary>
[StructLayout(LayoutKind.Sequential, Pack = 4, Size = 8)]
public readonly struct Instruction : IEquatable<Instruction>
{
    /// <summary>Class, operation or mode, operand source.</summary>
    public readonly byte OpCode;
    private readonly byte _regs;
    /// <summary>Jump distance in slots past the next one, or byte offset of a memory access, or a variant selector.</summary>
    public readonly short Offset;
    /// <summary>Immediate operand, sign-extended by 64-bit operations.</summary>
    public readonly int Imm;

    /// <summary>A slot from its raw fields.</summary>
    public Instruction(byte opCode, byte dst, byte src, short offset, int imm)
    {
        OpCode = opCode;
        _regs = (byte)((src << 4) | (dst & 0xf));
        Offset = offset;
        Imm = imm;
    }

    private Instruction(int opCode, Reg dst, Reg src, int offset, int imm)
        : this((byte)opCode, (byte)dst, (byte)src, checked((short)offset), imm) { }

    /// <summary>Destination register.</summary>
    public Reg Dst => (Reg)(_regs & 0xf);
    /// <summary>Source register, or a selector (see the <c>Pseudo…</c> constants of <see cref="Op"/>).</summary>
    public Reg Src => (Reg)(_regs >> 4);
    /// <summary>The instruction class, see <see cref="Op"/>.</summary>
    public byte Class => (byte)(OpCode & 7);
    /// <summary>True for the first slot of a two-slot constant load.</summary>
    public bool IsWide => OpCode == Op.LdImm64;

    /// <summary>The same slot with another jump distance or memory offset.</summary>
    public Instruction WithOffset(short offset) => new(OpCode, (byte)Dst, (byte)Src, offset, Imm);
    /// <summary>The same slot with another immediate.</summary>
    public Instruction WithImm(int imm) => new(OpCode, (byte)Dst, (byte)Src, Offset, imm);

    // ---- arithmetic ----

    /// <summary>64-bit <c>dst op= src</c>.</summary>
    public static Instruction Alu64(AluOp op, Reg dst, Reg src) => new(Op.Alu64 | (int)op | Op.X, dst, src, 0, 0);
    /// <summary>64-bit <c>dst op= imm</c> (sign-extended).</summary>
    public static Instruction Alu64(AluOp op, Reg dst, int imm) => new(Op.Alu64 | (int)op | Op.K, dst, 0, 0, imm);
    /// <summary>32-bit <c>dst op= src</c>; the upper half of dst becomes zero.</summary>
    public static Instruction Alu32(AluOp op, Reg dst, Reg src) => new(Op.Alu | (int)op | Op.X, dst, src, 0, 0);
    /// <summary>32-bit <c>dst op= imm</c>; the upper half of dst becomes zero.</summary>
    public static Instruction Alu32(AluOp op, Reg dst, int imm) => new(Op.Alu | (int)op | Op.K, dst, 0, 0, imm);

    /// <summary><c>dst = src</c>.</summary>
    public static Instruction Mov(Reg dst, Reg src) => Alu64(AluOp.Mov, dst, src);
    /// <summary><c>dst = imm</c>, sign-extended to 64 bits.</summary>
    public static Instruction Mov(Reg dst, int imm) => Alu64(AluOp.Mov, dst, imm);
    /// <summary><c>dst = (u32)src</c>.</summary>
    public static Instruction Mov32(Reg dst, Reg src) => Alu32(AluOp.Mov, dst, src);
    /// <summary><c>dst = (u32)imm</c>.</summary>
    public static Instruction Mov32(Reg dst, int imm) => Alu32(AluOp.Mov, dst, imm);
    /// <summary><c>dst = (sN)src</c> for N = 8, 16, 32 bits. Linux 6.6.</summary>
    public static Instruction MovSx(Reg dst, Reg src, int bits) => new(Op.Alu64 | (int)AluOp.Mov | Op.X, dst, src, bits, 0);
    /// <summary><c>dst += imm</c>.</summary>
    public static Instruction Add64Imm(Reg dst, int imm) => Alu64(AluOp.Add, dst, imm);
    /// <summary><c>dst += src</c>.</summary>
    public static Instruction Add64(Reg dst, Reg src) => Alu64(AluOp.Add, dst, src);
    /// <summary><c>dst -= src</c>.</summary>
    public static Instruction Sub64(Reg dst, Reg src) => Alu64(AluOp.Sub, dst, src);
    /// <summary><c>dst = -dst</c>.</summary>
    public static Instruction Neg64(Reg dst) => Alu64(AluOp.Neg, dst, 0);
    /// <summary>Signed <c>dst /= src</c>; x/0 is 0. Linux 6.6.</summary>
    public static Instruction SDiv64(Reg dst, Reg src) => new(Op.Alu64 | (int)AluOp.Div | Op.X, dst, src, 1, 0);
    /// <summary>Signed <c>dst /= imm</c>. Linux 6.6.</summary>
    public static Instruction SDiv64(Reg dst, int imm) => new(Op.Alu64 | (int)AluOp.Div | Op.K, dst, 0, 1, imm);
    /// <summary>Signed <c>dst %= src</c>; x%0 is x. Linux 6.6.</summary>
    public static Instruction SMod64(Reg dst, Reg src) => new(Op.Alu64 | (int)AluOp.Mod | Op.X, dst, src, 1, 0);
    /// <summary>Signed <c>dst %= imm</c>. Linux 6.6.</summary>
    public static Instruction SMod64(Reg dst, int imm) => new(Op.Alu64 | (int)AluOp.Mod | Op.K, dst, 0, 1, imm);
    /// <summary>Swaps the low 16, 32 or 64 bits and clears the rest. Linux 6.6.</summary>
    public static Instruction BSwap(Reg dst, int bits) => new(Op.Alu64 | (int)AluOp.End, dst, 0, 0, bits);
    /// <summary>Host to/from big endian of the low 16, 32 or 64 bits.</summary>
    public static Instruction ToBigEndian(Reg dst, int bits) => new(Op.Alu | (int)AluOp.End | Op.X, dst, 0, 0, bits);

    // ---- memory ----

    /// <summary><c>dst = *(uN *)(src + offset)</c>.</summary>
    public static Instruction Load(MemSize size, Reg dst, Reg src, int offset) => new(Op.Ldx | Op.Mem | (int)size, dst, src, offset, 0);
    /// <summary><c>dst = *(sN *)(src + offset)</c>, sign-extended; not for 8 bytes. Linux 6.6.</summary>
    public static Instruction LoadSx(MemSize size, Reg dst, Reg src, int offset) => new(Op.Ldx | Op.MemSx | (int)size, dst, src, offset, 0);
    /// <summary><c>*(uN *)(dst + offset) = src</c>.</summary>
    public static Instruction Store(MemSize size, Reg dst, int offset, Reg src) => new(Op.Stx | Op.Mem | (int)size, dst, src, offset, 0);
    /// <summary><c>*(uN *)(dst + offset) = imm</c>.</summary>
    public static Instruction Store(MemSize size, Reg dst, int offset, int imm) => new(Op.St | Op.Mem | (int)size, dst, 0, offset, imm);

    /// <summary>
    /// Atomic operation on <c>*(dst + offset)</c>, 4 or 8 bytes. The fetching forms leave the old value in src
    /// (<see cref="AtomicOp.CmpXchg"/>: in R0). Fetching forms: Linux 5.12.
    /// </summary>
    public static Instruction Atomic(AtomicOp op, MemSize size, Reg dst, int offset, Reg src) =>
        new(Op.Stx | Op.Atomic | (int)size, dst, src, offset, (int)op);
    /// <summary><c>dst = load_acquire(src + offset)</c>. Linux 6.15.</summary>
    public static Instruction LoadAcquire(MemSize size, Reg dst, Reg src, int offset) =>
        new(Op.Stx | Op.Atomic | (int)size, dst, src, offset, (int)AtomicOp.LoadAcquire);
    /// <summary><c>store_release(dst + offset, src)</c>. Linux 6.15.</summary>
    public static Instruction StoreRelease(MemSize size, Reg dst, int offset, Reg src) =>
        new(Op.Stx | Op.Atomic | (int)size, dst, src, offset, (int)AtomicOp.StoreRelease);

    // ---- constants of 64 bits ----

    /// <summary>The two slots of <c>dst = value</c>.</summary>
    public static (Instruction First, Instruction Second) LdImm64(Reg dst, long value) => Wide(dst, 0, (int)value, (int)(value >> 32));
    /// <summary>The two slots of <c>dst = map</c>, by file descriptor.</summary>
    public static (Instruction First, Instruction Second) LdMapFd(Reg dst, int fd) => Wide(dst, Op.PseudoMapFd, fd, 0);
    /// <summary>The two slots of <c>dst = &amp;map[0] + offset</c>, for arrays of one element. Linux 5.2.</summary>
    public static (Instruction First, Instruction Second) LdMapValue(Reg dst, int fd, int offset) => Wide(dst, Op.PseudoMapValue, fd, offset);
    /// <summary>The two slots of <c>dst = callback</c>; the distance is in slots from the next slot, as for a call.</summary>
    public static (Instruction First, Instruction Second) LdFunc(Reg dst, int distance) => Wide(dst, Op.PseudoFunc, distance, 0);

    private static (Instruction, Instruction) Wide(Reg dst, byte pseudo, int low, int high) =>
        (new(Op.LdImm64, (byte)dst, pseudo, 0, low), new(0, 0, 0, 0, high));

    // ---- control ----

    /// <summary><c>goto +distance</c>.</summary>
    public static Instruction Jump(int distance) => new(Op.Jmp | Op.Ja, 0, 0, distance, 0);
    /// <summary><c>goto +distance</c> of 32 bits. Linux 6.6.</summary>
    public static Instruction JumpLong(int distance) => new(Op.Jmp32 | Op.Ja, 0, 0, 0, distance);
    /// <summary><c>if (left op right) goto +distance</c>, 64-bit compare.</summary>
    public static Instruction JumpIf(JumpOp op, Reg left, Reg right, int distance) => new(Op.Jmp | (int)op | Op.X, left, right, distance, 0);
    /// <summary><c>if (left op right) goto +distance</c>, 64-bit compare with a sign-extended immediate.</summary>
    public static Instruction JumpIf(JumpOp op, Reg left, int right, int distance) => new(Op.Jmp | (int)op | Op.K, left, 0, distance, right);
    /// <summary>32-bit form of <see cref="JumpIf(JumpOp,Reg,Reg,int)"/>. Linux 5.1.</summary>
    public static Instruction JumpIf32(JumpOp op, Reg left, Reg right, int distance) => new(Op.Jmp32 | (int)op | Op.X, left, right, distance, 0);
    /// <summary>32-bit form of <see cref="JumpIf(JumpOp,Reg,int,int)"/>. Linux 5.1.</summary>
    public static Instruction JumpIf32(JumpOp op, Reg left, int right, int distance) => new(Op.Jmp32 | (int)op | Op.K, left, 0, distance, right);
    /// <summary>Falls through while the loop budget lasts (about 8 million), then goes to the target. Linux 6.9.</summary>
    public static Instruction MayGoto(int distance) => new(Op.Jmp | Op.JCond, 0, 0, distance, 0);
    /// <summary>Calls a numbered helper.</summary>
    public static Instruction Call(Helper helper) => new(Op.Jmp | Op.Call, 0, 0, 0, (int)helper);
    /// <summary>Calls a kernel function by BTF id; <paramref name="fdIndex"/> indexes the program's fd array, 0 = vmlinux. Linux 5.13.</summary>
    public static Instruction CallKfunc(int btfId, int fdIndex = 0) => new(Op.Jmp | Op.Call, 0, (Reg)Op.PseudoKfuncCall, fdIndex, btfId);
    /// <summary>Calls a subprogram; the distance is in slots from the next slot.</summary>
    public static Instruction CallLocal(int distance) => new(Op.Jmp | Op.Call, 0, (Reg)Op.PseudoCall, 0, distance);
    /// <summary>Returns R0.</summary>
    public static Instruction Exit() => new(Op.Jmp | Op.Exit, 0, 0, 0, 0);

    /// <inheritdoc/>
    public bool Equals(Instruction other) =>
        OpCode == other.OpCode && _regs == other._regs && Offset == other.Offset && Imm == other.Imm;
    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Instruction other && Equals(other);
    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(OpCode, _regs, Offset, Imm);
    public static bool operator ==(Instruction left, Instruction right) => left.Equals(right);
    public static bool operator !=(Instruction left, Instruction right) => !left.Equals(right);

    /// <summary>The kernel verifier's spelling, for instance <c>(79) r1 = *(u64 *)(r2 +8)</c>.</summary>
    public override string ToString() => Disassembler.Text(this, default);
}
