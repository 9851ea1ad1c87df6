using Linux.Bpf;
using SystemTap.Bpf.Layout;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// The run-time library
// --------------------
// What is too long to stand at every place of use is a static subprogram of the program, written in the same instructions as everything else and emitted once, when
// something first calls it ("routine"). Conventions:
//
//   R1          the frame; R2–R5 arguments, R0 result. In a routine R7 is the frame as in handlers, so memory operands look the same in both.
//   words       Word(0…15) of the frame's head: further arguments and all state of loops. A number loaded from the frame is "unknown" to the verifier, and so
//               loops converge at once and both ways round a branch join to one state. Pointers that a loop needs stand in the routine's stack.
//   loops       Repeat(): may_goto where the kernel has it (6.9), else bpf_loop with the body as callback (5.17). A body keeps nothing in registers
//               from one round to the next, which makes both forms the same code.
//   bounds      The verifier is told with one compare that an index is at most MAXSTRINGLEN; it does not know that index and length belong together, so
//               for what it can prove a text may reach that far beyond its buffer. Hence the frame has two MAXSTRINGLENs of slack at its end. Only targets
//               need this: bpf_probe_read_kernel takes any source address.
//
// The verifier walks a static subprogram anew for each call. Each routine costs it some hundred steps (of a million), since nothing is unrolled. Routines that take nothing but numbers
// are global functions, which are walked once (ProgramEmitter.Linkage.cs); the others take addresses of constants and texts, which a prototype cannot say.
//
// Text is built in a slot (length word, then bytes) that was cleared before: routines append at the length and cut at a limit. Cutting sets CutWord, so that
// the caller can count it once for the whole text.

internal sealed partial class ProgramEmitter
{
    /// <summary>Words of the frame's head for routines.</summary>
    private const int LibraryWords = 20;

    private readonly Dictionary<string, Subprogram> _routines = new(StringComparer.Ordinal);
    private readonly Queue<(Subprogram Entry, Action Body, SourceMark Mark)> _routineQueue = new();
    private bool _usesLibrary;

    /// <summary>A word of the library in the frame's head; each belongs to one routine at a time.</summary>
    private static Mem Word(int n) => new(Frame, FrameLibrary + (8 * n));

    /// <summary>Not 0 when an append had to cut.</summary>
    private static Mem CutWord => Word(15);

    /// <summary>32 bytes in the frame's head where digits and escapes are made.</summary>
    private static Mem Digits => Word(16);

    /// <summary>Bytes at the end of the frame that belong to nobody.</summary>
    private int LibrarySlack => _usesLibrary ? (2 * _c.MaxText) + 64 : 0;

    /// <summary>Calls a routine, which is written when first called. Arguments but R1 stand in their registers.</summary>
    /// <param name="name">Unique in the program.</param>
    /// <param name="body">Writes it.</param>
    /// <param name="numbers">It takes so many numbers from R2 on and nothing else, so that it can be a global function.</param>
    private void CallRoutine(string name, Action body, int? numbers = null)
    {
        if (!_a.IsAlive)
        {
            return;
        }

        if (!_routines.TryGetValue(name, out var routine))
        {
            routine = _routines[name] = _a.Declare(name);
            _routineQueue.Enqueue((routine, body, _a.Mark));
            if (numbers is { } count)
            {
                _globals.Add((routine, count));
            }
        }

        _usesLibrary = true;
        Move(Reg.R1, Frame);
        _a.Call(routine);
    }

    private void EmitRoutines()
    {
        while (_routineQueue.TryDequeue(out var next))
        {
            _f = new FunctionState(null, next.Entry);
            _a.Mark = next.Mark;
            _a.Begin(next.Entry);
            next.Body();
        }
    }

    /// <summary>Start of a routine: R7 = frame.</summary>
    private void EnterRoutine() => Move(Frame, Reg.R1);

    private void LeaveRoutine()
    {
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.Exit();
    }

    // ---- loops -----------------------------------------------------------------------------------------------------------

    /// <summary>Pointers of a routine with a loop: R6 points to them, in the loop's body as well.</summary>
    private static Mem Pointer(int n) => new(Reg.R6, 8 * n);

    /// <summary>Makes R6 point to words of the stack; word 0 is the frame.</summary>
    private void EnterLoopRoutine()
    {
        EnterRoutine();
        Move(Reg.R6, Reg.R10);
        _a.Emit(Instruction.Add64Imm(Reg.R6, -48));
        Save(Pointer(0), Frame);
    }

    /// <summary>
    /// Repeats a body until it jumps to the label it is given, at most so many times. In the body R6 and R7 are as before; R0–R5, R8 and R9 do not survive a
    /// round.
    /// </summary>
    private void Repeat(int most, Action<Label> body, SourceSpan span = default)
    {
        if (_c.Features.MayGoto)
        {
            var done = _a.NewLabel();
            var top = _a.Here();
            _a.MayGoto(done);
            body(done);
            _a.Jump(top);
            _a.Bind(done);
            return;
        }

        if (!_c.Features.BpfLoop)
        {
            throw Cannot("a text function in a handler that runs in the kernel: this kernel has neither the instruction may_goto (Linux 6.9) nor bpf_loop (Linux 5.17)", span);
        }

        if (!_a.IsAlive)
        {
            return;
        }

        var round = _a.Declare($"round_{_routines.Count}_{_routineQueue.Count}_{_a.Position}");
        _routineQueue.Enqueue((round, () =>
        {
            Move(Reg.R6, Reg.R2);
            Load(Frame, Pointer(0));
            var last = _a.NewLabel();
            body(last);
            _a.Emit(Instruction.Mov(Reg.R0, 0));
            _a.Exit();
            _a.Bind(last);
            _a.Emit(Instruction.Mov(Reg.R0, 1));
            _a.Exit();
        }, _a.Mark));
        _a.LdImm64(Reg.R1, most);
        _a.LdFunc(Reg.R2, round);
        Move(Reg.R3, Reg.R6);
        _a.Emit(Instruction.Mov(Reg.R4, 0));
        _a.Call(Helper.Loop);
    }

    // ---- appending -------------------------------------------------------------------------------------------------------

    /// <summary>What routines get as slot: place in the frame and limit in content bytes.</summary>
    private static long Pack(LocalSlot slot, int limit) => (long)limit << 32 | (uint)slot.Memory.Offset;

    /// <summary>slot = address of the packed slot in <paramref name="packed"/>, limit = its limit. R5 is lost.</summary>
    private void Unpack(Reg packed, Reg slot, Reg limit)
    {
        var inside = _a.NewLabel();
        Move(limit, packed);
        Move(Reg.R5, packed);
        Move(slot, Frame);
        _a.Emit(Instruction.Alu64(AluOp.And, Reg.R5, 0x7ffffff8));

        // Always so; the verifier wants to hear it. Where the frame ends is known when all code is written.
        _frameBounds.Add(_a.JumpIfOpen(JumpOp.Le, Reg.R5, inside));
        _a.Emit(Instruction.Mov(Reg.R5, 0));
        _a.Bind(inside);
        _a.Emit(Instruction.Add64(slot, Reg.R5));
        _a.Emit(Instruction.Alu64(AluOp.Rsh, limit, 32));
        Bound(limit, _c.MaxText);
    }

    /// <summary>Comparisons with the end of the frame in use.</summary>
    private readonly List<Action<int>> _frameBounds = [];

    /// <summary>Appends R4 bytes at R3 to the packed slot in R2, which then stands in no register.</summary>
    private void CallAppend()
    {
        Launder(Reg.R3);
        CallRoutine("text_append", numbers: 3, body: AppendRoutine);
    }

    private void AppendRoutine()
    {
        EnterRoutine();
        RefuseNull();
        Unpack(Reg.R2, Reg.R8, Reg.R9);
        Load(Reg.R5, new Mem(Reg.R8, 0));
        var inside = _a.NewLabel();
        var fits = _a.NewLabel();
        var bounded = _a.NewLabel();
        _a.JumpIf(JumpOp.Le, Reg.R5, Reg.R9, inside);
        Move(Reg.R5, Reg.R9);
        _a.Bind(inside);

        // Again for verifiers that learn nothing from comparing two numbers they do not know (before Linux 6.8).
        Bound(Reg.R5, _c.MaxText);
        Move(Reg.R0, Reg.R9);
        _a.Emit(Instruction.Sub64(Reg.R0, Reg.R5));
        _a.JumpIf(JumpOp.Le, Reg.R4, Reg.R0, fits);
        Move(Reg.R4, Reg.R0);
        Store(CutWord, 1);
        _a.Bind(fits);
        _a.JumpIf(JumpOp.Le, Reg.R4, _c.MaxText, bounded);
        _a.Emit(Instruction.Mov(Reg.R4, _c.MaxText));
        _a.Bind(bounded);
        Move(Reg.R1, Reg.R8);
        _a.Emit(Instruction.Add64Imm(Reg.R1, 8));
        _a.Emit(Instruction.Add64(Reg.R1, Reg.R5));
        _a.Emit(Instruction.Add64(Reg.R5, Reg.R4));
        Save(new Mem(Reg.R8, 0), Reg.R5);
        Move(Reg.R2, Reg.R4);
        _a.Call(Helper.ProbeReadKernel);
        LeaveRoutine();
    }

    /// <summary>Appends a run of one byte, R4 of them, to the packed slot in R2.</summary>
    private void AppendRun(char c)
    {
        ConstantAddress(Reg.R3, _c.Constants.Text(new string(c, _c.MaxText)));
        CallAppend();
    }

    /// <summary>Appends R4 bytes at R3, padded with blanks to |R5| bytes, to the packed slot in R2; a negative width puts the blanks behind.</summary>
    private void CallAppendPadded()
    {
        Launder(Reg.R3);
        CallRoutine("text_append_padded", numbers: 4, body: AppendPaddedRoutine);
    }

    private void AppendPaddedRoutine()
    {
        EnterRoutine();
        RefuseNull();
        Move(Reg.R8, Reg.R2);
        Move(Reg.R9, Reg.R3);
        Save(Word(0), Reg.R4);
        var right = _a.NewLabel();
        var sane = _a.NewLabel();
        var wide = _a.NewLabel();
        var before = _a.NewLabel();
        var end = _a.NewLabel();
        Store(Word(2), 0);
        _a.JumpIf(JumpOp.SGe, Reg.R5, 0, right);
        _a.Emit(Instruction.Neg64(Reg.R5));
        Store(Word(2), 1);
        _a.Bind(right);
        _a.JumpIf(JumpOp.Le, Reg.R5, MostPadding, sane);
        _a.Emit(Instruction.Mov(Reg.R5, MostPadding));
        _a.Bind(sane);
        _a.Emit(Instruction.Sub64(Reg.R5, Reg.R4));
        _a.JumpIf(JumpOp.SGe, Reg.R5, 0, wide);
        _a.Emit(Instruction.Mov(Reg.R5, 0));
        _a.Bind(wide);
        Save(Word(1), Reg.R5);
        Load(Reg.R0, Word(2));
        _a.JumpIf(JumpOp.Ne, Reg.R0, 0, before);
        AppendRunOf(Word(1));
        _a.Bind(before);
        Move(Reg.R2, Reg.R8);
        Move(Reg.R3, Reg.R9);
        Load(Reg.R4, Word(0));
        CallAppend();
        Load(Reg.R0, Word(2));
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, end);
        AppendRunOf(Word(1));
        _a.Bind(end);
        LeaveRoutine();
    }

    /// <summary>In a routine with the packed slot in R8: appends as many of a byte as the word says, when that is more than none.</summary>
    private void AppendRunOf(Mem count, char c = ' ')
    {
        var none = _a.NewLabel();
        Load(Reg.R4, count);
        _a.JumpIf(JumpOp.SLe, Reg.R4, 0, none);
        Move(Reg.R2, Reg.R8);
        AppendRun(c);
        _a.Bind(none);
    }

    /// <summary>Appends a constant text to the packed slot in R8.</summary>
    private void AppendConstant(string text)
    {
        Move(Reg.R2, Reg.R8);
        ConstantAddress(Reg.R3, _c.Constants.Text(text));
        _a.Emit(Instruction.Mov(Reg.R4, text.Length));
        CallAppend();
    }

    // ---- numbers ---------------------------------------------------------------------------------------------------------

    /// <summary>Widths and precisions beyond this are held to it, as stap's formatter does.</summary>
    private const int MostPadding = 65535;

    /// <summary>Appends the number in R3 with the width in R4 and the precision in R5 (negative: none) to the packed slot in R2; as stap's <c>Formatter.Number</c>.</summary>
    private void CallAppendNumber(NumberForm form) => CallRoutine(form.Name, numbers: 4, body: () =>
    {
        EnterRoutine();
        RefuseNull();
        Move(Reg.R8, Reg.R2);
        var (width, precision, sign, first, zeros, pad, left) = (Word(3), Word(4), Word(5), Word(6), Word(7), Word(8), Word(9));
        Save(width, Reg.R4);
        Save(precision, Reg.R5);
        Store(sign, form.Sign);
        if (form.IsSigned)
        {
            var positive = _a.NewLabel();
            _a.JumpIf(JumpOp.SGe, Reg.R3, 0, positive);
            _a.Emit(Instruction.Neg64(Reg.R3));
            Store(sign, '-');
            _a.Bind(positive);
        }

        // Digits from the last to the first. With may_goto the place stands in the frame, where the verifier does not know it: two rounds are enough for it to see that all are
        // alike. Without, it counts R1 down with us, at most 24 rounds, and walks on from each: a script with many formats in nested functions could meet its limit.
        var inFrame = _c.Features.MayGoto;
        _a.Emit(Instruction.Mov(Reg.R1, 24));
        if (inFrame)
        {
            Save(first, Reg.R1);
        }

        var top = _a.Here();
        var made = _a.NewLabel();
        if (inFrame)
        {
            _a.MayGoto(made);
            Load(Reg.R1, first);
            _a.JumpIf(JumpOp.Gt, Reg.R1, 24, made);
        }

        _a.JumpIf(JumpOp.Eq, Reg.R3, 0, made);
        _a.JumpIf(JumpOp.Eq, Reg.R1, 0, made);
        _a.Emit(Instruction.Add64Imm(Reg.R1, -1));
        if (inFrame)
        {
            Save(first, Reg.R1);
        }

        Move(Reg.R2, Reg.R3);
        if (form.Base == 10)
        {
            _a.Emit(Instruction.Alu64(AluOp.Mod, Reg.R2, 10));
            _a.Emit(Instruction.Alu64(AluOp.Div, Reg.R3, 10));
        }
        else
        {
            _a.Emit(Instruction.Alu64(AluOp.And, Reg.R2, form.Base - 1));
            _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R3, form.Base == 16 ? 4 : 3));
        }

        if (form.Base == 16)
        {
            var digit = _a.NewLabel();
            _a.JumpIf(JumpOp.Le, Reg.R2, 9, digit);
            _a.Emit(Instruction.Add64Imm(Reg.R2, (form.IsUpper ? 'A' : 'a') - 10 - '0'));
            _a.Bind(digit);
        }

        _a.Emit(Instruction.Add64Imm(Reg.R2, '0'));
        Move(Reg.R4, Frame);
        _a.Emit(Instruction.Add64(Reg.R4, Reg.R1));
        _a.Emit(Instruction.Store(MemSize.B, Reg.R4, Digits.Offset, Reg.R2));
        _a.Jump(top);
        _a.Bind(made);
        if (!inFrame)
        {
            Save(first, Reg.R1);
        }

        Load(Reg.R1, first);
        Bound(Reg.R1, 24);
        _a.Emit(Instruction.Mov(Reg.R9, 24));
        _a.Emit(Instruction.Sub64(Reg.R9, Reg.R1));

        // The least number of digits; precision 0 shows no digit for 0.
        var given = _a.NewLabel();
        var sane = _a.NewLabel();
        Load(Reg.R2, precision);
        _a.JumpIf(JumpOp.SGe, Reg.R2, 0, given);
        _a.Emit(Instruction.Mov(Reg.R2, 1));
        _a.Bind(given);
        _a.JumpIf(JumpOp.SLe, Reg.R2, MostPadding, sane);
        _a.Emit(Instruction.Mov(Reg.R2, MostPadding));
        _a.Bind(sane);
        if (form is { Base: 8, IsAlternate: true })
        {
            var more = _a.NewLabel();
            var enough = _a.NewLabel();
            _a.JumpIf(JumpOp.SGt, Reg.R2, Reg.R9, enough);
            _a.JumpIf(JumpOp.Ne, Reg.R9, 0, more);
            _a.JumpIf(JumpOp.SGt, Reg.R2, 0, enough);
            _a.Bind(more);
            Move(Reg.R2, Reg.R9);
            _a.Emit(Instruction.Add64Imm(Reg.R2, 1));
            _a.Bind(enough);
        }

        var some = _a.NewLabel();
        _a.Emit(Instruction.Sub64(Reg.R2, Reg.R9));
        _a.JumpIf(JumpOp.SGe, Reg.R2, 0, some);
        _a.Emit(Instruction.Mov(Reg.R2, 0));
        _a.Bind(some);
        var prefix = form.IsAlternate && form.Base == 16 ? form.IsUpper ? "0X" : "0x" : "";
        Move(Reg.R3, Reg.R9);
        _a.Emit(Instruction.Add64(Reg.R3, Reg.R2));
        if (prefix.Length > 0)
        {
            _a.Emit(Instruction.Add64Imm(Reg.R3, 2));
        }

        var unsigned = _a.NewLabel();
        Load(Reg.R0, sign);
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, unsigned);
        _a.Emit(Instruction.Add64Imm(Reg.R3, 1));
        _a.Bind(unsigned);

        var right = _a.NewLabel();
        var narrow = _a.NewLabel();
        Store(left, form.IsLeft ? 1 : 0);
        Load(Reg.R4, width);
        _a.JumpIf(JumpOp.SGe, Reg.R4, 0, right);
        _a.Emit(Instruction.Neg64(Reg.R4));
        Store(left, 1);
        _a.Bind(right);
        _a.JumpIf(JumpOp.Le, Reg.R4, MostPadding, narrow);
        _a.Emit(Instruction.Mov(Reg.R4, MostPadding));
        _a.Bind(narrow);
        if (form.IsZero)
        {
            var blanks = _a.NewLabel();
            Load(Reg.R0, precision);
            _a.JumpIf(JumpOp.SGe, Reg.R0, 0, blanks);
            Load(Reg.R0, left);
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, blanks);
            _a.JumpIf(JumpOp.SLe, Reg.R4, Reg.R3, blanks);
            Move(Reg.R0, Reg.R4);
            _a.Emit(Instruction.Sub64(Reg.R0, Reg.R3));
            _a.Emit(Instruction.Add64(Reg.R2, Reg.R0));
            Move(Reg.R3, Reg.R4);
            _a.Bind(blanks);
        }

        Save(zeros, Reg.R2);
        _a.Emit(Instruction.Sub64(Reg.R4, Reg.R3));
        Save(pad, Reg.R4);

        var leftOut = _a.NewLabel();
        var end = _a.NewLabel();
        Load(Reg.R0, left);
        _a.JumpIf(JumpOp.Ne, Reg.R0, 0, leftOut);
        AppendRunOf(pad);
        _a.Bind(leftOut);
        var signless = _a.NewLabel();
        Load(Reg.R0, sign);
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, signless);
        Move(Reg.R2, Reg.R8);
        Address(Reg.R3, sign);
        _a.Emit(Instruction.Mov(Reg.R4, 1));
        CallAppend();
        _a.Bind(signless);
        if (prefix.Length > 0)
        {
            AppendConstant(prefix);
        }

        AppendRunOf(zeros, '0');
        Load(Reg.R1, first);
        Bound(Reg.R1, 24);
        Move(Reg.R2, Reg.R8);
        Address(Reg.R3, Digits);
        _a.Emit(Instruction.Add64(Reg.R3, Reg.R1));
        _a.Emit(Instruction.Mov(Reg.R4, 24));
        _a.Emit(Instruction.Sub64(Reg.R4, Reg.R1));
        CallAppend();
        Load(Reg.R0, left);
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, end);
        AppendRunOf(pad);
        _a.Bind(end);
        LeaveRoutine();
    });

    // ---- what was cut ----------------------------------------------------------------------------------------------------

    /// <summary>Counts a text that was cut; the first place of a session is kept for the report.</summary>
    private void CountCut(SourceSpan span)
    {
        Increment(ControlBlock.TruncatedStrings);
        var site = _c.ErrorSite("string cut to MAXSTRINGLEN", span);
        DataAddress(Reg.R1, ControlBlock.FirstTruncation);
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.Emit(Instruction.Mov(Reg.R2, site + 1));
        _a.Emit(Instruction.Atomic(AtomicOp.CmpXchg, MemSize.DW, Reg.R1, 0, Reg.R2));
    }
}

/// <summary>A conversion of a number with its flag: one routine each.</summary>
internal readonly record struct NumberForm(int Base, bool IsSigned, bool IsUpper, bool IsAlternate, bool IsZero, bool IsLeft, char Sign)
{
    /// <summary>Plain <c>%d</c>.</summary>
    public static readonly NumberForm Decimal = new(10, true, false, false, false, false, '\0');

    /// <summary>Name of its routine.</summary>
    public string Name => $"number_{Base}{(IsSigned ? "s" : "u")}{(IsUpper ? "U" : "")}{(IsAlternate ? "a" : "")}{(IsZero ? "z" : "")}{(IsLeft ? "l" : "")}{(int)Sign}";
}
