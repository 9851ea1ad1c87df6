using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using Xunit;
using static SystemTap.Tests.Bpf.L;

namespace SystemTap.Tests.Bpf;

public class BasicTests
{
    [Fact]
    public void CountsScalarsAndElements()
    {
        var p = new ProgramUnderTest();
        var x = p.Long("x", 40);
        var n = p.Array("n", ScriptType.Long, 10, ScriptType.Long, ScriptType.String);
        p.Tracepoint(Block(Do(Inc(Place(x))), Do(Inc(Place(n, Arg(0), Call(IntrinsicId.ExecName)), 5))));
        using var r = new PlanRunner(p.Build());
        r.Run(0, 7);
        r.Run(0, 7);
        r.Run(0, 8);
        Assert.Equal(43, r.Long(x));
        var comm = File.ReadAllText("/proc/thread-self/comm").Trim();
        Assert.Equal(10, r.Element(n, 7L, comm));
        Assert.Equal(5, r.Element(n, 8L, comm));
        Assert.Null(r.Element(n, 9L, comm));
    }

    [Fact]
    public void PrintsLongsAndStrings()
    {
        var p = new ProgramUnderTest();
        p.Tracepoint(Block(
            Print(Arg(0), Num(5), Call(IntrinsicId.Pid)),
            Print(Str("const"), Call(IntrinsicId.ExecName), Arg(0)),
            Print(Call(IntrinsicId.ExecName))));
        using var r = new PlanRunner(p.Build());
        r.Run(0, 7);
        var records = r.Records();
        Assert.Equal(3, records.Count);
        Assert.Equal([7L, (long)Environment.ProcessId], records[0].Values);
        var comm = File.ReadAllText("/proc/thread-self/comm").Trim();
        Assert.Equal([7L, comm], records[1].Values);
        Assert.Equal([comm], records[2].Values);
    }

    [Fact]
    public void LoopsAndBranches()
    {
        var p = new ProgramUnderTest();
        var x = p.Long("x");
        var i = new Local(0, "i", ScriptType.Long);
        var s = new Local(1, "s", ScriptType.Long);
        p.Tracepoint(Block(
            new LoopStmt(Bin(BinaryOperator.Less, Get(i), Arg(0)), Block(
                If(Bin(BinaryOperator.Equal, Bin(BinaryOperator.Modulo, Get(i), Num(2)), Num(0)), new ContinueStmt(At)),
                If(Bin(BinaryOperator.Greater, Get(i), Num(50)), new BreakStmt(At)),
                Do(new UpdateExpr(new LocalPlace(s), BinaryOperator.Add, Get(i), false, At))),
                Inc(new LocalPlace(i)), At),
            Do(Set(Place(x), Get(s)))), i, s);
        using var r = new PlanRunner(p.Build());
        r.Run(0, 10);
        Assert.Equal(25, r.Long(x));
        r.Run(0, 1000);
        Assert.Equal(625, r.Long(x));
    }

    [Fact]
    public void DivisionByZeroIsReportedOnce()
    {
        var p = new ProgramUnderTest();
        var x = p.Long("x");
        p.Tracepoint(Block(Do(Set(Place(x), Bin(BinaryOperator.Divide, Num(100), Arg(0)))), Do(Inc(Place(x)))));
        using var r = new PlanRunner(p.Build());
        r.Run(0, 7);
        Assert.Equal(15, r.Long(x));
        r.Run(0, 0);
        Assert.Equal(15, r.Long(x));
        Assert.Equal(1, r.Word(ControlBlock.Errors));
        Assert.Equal(2, r.Word(ControlBlock.State));
        Assert.Equal(0, r.Word(ControlBlock.Lock));
        var record = Assert.Single(r.Records());
        Assert.Equal(RecordKind.Error, record.Kind);
        Assert.Equal("division by 0", r.Plan.ErrorSites[record.Site].MessageFormat);
        r.Run(0, 7);
        Assert.Equal(15, r.Long(x));
    }

    [Fact]
    public void OverflowOfAnArrayIsAnError()
    {
        var p = new ProgramUnderTest();
        var n = p.Array("n", ScriptType.Long, 3, ScriptType.Long);
        p.Tracepoint(Do(Set(Place(n, Arg(0)), Arg(0))));
        using var r = new PlanRunner(p.Build());
        for (var i = 0; i < 4; i++)
        {
            r.Run(0, i);
        }

        Assert.Equal(2, r.Element(n, 2L));
        Assert.Null(r.Element(n, 3L));
        Assert.StartsWith("Array overflow", r.Plan.ErrorSites[Assert.Single(r.Records()).Site].MessageFormat);
    }

    [Fact]
    public void CatchesErrorsWithTheirMessage()
    {
        var p = new ProgramUnderTest();
        var text = p.Text("text", new string('x', 60));
        var m = new Local(0, "m", ScriptType.String);
        p.Tracepoint(new TryStmt(
            Block(
                If(Bin(BinaryOperator.Equal, Arg(0), Num(1)), Do(Call(IntrinsicId.Error, Cat(Str("my "), Call(IntrinsicId.ExecName))))),
                If(Bin(BinaryOperator.Equal, Arg(0), Num(2)), Do(Set(Place(text), Call(IntrinsicId.KernelString, Num(16), Num(40))))),
                Do(Bin(BinaryOperator.Divide, Num(1), Arg(0)))),
            m,
            Do(Set(Place(text), Get(m))),
            At), m);
        using var r = new PlanRunner(p.Build());
        r.Run(0, 0);
        Assert.Equal("division by 0", r.Text(text));
        r.Run(0, 1);
        Assert.Equal("my " + File.ReadAllText("/proc/thread-self/comm").Trim(), r.Text(text));
        r.Run(0, 2);
        Assert.Equal("kernel string copy fault at 0x0000000000000010", r.Text(text));
        Assert.Equal(0, r.Word(ControlBlock.Errors));
        Assert.Empty(r.Records());
    }

    [Fact]
    public void FunctionsReturnValuesAndErrors()
    {
        var p = new ProgramUnderTest();
        var x = p.Long("x");
        var text = p.Text("text");
        var (a, b) = (new Local(0, "a", ScriptType.Long), new Local(1, "b", ScriptType.Long));
        var ratio = p.Function("ratio", ScriptType.Long, 2, a, b);
        ratio.Body = new ReturnStmt(Bin(BinaryOperator.Divide, Get(a), Get(b)), At);
        var s = new Local(0, "s", ScriptType.String);
        var twice = p.Function("twice", ScriptType.String, 1, s);
        twice.Body = new ReturnStmt(Cat(Get(s), Get(s)), At);
        Expr Twice(Expr e) => new CallExpr(twice, [e], At);
        p.Tracepoint(Block(
            Do(Set(Place(x), new CallExpr(ratio, [Num(100), new CallExpr(ratio, [Num(20), Arg(0)], At)], At))),
            Do(Set(Place(text), Cat(Twice(Twice(Str("ab"))), Twice(Str("-")))))));
        using var r = new PlanRunner(p.Build());
        r.Run(0, 5);
        Assert.Equal(25, r.Long(x));
        Assert.Equal("abababab--", r.Text(text));
        r.Run(0, 0);
        Assert.Equal(1, r.Word(ControlBlock.Errors));
        Assert.Equal(0, r.Word(ControlBlock.Lock));
    }

    [Fact]
    public void RunsOnTheLiveTracepoint()
    {
        var p = new ProgramUnderTest();
        var x = p.Long("x");
        p.Tracepoint(Do(Inc(Place(x))));
        using var r = new PlanRunner(p.Build());
        r.AttachAll();
        for (var i = 0; i < 20; i++)
        {
            Thread.Sleep(1);
        }

        Assert.True(r.Long(x) >= 20);
    }

    [Fact]
    public void WrappingArraysHoldTheLastOnes()
    {
        var p = new ProgramUnderTest();
        var n = p.Wrapping("n", 4, ScriptType.Long, ScriptType.String);
        p.Tracepoint(Do(Set(Place(n, Arg(0), Str("key")), Arg(0))));
        p.Tracepoint(new DeleteStmt(n, [Arg(0), Str("key")], At));
        using var r = new PlanRunner(p.Build());
        for (var i = 0; i < 10; i++)
        {
            r.Run(0, i);
        }

        Assert.Equal([null, 6L, 7, 8, 9], Enumerable.Range(5, 5).Select(i => r.Element(n, (long)i, "key")));
        r.Run(0, 6);
        r.Run(1, 8);
        r.Run(0, 20);
        Assert.Equal([6L, 7, null, 9, 20], new[] { 6, 7, 8, 9, 20 }.Select(i => r.Element(n, (long)i, "key")));
        r.Run(0, 21);
        Assert.Null(r.Element(n, 6L, "key"));
        Assert.Equal(0, r.Word(ControlBlock.Errors));
    }

    [Fact]
    public void DeletesAllAndByWildcard()
    {
        var p = new ProgramUnderTest();
        var n = p.Array("n", ScriptType.Long, 100, ScriptType.Long, ScriptType.String);
        p.Tracepoint(Do(Set(Place(n, Arg(0), Str("a")), Arg(1))));
        p.Tracepoint(Do(Set(Place(n, Arg(0), Str("b")), Arg(1))));
        p.Tracepoint(new DeleteStmt(n, [null, Str("a")], At));
        p.Tracepoint(new DeleteStmt(n, null, At));
        using var r = new PlanRunner(p.Build());
        for (var i = 0; i < 5; i++)
        {
            r.Run(0, i, i);
            r.Run(1, i, i);
        }

        r.Run(2);
        Assert.Null(r.Element(n, 3L, "a"));
        Assert.Equal(3, r.Element(n, 3L, "b"));
        r.Run(3);
        Assert.Null(r.Element(n, 3L, "b"));
    }

    [Fact]
    public void TypedLoadsThroughTracepointArguments()
    {
        var target = SystemTap.Targets.Target.Live();
        var btf = target.KernelBtf;
        var task = btf.Find(SystemTap.Targets.BtfKind.Struct, "task_struct")!.Value;
        long Offset(string member) => SystemTap.Targets.BtfMemberSearch.FindMember(task, member)!.Value.ByteOffset;
        var p = new ProgramUnderTest();
        var (wrong, right, parent) = (p.Long("wrong"), p.Long("right"), p.Long("parent"));

        // The current task at sched_switch is prev: argument 1.
        Expr Prev(long offset, int size) => new DerefExpr(Add(new ContextExpr(ContextValue.TracepointArgument, 1, At) { BtfPointee = task.Id }, Num(offset)), size, true, false, At);
        p.Tracepoint(Block(
            If(Bin(BinaryOperator.Equal, Prev(Offset("pid"), 4), Call(IntrinsicId.Tid)), Do(Inc(Place(right))), Do(Inc(Place(wrong)))),
            Do(Set(Place(parent), new DerefExpr(Add(Prev(Offset("real_parent"), 8), Num(Offset("tgid"))), 4, true, false, At)))));
        using var r = new PlanRunner(p.Build());
        Assert.NotEqual(0, r.Plan.Programs[0].AttachBtfId);
        r.AttachAll();
        Thread.Sleep(30);
        r.Detach();
        Assert.True(r.Long(right) > 0);
        Assert.Equal(0, r.Long(wrong));
    }

    [Fact]
    public void HandlersThatShareGlobalsTakeALock()
    {
        var p = new ProgramUnderTest();
        var (a, b, sum) = (p.Long("a"), p.Long("b"), p.Long("sum"));
        p.Tracepoint(Block(Do(Inc(Place(a))), Do(Inc(Place(b)))));
        p.Tracepoint(Do(Set(Place(sum), Add(Get(a), Get(b)))));
        using var r = new PlanRunner(p.Build());
        r.Word(ControlBlock.Lock) = 1;
        r.Run(0);
        r.Run(1);
        Assert.Equal(2, r.Word(ControlBlock.SkippedLock));
        Assert.Equal(0, r.Long(a));
        r.Word(ControlBlock.Lock) = 0;
        r.Run(0);
        r.Run(1);
        Assert.Equal(2, r.Long(sum));
        Assert.Equal(0, r.Word(ControlBlock.Lock));
    }

    [Fact]
    public void CommutingCountersNeedNoLock()
    {
        var p = new ProgramUnderTest();
        var (a, b) = (p.Long("a"), p.Long("b"));
        p.Tracepoint(Block(Do(Inc(Place(a))), Do(Inc(Place(b)))));
        using var r = new PlanRunner(p.Build());
        r.Word(ControlBlock.Lock) = 1;
        r.Run(0);
        Assert.Equal(1, r.Long(a));
        Assert.Equal(0, r.Word(ControlBlock.SkippedLock));
    }
}
