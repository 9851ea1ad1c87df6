using Linux.Bpf;
using SystemTap.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using Xunit;
using static SystemTap.Tests.Bpf.L;

namespace SystemTap.Tests.Bpf;

/// <summary>Handlers at work on all processors at once: what is counted adds up, what belongs together is seen together.</summary>
public sealed class ConcurrencyTests
{
    private static Stmt Times(Local i, long n, Stmt body) =>
        Block(Do(Set(i, Num(0))), new LoopStmt(Bin(BinaryOperator.Less, Get(i), Num(n)), body, new UpdateExpr(new LocalPlace(i), BinaryOperator.Add, Num(1), false, At), At));

    /// <summary>Runs programs on given processors at the same time, each so often.</summary>
    private static void Together(PlanRunner r, int times, params (int Program, int Cpu)[] jobs)
    {
        var threads = new List<Thread>();
        foreach (var (program, cpu) in jobs)
        {
            var thread = new Thread(() =>
            {
                Span<long> context = stackalloc long[12];
                for (var i = 0; i < times; i++)
                {
                    r.Programs[program].TestRun(new TestRunInput { Context = System.Runtime.InteropServices.MemoryMarshal.AsBytes(context), Cpu = cpu });
                }
            });
            thread.Start();
            threads.Add(thread);
        }

        threads.ForEach(t => t.Join());
    }

    private static void NeedTwoProcessors() => Assert.SkipWhen(CpuList.Online().Count < 2, "needs two processors");

    [Fact]
    public void NoneOfTenMillionIncrementsIsLost()
    {
        NeedTwoProcessors();
        const int runs = 1000, rounds = 5000;
        var p = new ProgramUnderTest { Limits = new Limits { MaxAction = 1_000_000 } };
        var n = p.Long("n");
        var a = p.Array("a", ScriptType.Long, 10, ScriptType.Long);
        var s = p.Stat("s", new StatisticShape { Count = true, Sum = true });
        var i = new Local(0, "i", ScriptType.Long);
        p.Tracepoint(Times(i, rounds, Block(Do(Inc(Place(n))), Do(Inc(Place(a, Num(7)))), new StatAddStmt(s, [], Num(3), At))), i);
        using var r = new PlanRunner(p.Build());
        Together(r, runs, (0, 0), (0, 1));
        Assert.Equal(2L * runs * rounds, r.Long(n));
        Assert.Equal(2L * runs * rounds, r.Element(a, 7));
        Assert.Equal(2L * runs * rounds, r.StatSum(s, r.Layout(s).Count));
        Assert.Equal(6L * runs * rounds, r.StatSum(s, r.Layout(s).Sum));
        Assert.Equal(0, r.Word(ControlBlock.SkippedLock));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AWriterAndAReaderOnTwoProcessorsSeeWholeStates(bool inLine)
    {
        NeedTwoProcessors();
        const int runs = 20_000;
        var p = new ProgramUnderTest();
        var (a, b, wrong, writes, reads) = (p.Long("a"), p.Long("b"), p.Long("wrong"), p.Long("writes"), p.Long("reads"));
        p.Tracepoint(Block(Do(Inc(Place(a))), Do(Inc(Place(writes))), Do(Inc(Place(b)))));
        p.Tracepoint(Block(If(Bin(BinaryOperator.NotEqual, Get(a), Get(b)), Do(Inc(Place(wrong)))), Do(Inc(Place(reads)))));
        using var r = new PlanRunner(p.Build(), Options(inLine));
        Together(r, runs, (0, 0), (1, 1));
        Assert.Equal(0, r.Long(wrong));

        // A run that did not get the lock in time is counted as skipped: nothing is unaccounted for.
        Assert.Equal(2L * runs, r.Long(writes) + r.Long(reads) + r.Word(ControlBlock.SkippedLock));
        Assert.Equal(r.Long(a), r.Long(writes));
    }

    [Fact]
    public void WritersOnBothProcessorsAndAnExclusiveHandlerOnEach()
    {
        NeedTwoProcessors();
        const int runs = 10_000;
        var p = new ProgramUnderTest();
        var (a, b, wrong, moved) = (p.Long("a"), p.Long("b"), p.Long("wrong"), p.Long("moved"));
        p.Tracepoint(Block(Do(Inc(Place(a))), Do(Inc(Place(b)))));
        p.Tracepoint(Block(
            If(Bin(BinaryOperator.NotEqual, Get(a), Get(b)), Do(Inc(Place(wrong)))),
            Do(new UpdateExpr(Place(moved), BinaryOperator.Add, Get(a), false, At)), Do(Set(Place(a), Num(0))), Do(Set(Place(b), Num(0)))));
        using var r = new PlanRunner(p.Build());
        Together(r, runs, (0, 0), (0, 1), (1, 0), (1, 1));
        Assert.Equal(0, r.Long(wrong));
        Assert.Equal(r.Long(a), r.Long(b));

        // What was not skipped is either still there or was moved; skips of the two kinds cannot be told apart, so only the bounds are known.
        var seen = r.Long(moved) + r.Long(a);
        Assert.InRange(seen, (2L * runs) - r.Word(ControlBlock.SkippedLock), 2L * runs);
    }

    [Fact]
    public void AHolderThatNeverComesBackMakesOthersSkipNotHang()
    {
        var p = new ProgramUnderTest { Limits = new Limits { MaxTryLock = 10, TryLockDelay = 1 } };
        var (a, b, sum) = (p.Long("a"), p.Long("b"), p.Long("sum"));
        p.Tracepoint(Block(Do(Inc(Place(a))), Do(Inc(Place(b)))));
        p.Tracepoint(Do(Set(Place(sum), Add(Get(a), Get(b)))));
        using var r = new PlanRunner(p.Build());
        r.Word(ControlBlock.Lock) = 99;
        for (var i = 0; i < 5; i++)
        {
            r.Run(0);
            r.Run(1);
        }

        Assert.Equal(10, r.Word(ControlBlock.SkippedLock));
        Assert.Equal(99, r.Word(ControlBlock.Lock));
        Assert.Equal(0, r.Long(a));
    }

    [Theory]
    [InlineData(true, false)]
    [InlineData(true, true)]
    [InlineData(false, false)]
    public void WhatAFilterTakesOutNeitherWaitsNorCountsAsSkipped(bool isExclusive, bool hasFrame)
    {
        var p = new ProgramUnderTest { Limits = new Limits { MaxTryLock = 10, TryLockDelay = 1 } };
        var (a, b, c) = (p.Long("a"), p.Long("b"), p.Long("c"));
        var text = p.Text("text");
        var filter = If(Bin(BinaryOperator.NotEqual, Arg(0), Num(7)), new NextStmt(At));
        var counts = Block(Do(Inc(Place(a))), Do(Inc(Place(b))));
        var looks = If(Bin(BinaryOperator.NotEqual, Get(a), Get(b)), Do(Inc(Place(c))));
        p.Tracepoint(Block([filter, counts, .. isExclusive ? [looks] : Array.Empty<Stmt>(), .. hasFrame ? [Do(Set(Place(text), Call(IntrinsicId.ExecName)))] : Array.Empty<Stmt>()]));
        p.Tracepoint(looks);
        using var r = new PlanRunner(p.Build());
        r.Run(0, 7);
        Assert.Equal((1L, 1L, 0L), (r.Long(a), r.Long(b), r.Word(ControlBlock.Lock)));

        r.Word(ControlBlock.Lock) = 99;
        r.Run(0, 8);
        r.Run(0, 9);
        Assert.Equal(0, r.Word(ControlBlock.SkippedLock));
        r.Run(0, 7);
        Assert.Equal(1, r.Word(ControlBlock.SkippedLock));
        Assert.Equal((1L, 1L, 99L), (r.Long(a), r.Long(b), r.Word(ControlBlock.Lock)));
    }

    [Fact]
    public void AFilterThatLetsNothingPassLeavesNoCodeOfTheLockBehind()
    {
        var p = new ProgramUnderTest();
        var (a, b) = (p.Long("a"), p.Long("b"));
        p.Tracepoint(Block(If(Bin(BinaryOperator.NotEqual, Arg(0), Num(7)), new NextStmt(At)), new NextStmt(At), Do(Inc(Place(a))), Do(Inc(Place(b)))));
        p.Tracepoint(If(Bin(BinaryOperator.NotEqual, Get(a), Get(b)), Do(Set(Place(a), Get(b)))));
        using var r = new PlanRunner(p.Build());
        r.Run(0, 7);
        Assert.Equal(0, r.Long(a));
    }

    /// <summary>The engine as on a kernel before 6.9 when not <paramref name="inLine"/>.</summary>
    internal static BpfOptions Options(bool inLine) => new() { RingBytes = 1 << 16, Features = BpfFeatures.Modern with { MayGoto = inLine } };
}
