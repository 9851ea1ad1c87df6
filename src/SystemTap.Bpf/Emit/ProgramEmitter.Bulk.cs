using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Operations on many elements: deleting and finding by wildcard keys, and making room in arrays declared with %. All visit the elements by
// bpf_for_each_map_elem with a callback; wanted keys and results stand in the frame.
//
// An array with % that is full loses the element with the lowest insertion number. It is searched for, element by element (some 40 ns each), only when
// an insertion finds the map full. A list in insertion order would find it at once, but would have to be kept by every delete as well, also
// by those stap makes through system calls; the search needs no state beside the numbers, so it cannot get out of step. Handlers that insert
// into such an array hold its lock, so exactly one element goes for each that comes.

internal sealed partial class ProgramEmitter
{
    /// <summary>Calls back for each element with R1 map, R2 key, R3 value; Frame and Ctx are there as everywhere.</summary>
    private void Visit(int map, string name, Action body)
    {
        if (!_a.IsAlive)
        {
            return;
        }

        var mark = Marked();
        var context = CarryContext();
        var callback = _a.Declare($"{name}_{_a.NewLabel().Id}");
        LoadMap(Reg.R1, map);
        _a.LdFunc(Reg.R2, callback);
        Address(Reg.R3, context);
        _a.Emit(Instruction.Mov(Reg.R4, 0));
        _a.Call(Helper.ForEachMapElem);
        Aside(callback, Reg.R4, () =>
        {
            body();
            _a.Emit(Instruction.Mov(Reg.R0, 0));
            _a.Exit();
        });
        Release(mark);
    }

    /// <summary>Evaluates the given ones of wanted keys into an area of the frame laid out like the map's key.</summary>
    private Mem Wanted(KeyLayout layout, IReadOnlyList<Expr?> keys)
    {
        var area = TakeFrame(layout.Size);
        for (int i = 0, at = 0; i < layout.Types.Count; at += layout.Capacities[i++])
        {
            if (keys[i] is not { } key)
            {
                continue;
            }

            if (layout.Types[i] == ScriptType.Long)
            {
                Long(key, Reg.R0);
                Save(area.At(at), Reg.R0);
            }
            else
            {
                TextInto(key, area.At(at), layout.Capacities[i]);
            }
        }

        return area;
    }

    /// <summary>Goes to the label unless the key at a register equals the wanted ones. R0 and R5 are lost.</summary>
    private void Unless(KeyLayout layout, IReadOnlyList<Expr?> keys, Mem wanted, Reg key, Label other)
    {
        for (int i = 0, at = 0; i < layout.Types.Count; at += layout.Capacities[i++])
        {
            for (var word = 0; keys[i] is not null && word < layout.Capacities[i]; word += 8)
            {
                Load(Reg.R0, new Mem(key, at + word));
                Load(Reg.R5, wanted.At(at + word));
                _a.JumpIf(JumpOp.Ne, Reg.R0, Reg.R5, other);
            }
        }
    }

    /// <summary>Deletes the elements whose keys equal those given; all when none is given.</summary>
    private void DeleteMatching(int map, KeyLayout layout, DeleteStmt s)
    {
        var keys = s.Keys ?? new Expr?[layout.Types.Count];
        var some = false;
        foreach (var key in keys)
        {
            some |= key is not null;
        }

        var area = some ? Wanted(layout, keys) : default;
        At(s.Span);
        Visit(map, "delete_match", () =>
        {
            var other = _a.NewLabel();
            Unless(layout, keys, area, Reg.R2, other);
            _a.Call(Helper.MapDeleteElem);
            _a.Bind(other);
        });
    }

    /// <summary>R0 = 1 when some element has the keys that are given.</summary>
    private void InMatching(int map, KeyLayout layout, InExpr e)
    {
        var area = Wanted(layout, e.Keys);
        var found = TakeFrame(8);
        Store(found, 0);
        At(e.Span);
        Visit(map, "find_match", () =>
        {
            var other = _a.NewLabel();
            Unless(layout, e.Keys, area, Reg.R2, other);
            Store(found, 1);
            _a.Emit(Instruction.Mov(Reg.R0, 1));
            _a.Exit();
            _a.Bind(other);
        });
        Load(Reg.R0, found);
    }

    /// <summary>Drops the oldest element of a full array.</summary>
    private void DropOldest(int map, KeyLayout layout, bool isPerCpu, SourceSpan span)
    {
        var oldest = TakeFrame(8 + layout.Size);
        _a.LdImm64(Reg.R0, long.MaxValue);
        Save(oldest, Reg.R0);
        Clear(oldest.At(8), layout.Size);
        At(span);
        Visit(map, "find_oldest", () =>
        {
            var younger = _a.NewLabel();
            (_f.R8InUse, _f.R9InUse) = (true, true);
            Move(Reg.R9, Reg.R2);
            if (isPerCpu)
            {
                var sequence = TakeStack(8);
                ElementSequence(map, sequence);
                Load(Reg.R8, sequence);
            }
            else
            {
                Load(Reg.R8, new Mem(Reg.R3, 0));
            }

            Load(Reg.R0, oldest);
            _a.JumpIf(JumpOp.Ge, Reg.R8, Reg.R0, younger);
            Save(oldest, Reg.R8);
            Copy(oldest.At(8), new Mem(Reg.R9, 0), layout.Size);
            _a.Bind(younger);
        });
        DeleteKey(map, oldest.At(8));
    }
}
