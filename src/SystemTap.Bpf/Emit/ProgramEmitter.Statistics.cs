using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Aggregates: one block per CPU. The slot is this CPU's, but not exclusively (an NMI may interrupt), so every part is changed by an atomic
// instruction; minimum and maximum by compare-and-exchange with one retry, which is enough because at most one level of interruption can
// lie between. Bucket numbers are computed without loops or branches: the verifier sees one path and a masked index.

internal sealed partial class ProgramEmitter
{
    private void AddSample(StatAddStmt s)
    {
        var mark = Marked();
        Mem? ready = StorageOf(s.Aggregate) is GlobalStorage.StatisticsArray keyed && KeyOrder.Matters(s.Keys, s.Value) ? Key(keyed.Key, s.Keys) : null;
        var temp = TakeTemp();
        Long(s.Value, Reg.R0);
        Put(temp, Reg.R0);
        switch (StorageOf(s.Aggregate))
        {
            case GlobalStorage.ScalarStatistics scalar:
                LookupScalar(scalar.MapId);
                var missing = _a.NewLabel();
                _a.JumpIf(JumpOp.Eq, Reg.R0, 0, missing);
                Move(Reg.R3, Reg.R0);
                Get(Reg.R1, temp);
                AddToBlock(scalar.Layout, 0);
                _a.Bind(missing);
                break;
            case GlobalStorage.StatisticsArray array:
                AddToElement(s, array, ready ?? Key(array.Key, s.Keys), temp);
                break;
        }

        Free(temp);
        Release(mark);
    }

    /// <summary>R0 = the only element of a per-CPU array.</summary>
    private void LookupScalar(int map)
    {
        var mark = Marked();
        var key = TakeStack(8);
        Put(MemSize.W, key, 0);
        LookupKey(map, key);
        Release(mark);
    }

    private void AddToElement(StatAddStmt s, GlobalStorage.StatisticsArray array, Mem key, Temp value)
    {
        var hit = _a.NewLabel();
        var known = _a.NewLabel();
        var ready = _a.NewLabel();
        var failed = _a.NewLabel();
        var mapKey = array.ByHash ? Hash(array.Key, key) : key;
        LookupKey(array.MapId, mapKey);
        _a.JumpIf(JumpOp.Ne, Reg.R0, 0, hit);
        Insert();
        if (s.Aggregate.Wraps)
        {
            DropOldest(array.MapId, array.Key, isPerCpu: true, s.Span);
            Insert();
        }

        _a.Bind(failed);
        Raise(OverflowMessage(s.Aggregate), s.Span);

        _a.Bind(hit);
        Load(Reg.R1, new Mem(Reg.R0, 0));
        _a.JumpIf(JumpOp.Ne, Reg.R1, 0, known);
        if (array.ByHash)
        {
            CopyWords(new Mem(Reg.R0, array.KeyOffset), key, array.Key.Size);
        }

        Move(Reg.R3, Reg.R0);
        NextSequence();
        Save(new Mem(Reg.R3, 0), Reg.R1);
        InitializeBlock(Reg.R3, array.Layout, GlobalStorage.StatisticsArray.BlockOffset, clear: false);
        _a.Jump(ready);
        _a.Bind(known);
        if (array.ByHash)
        {
            JumpIfOther(array.Key, key, new Mem(Reg.R0, array.KeyOffset), failed);
        }

        Move(Reg.R3, Reg.R0);
        _a.Bind(ready);
        Get(Reg.R1, value);
        AddToBlock(array.Layout, GlobalStorage.StatisticsArray.BlockOffset);

        // An element of zeros; whether this CPU or another put it there does not matter.
        void Insert()
        {
            LoadMap(Reg.R1, array.MapId);
            Address(Reg.R2, mapKey);
            ConstantAddress(Reg.R3, _c.Constants.Text("", array.ValueSize));
            _a.Emit(Instruction.Mov(Reg.R4, (int)UpdateMode.NoExist));
            _a.Call(Helper.MapUpdateElem);
            LookupKey(array.MapId, mapKey);
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, hit);
        }
    }

    private void InitializeBlock(Reg block, StatLayout layout, int offset, bool clear)
    {
        if (clear)
        {
            for (var i = 0; i < layout.Size; i += 8)
            {
                _a.Emit(Instruction.Store(MemSize.DW, block, offset + i, 0));
            }
        }

        if (layout.Min >= 0)
        {
            Store(new Mem(block, offset + layout.Min), long.MaxValue);
        }

        if (layout.Max >= 0)
        {
            Store(new Mem(block, offset + layout.Max), long.MinValue);
        }
    }

    /// <summary>Adds R1 to the block at R3 + offset. R0–R5 are lost.</summary>
    private void AddToBlock(StatLayout layout, int offset)
    {
        if (layout.Min >= 0)
        {
            Extreme(offset + layout.Min, JumpOp.SGe);
        }

        if (layout.Max >= 0)
        {
            Extreme(offset + layout.Max, JumpOp.SLe);
        }

        if (layout.Sum >= 0)
        {
            _a.Emit(Instruction.Atomic(AtomicOp.Add, MemSize.DW, Reg.R3, offset + layout.Sum, Reg.R1));
        }

        // The count is raised last: whoever sees it sees the rest.
        _a.Emit(Instruction.Mov(Reg.R2, 1));
        _a.Emit(Instruction.Atomic(layout.Variance >= 0 ? AtomicOp.FetchAdd : AtomicOp.Add, MemSize.DW, Reg.R3, offset + layout.Count, Reg.R2));
        if (layout.Variance >= 0)
        {
            Variance(layout, offset);
        }

        if (layout.Buckets >= 0)
        {
            Bucket(layout);
            _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R0, 3));
            _a.Emit(Instruction.Add64(Reg.R3, Reg.R0));
            _a.Emit(Instruction.Mov(Reg.R2, 1));
            _a.Emit(Instruction.Atomic(AtomicOp.Add, MemSize.DW, Reg.R3, offset + layout.Buckets, Reg.R2));
        }
    }

    /// <summary>Keeps the extreme of R1 and *(R3 + offset).</summary>
    private void Extreme(int offset, JumpOp stays)
    {
        var end = _a.NewLabel();
        Load(Reg.R0, new Mem(Reg.R3, offset));
        _a.JumpIf(stays, Reg.R1, Reg.R0, end);
        Move(Reg.R2, Reg.R0);
        _a.Emit(Instruction.Atomic(AtomicOp.CmpXchg, MemSize.DW, Reg.R3, offset, Reg.R1));
        _a.JumpIf(JumpOp.Eq, Reg.R0, Reg.R2, end);
        _a.JumpIf(stays, Reg.R1, Reg.R0, end);
        _a.Emit(Instruction.Atomic(AtomicOp.CmpXchg, MemSize.DW, Reg.R3, offset, Reg.R1));
        _a.Bind(end);
    }

    /// <summary>
    /// Welford's step on values scaled by 2^shift: delta = x − mean; mean += delta / n; squares += delta · (x − mean). R1 sample, R2 the count before, R3 block.
    /// R1 and R3 survive. Two words cannot change as one: a sample taken in an NMI inside this step may be lost to the variance (not to the rest).
    /// </summary>
    private void Variance(StatLayout layout, int offset)
    {
        var mean = new Mem(Reg.R3, offset + layout.Variance);
        var mark = Marked();
        var saved = TakeStack(8);
        Save(saved, Reg.R1);
        _a.Emit(Instruction.Add64Imm(Reg.R2, 1));
        if (layout.Shape.VarianceShift > 0)
        {
            _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R1, layout.Shape.VarianceShift));
        }

        Move(Reg.R5, Reg.R1);
        Load(Reg.R4, mean);
        Move(Reg.R0, Reg.R5);
        _a.Emit(Instruction.Sub64(Reg.R0, Reg.R4));
        Move(Reg.R4, Reg.R0);
        Move(Reg.R1, Reg.R2);
        DivideByRegister(BinaryOperator.Divide);
        Load(Reg.R1, mean);
        _a.Emit(Instruction.Add64(Reg.R1, Reg.R0));
        Save(mean, Reg.R1);
        _a.Emit(Instruction.Sub64(Reg.R5, Reg.R1));
        _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R4, Reg.R5));
        _a.Emit(Instruction.Atomic(AtomicOp.Add, MemSize.DW, Reg.R3, mean.Offset + 8, Reg.R4));
        Load(Reg.R1, saved);
        Release(mark);
    }

    /// <summary>R0 = bucket of R1, bounded for the verifier. R2, R4 and R5 are lost.</summary>
    private void Bucket(StatLayout layout)
    {
        var shape = layout.Shape;
        var last = shape.BucketCount - 1;
        var end = _a.NewLabel();
        if (shape.Histogram == HistogramKind.Linear)
        {
            // 0 below low; 1… by width; the last one above.
            _a.Emit(Instruction.Mov(Reg.R0, 0));
            Compare(JumpOp.SLt, Reg.R1, shape.Low, Reg.R2, end);
            Move(Reg.R0, Reg.R1);
            _a.LdImm64(Reg.R2, shape.Low);
            _a.Emit(Instruction.Sub64(Reg.R0, Reg.R2));
            _a.LdImm64(Reg.R2, shape.Step);
            _a.Emit(Instruction.Alu64(AluOp.Div, Reg.R0, Reg.R2));
            _a.Emit(Instruction.Add64Imm(Reg.R0, 1));
            _a.JumpIf(JumpOp.Le, Reg.R0, last, end);
            _a.Emit(Instruction.Mov(Reg.R0, last));
            _a.Bind(end);
            return;
        }

        // 64 for 0; for v > 0 65 + floor(log2 v); mirrored below. The logarithm by halving, each step (limit − v) >>> 63 is 1 when v is above the limit.
        var positive = _a.NewLabel();
        Move(Reg.R2, Reg.R1);
        _a.Emit(Instruction.Mov(Reg.R0, 64));
        _a.JumpIf(JumpOp.Eq, Reg.R1, 0, end);
        _a.JumpIf(JumpOp.SGt, Reg.R1, 0, positive);
        _a.Emit(Instruction.Neg64(Reg.R2));
        _a.Bind(positive);
        _a.Emit(Instruction.Mov(Reg.R0, 1));
        foreach (var step in (ReadOnlySpan<int>)[32, 16, 8, 4, 2, 1])
        {
            _a.LdImm64(Reg.R4, (1L << step) - 1);
            _a.Emit(Instruction.Sub64(Reg.R4, Reg.R2));
            _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R4, 63));
            _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R4, System.Numerics.BitOperations.Log2((uint)step)));
            _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R2, Reg.R4));
            _a.Emit(Instruction.Add64(Reg.R0, Reg.R4));
        }

        var negative = _a.NewLabel();
        var masked = _a.NewLabel();
        _a.JumpIf(JumpOp.SLt, Reg.R1, 0, negative);
        _a.Emit(Instruction.Add64Imm(Reg.R0, 64));
        _a.Jump(masked);
        _a.Bind(negative);
        _a.Emit(Instruction.Neg64(Reg.R0));
        _a.Emit(Instruction.Add64Imm(Reg.R0, 64));
        _a.Bind(masked);
        _a.Emit(Instruction.Alu64(AluOp.And, Reg.R0, 127));
        _a.Bind(end);
    }

    private void Compare(JumpOp op, Reg left, long right, Reg scratch, Label label)
    {
        if (right == (int)right)
        {
            _a.JumpIf(op, left, (int)right, label);
        }
        else
        {
            _a.LdImm64(scratch, right);
            _a.JumpIf(op, left, scratch, label);
        }
    }

    // ---- reading and resetting -------------------------------------------------------------------------------------------

    /// <summary>Map, layout and offset of an aggregate's block, and its key in memory.</summary>
    private (int Map, StatLayout Layout, int Offset, Mem Key) AggregatePlace(Global aggregate, IReadOnlyList<Expr> keys)
    {
        switch (StorageOf(aggregate))
        {
            case GlobalStorage.ScalarStatistics scalar:
                var zero = TakeStack(8);
                Store(zero, 0);
                return (scalar.MapId, scalar.Layout, 0, zero);
            case GlobalStorage.StatisticsArray array:
                return (array.MapId, array.Layout, 8, Key(array.Key, keys));
            default:
                throw new InvalidOperationException("aggregate without storage");
        }
    }

    /// <summary>For each CPU: R0 = its value of the element whose key the action loads. The body may go to the label to have done with the CPU.</summary>
    private void EachCpu(int map, Action<Reg> key, Action<Label> body)
    {
        if (!_c.Features.LookupPerCpu)
        {
            throw Cannot("reading an aggregate in a handler that runs in the kernel: this kernel lacks bpf_map_lookup_percpu_elem (Linux 5.19)", default);
        }

        for (var cpu = 0; cpu < _c.Target.PossibleCpuCount; cpu++)
        {
            var next = _a.NewLabel();
            LoadMap(Reg.R1, map);
            key(Reg.R2);
            _a.Emit(Instruction.Mov(Reg.R3, cpu));
            _a.Call(Helper.MapLookupPercpuElem);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 0, next);
            body(next);
            _a.Bind(next);
        }
    }

    /// <summary>R0 = an extractor's value, over all CPUs.</summary>
    private void Statistic(StatExpr s)
    {
        var mark = Marked();
        var (map, layout, offset, key) = AggregatePlace(s.Aggregate, s.Keys);
        At(s.Span);
        var empty = _a.NewLabel();
        var end = _a.NewLabel();
        Extract(s.Kind, map, layout, offset, to => Address(to, key), empty, s.Span);
        _a.Jump(end);
        _a.Bind(empty);
        Raise("empty aggregate", s.Span);
        _a.Bind(end);
        Release(mark);
    }

    /// <summary>R0 = an extractor's value. Of an empty aggregate count and sum are 0; the others go to the label, or are 0 without one.</summary>
    private void Extract(StatisticKind kind, int map, StatLayout layout, int offset, Action<Reg> key, Label? empty, SourceSpan span)
    {
        At(span);
        var mark = Marked();
        var count = TakeStack(8);
        var result = TakeStack(8);
        var end = _a.NewLabel();
        Store(count, 0);
        Store(result, kind switch
        {
            StatisticKind.Min => long.MaxValue,
            StatisticKind.Max => long.MinValue,
            _ => 0,
        });
        EachCpu(map, key, next =>
        {
            Load(Reg.R1, new Mem(Reg.R0, offset + layout.Count));
            _a.JumpIf(JumpOp.Eq, Reg.R1, 0, next);
            Load(Reg.R2, count);
            _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
            Save(count, Reg.R2);
            switch (kind)
            {
                case StatisticKind.Min or StatisticKind.Max:
                    Load(Reg.R1, new Mem(Reg.R0, offset + (kind == StatisticKind.Min ? layout.Min : layout.Max)));
                    Load(Reg.R2, result);
                    _a.JumpIf(kind == StatisticKind.Min ? JumpOp.SGe : JumpOp.SLe, Reg.R1, Reg.R2, next);
                    break;
                default:
                    Load(Reg.R1, new Mem(Reg.R0, offset + (kind == StatisticKind.Count ? layout.Count : layout.Sum)));
                    Load(Reg.R2, result);
                    _a.Emit(Instruction.Add64(Reg.R1, Reg.R2));
                    break;
            }

            Save(result, Reg.R1);
        });
        Load(Reg.R0, result);
        if (kind is not (StatisticKind.Count or StatisticKind.Sum))
        {
            var some = _a.NewLabel();
            Load(Reg.R1, count);
            _a.JumpIf(JumpOp.Ne, Reg.R1, 0, some);
            _a.Emit(Instruction.Mov(Reg.R0, 0));
            _a.Jump(empty ?? end);
            _a.Bind(some);
            if (kind == StatisticKind.Variance && layout.Shape.VarianceShift > 0)
            {
                _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R0, layout.Shape.VarianceShift));
            }

            if (kind is StatisticKind.Average or StatisticKind.Variance)
            {
                DivideByRegister(BinaryOperator.Divide);
            }

            if (kind == StatisticKind.Variance)
            {
                MergeVariance(map, layout, offset, key, count, result);
            }
        }

        _a.Bind(end);
        Release(mark);
    }

    /// <summary>
    /// R0 = the sample variance, from R0 = the grand mean (of the sums, scaled): (sum of the CPUs' squares + sum of count · (mean − grand mean)²) / (n − 1), unscaled. In 64 bits,
    /// as in SystemTap; stap's own handlers merge in 128.
    /// </summary>
    private void MergeVariance(int map, StatLayout layout, int offset, Action<Reg> key, Mem count, Mem mean)
    {
        var squares = TakeStack(8);
        var several = _a.NewLabel();
        var end = _a.NewLabel();
        Save(mean, Reg.R0);
        Store(squares, 0);
        EachCpu(map, key, next =>
        {
            Load(Reg.R1, new Mem(Reg.R0, offset + layout.Count));
            _a.JumpIf(JumpOp.Eq, Reg.R1, 0, next);
            Load(Reg.R2, new Mem(Reg.R0, offset + layout.Variance));
            Load(Reg.R3, mean);
            _a.Emit(Instruction.Sub64(Reg.R2, Reg.R3));
            _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R2, Reg.R2));
            _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R1, Reg.R2));
            Load(Reg.R2, new Mem(Reg.R0, offset + layout.Variance + 8));
            _a.Emit(Instruction.Add64(Reg.R1, Reg.R2));
            Load(Reg.R2, squares);
            _a.Emit(Instruction.Add64(Reg.R1, Reg.R2));
            Save(squares, Reg.R1);
        });
        Load(Reg.R1, count);
        _a.JumpIf(JumpOp.SGt, Reg.R1, 1, several);
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.Jump(end);
        _a.Bind(several);
        Load(Reg.R0, squares);
        _a.Emit(Instruction.Add64Imm(Reg.R1, -1));
        DivideByRegister(BinaryOperator.Divide);
        _a.Emit(Instruction.Alu64(AluOp.Arsh, Reg.R0, Math.Min(63, 2 * layout.Shape.VarianceShift)));
        _a.Bind(end);
    }

    private void ResetStatistics(GlobalStorage.ScalarStatistics statistics)
    {
        var key = TakeStack(8);
        Store(key, 0);
        EachCpu(statistics.MapId, to => Address(to, key), _ =>
        {
            Move(Reg.R3, Reg.R0);
            InitializeBlock(Reg.R3, statistics.Layout, 0, clear: true);
        });
    }
}
