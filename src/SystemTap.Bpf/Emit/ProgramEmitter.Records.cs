using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Records to stap. One without strings has a constant size: reserved in the ring and filled in place, so it is copied by nobody. With strings it is
// built in the frame and sent with its exact length, because the verifier refuses to reserve a size it does not know. Longs come first in the
// record's leaves (PrintSite.Leaves says the order), so the first string starts at a fixed place.

internal sealed partial class ProgramEmitter
{
    private const int RingFlagQuiet = 1, RingFlagForce = 2;

    private void SendPrint(SendStmt s) => Send(RecordKind.Print, s.Site.Number, s.Leaves, RingFlagQuiet, s.Span);

    /// <summary>Stores the 32-bit probe index.</summary>
    private void ProbeIndexInto(Mem target)
    {
        if (_f.Function is not null && IsForSeveral)
        {
            Load(Reg.R0, new Mem(Frame, FrameProbe));
            _a.Emit(Instruction.Store(MemSize.W, target.Base, target.Offset, Reg.R0));
        }
        else if (_probeIndexColumn >= 0 && _f.Function is null)
        {
            LoadColumn(_probeIndexColumn, Reg.R0);
            Save(MemSize.W, target, Reg.R0);
        }
        else
        {
            Put(MemSize.W, target, _probeIndex);
        }
    }

    private void Send(int kind, int site, IReadOnlyList<Expr> leaves, int flags, SourceSpan span)
    {
        var strings = 0;
        foreach (var leaf in leaves)
        {
            strings += leaf.Type == ScriptType.String ? 1 : 0;
        }

        var mark = Marked();
        var head = (long)(uint)(kind << 24 | site);
        if (strings == 0)
        {
            SendLongs((int)head, leaves, flags, span);
        }
        else
        {
            SendStrings((int)head, leaves, flags, span);
        }

        Release(mark);
    }

    private void SendLongs(int head, IReadOnlyList<Expr> leaves, int flags, SourceSpan span)
    {
        // What is not simple is computed first: nothing may fail or call while a reservation is open.
        var temps = new Mem?[leaves.Count];
        for (var i = 0; i < temps.Length; i++)
        {
            if (!IsSimple(leaves[i]))
            {
                var place = TakeStack(8);
                Long(leaves[i], Reg.R0);
                Save(place, Reg.R0);
                temps[i] = place;
            }
        }

        At(span);
        var lost = _a.NewLabel();
        var end = _a.NewLabel();
        LoadMap(Reg.R1, _c.RingMap);
        _a.Emit(Instruction.Mov(Reg.R2, 8 + 8 * leaves.Count));
        _a.Emit(Instruction.Mov(Reg.R3, 0));
        _a.Call(Helper.RingbufReserve);
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, lost);
        Move(Reg.R1, Reg.R0);
        _a.Emit(Instruction.Store(MemSize.W, Reg.R1, 0, head));
        ProbeIndexInto(new Mem(Reg.R1, 4));
        for (var i = 0; i < temps.Length; i++)
        {
            var target = new Mem(Reg.R1, 8 + 8 * i);
            if (temps[i] is { } place)
            {
                Load(Reg.R0, place);
            }
            else if (TryConstant(leaves[i], out var constant))
            {
                Store(target, constant);
                continue;
            }
            else
            {
                Long(leaves[i], Reg.R0);
            }

            Save(target, Reg.R0);
        }

        At(span);
        _a.Emit(Instruction.Mov(Reg.R2, flags));
        _a.Call(Helper.RingbufSubmit);
        _a.Jump(end);
        _a.Bind(lost);
        Increment(ControlBlock.LostRecords);
        _a.Bind(end);
    }

    private void SendStrings(int head, IReadOnlyList<Expr> leaves, int flags, SourceSpan span)
    {
        var longs = 0;
        foreach (var leaf in leaves)
        {
            longs += leaf.Type == ScriptType.Long ? 1 : 0;
        }

        // Leaves are evaluated in their order; strings stay where they are until the record is put together.
        var values = new List<StringValue>();
        var temps = new Mem?[longs];
        for (var i = 0; i < leaves.Count; i++)
        {
            if (i >= longs)
            {
                values.Add(Text(leaves[i], padded: false));
            }
            else if (!IsSimple(leaves[i]))
            {
                var place = TakeFrame(8);
                Long(leaves[i], Reg.R0);
                Save(place, Reg.R0);
                temps[i] = place;
            }
        }

        At(span);
        var size = 8 + 8 * longs;
        var most = 0;
        foreach (var value in values)
        {
            most += 8 + ((value.MaxLength + 7) & ~7);
        }

        var record = TakeFrame(size + most + 8);
        Put(MemSize.W, record, head);
        ProbeIndexInto(record.At(4));
        for (var i = 0; i < longs; i++)
        {
            if (temps[i] is { } place)
            {
                Load(Reg.R0, place);
            }
            else
            {
                Long(leaves[i], Reg.R0);
            }

            Save(record.At(8 + 8 * i), Reg.R0);
        }

        At(span);
        if (values.Count == 1)
        {
            var one = values[0];
            var body = record.At(size);
            if (one.Literal is { } literal)
            {
                Store(body, literal.Length);
                PutLiteral(literal, body.At(8), Math.Max(8, Capacities.BufferFor(literal.Length)));
                Output(record, size + 8 + ((literal.Length + 7) & ~7), flags);
                return;
            }

            Length(one, Reg.R2);
            Bound(Reg.R2, one.MaxLength);
            Save(body, Reg.R2);
            Address(Reg.R1, body.At(8));
            Address(Reg.R3, one.Bytes);
            _a.Call(Helper.ProbeReadKernel);
            Load(Reg.R3, body);
            OutputFrame(record, size + 8, one.MaxLength, flags);
            return;
        }

        var cursor = TakeFrame(8);
        Store(cursor, 0);
        var soFar = 0;
        foreach (var value in values)
        {
            Length(value, Reg.R2);
            Bound(Reg.R2, value.MaxLength);
            Load(Reg.R4, cursor);
            Bound(Reg.R4, soFar);
            Address(Reg.R1, record.At(size));
            _a.Emit(Instruction.Add64(Reg.R1, Reg.R4));
            Save(new Mem(Reg.R1, 0), Reg.R2);
            _a.Emit(Instruction.Add64Imm(Reg.R1, 8));
            _a.Emit(Instruction.Add64(Reg.R4, Reg.R2));
            _a.Emit(Instruction.Add64Imm(Reg.R4, 15));
            _a.Emit(Instruction.Alu64(AluOp.And, Reg.R4, -8));
            Save(cursor, Reg.R4);
            if (value.Literal is { } literal)
            {
                ConstantAddress(Reg.R3, _c.Constants.Text(literal));
            }
            else
            {
                Address(Reg.R3, value.Bytes);
            }

            _a.Call(Helper.ProbeReadKernel);
            soFar += 8 + ((value.MaxLength + 7) & ~7);
        }

        Load(Reg.R3, cursor);
        OutputFrame(record, size, soFar, flags);
    }

    /// <summary>Tells the verifier that an unsigned register is at most that; it always is.</summary>
    private void Bound(Reg r, int most)
    {
        var fine = _a.NewLabel();
        _a.JumpIf(JumpOp.Le, r, most, fine);
        _a.Emit(Instruction.Mov(r, most));
        _a.Bind(fine);
    }

    /// <summary>Sends a record of the frame: a fixed part and R3 bytes (rounded up to 8 here), at most <paramref name="most"/>.</summary>
    private void OutputFrame(Mem record, int fixedSize, int most, int flags)
    {
        Bound(Reg.R3, most);
        _a.Emit(Instruction.Add64Imm(Reg.R3, fixedSize + 7));
        _a.Emit(Instruction.Alu64(AluOp.And, Reg.R3, ~7));
        Address(Reg.R2, record);
        LoadMap(Reg.R1, _c.RingMap);
        _a.Emit(Instruction.Mov(Reg.R4, flags));
        _a.Call(Helper.RingbufOutput);
        CountLost();
    }

    private void Output(Mem record, int size, int flags)
    {
        LoadMap(Reg.R1, _c.RingMap);
        Address(Reg.R2, record);
        _a.Emit(Instruction.Mov(Reg.R3, size));
        _a.Emit(Instruction.Mov(Reg.R4, flags));
        _a.Call(Helper.RingbufOutput);
        CountLost();
    }

    private void CountLost()
    {
        var sent = _a.NewLabel();
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, sent);
        Increment(ControlBlock.LostRecords);
        _a.Bind(sent);
    }
}
