using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Reading, assigning and updating locals, scalar globals and array elements.
//
// An element is looked up, changed in place by an atomic instruction, or else inserted with BPF_NOEXIST; when another CPU was faster (EEXIST) it is
// looked up once more. So `n[k]++` never loses an update and never copies the element.

internal sealed partial class ProgramEmitter
{
    /// <summary>
    /// To be compared as 32 bits: before Linux 6.4 the functions of maps return an int, and a program that calls them directly finds nothing certain in the upper half (d7ba4cc900bf).
    /// </summary>
    private const int Eexist = -17;

    private static string OverflowMessage(Global array) => array.Type == ScriptType.Statistics
        ? $"aggregation overflow in {array.Name}"
        : $"Array overflow, check MAXMAPENTRIES / size limit ({array.MaxEntries})";

    private GlobalStorage StorageOf(Global g) => _c.Storage.Globals[g.Index];

    private void ReadLong(ReadExpr r, Reg to)
    {
        switch (r.Place)
        {
            case LocalPlace p:
                Load(to, _f.Locals[p.Local].Memory);
                break;
            case GlobalPlace p:
                DataAddress(to, ((GlobalStorage.Scalar)StorageOf(p.Global)).Offset);
                Load(to, new Mem(to, 0));
                break;
            case ElementPlace p:
                var mark = Marked();
                Lookup((GlobalStorage.Array)StorageOf(p.Array), p.Keys);
                var missing = _a.NewLabel();
                _a.JumpIf(JumpOp.Eq, Reg.R0, 0, missing);
                Load(Reg.R0, new Mem(Reg.R0, GlobalStorage.Array.ValueOffset));
                _a.Bind(missing);
                Release(mark);
                Move(to, Reg.R0);
                break;
        }
    }

    /// <summary>Stores R0 or another register and leaves it in R0.</summary>
    private void AssignLong(Place place, Reg value, SourceSpan span)
    {
        switch (place)
        {
            case LocalPlace p:
                Save(_f.Locals[p.Local].Memory, value);
                Move(Reg.R0, value);
                break;
            case GlobalPlace p:
                Move(Reg.R0, value);
                DataAddress(Reg.R1, ((GlobalStorage.Scalar)StorageOf(p.Global)).Offset);
                Save(new Mem(Reg.R1, 0), Reg.R0);
                break;
            case ElementPlace p:
                var mark = Marked();
                AssignElement(p, null, value, span);
                Release(mark);
                break;
        }
    }

    /// <summary>Stores a register to an element and leaves it in R0.</summary>
    /// <param name="place">The element.</param>
    /// <param name="ready">Its key when that is computed already.</param>
    /// <param name="value">The value.</param>
    /// <param name="span">Where.</param>
    private void AssignElement(ElementPlace place, Mem? ready, Reg value, SourceSpan span)
    {
        var temp = TakeTemp();
        Put(temp, value);
        var key = ready ?? Key((GlobalStorage.Array)StorageOf(place.Array), place.Keys);
        if (place.Array.IsOwned && !place.Array.Wraps)
        {
            // Nobody else is at this element, and nobody asks in which order such elements came: no need to look first.
            ReplaceElement((GlobalStorage.Array)StorageOf(place.Array), key, temp, span);
            Get(Reg.R0, temp);
            Free(temp);
            return;
        }

        Modify(place.Array, key, span,
            hit =>
            {
                Get(Reg.R1, temp);
                Save(new Mem(hit, GlobalStorage.Array.ValueOffset), Reg.R1);
            },
            area =>
            {
                Get(Reg.R1, temp);
                Save(area, Reg.R1);
            },
            null);
        Get(Reg.R0, temp);
        Free(temp);
    }

    /// <summary>R0 = 0, or why the element was not stored. R1–R5 are lost.</summary>
    private void UpdateElement(int map, Mem key, Mem value, UpdateMode mode)
    {
        LoadMap(Reg.R1, map);
        Address(Reg.R2, key);
        Address(Reg.R3, value);
        _a.Emit(Instruction.Mov(Reg.R4, (int)mode));
        _a.Call(Helper.MapUpdateElem);
    }

    private void DeleteKey(int map, Mem key)
    {
        LoadMap(Reg.R1, map);
        Address(Reg.R2, key);
        _a.Call(Helper.MapDeleteElem);
    }

    private void ReplaceElement(GlobalStorage.Array storage, Mem key, Temp value, SourceSpan span)
    {
        var area = TakeStack(GlobalStorage.Array.ValueOffset + 8);
        Put(MemSize.DW, area, 0);
        Get(Reg.R1, value);
        Save(area.At(GlobalStorage.Array.ValueOffset), Reg.R1);
        UpdateElement(storage.MapId, key, area, UpdateMode.Any);
        var stored = _a.NewLabel();
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, stored);
        Raise(OverflowMessage(storage.Global), span);
        _a.Bind(stored);
    }

    /// <summary>One-step update of a long; the yielded value is in R0 when wanted.</summary>
    private void Update(UpdateExpr u, bool wanted)
    {
        if (u.Type == ScriptType.String)
        {
            Text(u);
            return;
        }

        switch (u.Place)
        {
            case LocalPlace p:
                var memory = _f.Locals[p.Local].Memory;
                if (IsSimple(u.Operand))
                {
                    Load(Reg.R0, memory);
                    Long(u.Operand, Reg.R1);
                }
                else
                {
                    Long(u.Operand, Reg.R1);
                    Load(Reg.R0, memory);
                }

                if (u.YieldsOld && wanted)
                {
                    Move(Reg.R3, Reg.R0);
                }

                Apply(u.Operator, u.Span);
                Save(memory, Reg.R0);
                if (u.YieldsOld && wanted)
                {
                    Move(Reg.R0, Reg.R3);
                }

                break;
            case GlobalPlace p:
                Long(u.Operand, Reg.R1);
                DataAddress(Reg.R3, ((GlobalStorage.Scalar)StorageOf(p.Global)).Offset);
                AtomicUpdate(u, new Mem(Reg.R3, 0), wanted);
                break;
            case ElementPlace p:
                UpdateElement(u, p, wanted);
                break;
        }
    }

    private void UpdateElement(UpdateExpr u, ElementPlace p, bool wanted)
    {
        var mark = Marked();
        var key = Key((GlobalStorage.Array)StorageOf(p.Array), p.Keys);
        Temp? operand = null;
        if (!IsSimple(u.Operand))
        {
            operand = TakeTemp();
            Long(u.Operand, Reg.R0);
            Put(operand.Value, Reg.R0);
        }

        void Operand(Reg to)
        {
            if (operand is { } temp)
            {
                Get(to, temp);
            }
            else
            {
                Long(u.Operand, to);
            }
        }

        Modify(p.Array, key, u.Span,
            hit =>
            {
                Move(Reg.R3, hit);
                Operand(Reg.R1);
                AtomicUpdate(u, new Mem(Reg.R3, GlobalStorage.Array.ValueOffset), wanted);
            },
            area =>
            {
                _a.Emit(Instruction.Mov(Reg.R0, 0));
                Operand(Reg.R1);
                Apply(u.Operator, u.Span);
                Save(area, Reg.R0);
            },
            () =>
            {
                if (wanted)
                {
                    _a.Emit(Instruction.Mov(Reg.R0, 0));
                    if (!u.YieldsOld)
                    {
                        Operand(Reg.R1);
                        Apply(u.Operator, u.Span);
                    }
                }
            });
        if (operand is { } used)
        {
            Free(used);
        }

        Release(mark);
    }

    /// <summary>*memory op= R1 with the result wanted in R0. Add, subtract and bit operations are one atomic instruction; the others run under the handler's lock.</summary>
    private void AtomicUpdate(UpdateExpr u, Mem memory, bool wanted)
    {
        var op = u.Operator switch
        {
            BinaryOperator.Add or BinaryOperator.Subtract => wanted ? AtomicOp.FetchAdd : AtomicOp.Add,
            BinaryOperator.BitAnd => wanted ? AtomicOp.FetchAnd : AtomicOp.And,
            BinaryOperator.BitOr => wanted ? AtomicOp.FetchOr : AtomicOp.Or,
            BinaryOperator.BitXor => wanted ? AtomicOp.FetchXor : AtomicOp.Xor,
            _ => (AtomicOp?)null,
        };
        if (op is null)
        {
            Load(Reg.R0, memory);
            if (u.YieldsOld && wanted)
            {
                Move(Reg.R4, Reg.R0);
            }

            Move(Reg.R5, memory.Base);
            Apply(u.Operator, u.Span);
            Save(memory with { Base = Reg.R5 }, Reg.R0);
            if (u.YieldsOld && wanted)
            {
                Move(Reg.R0, Reg.R4);
            }

            return;
        }

        if (u.Operator == BinaryOperator.Subtract)
        {
            _a.Emit(Instruction.Neg64(Reg.R1));
        }

        if (wanted && !u.YieldsOld)
        {
            Move(Reg.R2, Reg.R1);
        }

        var near = Approach(memory);
        _a.Emit(Instruction.Atomic(op.Value, MemSize.DW, near.Base, near.Offset, Reg.R1));
        Return(memory);
        if (!wanted)
        {
            return;
        }

        Move(Reg.R0, Reg.R1);
        if (!u.YieldsOld)
        {
            _a.Emit(Instruction.Alu64(u.Operator == BinaryOperator.Subtract ? AluOp.Add : AluOf(u.Operator), Reg.R0, Reg.R2));
        }
    }

    // ---- elements --------------------------------------------------------------------------------------------------------

    private Mem Key(GlobalStorage.Array array, IReadOnlyList<Expr> keys) => Key(array.Key, keys);

    /// <summary>Evaluates keys left to right into a key of the layout.</summary>
    private Mem Key(KeyLayout layout, IReadOnlyList<Expr> keys)
    {
        var area = layout.Size > 64 ? TakeFrame(layout.Size) : TakeStack(layout.Size);
        var at = area;
        for (var i = 0; i < keys.Count; i++)
        {
            if (layout.Types[i] == ScriptType.Long)
            {
                if (TryConstant(keys[i], out var constant))
                {
                    Store(at, constant);
                }
                else
                {
                    Long(keys[i], Reg.R0);
                    Save(at, Reg.R0);
                }
            }
            else
            {
                TextInto(keys[i], at, layout.Capacities[i]);
            }

            at = at.At(layout.Capacities[i]);
        }

        return area;
    }

    private void LookupKey(int map, Mem key)
    {
        LoadMap(Reg.R1, map);
        Address(Reg.R2, key);
        _a.Call(Helper.MapLookupElem);
    }

    /// <summary>R0 = address of the element's value or 0.</summary>
    private void Lookup(GlobalStorage.Array array, IReadOnlyList<Expr> keys) => LookupKey(array.MapId, Key(array, keys));

    private void In(InExpr e)
    {
        var mark = Marked();
        var (map, layout) = StorageOf(e.Array) switch
        {
            GlobalStorage.Array a => (a.MapId, a.Key),
            GlobalStorage.StatisticsArray s => (s.MapId, s.Key),
            _ => throw new InvalidOperationException("array without storage"),
        };
        var keys = new List<Expr>(e.Keys.Count);
        foreach (var key in e.Keys)
        {
            if (key is not null)
            {
                keys.Add(key);
            }
        }

        if (keys.Count < e.Keys.Count)
        {
            InMatching(map, layout, e);
        }
        else
        {
            LookupKey(map, Key(layout, keys));
            var no = _a.NewLabel();
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, no);
            _a.Emit(Instruction.Mov(Reg.R0, 1));
            _a.Bind(no);
        }

        Release(mark);
    }

    /// <summary>
    /// Changes or creates an element. <paramref name="onHit"/> gets a register with the element's address; <paramref name="fill"/> writes the
    /// value of a new element; <paramref name="afterInsert"/> makes the expression's value then. Both ends may leave a result in R0.
    /// </summary>
    private void Modify(Global array, Mem key, SourceSpan span, Action<Reg> onHit, Action<Mem> fill, Action? afterInsert)
    {
        var storage = (GlobalStorage.Array)StorageOf(array);
        var hit = _a.NewLabel();
        var inserted = _a.NewLabel();
        var end = _a.NewLabel();
        var failed = _a.NewLabel();
        var mapKey = storage.ByHash ? Hash(storage.Key, key) : key;
        LookupKey(storage.MapId, mapKey);
        _a.JumpIf(JumpOp.Ne, Reg.R0, 0, hit);

        var size = storage.KeyOffset + (storage.ByHash ? storage.Key.Size : 0);
        var area = size > 64 ? TakeFrame(size) : TakeStack(size);
        NextSequence();
        Save(area, Reg.R1);
        fill(area.At(GlobalStorage.Array.ValueOffset));
        if (storage.ByHash)
        {
            Copy(area.At(storage.KeyOffset), key, storage.Key.Size);
        }

        UpdateElement(storage.MapId, mapKey, area, UpdateMode.NoExist);
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, inserted);
        _a.JumpIf32(JumpOp.Ne, Reg.R0, Eexist, failed);
        LookupKey(storage.MapId, mapKey);
        _a.JumpIf(JumpOp.Ne, Reg.R0, 0, hit);
        _a.Bind(failed);
        if (array.Wraps)
        {
            DropOldest(storage.MapId, storage.Key, isPerCpu: false, span);
            UpdateElement(storage.MapId, key, area, UpdateMode.NoExist);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, inserted);
        }

        Raise(OverflowMessage(array), span);

        _a.Bind(hit);
        if (storage.ByHash)
        {
            JumpIfOther(storage.Key, key, new Mem(Reg.R0, storage.KeyOffset), failed);
        }

        onHit(Reg.R0);
        _a.Jump(end);
        _a.Bind(inserted);
        afterInsert?.Invoke();
        _a.Bind(end);
    }

    /// <summary>R1 = a new insertion sequence number, 1 or more. R2 is lost.</summary>
    private void NextSequence()
    {
        _a.Emit(Instruction.Mov(Reg.R1, 1));
        DataAddress(Reg.R2, ControlBlock.Sequence);
        _a.Emit(Instruction.Atomic(AtomicOp.FetchAdd, MemSize.DW, Reg.R2, 0, Reg.R1));
        _a.Emit(Instruction.Add64Imm(Reg.R1, 1));
    }

    private void Delete(DeleteStmt s)
    {
        var mark = Marked();
        switch (StorageOf(s.Global))
        {
            case GlobalStorage.Scalar scalar:
                DataAddress(Reg.R1, scalar.Offset);
                for (var i = 0; i < scalar.Capacity; i += 8)
                {
                    _a.Emit(Instruction.Store(MemSize.DW, Reg.R1, i, 0));
                }

                break;
            case GlobalStorage.ScalarStatistics statistics:
                ResetStatistics(statistics);
                break;
            case GlobalStorage.Array array:
                DeleteElements(array.MapId, array.Key, s);
                break;
            case GlobalStorage.StatisticsArray array:
                DeleteElements(array.MapId, array.Key, s);
                break;
        }

        Release(mark);
    }

    private void DeleteElements(int map, KeyLayout layout, DeleteStmt s)
    {
        var all = s.Keys is null;
        var some = false;
        var exact = new Expr[s.Keys?.Count ?? 0];
        for (var i = 0; i < exact.Length; i++)
        {
            if (s.Keys![i] is { } key)
            {
                exact[i] = key;
            }
            else
            {
                some = true;
            }
        }

        if (all || some)
        {
            DeleteMatching(map, layout, s);
            return;
        }

        DeleteKey(map, Key(layout, exact));
    }
}
