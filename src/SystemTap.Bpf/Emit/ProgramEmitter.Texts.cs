using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Layout;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Text functions that walk bytes, as routines of the library (ProgramEmitter.Library.cs). What each does is written in Runtime/Host/TextFunctions.cs; tests hold
// the two against each other. Texts are padded with NULs, so reading at the length, or a little past it, finds one.

internal sealed partial class ProgramEmitter
{
    /// <summary>Most rounds of a loop over pairs of positions.</summary>
    private int MostPairs => (int)Math.Min(1 << 23, (_c.MaxText + 2L) * (_c.MaxText + 2L));

    /// <summary>to = byte at base pointer + index (a register other than <paramref name="to"/>, bounded before). R5 is lost.</summary>
    private void ByteOf(Reg to, Mem pointer, Reg index)
    {
        Load(Reg.R5, pointer);
        _a.Emit(Instruction.Add64(Reg.R5, index));
        _a.Emit(Instruction.Load(MemSize.B, to, Reg.R5, 0));
    }

    /// <summary>Adds 1 to a word. R0 is lost.</summary>
    private void Advance(Mem word)
    {
        Load(Reg.R0, word);
        _a.Emit(Instruction.Add64Imm(Reg.R0, 1));
        Save(word, Reg.R0);
    }

    /// <summary>Loads an index; goes to the label when it is not below the bound.</summary>
    private void Index(Reg to, Mem index, Mem bound, Label done)
    {
        Load(to, index);
        Load(Reg.R0, bound);
        _a.JumpIf(JumpOp.SGe, to, Reg.R0, done);
        _a.JumpIf(JumpOp.Gt, to, _c.MaxText, done);
    }

    /// <summary>Register = address of a text.</summary>
    private void TextAddress(Reg to, StringValue value)
    {
        if (value.Literal is { } literal)
        {
            ConstantAddress(to, _c.Constants.Text(literal));
        }
        else
        {
            Address(to, value.Bytes);
        }
    }

    /// <summary>Saves a text's length in a word of the library.</summary>
    private void LengthInto(Mem word, StringValue value)
    {
        Length(value, Reg.R0);
        Save(word, Reg.R0);
    }

    private void ByteAt(IntrinsicExpr i)
    {
        var mark = Marked();
        var text = Text(i.Arguments[0]);
        var index = TakeFrame(8);
        Long(i.Arguments[1], Reg.R0);
        Save(index, Reg.R0);
        Length(text, Reg.R2);
        Load(Reg.R1, index);
        var outside = _a.NewLabel();
        var end = _a.NewLabel();
        _a.JumpIf(JumpOp.Ge, Reg.R1, Reg.R2, outside);
        _a.JumpIf(JumpOp.Ge, Reg.R1, text.Capacity, outside);
        TextAddress(Reg.R2, text);
        _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
        _a.Emit(Instruction.Load(MemSize.B, Reg.R0, Reg.R2, 0));
        _a.Jump(end);
        _a.Bind(outside);
        _a.Emit(Instruction.Mov(Reg.R0, -1));
        _a.Bind(end);
        Release(mark);
    }

    /// <summary>R0 = place of the second text in the first, −1 when absent; for contains 1 or 0.</summary>
    private void Position(IntrinsicExpr i)
    {
        var mark = Marked();
        var text = Text(i.Arguments[0]);
        var part = Text(i.Arguments[1]);
        At(i.Span);
        LengthInto(Word(0), text);
        LengthInto(Word(1), part);
        TextAddress(Reg.R2, text);
        TextAddress(Reg.R3, part);
        CallRoutine("text_position", () =>
        {
            EnterLoopRoutine();
            Save(Pointer(1), Reg.R2);
            Save(Pointer(2), Reg.R3);
            var (start, matched, result) = (Word(2), Word(3), Word(4));
            Store(start, 0);
            Store(matched, 0);
            Store(result, -1);
            Repeat(MostPairs, done =>
            {
                var found = _a.NewLabel();
                var other = _a.NewLabel();
                var next = _a.NewLabel();
                Index(Reg.R1, matched, Word(1), found);
                Load(Reg.R2, start);
                _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
                Load(Reg.R0, Word(0));
                _a.JumpIf(JumpOp.SGe, Reg.R2, Reg.R0, done);
                _a.JumpIf(JumpOp.Gt, Reg.R2, _c.MaxText, done);
                ByteOf(Reg.R3, Pointer(1), Reg.R2);
                ByteOf(Reg.R4, Pointer(2), Reg.R1);
                _a.JumpIf(JumpOp.Ne, Reg.R3, Reg.R4, other);
                Advance(matched);
                _a.Jump(next);
                _a.Bind(found);
                Load(Reg.R0, start);
                Save(result, Reg.R0);
                _a.Jump(done);
                _a.Bind(other);
                Advance(start);
                Store(matched, 0);
                _a.Bind(next);
            }, i.Span);
            Load(Reg.R0, result);
            _a.Exit();
        });
        if (i.Intrinsic.Id == IntrinsicId.Contains)
        {
            _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 63));
            _a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R0, 1));
        }

        Release(mark);
    }

    /// <summary>replace(text, search, replacement): every occurrence, left to right; an empty search changes nothing.</summary>
    private StringValue Replace(IntrinsicExpr i)
    {
        var slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(i)));
        var text = Text(i.Arguments[0]);
        var search = Text(i.Arguments[1]);
        var replacement = Text(i.Arguments[2]);
        At(i.Span);
        BeginText(slot);
        LengthInto(Word(0), text);
        LengthInto(Word(1), search);
        LengthInto(Word(2), replacement);
        TextAddress(Reg.R3, text);
        TextAddress(Reg.R4, search);
        TextAddress(Reg.R5, replacement);
        _a.LdImm64(Reg.R2, Pack(slot, Math.Min(slot.Capacity - 1, _c.MaxText)));
        CallRoutine("text_replace", () =>
        {
            EnterLoopRoutine();
            Save(Pointer(1), Reg.R2);
            Save(Pointer(2), Reg.R3);
            Save(Pointer(3), Reg.R4);
            Save(Pointer(4), Reg.R5);
            var (from, at, matched) = (Word(3), Word(4), Word(5));
            Store(from, 0);
            Store(at, 0);
            Store(matched, 0);
            Repeat(MostPairs, done =>
            {
                var found = _a.NewLabel();
                var other = _a.NewLabel();
                var next = _a.NewLabel();
                Load(Reg.R0, Word(1));
                _a.JumpIf(JumpOp.Eq, Reg.R0, 0, done);
                Index(Reg.R1, matched, Word(1), found);
                Load(Reg.R2, at);
                _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
                Load(Reg.R0, Word(0));
                _a.JumpIf(JumpOp.SGe, Reg.R2, Reg.R0, done);
                _a.JumpIf(JumpOp.Gt, Reg.R2, _c.MaxText, done);
                ByteOf(Reg.R3, Pointer(2), Reg.R2);
                ByteOf(Reg.R4, Pointer(3), Reg.R1);
                _a.JumpIf(JumpOp.Ne, Reg.R3, Reg.R4, other);
                Advance(matched);
                _a.Jump(next);
                _a.Bind(found);
                AppendPart(at);
                Load(Reg.R2, Pointer(1));
                Load(Reg.R3, Pointer(4));
                Load(Reg.R4, Word(2));
                CallAppend();
                Load(Reg.R0, at);
                Load(Reg.R1, Word(1));
                _a.Emit(Instruction.Add64(Reg.R0, Reg.R1));
                Save(at, Reg.R0);
                Save(from, Reg.R0);
                Store(matched, 0);
                _a.Jump(next);
                _a.Bind(other);
                Advance(at);
                Store(matched, 0);
                _a.Bind(next);
            }, i.Span);
            AppendPart(Word(0));
            LeaveRoutine();

            void AppendPart(Mem end)
            {
                Load(Reg.R0, from);
                Load(Reg.R4, end);
                _a.Emit(Instruction.Sub64(Reg.R4, Reg.R0));
                Load(Reg.R3, Pointer(2));
                Bound(Reg.R0, _c.MaxText);
                _a.Emit(Instruction.Add64(Reg.R3, Reg.R0));
                Load(Reg.R2, Pointer(1));
                CallAppend();
            }
        });
        return EndText(slot, i.Span);
    }

    /// <summary>Clears a slot for routines that append.</summary>
    private void BeginText(LocalSlot slot)
    {
        Clear(slot.Memory.At(8), slot.Capacity);
        Store(slot.Memory, 0);
        Store(CutWord, 0);
    }

    private StringValue EndText(LocalSlot slot, Language.Text.SourceSpan span)
    {
        var whole = _a.NewLabel();
        Load(Reg.R0, CutWord);
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, whole);
        CountCut(span);
        _a.Bind(whole);
        return slot.AsString;
    }

    /// <summary>substr(s, start, length): "" when start is outside or length is not positive.</summary>
    private StringValue Substring(IntrinsicExpr i)
    {
        var slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(i)));
        var most = slot.Capacity - 1;
        var text = Text(i.Arguments[0]);
        var start = TakeFrame(8);
        var count = TakeFrame(8);
        Long(i.Arguments[1], Reg.R0);
        Save(start, Reg.R0);
        Long(i.Arguments[2], Reg.R0);
        Save(count, Reg.R0);
        At(i.Span);
        Clear(slot.Memory.At(8), slot.Capacity);
        Store(slot.Memory, 0);
        var end = _a.NewLabel();
        var fits = _a.NewLabel();
        var small = _a.NewLabel();
        Length(text, Reg.R4);
        Load(Reg.R1, start);
        Load(Reg.R2, count);
        _a.JumpIf(JumpOp.SLt, Reg.R1, 0, end);
        _a.JumpIf(JumpOp.SLe, Reg.R2, 0, end);
        _a.JumpIf(JumpOp.SGe, Reg.R1, Reg.R4, end);
        _a.JumpIf(JumpOp.Ge, Reg.R1, text.Capacity, end);
        _a.Emit(Instruction.Sub64(Reg.R4, Reg.R1));
        _a.JumpIf(JumpOp.SLe, Reg.R2, Reg.R4, fits);
        Move(Reg.R2, Reg.R4);
        _a.Bind(fits);
        _a.JumpIf(JumpOp.Le, Reg.R2, most, small);
        _a.Emit(Instruction.Mov(Reg.R2, most));
        _a.Bind(small);
        Save(slot.Memory, Reg.R2);
        TextAddress(Reg.R3, text);
        _a.Emit(Instruction.Add64(Reg.R3, Reg.R1));
        Address(Reg.R1, slot.Memory.At(8));
        _a.Call(Helper.ProbeReadKernel);
        _a.Bind(end);
        return slot.AsString;
    }

    private StringValue ChangeCase(IntrinsicExpr i)
    {
        var lower = i.Intrinsic.Id == IntrinsicId.ToLower;
        var slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(i)));
        CopyToSlot(Text(i.Arguments[0]), slot);
        At(i.Span);
        Load(Reg.R0, slot.Memory);
        Save(Word(1), Reg.R0);
        Address(Reg.R2, slot.Memory.At(8));
        CallRoutine(lower ? "text_lower" : "text_upper", () =>
        {
            EnterLoopRoutine();
            Save(Pointer(1), Reg.R2);
            Store(Word(0), 0);
            Repeat(_c.MaxText + 1, done =>
            {
                var same = _a.NewLabel();
                Index(Reg.R1, Word(0), Word(1), done);
                ByteOf(Reg.R3, Pointer(1), Reg.R1);
                _a.JumpIf(JumpOp.Lt, Reg.R3, lower ? 'A' : 'a', same);
                _a.JumpIf(JumpOp.Gt, Reg.R3, lower ? 'Z' : 'z', same);
                _a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R3, 0x20));
                _a.Emit(Instruction.Store(MemSize.B, Reg.R5, 0, Reg.R3));
                _a.Bind(same);
                Advance(Word(0));
            }, i.Span);
            LeaveRoutine();
        });
        return slot.AsString;
    }

    /// <summary>R0 = the number the text starts with, as C's strtol with bases 0 and 2–36; wraps at 64 bits.</summary>
    private void ParseLong(IntrinsicExpr i)
    {
        var mark = Marked();
        var text = Text(i.Arguments[0]);
        Long(i.Arguments[1], Reg.R0);
        Save(Word(2), Reg.R0);
        At(i.Span);
        LengthInto(Word(1), text);
        TextAddress(Reg.R2, text);
        CallRoutine("text_number", () =>
        {
            EnterLoopRoutine();
            Save(Pointer(1), Reg.R2);
            var (at, length, radix, value, sign) = (Word(0), Word(1), Word(2), Word(3), Word(4));
            var nothing = _a.NewLabel();
            Store(at, 0);
            Store(value, 0);
            Store(sign, 0);
            Repeat(_c.MaxText + 1, done =>
            {
                var blank = _a.NewLabel();
                Index(Reg.R1, at, length, done);
                ByteOf(Reg.R3, Pointer(1), Reg.R1);
                _a.JumpIf(JumpOp.Eq, Reg.R3, ' ', blank);
                _a.JumpIf(JumpOp.Lt, Reg.R3, '\t', done);
                _a.JumpIf(JumpOp.Gt, Reg.R3, '\r', done);
                _a.Bind(blank);
                Advance(at);
            }, i.Span);
            var unsigned = _a.NewLabel();
            var signed = _a.NewLabel();
            Load(Reg.R1, at);
            Bound(Reg.R1, _c.MaxText);
            ByteOf(Reg.R3, Pointer(1), Reg.R1);
            _a.JumpIf(JumpOp.Eq, Reg.R3, '+', signed);
            _a.JumpIf(JumpOp.Ne, Reg.R3, '-', unsigned);
            Store(sign, 1);
            _a.Bind(signed);
            Advance(at);
            _a.Bind(unsigned);

            // R2 = 1 when 0x and a hex digit follow; R3 the first byte.
            var noHex = _a.NewLabel();
            var hex = _a.NewLabel();
            var digit = _a.NewLabel();
            Load(Reg.R1, at);
            Bound(Reg.R1, _c.MaxText);
            _a.Emit(Instruction.Mov(Reg.R2, 0));
            ByteOf(Reg.R3, Pointer(1), Reg.R1);
            _a.JumpIf(JumpOp.Ne, Reg.R3, '0', noHex);
            _a.Emit(Instruction.Load(MemSize.B, Reg.R4, Reg.R5, 1));
            _a.Emit(Instruction.Alu64(AluOp.Or, Reg.R4, 0x20));
            _a.JumpIf(JumpOp.Ne, Reg.R4, 'x', noHex);
            _a.Emit(Instruction.Load(MemSize.B, Reg.R4, Reg.R5, 2));
            _a.JumpIf(JumpOp.Lt, Reg.R4, '0', noHex);
            _a.JumpIf(JumpOp.Le, Reg.R4, '9', digit);
            _a.Emit(Instruction.Alu64(AluOp.Or, Reg.R4, 0x20));
            _a.JumpIf(JumpOp.Lt, Reg.R4, 'a', noHex);
            _a.JumpIf(JumpOp.Gt, Reg.R4, 'f', noHex);
            _a.Bind(digit);
            _a.Emit(Instruction.Mov(Reg.R2, 1));
            _a.Bind(noHex);
            var based = _a.NewLabel();
            var chosen = _a.NewLabel();
            Load(Reg.R4, radix);
            _a.JumpIf(JumpOp.Ne, Reg.R4, 0, based);
            _a.Emit(Instruction.Mov(Reg.R4, 16));
            _a.JumpIf(JumpOp.Eq, Reg.R2, 1, chosen);
            _a.Emit(Instruction.Mov(Reg.R4, 8));
            _a.JumpIf(JumpOp.Eq, Reg.R3, '0', chosen);
            _a.Emit(Instruction.Mov(Reg.R4, 10));
            _a.Bind(chosen);
            Save(radix, Reg.R4);
            _a.Bind(based);
            _a.JumpIf(JumpOp.SLt, Reg.R4, 2, nothing);
            _a.JumpIf(JumpOp.SGt, Reg.R4, 36, nothing);
            _a.JumpIf(JumpOp.Ne, Reg.R4, 16, hex);
            _a.JumpIf(JumpOp.Eq, Reg.R2, 0, hex);
            Advance(at);
            Advance(at);
            _a.Bind(hex);
            Repeat(_c.MaxText + 1, done =>
            {
                var known = _a.NewLabel();
                Index(Reg.R1, at, length, done);
                ByteOf(Reg.R3, Pointer(1), Reg.R1);
                _a.JumpIf(JumpOp.Lt, Reg.R3, '0', done);
                Move(Reg.R2, Reg.R3);
                _a.Emit(Instruction.Add64Imm(Reg.R2, -'0'));
                _a.JumpIf(JumpOp.Le, Reg.R2, 9, known);
                _a.Emit(Instruction.Alu64(AluOp.Or, Reg.R3, 0x20));
                _a.JumpIf(JumpOp.Lt, Reg.R3, 'a', done);
                _a.JumpIf(JumpOp.Gt, Reg.R3, 'z', done);
                Move(Reg.R2, Reg.R3);
                _a.Emit(Instruction.Add64Imm(Reg.R2, 10 - 'a'));
                _a.Bind(known);
                Load(Reg.R4, radix);
                _a.JumpIf(JumpOp.SGe, Reg.R2, Reg.R4, done);
                Load(Reg.R3, value);
                _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R3, Reg.R4));
                _a.Emit(Instruction.Add64(Reg.R3, Reg.R2));
                Save(value, Reg.R3);
                Advance(at);
            }, i.Span);
            var positive = _a.NewLabel();
            Load(Reg.R0, value);
            Load(Reg.R1, sign);
            _a.JumpIf(JumpOp.Eq, Reg.R1, 0, positive);
            _a.Emit(Instruction.Neg64(Reg.R0));
            _a.Bind(positive);
            _a.Exit();
            _a.Bind(nothing);
            LeaveRoutine();
        });
        Release(mark);
    }

    // ---- tokens ----------------------------------------------------------------------------------------------------------

    private LocalSlot? _tokenText;
    private Mem _tokenAt;

    /// <summary>tokenize(input, delimiters, isContinue): as strtok, with the text and the place in it kept for the handler run.</summary>
    private StringValue Tokenize(IntrinsicExpr i)
    {
        var slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(i)));
        var kept = TokenText;
        var text = Text(i.Arguments[0]);
        var delimiters = Text(i.Arguments[1]);
        var goesOn = _a.NewLabel();
        if (!TryConstant(i.Arguments[2], out var constant))
        {
            Long(i.Arguments[2], Reg.R0);
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, goesOn);
        }

        At(i.Span);
        if (constant == 0)
        {
            CopyToSlot(text, kept);
            Store(_tokenAt, 0);
        }

        _a.Bind(goesOn);
        BeginText(slot);
        LengthInto(Word(2), delimiters);
        Load(Reg.R0, kept.Memory);
        Save(Word(1), Reg.R0);
        Load(Reg.R0, _tokenAt);
        Save(Word(0), Reg.R0);
        TextAddress(Reg.R4, delimiters);
        Address(Reg.R3, kept.Memory.At(8));
        _a.LdImm64(Reg.R2, Pack(slot, Math.Min(slot.Capacity - 1, _c.MaxText)));
        CallRoutine("text_token", () =>
        {
            EnterLoopRoutine();
            Save(Pointer(1), Reg.R2);
            Save(Pointer(2), Reg.R3);
            Save(Pointer(3), Reg.R4);
            var (at, length, count, index, start, set) = (Word(0), Word(1), Word(2), Word(3), Word(4), Word(5));
            Store(index, 0);
            for (var w = 0; w < 4; w++)
            {
                Store(set.At(8 * w), 0);
            }

            Repeat(_c.MaxText + 1, done =>
            {
                Index(Reg.R1, index, count, done);
                ByteOf(Reg.R3, Pointer(3), Reg.R1);
                BitOf(Reg.R3);
                _a.Emit(Instruction.Mov(Reg.R4, 1));
                _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R4, Reg.R3));
                Load(Reg.R0, new Mem(Reg.R2, set.Offset));
                _a.Emit(Instruction.Alu64(AluOp.Or, Reg.R0, Reg.R4));
                Save(new Mem(Reg.R2, set.Offset), Reg.R0);
                Advance(index);
            }, i.Span);
            foreach (var skip in (ReadOnlySpan<bool>)[true, false])
            {
                Repeat(_c.MaxText + 1, done =>
                {
                    Index(Reg.R1, at, length, done);
                    ByteOf(Reg.R3, Pointer(2), Reg.R1);
                    BitOf(Reg.R3);
                    Load(Reg.R0, new Mem(Reg.R2, set.Offset));
                    _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, Reg.R3));
                    _a.Emit(Instruction.Alu64(AluOp.And, Reg.R0, 1));
                    _a.JumpIf(JumpOp.Eq, Reg.R0, skip ? 0 : 1, done);
                    Advance(at);
                }, i.Span);
                if (skip)
                {
                    Load(Reg.R0, at);
                    Save(start, Reg.R0);
                }
            }

            Load(Reg.R0, start);
            Bound(Reg.R0, _c.MaxText);
            Load(Reg.R4, at);
            _a.Emit(Instruction.Sub64(Reg.R4, Reg.R0));
            Load(Reg.R3, Pointer(2));
            _a.Emit(Instruction.Add64(Reg.R3, Reg.R0));
            Load(Reg.R2, Pointer(1));
            CallAppend();
            LeaveRoutine();

            // R2 = frame + 8 × (byte / 64), byte = byte % 64.
            void BitOf(Reg value)
            {
                Move(Reg.R0, value);
                _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 6));
                _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R0, 3));
                Move(Reg.R2, Frame);
                _a.Emit(Instruction.Add64(Reg.R2, Reg.R0));
                _a.Emit(Instruction.Alu64(AluOp.And, value, 63));
            }
        });
        var more = _a.NewLabel();
        Load(Reg.R0, Word(0));
        Load(Reg.R1, kept.Memory);
        _a.JumpIf(JumpOp.SGe, Reg.R0, Reg.R1, more);
        _a.Emit(Instruction.Add64Imm(Reg.R0, 1));
        _a.Bind(more);
        Save(_tokenAt, Reg.R0);
        return slot.AsString;
    }

    /// <summary>Where the text being cut into tokens stands for the whole handler run.</summary>
    private LocalSlot TokenText
    {
        get
        {
            if (_tokenText is null)
            {
                _tokenText = TakeString(Capacities.BufferFor(_c.MaxText));
                _tokenAt = TakeFrame(8);
                _kept = _frameTop;
            }

            return _tokenText.Value;
        }
    }

    // ---- escapes ---------------------------------------------------------------------------------------------------------

    /// <summary>
    /// escape(text, most, quoted): every byte through a table of 256 entries (up to four characters, their number in the last byte), as long as the result
    /// and its closing quote fit; what is cut ends in dots.
    /// </summary>
    private StringValue Escape(IntrinsicExpr i)
    {
        var slot = TakeString(Capacities.BufferFor(_c.Capacities.Of(i)) + 8);
        var text = Text(i.Arguments[0]);
        var most = TakeFrame(8);
        Long(i.Arguments[1], Reg.R0);
        var limited = _a.NewLabel();
        var unlimited = _a.NewLabel();
        _a.JumpIf(JumpOp.SLe, Reg.R0, 0, unlimited);
        _a.JumpIf(JumpOp.SLe, Reg.R0, _c.MaxText, limited);
        _a.Bind(unlimited);
        _a.Emit(Instruction.Mov(Reg.R0, _c.MaxText));
        _a.Bind(limited);
        Save(most, Reg.R0);
        Long(i.Arguments[2], Reg.R0);
        Save(Word(6), Reg.R0);
        At(i.Span);
        Clear(slot.Memory.At(8), slot.Capacity);
        LengthInto(Word(1), text);
        Load(Reg.R0, most);
        Save(Word(2), Reg.R0);
        TextAddress(Reg.R3, text);
        Address(Reg.R2, slot.Memory);
        CallRoutine("text_escape", () =>
        {
            EnterLoopRoutine();
            Save(Pointer(1), Reg.R2);
            Save(Pointer(2), Reg.R3);
            var (index, length, limit, fits, cut, quoted) = (Word(0), Word(1), Word(2), Word(3), Word(4), Word(6));
            var plain = _a.NewLabel();
            Store(index, 0);
            Store(cut, 0);
            Store(fits, 0);
            Store(new Mem(Reg.R2, 0), 0);
            Load(Reg.R0, quoted);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, plain);
            Store(quoted, 1);
            Store(fits, 1);
            Store(new Mem(Reg.R2, 0), 1);
            _a.Emit(Instruction.Store(MemSize.B, Reg.R2, 8, '"'));
            _a.Bind(plain);
            Repeat(_c.MaxText + 1, done =>
            {
                var next = _a.NewLabel();
                var full = _a.NewLabel();
                Index(Reg.R1, index, length, done);
                ByteOf(Reg.R1, Pointer(2), Reg.R1);
                _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R1, 3));
                ConstantAddress(Reg.R2, EscapeTable('"'));
                _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
                Load(Reg.R3, new Mem(Reg.R2, 0));
                Move(Reg.R4, Reg.R3);
                _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R4, 56));
                Load(Reg.R2, Pointer(1));
                Load(Reg.R5, new Mem(Reg.R2, 0));
                _a.JumpIf(JumpOp.Gt, Reg.R5, _c.MaxText, full);
                Move(Reg.R0, Reg.R2);
                _a.Emit(Instruction.Add64(Reg.R0, Reg.R5));
                _a.Emit(Instruction.Add64(Reg.R4, Reg.R5));
                Load(Reg.R1, limit);
                Load(Reg.R5, quoted);
                _a.Emit(Instruction.Sub64(Reg.R1, Reg.R5));
                _a.JumpIf(JumpOp.SGt, Reg.R4, Reg.R1, full);
                _a.Emit(Instruction.Store(MemSize.W, Reg.R0, 8, Reg.R3));
                Save(new Mem(Reg.R2, 0), Reg.R4);
                Load(Reg.R1, limit);
                _a.Emit(Instruction.Add64Imm(Reg.R1, -4));
                _a.JumpIf(JumpOp.SGt, Reg.R4, Reg.R1, next);
                Save(fits, Reg.R4);
                _a.Bind(next);
                Advance(index);
                var skip = _a.NewLabel();
                _a.Jump(skip);
                _a.Bind(full);
                Store(cut, 1);
                _a.Jump(done);
                _a.Bind(skip);
            }, i.Span);
            var end = _a.NewLabel();
            var whole = _a.NewLabel();
            Load(Reg.R2, Pointer(1));
            Load(Reg.R0, quoted);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, end);
            Load(Reg.R0, cut);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, whole);
            Load(Reg.R5, fits);
            Bound(Reg.R5, _c.MaxText);
            Move(Reg.R0, Reg.R2);
            _a.Emit(Instruction.Add64(Reg.R0, Reg.R5));

            // The store of a word and its zeros also wipes what stood behind.
            _a.Emit(Instruction.Store(MemSize.DW, Reg.R0, 8, 0x2e2e2e22));
            _a.Emit(Instruction.Add64Imm(Reg.R5, 4));
            Save(new Mem(Reg.R2, 0), Reg.R5);
            _a.Jump(end);
            _a.Bind(whole);
            Load(Reg.R5, new Mem(Reg.R2, 0));
            Bound(Reg.R5, _c.MaxText);
            Move(Reg.R0, Reg.R2);
            _a.Emit(Instruction.Add64(Reg.R0, Reg.R5));
            _a.Emit(Instruction.Store(MemSize.B, Reg.R0, 8, '"'));
            _a.Emit(Instruction.Add64Imm(Reg.R5, 1));
            Save(new Mem(Reg.R2, 0), Reg.R5);
            _a.Bind(end);
            LeaveRoutine();
        });
        return slot.AsString with { Capacity = slot.Capacity - 8 };
    }

    /// <summary>Offset in the constants of the table of escapes, for texts in such quotes.</summary>
    private int EscapeTable(char quote)
    {
        Span<char> table = new char[256 * 8];
        for (var c = 0; c < 256; c++)
        {
            var letter = "\a\b\f\n\r\t\v\\".IndexOf((char)c);
            var text = letter >= 0 ? "\\" + "abfnrtv\\"[letter]
                : c == quote ? "\\" + quote
                : c is >= 32 and < 127 ? ((char)c).ToString()
                : $"\\{c >> 6}{(c >> 3) & 7}{c & 7}";
            text.CopyTo(table[(8 * c)..]);
            table[(8 * c) + 7] = (char)text.Length;
        }

        return _c.Constants.Text(new string(table));
    }
}
