using Linux.Bpf;
using SystemTap.Bpf.Plan;

namespace SystemTap.Bpf.Emit;

// What dispatchers need of the emitter.

internal sealed partial class ProgramEmitter
{
    /// <summary>A stack word for the rest of the program.</summary>
    public Mem StackWord() => TakeStack(8);

    public Mem StackBytes(int size) => TakeStack(size, onStack: true);

    public void SaveWord(Mem word, Reg from) => Save(word, from);

    public void LoadWord(Reg to, Mem word) => Load(to, word);

    public void StoreWord(Mem word, long value) => Store(word, value);

    /// <summary>Leaves the program unless the session still runs.</summary>
    public void CheckState()
    {
        DataAddress(Reg.R1, ControlBlock.State);
        Load(Reg.R0, new Mem(Reg.R1, 0));
        _a.JumpIf(JumpOp.Ne, Reg.R0, 1, _exit);
    }

    /// <summary>A program that runs in every state of the session.</summary>
    public void BeginAlways()
    {
        _exit = _a.NewLabel();
        Move(Ctx, Reg.R1);
    }

    /// <summary>Puts a pid (in a stack word) into the target's set.</summary>
    public void UpdateTargetSet(Mem pid, Mem value)
    {
        UpdateElement(_c.TargetSetMap, pid, value, UpdateMode.Any);
    }

    public void RemoveFromTargetSet(Mem pid) => DeleteKey(_c.TargetSetMap, pid);

    /// <summary>Puts a key into a map of 4-byte values. R0–R5 are lost.</summary>
    public void Remember(int map, Mem key) => UpdateElement(map, key, key, UpdateMode.Any);

    /// <summary>Takes a key out of a map; goes to the label when it is not there. R0–R5 are lost.</summary>
    public void Forget(int map, Mem key, Label absent)
    {
        DeleteKey(map, key);
        _a.JumpIf(JumpOp.Ne, Reg.R0, 0, absent);
    }

    /// <summary>Puts a key into a map of 4-byte values (whatever they are); goes to the label when it is there already. R0–R5 are lost.</summary>
    public void AddOnce(int map, Mem key, Label known)
    {
        UpdateElement(map, key, key, UpdateMode.NoExist);
        _a.JumpIf32(JumpOp.Eq, Reg.R0, Eexist, known);
    }

    /// <summary>Finds the row of a number; goes to the label when the table does not serve it.</summary>
    public void FindRow(int table, Mem number, IReadOnlyList<RowColumn> columns, int probeColumn, Label next)
    {
        _rowSlot ??= TakeStack(8, onStack: true);
        _row = _rowSlot.Value;
        var mark = Marked();
        var key = TakeStack(8);
        Load(Reg.R0, number);
        Save(MemSize.W, key, Reg.R0);
        LookupKey(table, key);
        Release(mark);
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, next);
        Load(Reg.R1, new Mem(Reg.R0, 0));
        _a.JumpIf(JumpOp.Eq, Reg.R1, 0, next);
        Save(_row, Reg.R0);
        UseRow(_row, columns, probeColumn);
    }

    /// <summary>to = the number an array of 32-bit numbers has at an index; 0xffff beyond its end.</summary>
    public void MapNumber(int map, Mem index, Mem to)
    {
        var mark = Marked();
        var key = TakeStack(8, onStack: true);
        Load(Reg.R0, index);
        Save(MemSize.W, key, Reg.R0);
        Store(to, 0xffff);
        LookupKey(map, key);
        Release(mark);
        var end = _a.NewLabel();
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, end);
        _a.Emit(Instruction.Load(MemSize.W, Reg.R1, Reg.R0, 0));
        Save(to, Reg.R1);
        _a.Bind(end);
    }

    /// <summary>True while a function's code is made: the words of the handler's stack are out of its reach.</summary>
    public bool InFunction => _f.Function is not null;

    private Mem? _rowSlot;

    /// <summary>Continues in the program of the number, if there is one; else falls through.</summary>
    public void TailCall(int map, Mem number)
    {
        Load(Reg.R3, number);
        Move(Reg.R1, Ctx);
        LoadMap(Reg.R2, map);
        _a.Call(Helper.TailCall);
    }
}
