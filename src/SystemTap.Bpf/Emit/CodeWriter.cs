using Linux.Bpf;

namespace SystemTap.Bpf.Emit;

/// <summary>
/// An assembler that drops what cannot be reached: after a jump or exit nothing is written until a label that something jumps to. The
/// verifier refuses unreachable instructions, and so no emitter need ask "did that statement end?".
/// </summary>
internal sealed class CodeWriter
{
    private readonly Assembler _a = new();
    private readonly HashSet<int> _used = [];

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

    public void Emit(Instruction instruction)
    {
        if (IsAlive)
        {
            _a.Emit(instruction);
        }
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

    public Label NewLabel() => _a.NewLabel();

    public Label Here()
    {
        var label = _a.NewLabel();
        _a.Bind(label);
        return label;
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
            _used.Add(label.Id);
            _a.Jump(label);
            IsAlive = false;
        }
    }

    public void JumpIf(JumpOp op, Reg left, Reg right, Label label)
    {
        if (IsAlive)
        {
            _used.Add(label.Id);
            _a.JumpIf(op, left, right, label);
        }
    }

    public void JumpIf(JumpOp op, Reg left, int right, Label label)
    {
        if (IsAlive)
        {
            _used.Add(label.Id);
            _a.JumpIf(op, left, right, label);
        }
    }

    public void MayGoto(Label label)
    {
        if (IsAlive)
        {
            _used.Add(label.Id);
            _a.MayGoto(label);
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
