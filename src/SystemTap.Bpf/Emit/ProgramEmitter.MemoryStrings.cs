using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Strings and raw bytes read from kernel or user memory. A user page that is not resident cannot be read here: the error is raised and counted.

internal sealed partial class ProgramEmitter
{
    private StringValue MemoryString(IntrinsicExpr i, bool padded)
    {
        var user = i.Intrinsic.Id == IntrinsicId.UserString;
        var slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(i)));
        var temp = TakeTemp();
        Long(i.Arguments[0], Reg.R0);
        Put(temp, Reg.R0);
        Temp? most = null;
        if (!TryConstant(i.Arguments[1], out var limit))
        {
            most = TakeTemp();
            Long(i.Arguments[1], Reg.R0);
            Put(most.Value, Reg.R0);
        }

        if (padded)
        {
            Clear(slot.Memory.At(8), slot.Capacity);
        }

        Address(Reg.R1, slot.Memory.At(8));
        var largest = _c.Capacities.Of(i) + 1;
        if (most is { } m)
        {
            var small = _a.NewLabel();
            Get(Reg.R2, m);
            _a.Emit(Instruction.Add64Imm(Reg.R2, 1));
            _a.JumpIf(JumpOp.Le, Reg.R2, largest, small);
            _a.Emit(Instruction.Mov(Reg.R2, largest));
            _a.Bind(small);
            Free(m);
        }
        else
        {
            _a.Emit(Instruction.Mov(Reg.R2, (int)Math.Clamp(limit + 1, 1, largest)));
        }

        Get(Reg.R3, temp);
        ReadMemory(user, user ? Helper.ProbeReadUserStr : Helper.ProbeReadKernelStr);
        var good = _a.NewLabel();
        _a.JumpIf(JumpOp.SGe, Reg.R0, 0, good);
        if (user)
        {
            DataAddress(Reg.R1, ControlBlock.NonResidentReads);
            _a.Emit(Instruction.Mov(Reg.R2, 1));
            _a.Emit(Instruction.Atomic(AtomicOp.Add, MemSize.DW, Reg.R1, 0, Reg.R2));
        }

        Get(Reg.R0, temp);
        Raise(user ? "user string copy fault at {0}" : "kernel string copy fault at {0}", i.Span, Reg.R0);
        _a.Bind(good);
        Free(temp);
        var empty = _a.NewLabel();
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, empty);
        _a.Emit(Instruction.Add64Imm(Reg.R0, -1));
        _a.Bind(empty);
        Save(slot.Memory, Reg.R0);
        return slot.AsString;
    }

    private StringValue RawBytes(RawBytesExpr r)
    {
        var largest = r.Conversion == '\0' ? _c.Capacities.Of(r) : r.Count is LongConst { Value: >= 0 and <= LargestMemory } c ? (int)c.Value : LargestMemory;
        var slot = TakeString(Capacities.BufferFor(largest));
        var most = slot.Capacity - 1;
        var mark = Marked();
        var address = TakeFrame(8);
        Long(r.Address, Reg.R0);
        Save(address, Reg.R0);
        Long(r.Count, Reg.R2);
        At(r.Span);
        var positive = _a.NewLabel();
        _a.JumpIf(JumpOp.SGe, Reg.R2, 0, positive);
        _a.Emit(Instruction.Mov(Reg.R2, r.Conversion == '\0' ? 0 : 1));
        _a.Bind(positive);
        if (r.Conversion != '\0')
        {
            var fits = _a.NewLabel();
            _a.JumpIf(JumpOp.Le, Reg.R2, LargestMemory, fits);
            Raise(PageMessage(r.Conversion), r.Span, Reg.R2);
            _a.Bind(fits);
        }

        Bound(Reg.R2, most);
        Save(slot.Memory, Reg.R2);
        Address(Reg.R1, slot.Memory.At(8));
        Load(Reg.R3, address);
        ReadMemory(r.IsUser, r.IsUser ? Helper.ProbeReadUser : Helper.ProbeReadKernel);
        var good = _a.NewLabel();
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, good);
        if (r.IsUser)
        {
            Increment(ControlBlock.NonResidentReads);
        }

        Load(Reg.R0, address);
        Raise(r.Conversion != '\0' ? "read fault at {0}" : $"{(r.IsUser ? "user" : "kernel")} buffer copy fault at {{0}}", r.Span, Reg.R0);
        _a.Bind(good);
        Release(mark);
        return slot.AsString;
    }
}
