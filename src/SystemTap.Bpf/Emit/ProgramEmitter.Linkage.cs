using Linux.Bpf;

namespace SystemTap.Bpf.Emit;

// Static and global functions
// ---------------------------
// The verifier walks a static function anew at each call, with what the caller knows. Functions that call each other a few times each thus multiply, and a script of some
// functions with many formats would pass its limit of a million instructions. A *global* function is walked once, by its prototype. It pays because a function of ours gets
// nothing but the frame and sees only unknown numbers there, so a second walk could learn nothing.
//
// What a prototype can say on every kernel we support: numbers, and a pointer to memory of a known size (Linux 5.12). It cannot say "the event's context" for all program
// types before Linux 6.8, and most functions never look at it. So linkage is decided when all code is written: a function is global when neither it nor what it calls has
// used the context; then a constant takes the place of the context at its start. Whoever does use it stays static, and everything works as before.
//
// The frame reaches a global function in one of two ways:
//
//   * as memory of its size, with one comparison at the function's start, since a prototype's pointer may be null for the verifier;
//   * kernels such as 6.1 refuse such memory as a map's key or value. There a function looks its frame up again; of a program with several frames it gets the number
//     (which is what FrameInUse holds). The verifier removes the form that was not chosen.
//
// Routines of the library that take nothing but numbers are global too, by the first way, since they touch no maps.

internal sealed partial class ProgramEmitter
{
    /// <summary>A function that is called with the frame and the event's context.</summary>
    private sealed class Unit(Subprogram subprogram)
    {
        public Subprogram Subprogram { get; } = subprogram;

        /// <summary>Makes its start that of a global function.</summary>
        public Action BecomeGlobal { get; set; } = static () => { };

        public bool UsesContext { get; set; }

        public HashSet<Subprogram> Callees { get; } = [];
    }

    private readonly Dictionary<Subprogram, Unit> _units = [];
    private readonly List<(Subprogram Callee, Action<Instruction> Frame)> _unitCalls = [];
    private readonly List<(Subprogram Subprogram, int Numbers)> _globals = [];
    private Unit? _unit;

    /// <summary>Calls a function with the frame and the event's context.</summary>
    private void CallUnit(Subprogram callee)
    {
        var frame = _a.EmitOpen(Instruction.Mov(Reg.R1, Frame));
        _a.EmitUnseen(Instruction.Mov(Reg.R2, Ctx));
        _a.Call(callee);
        if (_a.IsAlive)
        {
            _unitCalls.Add((callee, frame));
            _unit?.Callees.Add(callee);
        }
    }

    /// <summary>Start of a function called so; <see cref="_f"/> is its.</summary>
    private void BeginUnit(Subprogram subprogram)
    {
        EndUnit();
        _a.Begin(subprogram);
        _units[subprogram] = _unit = new Unit(subprogram);
        if (_c.Features.MemoryKeys)
        {
            Move(Frame, Reg.R1);
            var context = _a.EmitOpen(Instruction.Mov(Ctx, Reg.R2));
            _unit.BecomeGlobal = () => context(Instruction.Mov(Ctx, 0));
            RefuseNull();
        }
        else
        {
            var given = _a.NewLabel();
            var there = _a.NewLabel();
            var isStatic = _a.EmitOpen(Instruction.Mov(Reg.R0, 1));
            _unit.BecomeGlobal = () => isStatic(Instruction.Mov(Reg.R0, 0));
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, given);
            LookupOwnFrame();
            Move(Frame, Reg.R0);
            RefuseNull();
            _a.EmitUnseen(Instruction.Mov(Ctx, 0));
            _a.Jump(there);
            _a.Bind(given);
            Move(Frame, Reg.R1);
            _a.EmitUnseen(Instruction.Mov(Ctx, Reg.R2));
            _a.Bind(there);
        }

        _a.UsesContext = false;
    }

    /// <summary>In a function: R0 = the frame of this run or 0; R1 is its number, counted from 1, where there are several.</summary>
    private void LookupOwnFrame()
    {
        var mark = Marked();
        var key = TakeStack(8, onStack: true);
        if (_event.IsPreemptible)
        {
            Move(Reg.R8, Reg.R1);
            _a.Emit(Instruction.Add64Imm(Reg.R8, -1));
        }

        _a.Emit(Instruction.Mov(Reg.R0, 0));
        if (_frameMap!.IsByNumber)
        {
            _a.Call(Helper.GetSmpProcessorId);
            _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R0, _event.IsPreemptible ? FrameSlots : 1));
        }

        if (_event.IsPreemptible)
        {
            _a.Emit(Instruction.Add64(Reg.R0, Reg.R8));
        }

        Save(MemSize.W, key, Reg.R0);
        LookupKey(_frameMap.Id, key);
        Release(mark);
    }

    private void EndUnit()
    {
        if (_unit is { } unit)
        {
            unit.UsesContext = _a.UsesContext;
            _unit = null;
        }
    }

    /// <summary>The verifier holds a global function's pointer to memory for possibly null.</summary>
    private void RefuseNull()
    {
        var there = _a.NewLabel();
        _a.JumpIf(JumpOp.Ne, Frame, 0, there);
        _a.Emit(Instruction.Mov(Reg.R0, 2));
        _a.Exit();
        _a.Bind(there);
    }

    /// <summary>When all code is written and the frame's size is known: makes functions global that can be.</summary>
    private void Link(int frameSize)
    {
        foreach (var bound in _frameBounds)
        {
            bound(_frameMost);
        }

        bool changed;
        do
        {
            changed = false;
            foreach (var unit in _units.Values)
            {
                if (!unit.UsesContext && unit.Callees.Any(c => _units[c].UsesContext))
                {
                    unit.UsesContext = changed = true;
                }
            }
        }
        while (changed);

        var frame = FuncParam.Memory(frameSize);
        FuncParam[] prototype = _c.Features.MemoryKeys ? [frame] : _event.IsPreemptible ? [FuncParam.Scalar] : [];
        foreach (var unit in _units.Values)
        {
            if (!unit.UsesContext)
            {
                unit.BecomeGlobal();
                unit.Subprogram.MakeGlobal(prototype);
            }
        }

        foreach (var (callee, argument) in _unitCalls)
        {
            if (!_units[callee].UsesContext && !_c.Features.MemoryKeys && _event.IsPreemptible)
            {
                argument(Instruction.Load(MemSize.DW, Reg.R1, Frame, FrameInUse));
            }
        }

        foreach (var (subprogram, numbers) in _globals)
        {
            subprogram.MakeGlobal([frame, .. Enumerable.Repeat(FuncParam.Scalar, numbers)]);
        }
    }
}
