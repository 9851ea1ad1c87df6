using Linux.Bpf;

namespace SystemTap.Bpf.Emit;

// The heap of a foreach
// ---------------------
// A heap entry is three words: what to sort by, then the insertion number (equal keys keep insertion order), then the index of the entry. Long keys
// are complemented for descending order. Of strings the first word holds eight bytes as a number; only ties look at the entries.

internal sealed partial class ProgramEmitter
{
    // The heap map's head; then the entries.
    private const int HeapCount = 0, HeapCursor = 8, HeapLimit = 16, HeapCurrent = 24, HeapChild = 32, HeapEntries = 64, HeapEntry = 24;

    private readonly List<(SnapshotSite Site, Subprogram Sift, Subprogram Less)> _sorters = [];

    /// <summary>Bytes of the heap map for so many entries.</summary>
    public static long HeapBytes(int most) => HeapEntries + ((long)HeapEntry * most);

    /// <summary>Address in the heap map, in the part of the present activation; R5 is lost where there are several.</summary>
    private void HeapAddress(SnapshotSite site, Reg to, int offset)
    {
        if (site.Levels == 1)
        {
            _a.LdMapValue(to, _c.MapKey(site.HeapMap), offset);
            return;
        }

        _a.LdMapValue(Reg.R5, _c.MapKey(site.HeapMap), 0);
        Load(Reg.R5, new Mem(Reg.R5, 0));
        _a.Emit(Instruction.Alu64(AluOp.And, Reg.R5, (site.Levels - 1) << site.LevelShift));
        _a.LdMapValue(to, _c.MapKey(site.HeapMap), SnapshotSite.LevelHead + offset);
        _a.Emit(Instruction.Add64(to, Reg.R5));
    }

    /// <summary>Address of heap entry number <paramref name="index"/>, which survives and is proven small enough.</summary>
    private void EntryAddress(SnapshotSite site, Reg index, Reg to, Label outside)
    {
        _a.JumpIf(JumpOp.Ge, index, site.Most, outside);
        HeapAddress(site, to, HeapEntries);
        Move(Reg.R5, index);
        _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R5, HeapEntry));
        _a.Emit(Instruction.Add64(to, Reg.R5));
    }

    /// <summary>R0 = address of the entry with that number.</summary>
    private void FindEntry(SnapshotSite site, Reg index, Label missing)
    {
        var mark = Marked();
        var key = TakeStack(8);
        if (site.Levels > 1)
        {
            _a.LdMapValue(Reg.R5, _c.MapKey(site.HeapMap), 0);
            Load(Reg.R5, new Mem(Reg.R5, 0));
            _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R5, site.LevelShift));
            _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R5, site.Most));
            _a.Emit(Instruction.Add64(Reg.R5, index));
            index = Reg.R5;
        }

        Save(MemSize.W, key, index);
        LookupKey(site.EntriesMap, key);
        Release(mark);
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, missing);
    }

    /// <summary>Brings the collected entries into heap order.</summary>
    private void Heapify(SnapshotSite site)
    {
        HeapAddress(site, Reg.R1, 0);
        Load(Reg.R0, new Mem(Reg.R1, HeapCount));
        _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 1));
        Save(new Mem(Reg.R1, HeapCursor), Reg.R0);
        var built = _a.NewLabel();
        Repeat(built, () =>
        {
            HeapAddress(site, Reg.R1, HeapCursor);
            Load(Reg.R3, new Mem(Reg.R1, 0));
            _a.JumpIf(JumpOp.Eq, Reg.R3, 0, built);
            _a.Emit(Instruction.Add64Imm(Reg.R3, -1));
            Save(new Mem(Reg.R1, 0), Reg.R3);
            CallSift(site);
        });
        _a.Bind(built);
    }

    /// <summary>Lets the heap entry with number R3 sink to its place.</summary>
    private void CallSift(SnapshotSite site)
    {
        Move(Reg.R1, Frame);
        _a.EmitUnseen(Instruction.Mov(Reg.R2, Ctx));
        _a.Call(Sorter(site).Sift);
    }

    private (SnapshotSite Site, Subprogram Sift, Subprogram Less) Sorter(SnapshotSite site)
    {
        foreach (var known in _sorters)
        {
            if (ReferenceEquals(known.Site, site))
            {
                return known;
            }
        }

        var made = (site, _a.Declare($"sift_{site.HeapMap}"), _a.Declare($"less_{site.HeapMap}"));
        if (_a.IsAlive)
        {
            _sorters.Add(made);
        }

        return made;
    }

    private void EmitSorters()
    {
        foreach (var (site, sift, less) in _sorters)
        {
            EmitSift(site, sift, less);
            EmitLess(site, less);
        }
    }

    private void EmitSift(SnapshotSite site, Subprogram sift, Subprogram less)
    {
        _f = new FunctionState(null, sift) { IsCallback = true };
        _columns = [];
        _a.Begin(sift);
        Move(Frame, Reg.R1);
        Move(Ctx, Reg.R2);
        HeapAddress(site, Reg.R1, HeapCurrent);
        Save(new Mem(Reg.R1, 0), Reg.R3);
        var done = _a.NewLabel();
        Repeat(done, () =>
        {
            var one = _a.NewLabel();
            HeapAddress(site, Reg.R3, 0);
            Load(Reg.R2, new Mem(Reg.R3, HeapCurrent));
            _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R2, 1));
            _a.Emit(Instruction.Add64Imm(Reg.R2, 1));
            Load(Reg.R4, new Mem(Reg.R3, HeapCount));
            _a.JumpIf(JumpOp.Ge, Reg.R2, Reg.R4, done);
            Save(new Mem(Reg.R3, HeapChild), Reg.R2);
            Move(Reg.R1, Reg.R2);
            _a.Emit(Instruction.Add64Imm(Reg.R1, 1));
            _a.JumpIf(JumpOp.Ge, Reg.R1, Reg.R4, one);
            _a.Call(less);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, one);
            HeapAddress(site, Reg.R3, HeapChild);
            Load(Reg.R2, new Mem(Reg.R3, 0));
            _a.Emit(Instruction.Add64Imm(Reg.R2, 1));
            Save(new Mem(Reg.R3, 0), Reg.R2);
            _a.Bind(one);
            HeapAddress(site, Reg.R3, 0);
            Load(Reg.R1, new Mem(Reg.R3, HeapChild));
            Load(Reg.R2, new Mem(Reg.R3, HeapCurrent));
            _a.Call(less);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, done);
            HeapAddress(site, Reg.R1, 0);
            Load(Reg.R0, new Mem(Reg.R1, HeapChild));
            EntryAddress(site, Reg.R0, Reg.R3, done);
            Load(Reg.R2, new Mem(Reg.R1, HeapCurrent));
            EntryAddress(site, Reg.R2, Reg.R4, done);
            for (var i = 0; i < HeapEntry; i += 8)
            {
                Load(Reg.R2, new Mem(Reg.R3, i));
                Load(Reg.R5, new Mem(Reg.R4, i));
                Save(new Mem(Reg.R3, i), Reg.R5);
                Save(new Mem(Reg.R4, i), Reg.R2);
            }

            Save(new Mem(Reg.R1, HeapCurrent), Reg.R0);
        });
        _a.Bind(done);
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.Exit();
    }

    /// <summary>R0 = 1 when heap entry R1 comes before heap entry R2.</summary>
    private void EmitLess(SnapshotSite site, Subprogram less)
    {
        _f = new FunctionState(null, less) { IsCallback = true };
        _a.Begin(less);
        var no = _a.NewLabel();
        var yes = _a.NewLabel();
        EntryAddress(site, Reg.R1, Reg.R6, no);
        EntryAddress(site, Reg.R2, Reg.R7, no);
        Load(Reg.R1, new Mem(Reg.R6, 0));
        Load(Reg.R2, new Mem(Reg.R7, 0));
        _a.JumpIf(JumpOp.SLt, Reg.R1, Reg.R2, yes);
        _a.JumpIf(JumpOp.Ne, Reg.R1, Reg.R2, no);
        if (site.Text is { } text && text.Capacity != 8)
        {
            // Equal first words: the rest of the texts stands in the entries.
            var capacity = text.Capacity;
            Load(Reg.R0, new Mem(Reg.R6, 16));
            FindEntry(site, Reg.R0, no);
            Move(Reg.R8, Reg.R0);
            Load(Reg.R0, new Mem(Reg.R7, 16));
            FindEntry(site, Reg.R0, no);
            var differ = _a.NewLabel();
            var same = _a.NewLabel();
            for (var i = 8; i < capacity; i += 8)
            {
                Load(Reg.R1, new Mem(Reg.R8, text.Offset + i));
                Load(Reg.R2, new Mem(Reg.R0, text.Offset + i));
                _a.JumpIf(JumpOp.Ne, Reg.R1, Reg.R2, differ);
            }

            _a.Jump(same);
            _a.Bind(differ);
            _a.Emit(Instruction.ToBigEndian(Reg.R1, 64));
            _a.Emit(Instruction.ToBigEndian(Reg.R2, 64));
            _a.JumpIf(text.Descending ? JumpOp.Gt : JumpOp.Lt, Reg.R1, Reg.R2, yes);
            _a.Jump(no);
            _a.Bind(same);
        }

        Load(Reg.R1, new Mem(Reg.R6, 8));
        Load(Reg.R2, new Mem(Reg.R7, 8));
        _a.JumpIf(JumpOp.SLt, Reg.R1, Reg.R2, yes);
        _a.Bind(no);
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.Exit();
        _a.Bind(yes);
        _a.Emit(Instruction.Mov(Reg.R0, 1));
        _a.Exit();
    }
}
