using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Deleting many elements, and making room in arrays declared with %: both visit all elements by bpf_for_each_map_elem with a callback.
//
// An array with % that is full loses the element with the lowest insertion number. It is searched for, element by element (some 40 ns each), only when
// an insertion finds the map full. A list in insertion order would find it at once, but would have to be kept by every delete as well, also
// by those stap makes through system calls; the search needs no state beside the numbers, so it cannot get out of step. Handlers that insert
// into such an array hold its lock, so exactly one element goes for each that comes.

internal sealed partial class ProgramEmitter
{
    private const int LargestStackKey = 160;

    private readonly List<(Subprogram Function, Action Body, SourceMark Mark)> _callbacks = [];

    /// <summary>Calls back for each element with R1 map, R2 key, R3 value, R4 the context: a stack address.</summary>
    private void ForEach(int map, string name, Mem context, Action body)
    {
        if (_a.IsAlive)
        {
            var callback = _a.Declare($"{name}_{_callbacks.Count}");
            _callbacks.Add((callback, body, _a.Mark));
            LoadMap(Reg.R1, map);
            _a.LdFunc(Reg.R2, callback);
            Address(Reg.R3, context);
            _a.Emit(Instruction.Mov(Reg.R4, 0));
            _a.Call(Helper.ForEachMapElem);
        }
    }

    private void EmitCallbacks()
    {
        foreach (var (function, body, mark) in _callbacks)
        {
            _f = new FunctionState(null, function);
            _a.Mark = mark;
            _a.Begin(function);
            body();
            _a.Emit(Instruction.Mov(Reg.R0, 0));
            _a.Exit();
        }
    }

    /// <summary>Deletes the elements whose keys equal those given; all when none is given.</summary>
    private void DeleteMatching(int map, KeyLayout layout, DeleteStmt s)
    {
        // The context holds the wanted keys, in the layout of the map's key.
        var given = new List<(int Offset, int Size)>();
        var size = 8;
        for (int i = 0, at = 0; i < layout.Types.Count; at += layout.Capacities[i++])
        {
            if (s.Keys?[i] is not null)
            {
                given.Add((at, layout.Capacities[i]));
                size = at + layout.Capacities[i];
            }
        }

        var context = StackArea(size, s.Span);
        Store(context, 0);
        for (int i = 0, at = 0; i < layout.Types.Count; at += layout.Capacities[i++])
        {
            if (s.Keys?[i] is not { } key)
            {
                continue;
            }

            if (layout.Types[i] == ScriptType.Long)
            {
                Long(key, Reg.R0);
                Save(context.At(at), Reg.R0);
            }
            else
            {
                TextInto(key, context.At(at), layout.Capacities[i]);
            }
        }

        At(s.Span);
        ForEach(map, "delete_match", context, () =>
        {
            var other = _a.NewLabel();
            foreach (var (offset, bytes) in given)
            {
                for (var i = 0; i < bytes; i += 8)
                {
                    Load(Reg.R0, new Mem(Reg.R2, offset + i));
                    Load(Reg.R5, new Mem(Reg.R4, offset + i));
                    _a.JumpIf(JumpOp.Ne, Reg.R0, Reg.R5, other);
                }
            }

            _a.Call(Helper.MapDeleteElem);
            _a.Bind(other);
        });
    }

    /// <summary>Drops the oldest element.</summary>
    private void DropOldest(GlobalStorage.Array storage, SourceSpan span)
    {
        var context = StackArea(8 + storage.Key.Size, span);
        Store(context, -1);
        for (var i = 0; i < storage.Key.Size; i += 8)
        {
            Store(context.At(8 + i), 0);
        }

        ForEach(storage.MapId, "find_oldest", context, () =>
        {
            var younger = _a.NewLabel();
            Load(Reg.R5, new Mem(Reg.R3, 0));
            Load(Reg.R0, new Mem(Reg.R4, 0));
            _a.JumpIf(JumpOp.Ge, Reg.R5, Reg.R0, younger);
            Save(new Mem(Reg.R4, 0), Reg.R5);
            for (var i = 0; i < storage.Key.Size; i += 8)
            {
                Load(Reg.R0, new Mem(Reg.R2, i));
                Save(new Mem(Reg.R4, 8 + i), Reg.R0);
            }

            _a.Bind(younger);
        });
        LoadMap(Reg.R1, storage.MapId);
        Address(Reg.R2, context.At(8));
        _a.Call(Helper.MapDeleteElem);
    }

    /// <summary>Stack memory, which is all a callback's context may be.</summary>
    private Mem StackArea(int bytes, SourceSpan span)
    {
        if (bytes > LargestStackKey || _f.Stack + bytes > 400)
        {
            throw Cannot($"keys of {bytes} bytes in a bulk operation of a handler that runs in the kernel", span, "use shorter string keys, or run with --runtime=kernel");
        }

        _f.Stack += (bytes + 7) & ~7;
        return new Mem(Reg.R10, -_f.Stack);
    }
}
