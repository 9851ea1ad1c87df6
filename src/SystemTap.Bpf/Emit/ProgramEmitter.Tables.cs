using System.Text;
using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Tapsets;

namespace SystemTap.Bpf.Emit;

// Names of numbers inside the kernel: a read-only hash map from the number to the padded name, one for each table used. (Printed names are
// looked up by stap and need none of this.)

internal sealed partial class ProgramEmitter
{
    private StringValue TableName(IntrinsicExpr i)
    {
        var syscalls = i.Intrinsic.Id == IntrinsicId.SyscallName;
        var names = new Dictionary<long, string>();
        if (syscalls)
        {
            var table = _c.Target.Architecture.Syscalls.Names;
            for (var n = 0; n < table.Length; n++)
            {
                if (table[n] is { } name)
                {
                    names[n] = name;
                }
            }
        }
        else
        {
            var name = i.Arguments[0] is StringConst c ? c.Value : throw Cannot("a table whose name is not a literal", i.Span);
            var text = _c.Options.ReadTable(name) ?? throw Cannot($"table \"{name}\" is not in the tapset library", i.Span);
            foreach (var (value, known) in NameTable.Parse(text, _c.Target.Architecture.Name).Names)
            {
                names[value] = known;
            }
        }

        var longest = 0;
        foreach (var name in names.Values)
        {
            longest = Math.Max(longest, name.Length);
        }

        // Tables are dense enough for an array where numbers are small; others are searched by comparing.
        var capacity = Capacities.BufferFor(Math.Max(longest, _c.Capacities.Of(i)));
        var slot = TakeString(capacity);
        Long(i.Arguments[syscalls ? 0 : 1], Reg.R0);
        var number = TakeFrame(8);
        Save(number, Reg.R0);
        At(i.Span);
        var unknown = _a.NewLabel();
        var end = _a.NewLabel();
        var top = names.Count == 0 ? -1 : names.Keys.Max();
        if (top is >= 0 and < 1024 && names.Keys.Min() >= 0)
        {
            var width = Capacities.BufferFor(longest);
            var contents = new byte[(top + 1) * width];
            foreach (var (n, name) in names)
            {
                Encoding.Latin1.GetBytes(name, contents.AsSpan((int)n * width, width));
            }

            var map = _c.SharedMap($"t_{(syscalls ? "syscalls" : ((StringConst)i.Arguments[0]).Value)}", width, (int)top + 1, contents);
            var mark = Marked();
            var key = TakeStack(8);
            Load(Reg.R0, number);
            _a.JumpIf(JumpOp.Gt, Reg.R0, (int)top, unknown);
            Save(MemSize.W, key, Reg.R0);
            LookupKey(map, key);
            Release(mark);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, unknown);
            Load(Reg.R1, new Mem(Reg.R0, 0));
            _a.JumpIf(JumpOp.Eq, Reg.R1, 0, unknown);
            Move(Reg.R3, Reg.R0);
            Copy(slot.Memory.At(8), new Mem(Reg.R3, 0), width);
            Clear(slot.Memory.At(8 + width), capacity - width);
            _a.Jump(end);
        }
        else
        {
            foreach (var (n, name) in names)
            {
                var next = _a.NewLabel();
                Load(Reg.R0, number);
                _a.LdImm64(Reg.R1, n);
                _a.JumpIf(JumpOp.Ne, Reg.R0, Reg.R1, next);
                PutLiteral(name, slot.Memory.At(8), capacity);
                _a.Jump(end);
                _a.Bind(next);
            }
        }

        _a.Bind(unknown);
        if (syscalls)
        {
            Clear(slot.Memory.At(8), capacity);
            Snprintf(slot, "%lld", number);
        }
        else
        {
            CopyPadded(Text(i.Arguments[2]), slot.Memory.At(8), capacity);
        }

        _a.Bind(end);
        return new StringValue(null, slot.Memory.At(8), capacity, null);
    }

    /// <summary>table_flags(table, value): names of the set bits joined by "|", the rest as a number; one routine for each table.</summary>
    private StringValue TableFlags(IntrinsicExpr i)
    {
        var name = i.Arguments[0] is StringConst c ? c.Value : throw Cannot("a table whose name is not a literal", i.Span);
        var text = _c.Options.ReadTable(name) ?? throw Cannot($"table \"{name}\" is not in the tapset library", i.Span);
        var table = NameTable.Parse(text, _c.Target.Architecture.Name);
        var slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(i)));
        Long(i.Arguments[1], Reg.R0);
        Save(Word(10), Reg.R0);
        At(i.Span);
        Clear(slot.Memory.At(8), slot.Capacity);
        Store(slot.Memory, 0);
        Store(CutWord, 0);
        _a.LdImm64(Reg.R2, Pack(slot, Math.Min(slot.Capacity - 1, _c.MaxText)));
        CallRoutine($"flags_{ProgramBtfName(name)}", () => FlagsRoutine(table), numbers: 1);
        if (table.LongestFlags > _c.MaxText)
        {
            var whole = _a.NewLabel();
            Load(Reg.R0, CutWord);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, whole);
            CountCut(i.Span);
            _a.Bind(whole);
        }

        return slot.AsString;
    }

    /// <summary>Word(10) is the value and then what of it no name has covered yet. The same order of tests as <c>NameTable.Flags</c>.</summary>
    private void FlagsRoutine(NameTable table)
    {
        EnterRoutine();
        RefuseNull();
        Move(Reg.R8, Reg.R2);
        string? zero = null;
        for (var i = 0; i < table.Rows.Count; i++)
        {
            var row = table.Rows[i];
            var next = _a.NewLabel();
            if (!row.IsField)
            {
                if (row.Value == 0)
                {
                    zero ??= row.Name;
                    continue;
                }

                Load(Reg.R0, Word(10));
                _a.LdImm64(Reg.R1, row.Value);
                Move(Reg.R2, Reg.R0);
                _a.Emit(Instruction.Alu64(AluOp.And, Reg.R2, Reg.R1));
                _a.JumpIf(JumpOp.Ne, Reg.R2, Reg.R1, next);
                _a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R0, Reg.R1));
                Save(Word(10), Reg.R0);
                AppendFlag(row.Name);
                _a.Bind(next);
                continue;
            }

            // The entries of a field follow each other; the first that fits ends it.
            var end = i;
            while (end < table.Rows.Count && table.Rows[end].IsField && table.Rows[end].Mask == row.Mask)
            {
                end++;
            }

            var done = _a.NewLabel();
            for (; i < end; i++)
            {
                var other = _a.NewLabel();
                Load(Reg.R0, Word(10));
                _a.LdImm64(Reg.R1, (long)row.Mask);
                _a.Emit(Instruction.Alu64(AluOp.And, Reg.R0, Reg.R1));
                _a.LdImm64(Reg.R1, table.Rows[i].Value);
                _a.JumpIf(JumpOp.Ne, Reg.R0, Reg.R1, other);
                Load(Reg.R0, Word(10));
                _a.LdImm64(Reg.R1, ~(long)row.Mask);
                _a.Emit(Instruction.Alu64(AluOp.And, Reg.R0, Reg.R1));
                Save(Word(10), Reg.R0);
                AppendFlag(table.Rows[i].Name);
                _a.Jump(done);
                _a.Bind(other);
            }

            i--;
            _a.Bind(done);
        }

        var covered = _a.NewLabel();
        var some = _a.NewLabel();
        Load(Reg.R0, Word(10));
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, covered);
        AppendFlag("");
        Load(Reg.R3, Word(10));
        Move(Reg.R2, Reg.R8);
        _a.Emit(Instruction.Mov(Reg.R4, 0));
        _a.Emit(Instruction.Mov(Reg.R5, -1));
        CallAppendNumber(new NumberForm(table.OctalRest ? 8 : 16, false, false, true, false, false, '\0'));
        LeaveRoutine();
        _a.Bind(covered);
        Unpack(Reg.R8, Reg.R1, Reg.R0);
        Load(Reg.R0, new Mem(Reg.R1, 0));
        _a.JumpIf(JumpOp.Ne, Reg.R0, 0, some);
        AppendConstant(zero ?? "0x0");
        _a.Bind(some);
        LeaveRoutine();
    }

    /// <summary>Appends a name to the packed slot in R8, with a bar in front when something stands there already.</summary>
    private void AppendFlag(string name)
    {
        ConstantAddress(Reg.R3, _c.Constants.Text("|" + name));
        _a.Emit(Instruction.Mov(Reg.R4, name.Length + 1));
        Move(Reg.R2, Reg.R8);
        Launder(Reg.R3);
        CallRoutine("flag_append", numbers: 3, body: () =>
        {
            EnterRoutine();
            RefuseNull();
            var later = _a.NewLabel();
            Unpack(Reg.R2, Reg.R1, Reg.R0);
            Load(Reg.R0, new Mem(Reg.R1, 0));
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, later);
            _a.Emit(Instruction.Add64Imm(Reg.R3, 1));
            _a.Emit(Instruction.Add64Imm(Reg.R4, -1));
            _a.Bind(later);
            CallAppend();
            LeaveRoutine();
        });
    }
}
