using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Loops on every kernel
// ---------------------
// The verifier must see that a loop ends. From Linux 6.9 on, may_goto does that: the body stays in line. Before, bpf_loop (5.17) calls a function up to
// eight million times: the body becomes that function. It has its own stack and registers, but the same frame (a map value), and all variables of handlers
// with loops live in the frame; so the code of the body is the same in both forms. What differs is leaving the body: break, next, return, an error
// go to labels of the interrupted function. CodeWriter turns such a jump into "put the label's number into the frame, return 1", and after the
// call of bpf_loop the number is looked at and the jump made. Nested loops pass it on.
//
// Pointers reach the callback through the context: a few words on the stack of the caller, from which the verifier lets a callback load them again.

internal sealed partial class ProgramEmitter
{
    /// <summary>Word of the frame that says which label a callback left for; 0: none.</summary>
    private const int FrameEscape = 24;

    private readonly record struct Carried(bool R8, bool R9, int Stack, bool IsCallback, Mem Row);

    /// <summary>
    /// Repeats the body until it jumps to a label outside. Falls through the body's end to the next round; goes to <paramref name="exhausted"/> after millions
    /// of rounds.
    /// </summary>
    private void Repeat(Label exhausted, Action body, Language.Text.SourceSpan span = default)
    {
        if (!_a.IsAlive)
        {
            return;
        }

        if (_c.Features.MayGoto)
        {
            var top = _a.Here();
            _a.MayGoto(exhausted);
            body();
            _a.Jump(top);
            return;
        }

        if (!_c.Features.BpfLoop)
        {
            throw Cannot("a loop in a handler that runs in the kernel: this kernel has neither may_goto (Linux 6.9) nor bpf_loop (Linux 5.17)", span);
        }

        Store(new Mem(Frame, FrameEscape), 0);
        var mark = Marked();
        var context = CarryContext();
        var callback = _a.Declare($"loop_{_a.NewLabel().Id}");
        _a.LdImm64(Reg.R1, 1 << 23);
        _a.LdFunc(Reg.R2, callback);
        Address(Reg.R3, context);
        _a.Emit(Instruction.Mov(Reg.R4, 0));
        _a.Call(Helper.Loop);
        var targets = Aside(callback, Reg.R2, () =>
        {
            body();
            _a.Emit(Instruction.Mov(Reg.R0, 0));
            _a.Exit();
        });
        Load(Reg.R0, new Mem(Frame, FrameEscape));
        Store(new Mem(Frame, FrameEscape), 0, Reg.R1);
        foreach (var target in targets)
        {
            _a.JumpIf(JumpOp.Eq, Reg.R0, target.Id + 1, target);
        }

        Release(mark);
        _a.Jump(exhausted);
    }

    /// <summary>Puts the pointers a callback needs on the stack: the context for bpf_loop and its like.</summary>
    private Mem CarryContext()
    {
        var hasRow = _columns.Count > 0;
        var context = TakeStack(hasRow ? 24 : 16, onStack: true);
        if (_hasFrame)
        {
            Save(context, Frame);
        }
        else
        {
            Store(context, 0);
        }

        _a.EmitUnseen(Instruction.Store(MemSize.DW, context.Base, context.Offset + 8, Ctx));
        if (hasRow)
        {
            Load(Reg.R0, _row);
            Save(context.At(16), Reg.R0);
        }

        return context;
    }

    /// <summary>Writes a callback whose context is <see cref="CarryContext"/>'s, in the register given. Returns the labels it leaves for.</summary>
    private List<Label> Aside(Subprogram callback, Reg context, Action body)
    {
        var before = new Carried(_f.R8InUse, _f.R9InUse, _f.Stack, _f.IsCallback, _row);
        (_f.R8InUse, _f.R9InUse, _f.Stack, _f.IsCallback) = (false, false, 0, true);
        var mark = _a.Mark;
        _a.BeginAside(callback, Escape);
        if (_columns.Count > 0)
        {
            _row = TakeStack(8, onStack: true);
            Load(Reg.R0, new Mem(context, 16));
            Save(_row, Reg.R0);
        }

        // The frame last: the context may be in a register that it takes.
        _a.EmitUnseen(Instruction.Load(MemSize.DW, Ctx, context, 8));
        if (_hasFrame)
        {
            Load(Frame, new Mem(context, 0));
        }

        body();
        var targets = _a.EndAside();
        _a.Mark = mark;
        (_f.R8InUse, _f.R9InUse, _f.Stack, _f.IsCallback, _row) = (before.R8, before.R9, before.Stack, before.IsCallback, before.Row);
        return targets;
    }

    private void Escape(int label)
    {
        _a.Emit(Instruction.Store(MemSize.DW, Frame, FrameEscape, label + 1));
        _a.Emit(Instruction.Mov(Reg.R0, 1));
        _a.Exit();
    }

    private void Loop(LoopStmt l)
    {
        var (outerBreak, outerContinue) = (_f.Break, _f.Continue);
        var broken = _a.NewLabel();
        var tooLong = _a.NewLabel();
        var charge = 1 + StatementCounter.Count(l.Body);

        // The verifier's own budget (8 million) is larger than any sane MAXACTION; reaching it is the same error.
        Rounds(l, tooLong, () =>
        {
            _f.Break = broken;
            _f.Continue = _a.NewLabel();
            Charge(charge, tooLong);
            if (l.Condition is { } condition)
            {
                Branch(condition, false, broken);
            }

            Statement(l.Body);
            _a.Bind(_f.Continue);
            if (l.Step is { } step)
            {
                var mark = Marked();
                Discard(step);
                Release(mark);
            }
        });
        _a.Bind(tooLong);
        Stop("MAXACTION exceeded", l.Span);
        _a.Bind(broken);
        (_f.Break, _f.Continue) = (outerBreak, outerContinue);
    }

    /// <summary>Counts statements against MAXACTION.</summary>
    private void Charge(int statements, Label tooLong)
    {
        if (!_c.Limits.SuppressTimeLimits)
        {
            Load(Reg.R0, new Mem(Frame, FrameActions));
            _a.Emit(Instruction.Add64Imm(Reg.R0, -statements));
            Save(new Mem(Frame, FrameActions), Reg.R0);
            _a.JumpIf(JumpOp.SLt, Reg.R0, 0, tooLong);
        }
    }
}
