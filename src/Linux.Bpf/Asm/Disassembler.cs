using System.Globalization;
using System.Text;

namespace Linux.Bpf;

/// <summary>
/// Writes BPF code as the kernel verifier's log does, so that our listings and its messages can be read side by side
/// (the spelling of <c>kernel/bpf/disasm.c</c>). Differences: map and callback loads name what they load.
/// </summary>
public static class Disassembler
{
    private static readonly string[] Sizes = ["u32", "u16", "u8", "u64"];
    private static readonly string[] SignedSizes = ["s32", "s16", "s8", "s64"];

    /// <summary>A listing with slot numbers, one instruction a line; two-slot loads take one line.</summary>
    public static string Listing(ReadOnlySpan<Instruction> code)
    {
        var text = new StringBuilder();
        for (int i = 0; i < code.Length; i++)
        {
            Instruction next = i + 1 < code.Length ? code[i + 1] : default;
            text.Append(CultureInfo.InvariantCulture, $"{i}: {Text(code[i], next)}\n");
            if (code[i].IsWide)
                i++;
        }
        return text.ToString();
    }

    /// <summary>One instruction; <paramref name="next"/> supplies the upper half of a 64-bit constant.</summary>
    public static string Text(Instruction insn, Instruction next)
    {
        string body = insn.Class switch
        {
            Op.Alu or Op.Alu64 => Alu(insn),
            Op.Jmp or Op.Jmp32 => Jump(insn),
            Op.Ldx => $"r{(int)insn.Dst} = *({Width(insn, (insn.OpCode & 0xe0) == Op.MemSx)} *)({Address(insn.Src, insn.Offset)})",
            Op.Stx => Stx(insn),
            Op.St => $"*({Width(insn, false)} *)({Address(insn.Dst, insn.Offset)}) = {insn.Imm}",
            _ => Load(insn, next),
        };
        return string.Create(CultureInfo.InvariantCulture, $"({insn.OpCode:x2}) {body}");
    }

    private static string Width(Instruction insn, bool signed) => (signed ? SignedSizes : Sizes)[(insn.OpCode >> 3) & 3];

    private static string Address(Reg reg, short offset) =>
        string.Create(CultureInfo.InvariantCulture, $"r{(int)reg} {(offset < 0 ? "" : "+")}{offset}");

    private static string Load(Instruction insn, Instruction next)
    {
        if (!insn.IsWide)
            return "BUG_ld";
        int dst = (int)insn.Dst;
        ulong value = (uint)insn.Imm | ((ulong)(uint)next.Imm << 32);
        return (byte)insn.Src switch
        {
            Op.PseudoMapFd => $"r{dst} = map[fd {insn.Imm}]",
            Op.PseudoMapValue => $"r{dst} = map[fd {insn.Imm}][0]+{next.Imm}",
            Op.PseudoMapIdx => $"r{dst} = map[idx {insn.Imm}]",
            Op.PseudoMapIdxValue => $"r{dst} = map[idx {insn.Imm}][0]+{next.Imm}",
            Op.PseudoFunc => $"r{dst} = func pc{Signed(insn.Imm)}",
            Op.PseudoBtfId => $"r{dst} = btf_id {insn.Imm}",
            _ => string.Create(CultureInfo.InvariantCulture, $"r{dst} = 0x{value:x}"),
        };
    }

    private static string Alu(Instruction insn)
    {
        bool wide = insn.Class == Op.Alu64, reg = (insn.OpCode & Op.X) != 0;
        char kind = wide ? 'r' : 'w';
        var op = (AluOp)(insn.OpCode & 0xf0);
        int dst = (int)insn.Dst;
        switch (op)
        {
            case AluOp.End:
                string order = wide ? "bswap" : reg ? "be" : "le";
                return $"r{dst} = {order}{insn.Imm} r{dst}";
            case AluOp.Neg:
                return $"{kind}{dst} = -{kind}{dst}";
            case AluOp.Mov when reg && insn.Offset != 0:
                return $"{kind}{dst} = (s{insn.Offset}){kind}{(int)insn.Src}";
        }
        bool signed = insn.Offset == 1; // Only sdiv and smod use the offset here.
        string sign = op switch
        {
            AluOp.Add => "+=", AluOp.Sub => "-=", AluOp.Mul => "*=", AluOp.Div => signed ? "s/=" : "/=",
            AluOp.Or => "|=", AluOp.And => "&=", AluOp.Lsh => "<<=", AluOp.Rsh => ">>=",
            AluOp.Mod => signed ? "s%=" : "%=", AluOp.Xor => "^=", AluOp.Mov => "=", AluOp.Arsh => "s>>=", _ => "?=",
        };
        return reg ? $"{kind}{dst} {sign} {kind}{(int)insn.Src}" : $"{kind}{dst} {sign} {insn.Imm}";
    }

    private static string Stx(Instruction insn)
    {
        string width = Width(insn, false);
        int src = (int)insn.Src;
        string at = Address(insn.Dst, insn.Offset);
        if ((insn.OpCode & 0xe0) != Op.Atomic)
            return $"*({width} *)({at}) = r{src}";
        string prefix = (insn.OpCode & 0x18) == Op.DW ? "atomic64_" : "atomic_";
        return (AtomicOp)insn.Imm switch
        {
            AtomicOp.Add => $"lock *({width} *)({at}) += r{src}",
            AtomicOp.Or => $"lock *({width} *)({at}) |= r{src}",
            AtomicOp.And => $"lock *({width} *)({at}) &= r{src}",
            AtomicOp.Xor => $"lock *({width} *)({at}) ^= r{src}",
            AtomicOp.FetchAdd => $"r{src} = {prefix}fetch_add(({width} *)({at}), r{src})",
            AtomicOp.FetchOr => $"r{src} = {prefix}fetch_or(({width} *)({at}), r{src})",
            AtomicOp.FetchAnd => $"r{src} = {prefix}fetch_and(({width} *)({at}), r{src})",
            AtomicOp.FetchXor => $"r{src} = {prefix}fetch_xor(({width} *)({at}), r{src})",
            AtomicOp.Xchg => $"r{src} = {prefix}xchg(({width} *)({at}), r{src})",
            AtomicOp.CmpXchg => $"r0 = {prefix}cmpxchg(({width} *)({at}), r0, r{src})",
            AtomicOp.LoadAcquire => $"r{(int)insn.Dst} = load_acquire(({width} *)({Address(insn.Src, insn.Offset)}))",
            AtomicOp.StoreRelease => $"store_release(({width} *)({at}), r{src})",
            _ => $"BUG_atomic {insn.Imm}",
        };
    }

    private static string Jump(Instruction insn)
    {
        bool narrow = insn.Class == Op.Jmp32, reg = (insn.OpCode & Op.X) != 0;
        switch (insn.OpCode & 0xf0)
        {
            case Op.Call:
                return (byte)insn.Src switch
                {
                    Op.PseudoCall => $"call pc{Signed(insn.Imm)}",
                    Op.PseudoKfuncCall => $"call kernel-function#{insn.Imm}",
                    _ => $"call {HelperNames.Of((Helper)insn.Imm)}#{insn.Imm}",
                };
            case Op.Exit: return "exit";
            case Op.JCond: return $"may_goto pc{Signed(insn.Offset)}";
            case Op.Ja: return narrow ? $"gotol pc{Signed(insn.Imm)}" : $"goto pc{Signed(insn.Offset)}";
        }
        string sign = (JumpOp)(insn.OpCode & 0xf0) switch
        {
            JumpOp.Eq => "==", JumpOp.Gt => ">", JumpOp.Ge => ">=", JumpOp.Set => "&", JumpOp.Ne => "!=",
            JumpOp.SGt => "s>", JumpOp.SGe => "s>=", JumpOp.Lt => "<", JumpOp.Le => "<=", JumpOp.SLt => "s<", JumpOp.SLe => "s<=",
            _ => "?",
        };
        char kind = narrow ? 'w' : 'r';
        string right = reg
            ? $"{kind}{(int)insn.Src}"
            : string.Create(CultureInfo.InvariantCulture, $"0x{insn.Imm:x}");
        return $"if {kind}{(int)insn.Dst} {sign} {right} goto pc{Signed(insn.Offset)}";
    }

    private static string Signed(int value) => value < 0 ? value.ToString(CultureInfo.InvariantCulture) : $"+{value}";
}
