using System.Runtime.InteropServices;
using CsCheck;
using Linux.Bpf;
using Xunit;

namespace SystemTap.Tests.LinuxBpf;

public class AssemblerTests
{
    [Fact]
    public unsafe void ASlotIsEightBytesInTheKernelsLayout()
    {
        Assert.Equal(8, sizeof(Instruction));
        Instruction insn = Instruction.Load(MemSize.DW, Reg.R1, Reg.R2, -8);
        byte[] bytes = MemoryMarshal.AsBytes([insn]).ToArray();
        Assert.Equal([0x79, 0x21, 0xf8, 0xff, 0, 0, 0, 0], bytes);
    }

    [Fact]
    public void RawFieldsSurviveARoundTrip() =>
        Gen.Select(Gen.Byte, Gen.Byte[0, 15], Gen.Byte[0, 15], Gen.Short, Gen.Int).Sample((op, dst, src, off, imm) =>
        {
            var insn = new Instruction(op, dst, src, off, imm);
            Instruction copy = MemoryMarshal.Read<Instruction>(MemoryMarshal.AsBytes([insn]));
            return copy == insn && copy.OpCode == op && (byte)copy.Dst == dst && (byte)copy.Src == src && copy.Offset == off && copy.Imm == imm
                && copy.ToString().Length > 4;
        });

    public static TheoryData<Instruction, string> Spellings => new()
    {
        { Instruction.Mov(Reg.R6, Reg.R1), "(bf) r6 = r1" },
        { Instruction.Mov(Reg.R0, -1), "(b7) r0 = -1" },
        { Instruction.Mov32(Reg.R0, Reg.R3), "(bc) w0 = w3" },
        { Instruction.MovSx(Reg.R1, Reg.R2, 8), "(bf) r1 = (s8)r2" },
        { Instruction.Add64Imm(Reg.R2, -8), "(07) r2 += -8" },
        { Instruction.SDiv64(Reg.R1, Reg.R2), "(3f) r1 s/= r2" },
        { Instruction.SMod64(Reg.R1, 3), "(97) r1 s%= 3" },
        { Instruction.Neg64(Reg.R4), "(87) r4 = -r4" },
        { Instruction.BSwap(Reg.R4, 64), "(d7) r4 = bswap64 r4" },
        { Instruction.ToBigEndian(Reg.R4, 16), "(dc) r4 = be16 r4" },
        { Instruction.Alu64(AluOp.Arsh, Reg.R1, 63), "(c7) r1 s>>= 63" },
        { Instruction.Load(MemSize.W, Reg.R1, Reg.R2, 4), "(61) r1 = *(u32 *)(r2 +4)" },
        { Instruction.LoadSx(MemSize.B, Reg.R1, Reg.R2, 0), "(91) r1 = *(s8 *)(r2 +0)" },
        { Instruction.Store(MemSize.H, Reg.R10, -8, Reg.R1), "(6b) *(u16 *)(r10 -8) = r1" },
        { Instruction.Store(MemSize.DW, Reg.R10, -16, 5), "(7a) *(u64 *)(r10 -16) = 5" },
        { Instruction.Atomic(AtomicOp.Add, MemSize.DW, Reg.R1, 0, Reg.R2), "(db) lock *(u64 *)(r1 +0) += r2" },
        { Instruction.Atomic(AtomicOp.FetchAdd, MemSize.W, Reg.R1, 8, Reg.R2), "(c3) r2 = atomic_fetch_add((u32 *)(r1 +8), r2)" },
        { Instruction.Atomic(AtomicOp.CmpXchg, MemSize.DW, Reg.R1, 0, Reg.R2), "(db) r0 = atomic64_cmpxchg((u64 *)(r1 +0), r0, r2)" },
        { Instruction.LoadAcquire(MemSize.DW, Reg.R1, Reg.R2, 8), "(db) r1 = load_acquire((u64 *)(r2 +8))" },
        { Instruction.StoreRelease(MemSize.W, Reg.R1, 8, Reg.R2), "(c3) store_release((u32 *)(r1 +8), r2)" },
        { Instruction.Jump(-3), "(05) goto pc-3" },
        { Instruction.JumpLong(70000), "(06) gotol pc+70000" },
        { Instruction.MayGoto(2), "(e5) may_goto pc+2" },
        { Instruction.JumpIf(JumpOp.SGt, Reg.R1, Reg.R2, 4), "(6d) if r1 s> r2 goto pc+4" },
        { Instruction.JumpIf32(JumpOp.Ne, Reg.R1, 10, 4), "(56) if w1 != 0xa goto pc+4" },
        { Instruction.Call(Helper.MapLookupElem), "(85) call bpf_map_lookup_elem#1" },
        { Instruction.Call(Helper.CgrpStorageDelete), "(85) call bpf_cgrp_storage_delete#211" },
        { Instruction.CallKfunc(99), "(85) call kernel-function#99" },
        { Instruction.CallLocal(7), "(85) call pc+7" },
        { Instruction.Exit(), "(95) exit" },
    };

    [Theory]
    [MemberData(nameof(Spellings))]
    public void IsSpelledAsTheVerifierDoes(Instruction insn, string text) => Assert.Equal(text, insn.ToString());

    [Fact]
    public void ConstantsTakeTheFewestSlots() => Gen.Long.Sample(value =>
    {
        int slots = new Assembler().LdImm64(Reg.R0, value).Position;
        return slots == (value == (int)value || value == (uint)value ? 1 : 2);
    });

    [Fact]
    public void WideLoadsPrintBothHalves()
    {
        AssembledCode code = new Assembler().LdImm64(Reg.R1, 0x1122334455667788).Exit().Finish();
        Assert.Equal("0: (18) r1 = 0x1122334455667788\n2: (95) exit\n", code.ToString());
    }

    [Fact]
    public void LabelsReachForwardAndBack()
    {
        var a = new Assembler();
        Label end = a.NewLabel(), top = a.Here();
        a.JumpIf(JumpOp.Eq, Reg.R1, 0, end).Jump(top).Bind(end).Exit();
        AssembledCode code = a.Finish();
        Assert.Equal([1, -2], [code.Slots.Span[0].Offset, code.Slots.Span[1].Offset]);
    }

    [Fact]
    public void TheLongestJumpIsAcceptedAndOneMoreIsNot()
    {
        Assert.Equal(32767, Skip(32767, false).Slots.Span[0].Offset);
        var e = Assert.Throws<AssemblerException>(() => Skip(32768, false));
        Assert.Contains("out of the 16-bit range", e.Message);
        Assert.Equal(Instruction.JumpLong(32768), Skip(32768, true).Slots.Span[0]);

        static AssembledCode Skip(int distance, bool longJumps)
        {
            var a = new Assembler { AllowLongJumps = longJumps };
            Label end = a.NewLabel();
            a.Jump(end);
            for (int i = 0; i < distance; i++)
                a.Emit(Instruction.Mov(Reg.R0, 0));
            return a.Bind(end).Exit().Finish();
        }
    }

    [Fact]
    public void UnboundAndTwiceBoundLabelsAreNamed()
    {
        var a = new Assembler();
        Subprogram lost = a.Declare("lost");
        a.Call(lost).Exit();
        Assert.Contains("\"lost\"", Assert.Throws<AssemblerException>(() => a.Finish()).Message);
        Label twice = a.Here();
        Assert.Contains("twice", Assert.Throws<AssemblerException>(() => a.Bind(twice)).Message);
    }

    [Fact]
    public void CallsAndCallbacksGetTheirDistance()
    {
        var a = new Assembler();
        Subprogram f = a.Declare("f");
        a.LdFunc(Reg.R2, f).Call(f).Exit();   // slots 0–1, 2, 3
        a.Begin(f).Exit();                    // slot 4
        AssembledCode code = a.Finish();
        Assert.Equal(3, code.Slots.Span[0].Imm);
        Assert.Equal(Op.PseudoFunc, (byte)code.Slots.Span[0].Src);
        Assert.Equal(1, code.Slots.Span[2].Imm);
        Assert.Equal(4, code.Subprograms[0].Slot);
    }
}
