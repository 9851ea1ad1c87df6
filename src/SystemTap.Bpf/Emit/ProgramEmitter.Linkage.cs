using Linux.Bpf;

namespace SystemTap.Bpf.Emit;

// Static and global functions
// ---------------------------
// The verifier walks a static function anew at each call, with what the caller knows. Functions that call each other a few times each thus multiply, and a script of some
// functions with many formats would pass its limit of a million instructions. A *global* function is walked once, by its prototype. It pays because a function of ours gets
// nothing but the frame and sees only unknown numbers there, so a second walk could learn nothing.
//
// What a prototype can say on every kernel we support: numbers, and a pointer to memory of a known size (the frame, a map value: Linux 5.12). It cannot say "the event's
// context" for all program types before Linux 6.8, and most functions never look at it. So linkage is decided when all code is written: a function is global when neither
// it nor what it calls has used the context; then a constant takes the place of the context at its start. Whoever does use it stays static, and everything works as before.
//
// The price at run time is one comparison at a function's start, since a prototype's pointer may be null for the verifier.

internal sealed partial class ProgramEmitter
{
    /// <summary>A function that is called with the frame and the event's context.</summary>
    private sealed class Unit(Subprogram subprogram)
    {
        public Subprogram Subprogram { get; } = subprogram;

        /// <summary>Where it takes the context over.</summary>
        public int Entry { get; set; } = -1;

        public bool UsesContext { get; set; }

        public HashSet<Subprogram> Callees { get; } = [];
    }

    private readonly Dictionary<Subprogram, Unit> _units = [];
    private readonly List<(Subprogram Subprogram, int Numbers)> _globals = [];
    private Unit? _unit;

    /// <summary>Calls a function with the frame and the event's context.</summary>
    private void CallUnit(Subprogram callee)
    {
        Move(Reg.R1, Frame);
        _a.EmitUnseen(Instruction.Mov(Reg.R2, Ctx));
        _a.Call(callee);
        if (_a.IsAlive)
        {
            _unit?.Callees.Add(callee);
        }
    }

    /// <summary>Start of a function called so.</summary>
    private void BeginUnit(Subprogram subprogram)
    {
        EndUnit();
        _a.Begin(subprogram);
        _units[subprogram] = _unit = new Unit(subprogram);
        Move(Frame, Reg.R1);
        _unit.Entry = _a.Position;
        _a.EmitUnseen(Instruction.Mov(Ctx, Reg.R2));
        RefuseNull();
        _a.UsesContext = false;
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

        foreach (var (position, left) in _frameBounds)
        {
            _a.Replace(position, Instruction.JumpIf(JumpOp.Le, left, _frameMost, 0));
        }

        var frame = FuncParam.Memory(frameSize);
        foreach (var unit in _units.Values)
        {
            if (!unit.UsesContext)
            {
                _a.Replace(unit.Entry, Instruction.Mov(Ctx, 0));
                unit.Subprogram.MakeGlobal(frame);
            }
        }

        foreach (var (subprogram, numbers) in _globals)
        {
            subprogram.MakeGlobal([frame, .. Enumerable.Repeat(FuncParam.Scalar, numbers)]);
        }
    }
}
