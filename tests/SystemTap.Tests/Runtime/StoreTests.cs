using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Runtime.Host;
using SystemTap.Runtime.Sessions;
using SystemTap.Semantics.Lowered;
using Xunit;

namespace SystemTap.Tests.Runtime;

/// <summary>Both stores pass the same body: in memory, and on live maps with and without "the kernel is running".</summary>
public sealed class StoreTests
{
    private static readonly StatisticShape Shape = new() { Count = true, Sum = true, Min = true, Max = true, Variance = true, VarianceShift = 8, Histogram = HistogramKind.Linear, Low = 0, High = 100, Step = 10 };

    private static readonly Global[] Globals =
    [
        new() { Index = 0, Name = "n", Type = ScriptType.Long, InitialLong = 5 },
        new() { Index = 1, Name = "s", Type = ScriptType.String, InitialString = "init" },
        new() { Index = 2, Name = "a", Type = ScriptType.Long, KeyTypes = [ScriptType.Long, ScriptType.String], MaxEntries = 3 },
        new() { Index = 3, Name = "t", Type = ScriptType.String, KeyTypes = [ScriptType.Long], MaxEntries = 100 },
        new() { Index = 4, Name = "x", Type = ScriptType.Statistics, Shape = Shape },
        new() { Index = 5, Name = "y", Type = ScriptType.Statistics, Shape = Shape, KeyTypes = [ScriptType.String], MaxEntries = 100 },
        new() { Index = 6, Name = "w", Type = ScriptType.Long, KeyTypes = [ScriptType.Long], MaxEntries = 2, Wraps = true },
    ];

    internal static BpfPlan Plan(IReadOnlyList<PrintSite>? prints = null, IReadOnlyList<ErrorSite>? errors = null, IReadOnlyList<ProgramPlan>? programs = null)
    {
        var layout = StatLayout.For(Shape);
        var data = new byte[ControlBlock.Size + 8 + 32];
        BitConverter.TryWriteBytes(data.AsSpan(ControlBlock.Size), 5L);
        "init"u8.CopyTo(data.AsSpan(ControlBlock.Size + 8));
        var empty = new byte[layout.Size];
        BitConverter.TryWriteBytes(empty.AsSpan(layout.Min), long.MaxValue);
        BitConverter.TryWriteBytes(empty.AsSpan(layout.Max), long.MinValue);
        return new BpfPlan
        {
            Program = new LoweredProgram { Globals = Globals, Functions = [], Probes = [], Limits = new Limits() },
            Maps =
            [
                new(0, "data", (uint)MapType.Array, 4, data.Length, 1, (uint)MapFlags.Mmapable) { Contents = data },
                new(1, "a", (uint)MapType.Hash, 8 + 32, 16, 3, 0),
                new(2, "t", (uint)MapType.Hash, 8, 8 + 32, 100, (uint)MapFlags.NoPrealloc),
                new(3, "x", (uint)MapType.PerCpuArray, 4, layout.Size, 1, 0) { Contents = empty },
                new(4, "y", (uint)MapType.PerCpuHash, 32, 8 + layout.Size, 100, 0),
                new(5, "w", (uint)MapType.Hash, 8, 16, 2, 0),
                new(6, "ring", (uint)MapType.RingBuf, 0, 0, 1 << 20, 0),
            ],
            Programs = programs ?? [],
            Globals =
            [
                new GlobalStorage.Scalar(Globals[0], ControlBlock.Size, 8),
                new GlobalStorage.Scalar(Globals[1], ControlBlock.Size + 8, 32),
                new GlobalStorage.Array(Globals[2], 1, new KeyLayout([ScriptType.Long, ScriptType.String], [8, 32]), 8),
                new GlobalStorage.Array(Globals[3], 2, new KeyLayout([ScriptType.Long], [8]), 32),
                new GlobalStorage.ScalarStatistics(Globals[4], 3, layout),
                new GlobalStorage.StatisticsArray(Globals[5], 4, new KeyLayout([ScriptType.String], [32]), layout),
                new GlobalStorage.Array(Globals[6], 5, new KeyLayout([ScriptType.Long], [8]), 8),
            ],
            PrintSites = prints ?? [],
            ErrorSites = errors ?? [],
            HostProbes = [],
            DataMap = 0,
            RingMap = 6,
            DataSize = data.Length,
        };
    }

    [Theory]
    [InlineData("memory")]
    [InlineData("bpf")]
    [InlineData("bpf running")]
    public void Behaves(string kind)
    {
        if (kind == "memory")
        {
            Body(new MemoryGlobalStore(Globals));
            return;
        }

        using var side = KernelSide.Load(Plan(), new SessionOptions());
        side.SetState(kind == "bpf" ? KernelSide.Starting : KernelSide.Running);
        Body(side.Store);
    }

    private static void Body(IGlobalStore store)
    {
        var (n, s, a, t, x, y, w) = (Globals[0], Globals[1], Globals[2], Globals[3], Globals[4], Globals[5], Globals[6]);
        Assert.Equal(5, store.Read(n).Long);
        Assert.Equal(5, store.Update(n, BinaryOperator.Add, 2));
        Assert.Equal(7, store.Update(n, BinaryOperator.ShiftLeft, 2));
        Assert.Equal(28, store.Update(n, BinaryOperator.Subtract, 8));
        Assert.Equal(20, store.Read(n).Long);
        Assert.Equal("init", store.Read(s).Text);
        store.Write(s, "longer text");
        Assert.Equal("longer text", store.Read(s).Text);
        store.Clear(s);
        Assert.Equal("", store.Read(s).Text);

        ArrayKey K(params Value[] parts) => new(parts);
        Assert.False(store.TryRead(a, K(1, "k"), out var missing));
        Assert.Equal(0, missing.Long);
        Assert.True(store.Update(a, K(1, "k"), BinaryOperator.Add, 3, out var old));
        Assert.Equal(0, old);
        Assert.True(store.Update(a, K(1, "k"), BinaryOperator.Multiply, 5, out old));
        Assert.Equal(3, old);
        Assert.True(store.TryRead(a, K(1, "k"), out var value));
        Assert.Equal(15, value.Long);
        Assert.True(store.Write(a, K(0, "z"), 1));
        Assert.True(store.Write(a, K(-1, ""), 2));
        Assert.True(store.Write(a, K(1, "k"), 16));
        Assert.False(store.Write(a, K(9, "full"), 2));
        Assert.False(store.Update(a, K(9, "full"), BinaryOperator.Add, 2, out _));
        Assert.Equal(["1k=16", "0z=1", "-1=2"], store.Entries(a).Select(e => $"{e.Key.Parts[0].Long}{e.Key.Parts[1].Text}={e.Value.Long}"));
        store.Delete(a, K(0, "z"));
        Assert.False(store.Contains(a, K(0, "z")));
        Assert.True(store.Write(a, K(0, "z"), 9));
        Assert.Equal([16, 2, 9], store.Entries(a).Select(e => e.Value.Long));
        store.Clear(a);
        Assert.Empty(store.Entries(a));

        for (var i = 0; i < 100; i++)
        {
            Assert.True(store.Write(t, K(i * 37 % 100), $"v{i}"));
        }

        Assert.Equal(Enumerable.Range(0, 100).Select(i => $"v{i}"), store.Entries(t).Select(e => e.Value.Text));

        for (var i = 1; i <= 4; i++)
        {
            Assert.True(store.Write(w, K(i), i));
        }

        Assert.Equal([3, 4], store.Entries(w).Select(e => e.Value.Long));

        Assert.Equal(0, store.Statistics(x, null)!.Count);
        foreach (var sample in (long[])[2, 4, 4, 4, 5, 5, 7, 9])
        {
            Assert.True(store.AddSample(x, null, sample));
            Assert.True(store.AddSample(y, K("b"), sample * 10));
        }

        Assert.True(store.AddSample(y, K("a"), -1));
        var stat = store.Statistics(x, null)!;
        Assert.Equal((8, 40, 2, 9, 4), (stat.Count, stat.Sum, stat.Min, stat.Max, stat.Variance));
        Assert.Equal(8, stat.Buckets[1]);
        stat = store.Statistics(y, K("b"))!;
        Assert.Equal((8, 400, 20, 90), (stat.Count, stat.Sum, stat.Min, stat.Max));
        Assert.Equal((1, 3, 2), (stat.Buckets[3], stat.Buckets[5], stat.Buckets[6]));
        Assert.Null(store.Statistics(y, K("none")));
        Assert.Equal(["b8", "a1"], store.Entries(y).Select(e => $"{e.Key.Parts[0].Text}{e.Statistics!.Count}"));
        Assert.True(store.Contains(y, K("a")));
        store.Delete(y, K("a"));
        Assert.False(store.Contains(y, K("a")));
        store.Clear(x);
        Assert.Equal(0, store.Statistics(x, null)!.Count);
        store.Clear(y);
        Assert.Empty(store.Entries(y));
    }

    [Fact]
    public void In_place_updates_compute_what_the_language_says() =>
        CsCheck.Check.Sample(
            CsCheck.Gen.Select(
                CsCheck.Gen.OneOf(CsCheck.Gen.Long, CsCheck.Gen.Long[-10, 10], CsCheck.Gen.Const(long.MinValue)),
                CsCheck.Gen.OneOf(CsCheck.Gen.Long, CsCheck.Gen.Long[-10, 10]),
                CsCheck.Gen.Int[0, 10]),
            (left, right, number) =>
            {
                BinaryOperator[] all =
                [
                    BinaryOperator.Add, BinaryOperator.Subtract, BinaryOperator.Multiply, BinaryOperator.Divide, BinaryOperator.Modulo, BinaryOperator.ShiftLeft,
                    BinaryOperator.ShiftRight, BinaryOperator.ShiftRightLogical, BinaryOperator.BitAnd, BinaryOperator.BitOr, BinaryOperator.BitXor,
                ];
                var op = all[number];
                if (right == 0 && op is BinaryOperator.Divide or BinaryOperator.Modulo)
                {
                    right = 3;
                }

                var store = Live.Value.Store;
                var key = new ArrayKey([7]);
                store.Write(Globals[6], key, left);
                Assert.True(store.Update(Globals[6], key, op, right, out var old));
                Assert.Equal(left, old);
                store.TryRead(Globals[6], key, out var value);
                Assert.Equal(Arithmetic.Apply(op, left, right, default), value.Long);
            },
            iter: 2000,
            threads: 1);

    private static readonly Lazy<KernelSide> Live = new(() =>
    {
        var side = KernelSide.Load(Plan(), new SessionOptions());
        side.SetState(KernelSide.Running);
        return side;
    });

    [Fact]
    public void Updates_of_elements_lose_nothing_against_the_kernel()
    {
        // A program that adds to the same element on every system call competes with updates from here.
        var a = new Assembler();
        var end = a.NewLabel();
        a.Emit(Instruction.Store(MemSize.DW, Reg.R10, -8, 7));
        a.LdMap(Reg.R1, 5);
        a.Emit(Instruction.Mov(Reg.R2, Reg.R10));
        a.Emit(Instruction.Add64Imm(Reg.R2, -8));
        a.Call(Helper.MapLookupElem);
        a.JumpIf(JumpOp.Eq, Reg.R0, 0, end);
        a.Emit(Instruction.Mov(Reg.R1, 1));
        a.Emit(Instruction.Atomic(AtomicOp.Add, MemSize.DW, Reg.R0, 8, Reg.R1));
        a.LdMapValue(Reg.R2, 0, ControlBlock.Size);
        a.Emit(Instruction.Atomic(AtomicOp.Add, MemSize.DW, Reg.R2, 0, Reg.R1));
        a.Bind(end);
        a.Emit(Instruction.Mov(Reg.R0, 0));
        a.Exit();
        var program = new ProgramPlan("adder", (uint)ProgramType.RawTracepoint, a.Finish(), new AttachPlan.RawTracepoint("sys_enter"), []);
        using var side = KernelSide.Load(Plan(programs: [program]), new SessionOptions());
        var (n, w) = (Globals[0], Globals[6]);
        side.Store.Write(w, new ArrayKey([7]), 0);
        side.SetState(KernelSide.Running);
        side.Store.Write(n, 0);
        side.Attach();
        for (var i = 0; i < 5000; i++)
        {
            Assert.True(side.Store.Update(w, new ArrayKey([7]), BinaryOperator.Add, 1_000_000, out _));
        }

        side.Detach();
        side.Store.TryRead(w, new ArrayKey([7]), out var value);
        var kernel = side.Store.Read(n).Long;
        Assert.True(kernel > 5000, $"the kernel's part ran {kernel} times");
        Assert.Equal((5000L * 1_000_000) + kernel, value.Long);
    }
}
