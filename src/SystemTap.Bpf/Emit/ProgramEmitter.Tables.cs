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
            _a.Emit(Instruction.Store(MemSize.W, key.Base, key.Offset, Reg.R0));
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
}
