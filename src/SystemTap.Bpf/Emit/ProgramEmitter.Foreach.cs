using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// foreach inside the kernel
// -------------------------
// A BPF hash map can be visited (bpf_for_each_map_elem), but in no order, and a loop body cannot be the visitor: it may break, fail, or loop itself. So
// a foreach first copies what it will visit into two maps of its own – *entries* (keys and value) and a *heap* – and then takes one entry after the
// other from the heap, smallest first. Unsorted means "by insertion number". A heap, because `limit 10` over 10,000 elements then costs ten look-ups
// after one linear pass, and because building and popping are short loops over one direct-access map, which every verifier accepts (ProgramEmitter.Heap.cs).
//
// The maps exist once for each foreach of the script. That is sound because every handler with a foreach holds the exclusive lock of the array
// (see Locks). Only a function that calls itself inside the loop has several under way: then the heap map begins with a head of its own that says which part is worked
// on, and each activation has a part (ProgramEmitter.Recursion.cs).

internal sealed partial class ProgramEmitter
{
    private void Foreach(ForeachStmt f)
    {
        TakeElements(f, [], f);
        VisitElements(f, [], f);
    }

    private (SnapshotSite Site, int Map, KeyLayout Key, int ValueSize) Snapshot(ForeachStmt f, IReadOnlyList<(StatisticKind, Local)> captured, object token)
    {
        var (map, key, valueSize) = StorageOf(f.Array) switch
        {
            GlobalStorage.Array a => (a.MapId, a.Key, a.ValueCapacity),
            GlobalStorage.StatisticsArray s => (s.MapId, s.Key, 0),
            _ => throw new InvalidOperationException("array without storage"),
        };
        return (_c.Snapshot(token, f, f.Array.MaxEntries, key.Size + valueSize + (8 * captured.Count), TextSort(f, key), Activations(f)), map, key, valueSize);
    }

    /// <summary>First half of a foreach: copies what it will visit, with what the body wants of aggregates.</summary>
    private void TakeElements(ForeachStmt f, IReadOnlyList<(StatisticKind Kind, Local Local)> captured, object token)
    {
        var (site, map, key, valueSize) = Snapshot(f, captured, token);
        if (site.Levels > 1)
        {
            SelectLevel(site);
        }

        var none = _a.NewLabel();
        HeapAddress(site, Reg.R1, 0);
        Store(new Mem(Reg.R1, HeapCount), 0);
        var area = f.Slice is { } slice ? Wanted(key, slice) : (Mem?)null;
        Limit(f, site, none);
        At(f.Span);
        Visit(map, "collect", () => Collect(f, site, map, key, valueSize, area, captured));
        _a.Bind(none);
    }

    /// <summary>Second half of a foreach: sorts what was taken and goes through it.</summary>
    private void VisitElements(ForeachStmt f, IReadOnlyList<(StatisticKind Kind, Local Local)> captured, object token)
    {
        var (site, _, key, valueSize) = Snapshot(f, captured, token);
        At(f.Span);
        Heapify(site);
        Iterate(f, site, _a.NewLabel(), current =>
        {
            var at = 0;
            for (var i = 0; i < f.Keys.Count; i++)
            {
                FromEntry(site, current, at, key.Capacities[i], f.Keys[i]);
                at += key.Capacities[i];
            }

            if (f.Value is { } value)
            {
                FromEntry(site, current, key.Size, valueSize, value);
            }

            at = key.Size + valueSize;
            foreach (var (_, local) in captured)
            {
                FromEntry(site, current, at, 8, local);
                at += 8;
            }
        });
    }

    /// <summary>foreach (b in @hist_log(x)).</summary>
    private void ForeachBucket(ForeachStmt f)
    {
        var count = f.Array.Shape!.BucketCount;
        var site = _c.Snapshot(f, f, count, 0, null, Activations(f));
        if (site.Levels > 1)
        {
            SelectLevel(site);
        }

        var end = _a.NewLabel();
        Limit(f, site, end);
        var buckets = SumBuckets(f.Array, f.BucketKeys, f.Span);
        At(f.Span);
        HeapAddress(site, Reg.R1, 0);
        Store(new Mem(Reg.R1, HeapCount), 0);
        var built = _a.NewLabel();
        Repeat(built, () =>
        {
            HeapAddress(site, Reg.R1, 0);
            Load(Reg.R0, new Mem(Reg.R1, HeapCount));
            _a.JumpIf(JumpOp.Ge, Reg.R0, count, built);
            BucketAt(buckets, Reg.R0, Reg.R4);
            if (f.Direction == SortDirection.None)
            {
                _a.Emit(Instruction.Mov(Reg.R4, 0));
            }
            else if (f.SortKey != 0)
            {
                Move(Reg.R4, Reg.R0);
            }

            if (f.Direction == SortDirection.Descending)
            {
                _a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R4, -1));
            }

            EntryAddress(site, Reg.R0, Reg.R3, built);
            Save(new Mem(Reg.R3, 0), Reg.R4);
            Save(new Mem(Reg.R3, 8), Reg.R0);
            Save(new Mem(Reg.R3, 16), Reg.R0);
            _a.Emit(Instruction.Add64Imm(Reg.R0, 1));
            Save(new Mem(Reg.R1, HeapCount), Reg.R0);
        }, f.Span);
        _a.Bind(built);
        Heapify(site);
        Iterate(f, site, end, current =>
        {
            Load(Reg.R0, current);
            Save(_f.Locals[f.Keys[0]].Memory, Reg.R0);
            if (f.Value is { } value)
            {
                if (site.Levels > 1)
                {
                    // The area is no longer ours after a call in the body; nothing can have been added meanwhile.
                    buckets = SumBuckets(f.Array, f.BucketKeys, f.Span);
                    Load(Reg.R0, _f.Locals[f.Keys[0]].Memory);
                }

                Bound(Reg.R0, count - 1);
                BucketAt(buckets, Reg.R0, Reg.R4);
                Save(_f.Locals[value].Memory, Reg.R4);
            }
        });
    }

    /// <summary>How many runs of this foreach can be under way at once.</summary>
    private int Activations(ForeachStmt f) => GroupCalledIn(f) is null ? 1 : CallDepth.Of(_c.Program) + 1;

    /// <summary>What a foreach sorts by when that is a string longer than a word: its place in the entry.</summary>
    private (int Offset, int Capacity, bool Descending)? TextSort(ForeachStmt f, KeyLayout key)
    {
        if (f.Direction == SortDirection.None || f.Array.Type == ScriptType.Statistics && f.SortKey == 0)
        {
            return null;
        }

        var offset = 0;
        for (var i = 0; i < key.Types.Count; i++)
        {
            if (f.SortKey == i + 1)
            {
                return key.Types[i] == ScriptType.String ? (offset, key.Capacities[i], f.Direction == SortDirection.Descending) : null;
            }

            offset += key.Capacities[i];
        }

        return StorageOf(f.Array) is GlobalStorage.Array { ValueCapacity: var capacity } && f.Array.Type == ScriptType.String ? (key.Size, capacity, f.Direction == SortDirection.Descending) : null;
    }

    private void Limit(ForeachStmt f, SnapshotSite site, Label end)
    {
        if (f.Limit is { } limit)
        {
            Long(limit, Reg.R0);
            _a.JumpIf(JumpOp.SLe, Reg.R0, 0, end);
        }
        else
        {
            _a.LdImm64(Reg.R0, long.MaxValue);
        }

        HeapAddress(site, Reg.R1, HeapLimit);
        Save(new Mem(Reg.R1, 0), Reg.R0);
    }

    // ---- collecting ------------------------------------------------------------------------------------------------------

    /// <summary>The callback of one element: R2 key, R3 value.</summary>
    private void Collect(ForeachStmt f, SnapshotSite site, int map, KeyLayout key, int valueSize, Mem? wanted, IReadOnlyList<(StatisticKind Kind, Local Local)> captured)
    {
        var skip = _a.NewLabel();
        (_f.R8InUse, _f.R9InUse) = (true, true);
        Move(Reg.R9, Reg.R2);
        Move(Reg.R8, Reg.R3);
        if (wanted is { } area)
        {
            Unless(key, f.Slice!, area, Reg.R9, skip);
        }

        // The first word of a heap entry, and the insertion number.
        var sortBy = TakeStack(8);
        var sequence = TakeStack(8);
        var isText = false;
        if (f.Array.Type == ScriptType.Statistics)
        {
            ElementSequence(map, sequence);
        }
        else
        {
            Load(Reg.R0, new Mem(Reg.R8, 0));
            Save(sequence, Reg.R0);
        }

        if (f.Direction == SortDirection.None)
        {
            _a.Emit(Instruction.Mov(Reg.R0, 0));
        }
        else if (f.SortKey > 0)
        {
            var offset = 0;
            for (var i = 0; i < f.SortKey - 1; i++)
            {
                offset += key.Capacities[i];
            }

            Load(Reg.R0, new Mem(Reg.R9, offset));
            isText = key.Types[f.SortKey - 1] == ScriptType.String;
        }
        else if (StorageOf(f.Array) is GlobalStorage.StatisticsArray aggregates)
        {
            Extract(f.SortStatistic, map, aggregates.Layout, 8, to => Move(to, Reg.R9), null, f.Span);
        }
        else
        {
            Load(Reg.R0, new Mem(Reg.R8, GlobalStorage.Array.ValueOffset));
            isText = f.Array.Type == ScriptType.String;
        }

        if (isText)
        {
            _a.Emit(Instruction.ToBigEndian(Reg.R0, 64));
            _a.LdImm64(Reg.R1, long.MinValue);
            _a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R0, Reg.R1));
        }

        if (f.Direction == SortDirection.Descending)
        {
            _a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R0, -1));
        }

        Save(sortBy, Reg.R0);
        HeapAddress(site, Reg.R1, HeapCount);
        Load(Reg.R0, new Mem(Reg.R1, 0));
        FindEntry(site, Reg.R0, skip);
        Move(Reg.R6, Reg.R0);
        Copy(new Mem(Reg.R6, 0), new Mem(Reg.R9, 0), key.Size);
        if (valueSize > 0)
        {
            Copy(new Mem(Reg.R6, key.Size), new Mem(Reg.R8, GlobalStorage.Array.ValueOffset), valueSize);
        }

        for (var i = 0; i < captured.Count; i++)
        {
            Extract(captured[i].Kind, map, ((GlobalStorage.StatisticsArray)StorageOf(f.Array)).Layout, 8, to => Move(to, Reg.R9), null, f.Span);
            Save(new Mem(Reg.R6, key.Size + valueSize + (8 * i)), Reg.R0);
        }

        HeapAddress(site, Reg.R1, 0);
        Load(Reg.R0, new Mem(Reg.R1, HeapCount));
        EntryAddress(site, Reg.R0, Reg.R3, skip);
        Load(Reg.R2, sortBy);
        Save(new Mem(Reg.R3, 0), Reg.R2);
        Load(Reg.R2, sequence);
        Save(new Mem(Reg.R3, 8), Reg.R2);
        Save(new Mem(Reg.R3, 16), Reg.R0);
        _a.Emit(Instruction.Add64Imm(Reg.R0, 1));
        Save(new Mem(Reg.R1, HeapCount), Reg.R0);
        _a.Bind(skip);
    }

    /// <summary>Insertion number of the element whose key R9 points to: an element of a per-CPU map has one on each CPU that added to it.</summary>
    private void ElementSequence(int map, Mem result)
    {
        Store(result, long.MaxValue);
        EachCpu(map, to => Move(to, Reg.R9), next =>
        {
            Load(Reg.R1, new Mem(Reg.R0, 0));
            _a.JumpIf(JumpOp.Eq, Reg.R1, 0, next);
            Load(Reg.R2, result);
            _a.JumpIf(JumpOp.SGe, Reg.R1, Reg.R2, next);
            Save(result, Reg.R1);
        });
    }

    /// <summary>Takes entries from the heap until it or the limit is used up.</summary>
    private void Iterate(ForeachStmt f, SnapshotSite site, Label end, Action<Mem> load)
    {
        var (outerBreak, outerContinue) = (_f.Break, _f.Continue);
        var tooLong = _a.NewLabel();
        var current = TakeFrame(8);
        var charge = 1 + StatementCounter.Count(f.Body);
        if (site.Levels > 1)
        {
            _openSites.Add(site);
        }

        Rounds(f, tooLong, () =>
        {
            _f.Break = end;
            _f.Continue = _a.NewLabel();
            HeapAddress(site, Reg.R1, 0);
            Load(Reg.R0, new Mem(Reg.R1, HeapCount));
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, end);
            Load(Reg.R2, new Mem(Reg.R1, HeapLimit));
            _a.JumpIf(JumpOp.Eq, Reg.R2, 0, end);
            _a.Emit(Instruction.Add64Imm(Reg.R2, -1));
            Save(new Mem(Reg.R1, HeapLimit), Reg.R2);

            // The last entry takes the place of the first and sinks.
            _a.Emit(Instruction.Add64Imm(Reg.R0, -1));
            Save(new Mem(Reg.R1, HeapCount), Reg.R0);
            Load(Reg.R2, new Mem(Reg.R1, HeapEntries + 16));
            Save(current, Reg.R2);
            EntryAddress(site, Reg.R0, Reg.R3, end);
            for (var i = 0; i < HeapEntry; i += 8)
            {
                Load(Reg.R2, new Mem(Reg.R3, i));
                Save(new Mem(Reg.R1, HeapEntries + i), Reg.R2);
            }

            _a.Emit(Instruction.Mov(Reg.R3, 0));
            CallSift(site);
            Charge(charge, tooLong);
            load(current);
            Statement(f.Body);
            _a.Bind(_f.Continue);
        });
        _openSites.Remove(site);
        _a.Bind(tooLong);
        Stop("MAXACTION exceeded", f.Span);
        _a.Bind(end);
        (_f.Break, _f.Continue) = (outerBreak, outerContinue);
    }

    /// <summary>Copies a field of the current entry into a variable.</summary>
    private void FromEntry(SnapshotSite site, Mem current, int offset, int capacity, Local local)
    {
        var slot = _f.Locals[local];
        var gone = _a.NewLabel();
        Load(Reg.R0, current);
        FindEntry(site, Reg.R0, gone);
        if (slot.Capacity == 0)
        {
            Load(Reg.R1, new Mem(Reg.R0, offset));
            Save(slot.Memory, Reg.R1);
        }
        else
        {
            var common = Math.Min(capacity, slot.Capacity);
            Move(Reg.R3, Reg.R0);
            Copy(slot.Memory.At(8), new Mem(Reg.R3, offset), common);
            Clear(slot.Memory.At(8 + common), slot.Capacity - common);
            Length(new StringValue(null, slot.Memory.At(8), slot.Capacity, null), Reg.R0);
            Save(slot.Memory, Reg.R0);
        }

        _a.Bind(gone);
    }
}
