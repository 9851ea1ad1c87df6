using System.Buffers.Binary;
using System.Text;
using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Strings are zero-padded buffers, each of its own capacity, so that
//   - a copy is a copy of whole words and a map key needs no further work,
//   - equality is a comparison of words up to the smaller capacity.
// The length is kept in a word in front of the buffer in locals and temporaries; strings that come from maps have it counted when something needs
// it: bpf_probe_read_kernel_str of a buffer onto itself returns the length and is the fastest strlen BPF offers on every kernel.
// Bulk copies go through bpf_probe_read_kernel, bulk clearing through the same helper with address 0, which fails at once and clears the target.

internal sealed partial class ProgramEmitter
{
    /// <summary>Bytes up to which words are copied and cleared one by one.</summary>
    private const int Inline = 64;

    /// <summary>Evaluates a string. The result is valid until its temporaries are released; a local's value until the local changes.</summary>
    /// <param name="e">The expression.</param>
    /// <param name="padded">False: bytes after the NUL may hold anything (only to be sent).</param>
    private StringValue Text(Expr e, bool padded = true)
    {
        At(e.Span);
        switch (e)
        {
            case StringConst c:
                return StringValue.Of(c.Value);
            case ReadExpr { Place: LocalPlace p }:
                return _f.Locals[p.Local].AsString;
            case ReadExpr { Place: GlobalPlace { Global.IsReadOnly: true } p }:
                return StringValue.Of(p.Global.InitialString);
            case IntrinsicExpr i when ConstantText(i) is { } constant:
                return StringValue.Of(constant);
            case AssignExpr { Place: LocalPlace p } a:
                AssignText(a);
                return _f.Locals[p.Local].AsString;
            case SequenceExpr s:
                foreach (var statement in s.Statements)
                {
                    Statement(statement);
                }

                return Text(s.Value, padded);
            case ConcatExpr c:
                return Concat(c.Parts, c.Span);
            case FormatExpr f:
                return Format(f);
            case ColumnExpr c:
                return CopyColumn(c);
            case IntrinsicExpr { Intrinsic.Id: IntrinsicId.KernelString or IntrinsicId.UserString } i:
                return MemoryString(i, padded);
            case RawBytesExpr r:
                return RawBytes(r);
            case BucketsExpr b:
                return Buckets(b);
            case HistogramTextExpr h:
                throw Cannot($"the text of the histogram of \"{h.Aggregate.Name}\" as a value in a handler that runs in the kernel", h.Span, "print it instead, or make the text in a timer or end probe");
            case IntrinsicExpr i:
                return TextIntrinsic(i);
            case ReadExpr { Place: GlobalPlace p }:
                var scalar = (GlobalStorage.Scalar)StorageOf(p.Global);
                var copy = TakeFrame(scalar.Capacity);
                DataAddress(Reg.R3, scalar.Offset);
                CopyFrom(copy, new Mem(Reg.R3, 0), scalar.Capacity);
                return new StringValue(null, copy, scalar.Capacity, null);
            case ReadExpr { Place: ElementPlace p }:
                return ReadElementText(p);
            case CallExpr c:
                var result = Call(c)!.Value;
                var kept = TakeString(result.Capacity);
                CopyFrom(kept.Memory, result.Memory, 8 + result.Capacity);
                return kept.AsString;
            case ContextExpr { Value: ContextValue.ProcfsValue } c:
                throw Cannot("$value of a procfs probe in a kernel handler", c.Span);
            default:
                // Conditional, assignment and update: computed into a temporary by TextToSlot.
                var slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(e)));
                TextToSlot(e, slot);
                return slot.AsString;
        }
    }

    private StringValue ReadElementText(ElementPlace p)
    {
        var storage = (GlobalStorage.Array)StorageOf(p.Array);
        var copy = TakeFrame(storage.ValueCapacity);
        var mark = Marked();
        Lookup(storage, p.Keys);
        var missing = _a.NewLabel();
        var end = _a.NewLabel();
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, missing);
        Move(Reg.R3, Reg.R0);
        CopyFrom(copy, new Mem(Reg.R3, GlobalStorage.Array.ValueOffset), storage.ValueCapacity);
        _a.Jump(end);
        _a.Bind(missing);
        Clear(copy, storage.ValueCapacity);
        _a.Bind(end);
        Release(mark);
        return new StringValue(null, copy, storage.ValueCapacity, null);
    }

    /// <summary>Evaluates into a string variable, length included. The target may occur in the expression.</summary>
    private void TextToSlot(Expr e, LocalSlot slot)
    {
        switch (e)
        {
            case ConditionalExpr c:
                var otherwise = _a.NewLabel();
                var end = _a.NewLabel();
                Branch(c.Condition, false, otherwise);
                var mark = Marked();
                TextToSlot(c.WhenTrue, slot);
                Release(mark);
                _a.Jump(end);
                _a.Bind(otherwise);
                TextToSlot(c.WhenFalse, slot);
                Release(mark);
                _a.Bind(end);
                break;
            case AssignExpr a:
                AssignText(a);
                CopyToSlot(a.Place is LocalPlace local ? _f.Locals[local.Local].AsString : Text(new ReadExpr(a.Place, a.Span)), slot);
                break;
            case UpdateExpr u:
                var joined = Concat([new ReadExpr(u.Place, u.Span), u.Operand], u.Span);
                StoreText(u.Place, joined, u.Span);
                CopyToSlot(joined, slot);
                break;
            default:
                CopyToSlot(Text(e), slot);
                break;
        }
    }

    private void CopyToSlot(StringValue value, LocalSlot slot)
    {
        if (value.Literal is { } literal)
        {
            Store(slot.Memory, Math.Min(literal.Length, slot.Capacity - 1));
            PutLiteral(literal, slot.Memory.At(8), slot.Capacity);
            return;
        }

        if (value.Bytes == slot.Memory.At(8))
        {
            return;
        }

        CopyPadded(value, slot.Memory.At(8), slot.Capacity);
        Length(value with { Bytes = slot.Memory.At(8), Capacity = Math.Min(value.Capacity, slot.Capacity) }, Reg.R0);
        Save(slot.Memory, Reg.R0);
    }

    private void AssignText(AssignExpr a)
    {
        if (a.Place is LocalPlace p)
        {
            TextToSlot(a.Value, _f.Locals[p.Local]);
        }
        else if (a.Place is ElementPlace element && KeyOrder.Matters(element.Keys, a.Value))
        {
            var key = Key((GlobalStorage.Array)StorageOf(element.Array), element.Keys);
            StoreText(a.Place, Text(a.Value), a.Span, key);
        }
        else
        {
            StoreText(a.Place, Text(a.Value), a.Span);
        }
    }

    private void StoreText(Place place, StringValue value, SourceSpan span, Mem? ready = null)
    {
        switch (place)
        {
            case LocalPlace p:
                CopyToSlot(value, _f.Locals[p.Local]);
                break;
            case GlobalPlace p:
                var scalar = (GlobalStorage.Scalar)StorageOf(p.Global);
                var padded = Padded(value, scalar.Capacity);
                DataAddress(Reg.R1, scalar.Offset);
                CopyTo(new Mem(Reg.R1, 0), padded, scalar.Capacity);
                break;
            case ElementPlace p:
                var storage = (GlobalStorage.Array)StorageOf(p.Array);
                var source = Padded(value, storage.ValueCapacity);
                var key = ready ?? Key(storage, p.Keys);
                Modify(p.Array, key, span,
                    hit =>
                    {
                        Move(Reg.R1, hit);
                        CopyTo(new Mem(Reg.R1, GlobalStorage.Array.ValueOffset), source, storage.ValueCapacity);
                    },
                    area => CopyTo(area, source, storage.ValueCapacity),
                    null);
                break;
        }
    }

    /// <summary>The value as a padded buffer of exactly that capacity.</summary>
    private Mem Padded(StringValue value, int capacity)
    {
        if (value.Literal is null && value.Capacity == capacity)
        {
            return value.Bytes;
        }

        var copy = TakeFrame(capacity);
        CopyPadded(value, copy, capacity);
        return copy;
    }

    /// <summary>Evaluates a string into a padded buffer on the stack or in the frame: a key.</summary>
    private void TextInto(Expr e, Mem target, int capacity)
    {
        if (e is IntrinsicExpr { Intrinsic.Id: IntrinsicId.ExecName })
        {
            At(e.Span);
            CurrentName(target);
            Clear(target.At(16), capacity - 16);
            return;
        }

        if (e is ColumnExpr column)
        {
            ColumnInto(column, target, capacity);
            return;
        }

        if (e is IntrinsicExpr { Intrinsic.Id: IntrinsicId.KernelStackRaw })
        {
            // The kernel clears what the stack does not fill.
            At(e.Span);
            GetStack(target, StackDepth);
            Clear(target.At(8 * StackDepth), capacity - (8 * StackDepth));
            return;
        }

        var mark = Marked();
        CopyPadded(Text(e), target, capacity);
        Release(mark);
    }

    // ---- bytes -----------------------------------------------------------------------------------------------------------

    private void CopyPadded(StringValue value, Mem target, int capacity)
    {
        if (value.Literal is { } literal)
        {
            PutLiteral(literal, target, capacity);
            return;
        }

        var common = Math.Min(capacity, value.Capacity);
        CopyTo(target, value.Bytes, common);
        if (capacity > common)
        {
            Clear(target.At(common), capacity - common);
        }
        else if (value.Capacity > capacity)
        {
            Put(MemSize.B, target.At(capacity - 1), 0);
        }
    }

    private void CopyTo(Mem target, Mem source, int bytes) => Copy(target, source, bytes);

    private void CopyFrom(Mem target, Mem source, int bytes) => Copy(target, source, bytes);

    /// <summary>Copies whole words. Registers other than the bases are R0–R5 scratch; a base in R1 or R3 is fine.</summary>
    private void Copy(Mem target, Mem source, int bytes)
    {
        if (bytes <= Inline)
        {
            CopyWords(target, source, bytes);
            return;
        }

        if (source.Base == Reg.R1)
        {
            Address(Reg.R3, source);
            Address(Reg.R1, target);
        }
        else
        {
            Address(Reg.R1, target);
            Address(Reg.R3, source);
        }

        _a.Emit(Instruction.Mov(Reg.R2, bytes));
        _a.Call(Helper.ProbeReadKernel);
    }

    /// <summary>Copies whole words through R5, one by one.</summary>
    private void CopyWords(Mem target, Mem source, int bytes)
    {
        for (var i = 0; i < bytes; i += 8)
        {
            Load(Reg.R5, source.At(i));
            Save(target.At(i), Reg.R5);
        }
    }

    private void Clear(Mem target, int bytes)
    {
        if (bytes <= 0)
        {
            return;
        }

        if (bytes <= 2 * Inline)
        {
            for (var i = 0; i < bytes; i += 8)
            {
                Put(MemSize.DW, target.At(i), 0);
            }

            return;
        }

        Address(Reg.R1, target);
        _a.Emit(Instruction.Mov(Reg.R2, bytes));
        _a.Emit(Instruction.Mov(Reg.R3, 0));
        _a.Call(Helper.ProbeReadKernel);
    }

    private void PutLiteral(string literal, Mem target, int capacity)
    {
        var length = Math.Min(literal.Length, capacity - 1);
        if (length > Inline)
        {
            var block = _c.Constants.Text(literal[..length], capacity);
            Address(Reg.R1, target);
            _a.Emit(Instruction.Mov(Reg.R2, capacity));
            ConstantAddress(Reg.R3, block);
            _a.Call(Helper.ProbeReadKernel);
            return;
        }

        var words = (length + 8) & ~7;
        Span<byte> bytes = stackalloc byte[Inline + 8];
        bytes.Clear();
        Encoding.Latin1.GetBytes(literal.AsSpan(0, length), bytes);
        for (var i = 0; i < words; i += 8)
        {
            Store(target.At(i), BinaryPrimitives.ReadInt64LittleEndian(bytes[i..]));
        }

        Clear(target.At(words), capacity - words);
    }

    private static long WordOf(string literal, int offset)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        if (offset < literal.Length)
        {
            Encoding.Latin1.GetBytes(literal.AsSpan(offset, Math.Min(8, literal.Length - offset)), bytes);
        }

        return BinaryPrimitives.ReadInt64LittleEndian(bytes);
    }

    /// <summary>Length in content bytes; the verifier knows no bound of it.</summary>
    private void Length(StringValue value, Reg to)
    {
        if (value.Literal is { } literal)
        {
            _a.LdImm64(to, literal.Length);
        }
        else if (value.Length is { } word)
        {
            Load(to, word);
        }
        else
        {
            Address(Reg.R1, value.Bytes);
            Move(Reg.R3, Reg.R1);
            _a.Emit(Instruction.Mov(Reg.R2, value.Capacity));
            _a.Call(Helper.ProbeReadKernelStr);
            _a.Emit(Instruction.Add64Imm(Reg.R0, -1));
            Move(to, Reg.R0);
        }
    }

    // ---- comparison ------------------------------------------------------------------------------------------------------

    private void CompareStrings(StringCompareExpr s, bool sense, Label label)
    {
        var mark = Marked();
        var left = Text(s.Left);
        var right = Text(s.Right);
        At(s.Span);
        var op = JumpOf(s.Operator, sense);
        var words = Math.Max(left.Capacity, right.Capacity) / 8;
        var common = Math.Min(left.Capacity, right.Capacity) / 8;

        // One word past the shorter buffer decides: a longer text has a byte there, else all that follows is padding.
        var compared = Math.Min(words, common + 1);
        var differ = _a.NewLabel();
        var end = _a.NewLabel();
        var ordered = op is not (JumpOp.Eq or JumpOp.Ne);
        var onDifference = op == JumpOp.Ne ? label : op == JumpOp.Eq ? end : differ;
        for (var i = 0; i < compared; i++)
        {
            LoadWord(Reg.R0, left, i);
            if (!ordered && right.Literal is { } literal && WordOf(literal, 8 * i) is var word && word == (int)word)
            {
                _a.JumpIf(JumpOp.Ne, Reg.R0, (int)word, onDifference);
                continue;
            }

            LoadWord(Reg.R1, right, i);
            _a.JumpIf(JumpOp.Ne, Reg.R0, Reg.R1, onDifference);
        }

        if (op is JumpOp.Eq or JumpOp.SLe or JumpOp.SGe)
        {
            _a.Jump(label);
        }
        else if (ordered)
        {
            _a.Jump(end);
        }

        if (ordered)
        {
            _a.Bind(differ);
            _a.Emit(Instruction.ToBigEndian(Reg.R0, 64));
            _a.Emit(Instruction.ToBigEndian(Reg.R1, 64));
            _a.JumpIf(op is JumpOp.SLt or JumpOp.SLe ? JumpOp.Lt : JumpOp.Gt, Reg.R0, Reg.R1, label);
        }

        _a.Bind(end);
        Release(mark);
    }

    private void LoadWord(Reg to, StringValue value, int index)
    {
        if (value.Literal is { } literal)
        {
            _a.LdImm64(to, WordOf(literal, 8 * index));
        }
        else if (8 * index < value.Capacity)
        {
            Load(to, value.Bytes.At(8 * index));
        }
        else
        {
            _a.Emit(Instruction.Mov(to, 0));
        }
    }
}
