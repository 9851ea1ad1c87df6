using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Bpf.Emit;

// Reading memory. In typed programs a chain of loads that starts at a trusted argument is emitted as plain loads: the verifier knows the types and
// gives each load an exception entry. Everything else goes through bpf_probe_read_kernel/_user, whose failure is the script's "read fault".
// A null pointer inside a chain is tested for, because a plain load from it would read 0 instead of failing.

internal sealed partial class ProgramEmitter
{
    public CodeWriter Code => _a;

    /// <summary>Makes the verifier forget that a register holds a pointer, so that it can be compared, printed and computed with.</summary>
    public void Launder(Reg r)
    {
        Save(new Mem(Frame, FrameLaunder), r);
        Load(r, new Mem(Frame, FrameLaunder));
    }

    private void Deref(DerefExpr d)
    {
        if (_event.IsTyped && _f.Function is null && DirectLoads.Find(d, _c.Target) is { } direct)
        {
            Pointer(direct);
            _a.Emit(Instruction.Load(SizeOf(d.Size), Reg.R0, Reg.R0, direct.Offset));
            if (d.Size == 8)
            {
                Launder(Reg.R0);
            }

            Narrow(d);
            return;
        }

        var mark = Marked();
        var address = TakeTemp();
        Long(d.Address, Reg.R0);
        Put(address, Reg.R0);
        var place = TakeStack(8);
        At(d.Span);
        Address(Reg.R1, place);
        _a.Emit(Instruction.Mov(Reg.R2, d.Size));
        Get(Reg.R3, address);
        ReadMemory(d.IsUser, d.IsUser ? Helper.ProbeReadUser : Helper.ProbeReadKernel);
        var good = _a.NewLabel();
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, good);
        Get(Reg.R0, address);
        Raise($"{(d.IsUser ? "user" : "kernel")} read fault at {{0}}", d.Span, Reg.R0);
        _a.Bind(good);
        Free(address);
        Load(SizeOf(d.Size), Reg.R0, place);
        Narrow(d);
        Release(mark);
    }

    private void Narrow(DerefExpr d)
    {
        if (d.BitWidth > 0)
        {
            // Up to the top, then down with or without the sign.
            var up = 64 - d.BitShift - d.BitWidth;
            if (up > 0)
            {
                _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R0, up));
            }

            _a.Emit(Instruction.Alu64(d.IsSigned ? AluOp.Arsh : AluOp.Rsh, Reg.R0, 64 - d.BitWidth));
        }
        else if (d.IsSigned)
        {
            Extend(Reg.R0, d.Size, true);
        }
    }

    /// <summary>R0 = the typed pointer the last load goes through.</summary>
    private void Pointer(DirectLoad load)
    {
        if (load.Inner is { } inner)
        {
            Pointer(inner);
            _a.Emit(Instruction.Load(MemSize.DW, Reg.R0, Reg.R0, inner.Offset));
            var good = _a.NewLabel();
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, good);
            Raise("kernel read fault at {0}", load.Span);
            _a.Bind(good);
        }
        else
        {
            _a.Emit(Instruction.Load(MemSize.DW, Reg.R0, Ctx, 8 * load.Argument));
        }
    }

    private static MemSize SizeOf(int bytes) => bytes switch
    {
        1 => MemSize.B,
        2 => MemSize.H,
        4 => MemSize.W,
        _ => MemSize.DW,
    };

    /// <summary>to = a member behind a typed pointer or, untyped, behind an address (then R0–R5 are lost).</summary>
    public void LoadField(Reg to, Reg from, int offset, int size, bool typed)
    {
        if (typed)
        {
            _a.Emit(Instruction.Load(SizeOf(size), to, from, offset));
            return;
        }

        Move(Reg.R0, from);
        ReadKernel(Reg.R0, offset, size);
        Move(to, Reg.R0);
    }

    /// <summary>to = bytes at address to + offset, zero-extended, 0 when they cannot be read. For structures of the kernel that are there.</summary>
    public void ReadKernel(Reg to, int offset, int size)
    {
        var mark = Marked();
        var place = TakeStack(8);
        Move(Reg.R3, to);
        _a.Emit(Instruction.Add64Imm(Reg.R3, offset));
        Store(place, 0);
        Address(Reg.R1, place);
        _a.Emit(Instruction.Mov(Reg.R2, size));
        _a.Call(Helper.ProbeReadKernel);
        Load(SizeOf(size), to, place);
        Release(mark);
    }

    /// <summary>at = the word of user memory at address at + offset; raises a read fault. R0–R5 are lost.</summary>
    public void ReadUserWord(Reg at, int offset, int size, SourceSpan span)
    {
        var mark = Marked();
        var place = TakeStack(8);
        var address = TakeStack(8);
        At(span);
        Move(Reg.R3, at);
        _a.Emit(Instruction.Add64Imm(Reg.R3, offset));
        Save(address, Reg.R3);
        Address(Reg.R1, place);
        _a.Emit(Instruction.Mov(Reg.R2, size));
        _a.Call(Helper.ProbeReadUser);
        var good = _a.NewLabel();
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, good);
        Load(Reg.R0, address);
        Raise("user read fault at {0}", span, Reg.R0);
        _a.Bind(good);
        Load(SizeOf(size), at, place);
        Release(mark);
    }

    /// <summary>Guru: stores into the memory of the current process; R0 = the value.</summary>
    private void WriteUser(IReadOnlyList<Expr> arguments, SourceSpan span)
    {
        if (!_c.Features.WriteUser)
        {
            throw Cannot("writing to user memory: the kernel allows it with CAP_SYS_ADMIN only", span);
        }

        var mark = Marked();
        var address = Temp.InMemory(TakeStack(8));
        var place = TakeStack(8);
        Long(arguments[0], Reg.R0);
        Put(address, Reg.R0);
        Long(arguments[2], Reg.R0);
        Save(place, Reg.R0);
        At(span);
        Get(Reg.R1, address);
        Address(Reg.R2, place);
        _a.Emit(Instruction.Mov(Reg.R3, arguments[1] is LongConst { Value: 1 or 2 or 4 or 8 } size ? (int)size.Value : 8));
        _a.Call(Helper.ProbeWriteUser);
        var good = _a.NewLabel();
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, good);
        Get(Reg.R0, address);
        Raise("user write fault at {0}", span, Reg.R0);
        _a.Bind(good);
        Load(Reg.R0, place);
        Release(mark);
    }

    /// <summary>R0 = a register of the user state saved when the current task entered the kernel.</summary>
    public void UserRegister(int offset, SourceSpan span)
    {
        if (!_c.Features.CurrentTaskBtf)
        {
            throw Cannot("user registers in a handler that runs in the kernel: this kernel lacks bpf_get_current_task_btf (Linux 5.11)", span);
        }

        var mark = Marked();
        var place = TakeStack(8);
        CurrentTask();
        Move(Reg.R1, Reg.R0);
        _a.Call(Helper.TaskPtRegs);
        Move(Reg.R3, Reg.R0);
        _a.Emit(Instruction.Add64Imm(Reg.R3, offset));
        Address(Reg.R1, place);
        _a.Emit(Instruction.Mov(Reg.R2, 8));
        _a.Call(Helper.ProbeReadKernel);
        Load(Reg.R0, place);
        Release(mark);
    }
}

/// <summary>A load the verifier can check by types: through a trusted argument or a pointer found by another such load.</summary>
/// <param name="Argument">Index of the argument the chain begins with.</param>
/// <param name="Inner">The load that gives the pointer; null: the argument itself.</param>
/// <param name="Offset">Offset of this load.</param>
internal sealed record DirectLoad(int Argument, DirectLoad? Inner, int Offset, BtfType Member, SourceSpan Span);

/// <summary>Recognises chains of loads that need no helper.</summary>
internal static class DirectLoads
{
    public static DirectLoad? Find(DerefExpr d, Target target)
    {
        if (d.IsUser || d.BitWidth > 0 || target.KernelBtfOrNull is not { } btf)
        {
            return null;
        }

        var (pointer, offset) = d.Address switch
        {
            BinaryExpr { Operator: BinaryOperator.Add, Right: LongConst c } b when c.Value is >= 0 and < short.MaxValue => (b.Left, (int)c.Value),
            var other => (other, 0),
        };
        switch (pointer)
        {
            case ContextExpr { Value: ContextValue.TracepointArgument or ContextValue.FunctionArgument, BtfPointee: > 0 } c when c.BtfPointee < btf.EndId:
                return MemberAt(btf.Type(c.BtfPointee), offset, d.Size) is { } member
                    ? new DirectLoad(c.Index, null, offset, member, d.Span) : null;
            case DerefExpr { Size: 8 } inner:
                if (Find(inner, target) is { Member.IsPointer: true } found && found.Member.Stripped.Target.IsStructOrUnion
                    && MemberAt(found.Member.Stripped.Target, offset, d.Size) is { } further)
                {
                    return new DirectLoad(found.Argument, found, offset, further, d.Span);
                }

                return null;
            default:
                return null;
        }
    }

    /// <summary>The type of the number or pointer that lies exactly there; null when the access is not one the verifier would follow.</summary>
    private static BtfType? MemberAt(BtfType type, long offset, int size)
    {
        type = type.Stripped;
        if (type.Kind == BtfKind.Struct)
        {
            foreach (var member in type.Members)
            {
                if (member.IsBitField)
                {
                    continue;
                }

                var start = member.ByteOffset;
                var end = start + member.Type.Size;
                if (offset >= start && offset + size <= end)
                {
                    return MemberAt(member.Type, offset - start, size);
                }
            }

            return null;
        }

        if (type.IsArray)
        {
            var element = type.Target;
            var stride = element.Size;
            return stride > 0 ? MemberAt(element, offset % stride, size) : null;
        }

        return offset == 0 && (type.IsPointer || type.IsInteger) && type.Size == size ? type : null;
    }
}
