using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Layout;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Regex;

namespace SystemTap.Bpf.Emit;

// Regular expressions inside the kernel. A pattern is a table among the constants and a routine that follows it byte by byte: one for "does it occur" (RegexDfa), and, when
// the script asks for matched(), one that then finds the groups (TaggedDfa), trying the starts in turn. The subject and the groups of the last match are
// kept in the frame for the handler run.

internal sealed partial class ProgramEmitter
{
    private const int Dead = 0xffff, Accepted = 0xfffe;

    private LocalSlot? _matchSubject;
    private Mem _matchGroups, _matchCount;
    private int _mostGroupSlots;

    /// <summary>R0 = 1 when the subject matches, else 0.</summary>
    private void Match(RegexExpr r)
    {
        var program = _c.Regex(r.Regex, r.Span);
        var mark = Marked();
        var text = Text(r.Subject);
        var length = TakeFrame(8);
        Length(text, Reg.R0);
        Save(length, Reg.R0);
        At(r.Span);
        var dfa = program.Dfa ?? throw Cannot($"the regular expression \"{r.Regex.Pattern}\" in a handler that runs in the kernel: its table is too large", r.Span, "use a simpler one");
        TextAddress(Reg.R2, text);
        Load(Reg.R3, length);
        CallRoutine($"regex_{r.Regex.Index}", () => MatchRoutine(dfa));
        if (r.Regex.NeedsGroups)
        {
            var tagged = _c.Groups(r.Regex, program) ?? throw Cannot($"the groups of the regular expression \"{r.Regex.Pattern}\" in a handler that runs in the kernel: the table is too large", r.Span, "use a simpler one");
            var none = _a.NewLabel();
            var subject = MatchSubject;
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, none);
            CopyToSlot(text, subject);
            Store(_matchCount, program.GroupCount);
            Address(Reg.R2, subject.Memory.At(8));
            Load(Reg.R3, subject.Memory);
            CallRoutine($"regex_{r.Regex.Index}_groups", () => GroupsRoutine(tagged));
            _a.Emit(Instruction.Mov(Reg.R0, 1));
            _a.Bind(none);
        }

        if (r.IsNegated)
        {
            _a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R0, 1));
        }

        Release(mark);
    }

    /// <summary>The subject of the last match, with the places of its groups behind.</summary>
    private LocalSlot MatchSubject
    {
        get
        {
            if (_matchSubject is null)
            {
                foreach (var regex in _c.Program.Regexes)
                {
                    _mostGroupSlots = Math.Max(_mostGroupSlots, regex.NeedsGroups ? 2 * _c.Regex(regex, default).GroupCount : 2);
                }

                _matchSubject = TakeString(Capacities.BufferFor(_c.MaxText));
                _matchCount = TakeFrame(8);
                _matchGroups = TakeFrame(2 * Math.Max(2, _mostGroupSlots));
                _kept = _frameTop;
            }

            return _matchSubject.Value;
        }
    }

    /// <summary>R2 address, R3 length: R0 = 1 when the pattern occurs.</summary>
    private void MatchRoutine(RegexDfa dfa)
    {
        if (dfa.Accepts[0])
        {
            _a.Emit(Instruction.Mov(Reg.R0, 1));
            _a.Exit();
            return;
        }

        var cells = new char[(dfa.StateCount * dfa.ClassCount) + 256];
        for (var i = 0; i < dfa.Next.Count; i++)
        {
            cells[i] = (char)(dfa.Next[i] < 0 ? Dead : dfa.Accepts[dfa.Next[i]] ? Accepted : dfa.Next[i]);
        }

        var table = _c.Constants.Cells(cells);
        var classes = _c.Constants.Text(new string([.. dfa.Classes.Select(c => (char)c)]));
        var ends = _c.Constants.Text(new string([.. dfa.AcceptsAtEnd.Select(e => e ? '\x1' : '\0')]));
        EnterLoopRoutine();
        Save(Pointer(1), Reg.R2);
        var (index, length, state, result) = (Word(0), Word(1), Word(2), Word(3));
        Save(length, Reg.R3);
        Store(index, 0);
        Store(state, 0);
        Store(result, -1);
        Repeat(_c.MaxText + 1, done =>
        {
            var dead = _a.NewLabel();
            var accepted = _a.NewLabel();
            var next = _a.NewLabel();
            Index(Reg.R1, index, length, done);
            ByteOf(Reg.R1, Pointer(1), Reg.R1);
            Step(Reg.R1, state, classes, dfa.ClassCount, dfa.StateCount, table, done);
            _a.JumpIf(JumpOp.Eq, Reg.R1, Dead, dead);
            _a.JumpIf(JumpOp.Eq, Reg.R1, Accepted, accepted);
            Save(state, Reg.R1);
            Advance(index);
            _a.Jump(next);
            _a.Bind(dead);
            Store(result, 0);
            _a.Jump(done);
            _a.Bind(accepted);
            Store(result, 1);
            _a.Jump(done);
            _a.Bind(next);
        });
        var known = _a.NewLabel();
        Load(Reg.R0, result);
        _a.JumpIf(JumpOp.SGe, Reg.R0, 0, known);
        Load(Reg.R1, state);
        Bound(Reg.R1, dfa.StateCount - 1);
        ConstantAddress(Reg.R2, ends);
        _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
        _a.Emit(Instruction.Load(MemSize.B, Reg.R0, Reg.R2, 0));
        _a.Bind(known);
        _a.Exit();
    }

    /// <summary>R1 = cell of a table for the byte in R1 and the state in a word. R0, R2 are lost.</summary>
    private void Step(Reg value, Mem state, int classes, int classCount, int stateCount, int table, Label never)
    {
        ConstantAddress(Reg.R2, classes);
        _a.Emit(Instruction.Add64(Reg.R2, value));
        _a.Emit(Instruction.Load(MemSize.B, value, Reg.R2, 0));
        Load(Reg.R0, state);
        _a.JumpIf(JumpOp.Ge, Reg.R0, stateCount, never);
        _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R0, classCount));
        _a.Emit(Instruction.Add64(value, Reg.R0));
        _a.Emit(Instruction.Alu64(AluOp.Lsh, value, 1));
        ConstantAddress(Reg.R2, table);
        _a.Emit(Instruction.Add64(Reg.R2, value));
        _a.Emit(Instruction.Load(MemSize.H, value, Reg.R2, 0));
    }

    /// <summary>R2 address, R3 length of a text in which the pattern occurs: fills the groups.</summary>
    private void GroupsRoutine(TaggedDfa dfa)
    {
        // Recipes one after the other: number of cells, then the cells.
        var recipes = new List<char>();
        var starts = new int[dfa.Recipes.Count];
        for (var i = 0; i < starts.Length; i++)
        {
            starts[i] = recipes.Count;
            recipes.Add((char)dfa.Recipes[i].Length);
            foreach (var entry in dfa.Recipes[i])
            {
                recipes.Add((char)entry);
            }
        }

        if (recipes.Count >= Accepted)
        {
            throw new BpfCannotException("the groups of a regular expression in a handler that runs in the kernel: the table is too large", default, "use a simpler one");
        }

        var nextCells = new char[(dfa.StateCount * dfa.ClassCount) + 256];
        var recipeCells = new char[nextCells.Length];
        for (var i = 0; i < dfa.Next.Count; i++)
        {
            nextCells[i] = (char)(dfa.Next[i].State < 0 ? Dead : dfa.Next[i].State);
            recipeCells[i] = (char)starts[dfa.Next[i].Recipe];
        }

        var accepts = new char[dfa.StateCount];
        var acceptsAtEnd = new char[dfa.StateCount];
        for (var i = 0; i < accepts.Length; i++)
        {
            accepts[i] = (char)(dfa.Accept(i) < 0 ? Dead : starts[dfa.Accept(i)]);
            acceptsAtEnd[i] = (char)(dfa.AcceptAtEnd(i) < 0 ? Dead : starts[dfa.AcceptAtEnd(i)]);
        }

        var bankSize = 2 * dfa.MostWays * dfa.Slots;
        var blob = recipes.Count;
        recipes.AddRange(new char[bankSize + 8]);
        var (classes, next, recipeOf, accept, acceptAtEnd, cells) = (
            _c.Constants.Text(new string([.. dfa.Classes.Select(c => (char)c)])), _c.Constants.Cells(nextCells), _c.Constants.Cells(recipeCells),
            _c.Constants.Cells(accepts), _c.Constants.Cells(acceptsAtEnd), _c.Constants.Cells([.. recipes]));

        var name = _f.Subprogram!.Name;

        // Two banks in the frame; functions and routines never share this part.
        var banks = _frameMost;
        _frameMost += (2 * bankSize + 15) & ~7;
        var groups = _matchGroups.Offset;
        EnterLoopRoutine();
        Save(Pointer(1), Reg.R2);
        var (start, at, length, state, bank, found, recipe, count, cell, target) = (Word(0), Word(1), Word(2), Word(3), Word(4), Word(5), Word(6), Word(7), Word(8), Word(9));
        Save(length, Reg.R3);
        Store(start, 0);
        Store(found, 0);
        Begin(0);

        // One loop over both, the start and the place, because where loops are callbacks each nested one takes a frame of the kernel's eight.
        Repeat(MostPairs, done =>
        {
            var inside = _a.NewLabel();
            var noMatch = _a.NewLabel();
            var stop = _a.NewLabel();
            var goOn = _a.NewLabel();
            Load(Reg.R1, at);
            Load(Reg.R0, length);
            _a.JumpIf(JumpOp.SLt, Reg.R1, Reg.R0, inside);
            CellOf(Reg.R2, acceptAtEnd, state);
            _a.JumpIf(JumpOp.Eq, Reg.R2, Dead, stop);
            Took();
            _a.Jump(stop);
            _a.Bind(inside);
            CellOf(Reg.R2, accept, state);
            _a.JumpIf(JumpOp.Eq, Reg.R2, Dead, noMatch);
            Took();
            _a.Bind(noMatch);
            Load(Reg.R1, at);
            _a.JumpIf(JumpOp.Gt, Reg.R1, _c.MaxText, stop);
            ByteOf(Reg.R1, Pointer(1), Reg.R1);
            Move(Reg.R3, Reg.R1);
            Step(Reg.R1, state, classes, dfa.ClassCount, dfa.StateCount, next, stop);
            _a.JumpIf(JumpOp.Eq, Reg.R1, Dead, stop);
            Step(Reg.R3, state, classes, dfa.ClassCount, dfa.StateCount, recipeOf, stop);
            Save(recipe, Reg.R3);
            Save(state, Reg.R1);
            Advance(at);
            Load(Reg.R0, bank);
            _a.Emit(Instruction.Alu64(AluOp.And, Reg.R0, 1));
            _a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R0, 1));
            _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R0, bankSize));
            _a.Emit(Instruction.Add64Imm(Reg.R0, banks));
            Save(target, Reg.R0);
            Cook();
            Load(Reg.R0, bank);
            _a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R0, 1));
            Save(bank, Reg.R0);
            _a.Jump(goOn);

            // Nothing more from this start.
            _a.Bind(stop);
            Load(Reg.R0, found);
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, done);
            Advance(start);
            Load(Reg.R1, start);
            Load(Reg.R0, length);
            _a.JumpIf(JumpOp.SGt, Reg.R1, Reg.R0, done);
            Begin(1);
            _a.Bind(goOn);

            // The match's positions, by the recipe in R2.
            void Took()
            {
                Save(recipe, Reg.R2);
                Store(target, groups);
                Store(found, 1);
                Cook();
            }
        });
        LeaveRoutine();

        // Goes to the start: the text's begin (0) or a later place (1).
        void Begin(int where)
        {
            Load(Reg.R1, start);
            Save(at, Reg.R1);
            Store(bank, 0);
            Store(target, banks);
            Store(state, dfa.Starts[where].State);
            Store(recipe, starts[dfa.Starts[where].Recipe]);
            Cook();
        }

        // to = cell of the state.
        void CellOf(Reg to, int table, Mem stateWord)
        {
            Load(Reg.R3, stateWord);
            Bound(Reg.R3, dfa.StateCount - 1);
            _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R3, 1));
            ConstantAddress(to, table);
            _a.Emit(Instruction.Add64(to, Reg.R3));
            _a.Emit(Instruction.Load(MemSize.H, to, to, 0));
        }

        // Fills the target from the present bank by a recipe.
        void Cook() => CallRoutine($"{name}_cook", () =>
        {
            EnterLoopRoutine();
            Load(Reg.R1, recipe);
            Bound(Reg.R1, blob - 1);
            _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R1, 1));
            ConstantAddress(Reg.R2, cells);
            _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
            _a.Emit(Instruction.Load(MemSize.H, Reg.R0, Reg.R2, 0));
            Save(count, Reg.R0);
            Store(cell, 0);
            Repeat((dfa.MostWays * dfa.Slots) + 1, done =>
            {
                var here = _a.NewLabel();
                var none = _a.NewLabel();
                var put = _a.NewLabel();
                Load(Reg.R1, cell);
                Load(Reg.R0, count);
                _a.JumpIf(JumpOp.SGe, Reg.R1, Reg.R0, done);
                _a.JumpIf(JumpOp.Ge, Reg.R1, dfa.MostWays * dfa.Slots, done);
                Load(Reg.R2, recipe);
                Bound(Reg.R2, blob - 1);
                _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
                _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R2, 1));
                ConstantAddress(Reg.R3, cells);
                _a.Emit(Instruction.Add64(Reg.R3, Reg.R2));
                _a.Emit(Instruction.Load(MemSize.H, Reg.R2, Reg.R3, 2));
                _a.JumpIf(JumpOp.Eq, Reg.R2, TaggedDfa.Here, here);
                _a.JumpIf(JumpOp.Eq, Reg.R2, TaggedDfa.None, none);
                Bound(Reg.R2, (dfa.MostWays * dfa.Slots) - 1);
                _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R2, 1));
                Load(Reg.R0, bank);
                _a.Emit(Instruction.Alu64(AluOp.And, Reg.R0, 1));
                _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R0, bankSize));
                _a.Emit(Instruction.Add64(Reg.R2, Reg.R0));
                Move(Reg.R3, Frame);
                _a.Emit(Instruction.Add64(Reg.R3, Reg.R2));
                _a.Emit(Instruction.Add64Imm(Reg.R3, banks));
                _a.Emit(Instruction.Load(MemSize.H, Reg.R2, Reg.R3, 0));
                _a.Jump(put);
                _a.Bind(here);
                Load(Reg.R2, at);
                _a.Jump(put);
                _a.Bind(none);
                _a.Emit(Instruction.Mov(Reg.R2, 0xffff));
                _a.Bind(put);
                Load(Reg.R3, target);
                Bound(Reg.R3, Math.Max(groups, banks + bankSize));
                _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R1, 1));
                _a.Emit(Instruction.Add64(Reg.R3, Reg.R1));
                Move(Reg.R4, Frame);
                _a.Emit(Instruction.Add64(Reg.R4, Reg.R3));
                _a.Emit(Instruction.Store(MemSize.H, Reg.R4, 0, Reg.R2));
                Advance(cell);
            });
            LeaveRoutine();
        });
    }

    /// <summary>matched(n): the text of a group of the last match.</summary>
    private StringValue MatchedGroup(IntrinsicExpr i)
    {
        var slot = TakeString(Capacities.BufferFor(_c.MaxText));
        var subject = MatchSubject;
        var mark = Marked();
        var group = TakeFrame(8);
        Long(i.Arguments[0], Reg.R0);
        Save(group, Reg.R0);
        At(i.Span);
        Clear(slot.Memory.At(8), slot.Capacity);
        Store(slot.Memory, 0);
        var good = _a.NewLabel();
        var end = _a.NewLabel();
        var some = _a.NewLabel();
        Load(Reg.R1, _matchCount);
        _a.JumpIf(JumpOp.Ne, Reg.R1, 0, some);
        Raise("no regular expression has matched yet", i.Span);
        _a.Bind(some);
        if (_mostGroupSlots < 2)
        {
            // The handler has no regular expression: the error above is all there is.
            Release(mark);
            return slot.AsString;
        }

        Load(Reg.R2, group);
        _a.JumpIf(JumpOp.Lt, Reg.R2, Reg.R1, good);
        BeginText(ErrorText);
        Append(ErrorText, StringValue.Of("no such group: "));
        AppendDecimal(ErrorText, group);
        Append(ErrorText, StringValue.Of(" of "));
        AppendDecimal(ErrorText, _matchCount);
        RaiseErrorText(i.Span);
        _a.Bind(good);
        Bound(Reg.R2, (_mostGroupSlots / 2) - 1);
        _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R2, 2));
        Move(Reg.R3, Frame);
        _a.Emit(Instruction.Add64(Reg.R3, Reg.R2));
        _a.Emit(Instruction.Add64Imm(Reg.R3, _matchGroups.Offset));
        _a.Emit(Instruction.Load(MemSize.H, Reg.R1, Reg.R3, 0));
        _a.JumpIf(JumpOp.Gt, Reg.R1, _c.MaxText, end);
        _a.Emit(Instruction.Load(MemSize.H, Reg.R4, Reg.R3, 2));
        _a.Emit(Instruction.Sub64(Reg.R4, Reg.R1));
        Address(Reg.R3, subject.Memory.At(8));
        _a.Emit(Instruction.Add64(Reg.R3, Reg.R1));
        _a.LdImm64(Reg.R2, Pack(slot, slot.Capacity - 1));
        CallAppend();
        _a.Bind(end);
        Release(mark);
        return slot.AsString;
    }

    private void Append(LocalSlot slot, StringValue value)
    {
        Source(value);
        _a.LdImm64(Reg.R2, Pack(slot, Math.Min(slot.Capacity - 1, _c.MaxText)));
        CallAppend();
    }

    private void AppendDecimal(LocalSlot slot, Mem number)
    {
        Load(Reg.R3, number);
        _a.Emit(Instruction.Mov(Reg.R4, 0));
        _a.Emit(Instruction.Mov(Reg.R5, -1));
        _a.LdImm64(Reg.R2, Pack(slot, Math.Min(slot.Capacity - 1, _c.MaxText)));
        CallAppendNumber(NumberForm.Decimal);
    }

    /// <summary>Raises the error whose message stands in the frame.</summary>
    private void RaiseErrorText(SourceSpan span)
    {
        var site = _c.ErrorSite("{s}", span);
        _raised.Add(site);
        Store(_errorValue, 0);
        Store(_errorSite, site);
        _a.Jump(_f.ErrorTarget);
    }
}
