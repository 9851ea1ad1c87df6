using Linux.Bpf;

namespace SystemTap.Bpf.Emit;

/// <summary>
/// An assembler that drops what cannot be reached: after a jump or exit nothing is written until a label that something jumps to. The
/// verifier refuses unreachable instructions, and so no emitter need ask "did that statement end?".
/// <para>
/// It also lets a loop body be a function of its own (a callback of <c>bpf_loop</c>) without the code in it knowing: a jump to a label of an interrupted
/// function becomes "say where to, and leave the callback"; the interrupted function then jumps for it. See <see cref="BeginAside"/>.
/// </para>
/// </summary>
internal sealed class CodeWriter
{
    private readonly Assembler _a = new();
    private readonly HashSet<int> _used = [];
    private readonly Dictionary<int, int> _owners = [];
    private readonly Stack<Interrupted> _interrupted = new();
    private readonly Dictionary<int, Label> _escapes = [];
    private Action<int>? _escape;
    private int _function, _functions;

    private sealed record Interrupted(bool IsAlive, int Function, Action<int>? Escape, List<KeyValuePair<int, Label>> Escapes);

    /// <summary>False after an unconditional jump or exit.</summary>
    public bool IsAlive { get; private set; } = true;

    public SourceMark Mark
    {
        get => _a.Mark;
        set => _a.Mark = value;
    }

    public bool AllowLongJumps
    {
        set => _a.AllowLongJumps = value;
    }

    public int Position => _a.Position;

    /// <summary>Something was written that names the register of the event's context, other than to hand it on (<see cref="EmitUnseen"/>).</summary>
    public bool UsesContext { get; set; }

    public void Emit(Instruction instruction)
    {
        if (IsAlive)
        {
            UsesContext |= instruction.Src == ProgramEmitter.Ctx || instruction.Dst == ProgramEmitter.Ctx;
            _a.Emit(instruction);
        }
    }

    /// <summary>The event's context was handed on: it must be in its register, whether anybody uses it or not.</summary>
    public bool HandsContextOn { get; set; }

    /// <summary>Writes an instruction that is no use of the event's context although it names its register.</summary>
    public void EmitUnseen(Instruction instruction)
    {
        if (IsAlive)
        {
            HandsContextOn = true;
            _a.Emit(instruction);
        }
    }

    /// <summary>Writes an instruction, also an unseen one, that can be written over later by the action it gives back.</summary>
    public Action<Instruction> EmitOpen(Instruction instruction) => IsAlive ? _a.EmitOpen(instruction) : static _ => { };

    /// <summary>Writes a comparison with a number that is known later.</summary>
    public Action<int> JumpIfOpen(JumpOp op, Reg left, Label label)
    {
        if (!IsAlive)
        {
            return static _ => { };
        }

        var change = _a.JumpIfOpen(op, left, 0, Near(label));
        return right => change(Instruction.JumpIf(op, left, right, 0));
    }

    public void LdImm64(Reg to, long value)
    {
        if (IsAlive)
        {
            _a.LdImm64(to, value);
        }
    }

    public void LdMap(Reg to, object map)
    {
        if (IsAlive)
        {
            _a.LdMap(to, map);
        }
    }

    public void LdMapValue(Reg to, object map, int offset)
    {
        if (IsAlive)
        {
            _a.LdMapValue(to, map, offset);
        }
    }

    public void LdFunc(Reg to, Subprogram function)
    {
        if (IsAlive)
        {
            _a.LdFunc(to, function);
        }
    }

    public void Call(Helper helper)
    {
        if (IsAlive)
        {
            _a.Call(helper);
        }
    }

    public void Call(Subprogram function)
    {
        if (IsAlive)
        {
            _a.Call(function);
        }
    }

    public Label NewLabel()
    {
        var label = _a.NewLabel();
        _owners[label.Id] = _function;
        return label;
    }

    public Label Here()
    {
        var label = NewLabel();
        _a.Bind(label);
        return label;
    }

    /// <summary>Interrupts the present function to write another.</summary>
    /// <param name="function">Declared already.</param>
    /// <param name="escape">Writes the code that leaves the new function for the label of that number in the interrupted one.</param>
    public void BeginAside(Subprogram function, Action<int> escape)
    {
        _interrupted.Push(new Interrupted(IsAlive, _function, _escape, [.. _escapes]));
        _escapes.Clear();
        _escape = escape;
        _function = ++_functions;
        _a.BeginAside(function);
        IsAlive = true;
    }

    /// <summary>Ends the function; returns the labels of the interrupted one that it left for.</summary>
    public List<Label> EndAside()
    {
        var targets = new List<Label>();
        foreach (var (target, label) in _escapes)
        {
            _a.Bind(label);
            IsAlive = true;
            _escape!(target);
            targets.Add(new Label(target));
        }

        _a.EndAside();
        var before = _interrupted.Pop();
        (IsAlive, _function, _escape) = (before.IsAlive, before.Function, before.Escape);
        _escapes.Clear();
        foreach (var (target, label) in before.Escapes)
        {
            _escapes[target] = label;
        }

        return targets;
    }

    /// <summary>The label to jump to for a label: itself, or the place in this function that leaves for it.</summary>
    private Label Near(Label label)
    {
        if (_interrupted.Count == 0 || _owners[label.Id] == _function)
        {
            _used.Add(label.Id);
            return label;
        }

        if (!_escapes.TryGetValue(label.Id, out var near))
        {
            _escapes[label.Id] = near = NewLabel();
        }

        return near;
    }

    public void Bind(Label label)
    {
        _a.Bind(label);
        IsAlive |= _used.Contains(label.Id);
    }

    /// <summary>Binds a label that code further down jumps to.</summary>
    public void BindJumpedToLater(Label label)
    {
        _a.Bind(label);
        IsAlive = true;
    }

    public void Jump(Label label)
    {
        if (IsAlive)
        {
            _a.Jump(Near(label));
            IsAlive = false;
        }
    }

    public void JumpIf(JumpOp op, Reg left, Reg right, Label label)
    {
        if (IsAlive)
        {
            _a.JumpIf(op, left, right, Near(label));
        }
    }

    public void JumpIf(JumpOp op, Reg left, int right, Label label)
    {
        if (IsAlive)
        {
            _a.JumpIf(op, left, right, Near(label));
        }
    }

    /// <summary>Compares the lower half.</summary>
    public void JumpIf32(JumpOp op, Reg left, int right, Label label)
    {
        if (IsAlive)
        {
            _a.JumpIf32(op, left, right, Near(label));
        }
    }

    public void MayGoto(Label label)
    {
        if (IsAlive)
        {
            _a.MayGoto(Near(label));
        }
    }

    public void Exit()
    {
        if (IsAlive)
        {
            _a.Exit();
            IsAlive = false;
        }
    }

    public Subprogram Declare(string name) => _a.Declare(name);

    public void Begin(Subprogram function)
    {
        _a.Begin(function);
        IsAlive = true;
    }

    public AssembledCode Finish() => _a.Finish();
}
