using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Histograms inside the kernel: buckets are added over all CPUs into an area of the frame. A print sends that area as a string of bytes and stap draws
// the picture (HistogramLeafExpr).

internal sealed partial class ProgramEmitter
{
    private readonly Dictionary<int, Subprogram> _bucketAdders = [];

    /// <summary>Sums all buckets; raises "empty aggregate". The area is part of the frame.</summary>
    private Mem SumBuckets(Global aggregate, IReadOnlyList<Expr> keys, SourceSpan span)
    {
        var buckets = aggregate.Shape!.BucketCount;
        var area = TakeFrame(8 * buckets);
        var count = TakeFrame(8);
        var mark = Marked();
        var (map, layout, offset, key) = AggregatePlace(aggregate, keys);
        At(span);
        Clear(area, 8 * buckets);
        Store(count, 0);
        EachCpu(map, to => Address(to, key), _ =>
        {
            Load(Reg.R1, new Mem(Reg.R0, offset + layout.Count));
            Load(Reg.R2, count);
            _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
            Save(count, Reg.R2);
            Move(Reg.R1, Reg.R0);
            _a.Emit(Instruction.Add64Imm(Reg.R1, offset + layout.Buckets));
            Address(Reg.R2, area);
            _a.Call(BucketAdder(buckets));
        });
        var some = _a.NewLabel();
        Load(Reg.R0, count);
        _a.JumpIf(JumpOp.Ne, Reg.R0, 0, some);
        Raise("empty aggregate", span);
        _a.Bind(some);
        Release(mark);
        return area;
    }

    private Subprogram BucketAdder(int buckets)
    {
        if (!_bucketAdders.TryGetValue(buckets, out var adder))
        {
            adder = _a.Declare($"add_buckets_{buckets}");
            if (_a.IsAlive)
            {
                _bucketAdders[buckets] = adder;
            }
        }

        return adder;
    }

    private void EmitBucketAdders()
    {
        foreach (var (buckets, adder) in _bucketAdders)
        {
            _a.Begin(adder);
            for (var i = 0; i < 8 * buckets; i += 8)
            {
                Load(Reg.R3, new Mem(Reg.R1, i));
                Load(Reg.R4, new Mem(Reg.R2, i));
                _a.Emit(Instruction.Add64(Reg.R4, Reg.R3));
                Save(new Mem(Reg.R2, i), Reg.R4);
            }

            _a.Emit(Instruction.Mov(Reg.R0, 0));
            _a.Exit();
        }
    }

    /// <summary>Loads the bucket of a summed area whose number is in a register, already proven to be in range. The number survives; R5 is lost.</summary>
    private void BucketAt(Mem area, Reg number, Reg to)
    {
        Move(Reg.R5, number);
        _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R5, 3));
        Address(to, area);
        _a.Emit(Instruction.Add64(to, Reg.R5));
        Load(to, new Mem(to, 0));
    }

    /// <summary>R0 = @hist_log(x)[i].</summary>
    private void Bucket(BucketExpr e)
    {
        var mark = Marked();
        var last = e.Aggregate.Shape!.BucketCount - 1;
        var (map, layout, offset, key) = AggregatePlace(e.Aggregate, e.Keys);
        var number = TakeStack(8);
        var count = TakeStack(8);
        var result = TakeStack(8);
        Long(e.Index, Reg.R0);
        At(e.Span);
        Save(number, Reg.R0);
        var inside = _a.NewLabel();
        var some = _a.NewLabel();
        _a.JumpIf(JumpOp.Le, Reg.R0, last, inside);
        Raise("histogram index out of range", e.Span);
        _a.Bind(inside);
        Store(count, 0);
        Store(result, 0);
        EachCpu(map, to => Address(to, key), _ =>
        {
            Load(Reg.R1, new Mem(Reg.R0, offset + layout.Count));
            Load(Reg.R2, count);
            _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
            Save(count, Reg.R2);
            Load(Reg.R1, number);
            Bound(Reg.R1, last);
            _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R1, 3));
            _a.Emit(Instruction.Add64(Reg.R0, Reg.R1));
            Load(Reg.R1, new Mem(Reg.R0, offset + layout.Buckets));
            Load(Reg.R2, result);
            _a.Emit(Instruction.Add64(Reg.R2, Reg.R1));
            Save(result, Reg.R2);
        });
        Load(Reg.R0, count);
        _a.JumpIf(JumpOp.Ne, Reg.R0, 0, some);
        Raise("empty aggregate", e.Span);
        _a.Bind(some);
        Load(Reg.R0, result);
        Release(mark);
    }

    /// <summary>All buckets as bytes, to be sent.</summary>
    private StringValue Buckets(BucketsExpr e)
    {
        var size = 8 * e.Aggregate.Shape!.BucketCount;
        var length = TakeFrame(8);
        var area = SumBuckets(e.Aggregate, e.Keys, e.Span);
        Store(length, size);
        return new StringValue(null, area, size + 8, length);
    }
}
