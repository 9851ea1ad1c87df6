using System.Runtime.InteropServices;

namespace Linux.Bpf;

/// <summary>A jump target of one <see cref="Assembler"/>.</summary>
public readonly record struct Label(int Id);

/// <summary>Code that cannot be put into slots: an unbound label, a jump past 16 bits. Always a fault of the code generator.</summary>
public sealed class AssemblerException(string message) : Exception(message);

/// <summary>
/// Collects instructions, resolves labels, and remembers what only the loader can fill in (map descriptors) or describe
/// (functions, source places). Jumps are patched at <see cref="Finish"/>: a conditional jump has 16 bits, and when it does not reach
/// an exception says so, since silently wrong code is worse; the generator above must outline. Plain jumps become 32-bit
/// ones if <see cref="AllowLongJumps"/>.
/// </summary>
public sealed class Assembler
{
    private enum FixKind : byte { Jump, Call, Func }
    private readonly record struct Fix(int Slot, int Label, FixKind Kind);

    // One run of slots: the main code, or a function written aside. Positions count from the part's first slot until Finish puts the parts together.
    private sealed class Part
    {
        public readonly List<Instruction> Code = new(256);
        public readonly List<SourceMark> Marks = new(256);
        public readonly List<Fix> Fixes = new(64);
        public readonly List<MapReference> Maps = new(16);
        public readonly List<int> Bound = [];
        public readonly List<Subprogram> Subprograms = [];
    }

    private readonly List<int> _labels = new(32);
    private readonly List<Subprogram> _declared = [];
    private readonly List<Part> _aside = [];
    private readonly Stack<Part> _interrupted = new();
    private Part _part = new();

    /// <summary>Source place given to the instructions that follow.</summary>
    public SourceMark Mark { get; set; }
    /// <summary>Use 32-bit jumps (Linux 6.6) where an unconditional jump needs them.</summary>
    public bool AllowLongJumps { get; set; }
    /// <summary>Number of slots so far; the index of the next one.</summary>
    public int Position => _part.Code.Count;
    /// <summary>The slots so far, jumps unpatched; invalid after the next append.</summary>
    public ReadOnlySpan<Instruction> Slots => CollectionsMarshal.AsSpan(_part.Code);

    /// <summary>Appends one slot.</summary>
    public Assembler Emit(Instruction insn)
    {
        _part.Code.Add(insn);
        _part.Marks.Add(Mark);
        return this;
    }

    /// <summary>Appends one slot that can be written over until <see cref="Finish"/>, by the action it gives back.</summary>
    public Action<Instruction> EmitOpen(Instruction insn)
    {
        var (part, slot) = (_part, Position);
        Emit(insn);
        return other => part.Code[slot] = other;
    }

    /// <summary>Appends a two-slot load.</summary>
    public Assembler Emit((Instruction First, Instruction Second) pair) => Emit(pair.First).Emit(pair.Second);

    /// <summary><c>dst = value</c> in the fewest slots.</summary>
    public Assembler LdImm64(Reg dst, long value)
    {
        if (value == (int)value)
            return Emit(Instruction.Mov(dst, (int)value));
        return value == (uint)value
            ? Emit(Instruction.Mov32(dst, (int)value))
            : Emit(Instruction.LdImm64(dst, value));
    }

    /// <summary><c>dst = map</c>; the object is a <see cref="BpfMap"/> or a key for the loader's resolver.</summary>
    public Assembler LdMap(Reg dst, object map)
    {
        _part.Maps.Add(new(Position, map));
        return Emit(Instruction.LdMapFd(dst, 0));
    }

    /// <summary><c>dst = &amp;map[0] + offset</c>; see <see cref="Instruction.LdMapValue"/>.</summary>
    public Assembler LdMapValue(Reg dst, object map, int offset)
    {
        _part.Maps.Add(new(Position, map));
        return Emit(Instruction.LdMapValue(dst, 0, offset));
    }

    /// <summary>A new label, to be bound once.</summary>
    public Label NewLabel()
    {
        _labels.Add(-1);
        return new Label(_labels.Count - 1);
    }

    /// <summary>Binds the label to the next slot.</summary>
    /// <exception cref="AssemblerException">The label is bound already.</exception>
    public Assembler Bind(Label label)
    {
        if (_labels[label.Id] >= 0)
            throw new AssemblerException($"label {label.Id}: bound twice, at slots {_labels[label.Id]} and {Position}");
        _labels[label.Id] = Position;
        _part.Bound.Add(label.Id);
        return this;
    }

    /// <summary>A bound label at the next slot.</summary>
    public Label Here()
    {
        Label label = NewLabel();
        Bind(label);
        return label;
    }

    /// <summary><c>goto label</c>.</summary>
    public Assembler Jump(Label label) => Jumping(Instruction.Jump(0), label, FixKind.Jump);
    /// <summary><c>if (left op right) goto label</c>.</summary>
    public Assembler JumpIf(JumpOp op, Reg left, Reg right, Label label) => Jumping(Instruction.JumpIf(op, left, right, 0), label, FixKind.Jump);
    /// <summary><c>if (left op imm) goto label</c>.</summary>
    public Assembler JumpIf(JumpOp op, Reg left, int right, Label label) => Jumping(Instruction.JumpIf(op, left, right, 0), label, FixKind.Jump);
    /// <summary><see cref="JumpIf(JumpOp,Reg,int,Label)"/> that can be written over as <see cref="EmitOpen"/>.</summary>
    public Action<Instruction> JumpIfOpen(JumpOp op, Reg left, int right, Label label)
    {
        _part.Fixes.Add(new(Position, label.Id, FixKind.Jump));
        return EmitOpen(Instruction.JumpIf(op, left, right, 0));
    }
    /// <summary>32-bit compare and jump.</summary>
    public Assembler JumpIf32(JumpOp op, Reg left, Reg right, Label label) => Jumping(Instruction.JumpIf32(op, left, right, 0), label, FixKind.Jump);
    /// <summary>32-bit compare and jump.</summary>
    public Assembler JumpIf32(JumpOp op, Reg left, int right, Label label) => Jumping(Instruction.JumpIf32(op, left, right, 0), label, FixKind.Jump);
    /// <summary>Goes to the label when the loop budget is used up; see <see cref="Instruction.MayGoto"/>.</summary>
    public Assembler MayGoto(Label label) => Jumping(Instruction.MayGoto(0), label, FixKind.Jump);
    /// <summary>Calls a helper.</summary>
    public Assembler Call(Helper helper) => Emit(Instruction.Call(helper));
    /// <summary>Calls a kernel function; see <see cref="Instruction.CallKfunc"/>.</summary>
    public Assembler CallKfunc(int btfId, int fdIndex = 0) => Emit(Instruction.CallKfunc(btfId, fdIndex));
    /// <summary>Calls a function of this program.</summary>
    public Assembler Call(Subprogram callee) => Jumping(Instruction.CallLocal(0), callee.Label, FixKind.Call);
    /// <summary><c>dst = callback</c>, for <c>bpf_loop</c>, <c>bpf_for_each_map_elem</c> and timers; the function must be static. Linux 5.13.</summary>
    public Assembler LdFunc(Reg dst, Subprogram callee)
    {
        _part.Fixes.Add(new(Position, callee.Label.Id, FixKind.Func));
        return Emit(Instruction.LdFunc(dst, 0));
    }
    /// <summary>Returns R0.</summary>
    public Assembler Exit() => Emit(Instruction.Exit());

    /// <summary>Declares a function, so that code before it may call it.</summary>
    public Subprogram Declare(string name, FuncLinkage linkage = FuncLinkage.Static, params FuncParam[] parameters)
    {
        var subprogram = new Subprogram(name, linkage, parameters, NewLabel());
        _declared.Add(subprogram);
        return subprogram;
    }

    /// <summary>Starts the body of a declared function at the next slot. The main program must come first.</summary>
    public Assembler Begin(Subprogram subprogram)
    {
        if (Position == 0 && _interrupted.Count == 0)
            throw new AssemblerException($"function \"{subprogram.Name}\": a program begins with its main code, not with a function");
        Bind(subprogram.Label);
        subprogram.Slot = Position;
        _part.Subprograms.Add(subprogram);
        return this;
    }

    /// <summary>Interrupts the present function to write a declared one aside: a callback whose code depends on where it is used. May nest.</summary>
    public Assembler BeginAside(Subprogram subprogram)
    {
        _interrupted.Push(_part);
        _part = new Part();
        return Begin(subprogram);
    }

    /// <summary>Ends a function written aside and goes on with the interrupted one.</summary>
    public Assembler EndAside()
    {
        _aside.Add(_part);
        _part = _interrupted.Pop();
        return this;
    }

    private Assembler Jumping(Instruction insn, Label label, FixKind kind)
    {
        _part.Fixes.Add(new(Position, label.Id, kind));
        return Emit(insn);
    }

    /// <summary>Patches all jumps and gives the finished code.</summary>
    /// <exception cref="AssemblerException">A label or declared function was never bound, or a jump does not reach.</exception>
    public AssembledCode Finish()
    {
        foreach (Part part in _aside)
            Append(part);
        _aside.Clear();
        Instruction[] slots = [.. _part.Code];
        foreach (Fix fix in _part.Fixes)
        {
            int target = _labels[fix.Label];
            if (target < 0)
                throw new AssemblerException($"slot {fix.Slot}: label {fix.Label}{NameOf(fix.Label)} was never bound");
            // Calls and callbacks have 32-bit distances; a callback's distance counts from the slot after its first half.
            int distance = target - fix.Slot - 1;
            ref Instruction insn = ref slots[fix.Slot];
            if (fix.Kind != FixKind.Jump)
                insn = insn.WithImm(distance);
            else if (distance == (short)distance)
                insn = insn.WithOffset((short)distance);
            else if (AllowLongJumps && insn.OpCode == (Op.Jmp | Op.Ja))
                insn = Instruction.JumpLong(distance);
            else
                throw new AssemblerException(
                    $"slot {fix.Slot}: jump of {distance} slots to slot {target} is out of the 16-bit range; outline part of the body");
        }
        return new AssembledCode(slots, [.. _part.Maps], [.. _part.Subprograms], [.. _part.Marks]);
    }

    private void Append(Part part)
    {
        int start = Position;
        _part.Code.AddRange(part.Code);
        _part.Marks.AddRange(part.Marks);
        foreach (Fix fix in part.Fixes)
            _part.Fixes.Add(fix with { Slot = fix.Slot + start });
        foreach (MapReference map in part.Maps)
            _part.Maps.Add(map with { Slot = map.Slot + start });
        foreach (int label in part.Bound)
            _labels[label] += start;
        foreach (Subprogram subprogram in part.Subprograms)
        {
            subprogram.Slot += start;
            _part.Subprograms.Add(subprogram);
        }
    }

    private string NameOf(int label)
    {
        foreach (Subprogram s in _declared)
            if (s.Label.Id == label)
                return $" (\"{s.Name}\")";
        return "";
    }
}
