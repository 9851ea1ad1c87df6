using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using Xunit;
using static SystemTap.Tests.Bpf.L;

namespace SystemTap.Tests.Bpf;

/// <summary>Loops in both forms, in line (may_goto) and as a callback (bpf_loop): the same result, whichever way the body is left.</summary>
public sealed class LoopTests
{
    private static readonly Local I = new(0, "i", ScriptType.Long), J = new(1, "j", ScriptType.Long), M = new(2, "m", ScriptType.String);

    private static LoopStmt For(Local i, Expr condition, Stmt body) =>
        new(condition, body, new UpdateExpr(new LocalPlace(i), BinaryOperator.Add, Num(1), false, At), At);

    private static Expr Less(Local i, long n) => Bin(BinaryOperator.Less, Get(i), Num(n));

    private static Expr Is(Local i, long n) => Bin(BinaryOperator.Equal, Get(i), Num(n));

    private static PlanRunner Run(ProgramUnderTest p, bool inLine)
    {
        var r = new PlanRunner(p.Build(), ConcurrencyTests.Options(inLine));
        r.Run();
        return r;
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void NestedLoopsWithBreakAndContinue(bool inLine)
    {
        var p = new ProgramUnderTest();
        var n = p.Long("n");

        // for i < 20, i != 7, until 15: for j <= i: n++   → 1+2+…+15 minus the 8 of i = 7
        p.Tracepoint(Block(
            For(I, Less(I, 20), Block(
                If(Is(I, 7), new ContinueStmt(At)),
                If(Is(I, 15), new BreakStmt(At)),
                Do(Set(J, Num(0))),
                For(J, Less(J, 1000), Block(If(Bin(BinaryOperator.Greater, Get(J), Get(I)), new BreakStmt(At)), Do(Inc(Place(n)))))))), I, J);
        using var r = Run(p, inLine);
        Assert.Equal(112, r.Long(n));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void NextLeavesNestedLoops(bool inLine)
    {
        var p = new ProgramUnderTest();
        var n = p.Long("n");
        p.Tracepoint(Block(
            For(I, Less(I, 10), For(J, Less(J, 10), Block(If(Bin(BinaryOperator.Equal, Add(Get(I), Get(J)), Num(9)), new NextStmt(At)), Do(Inc(Place(n)))))),
            Do(Set(Place(n), Num(-1)))), I, J);
        using var r = Run(p, inLine);
        Assert.Equal(9, r.Long(n));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ErrorsAreCaughtInsideAndOutsideOfLoops(bool inLine)
    {
        var p = new ProgramUnderTest();
        var (n, caught) = (p.Long("n"), p.Long("caught"));
        Stmt fails = Do(new UpdateExpr(Place(n), BinaryOperator.Add, Bin(BinaryOperator.Divide, Num(10), Bin(BinaryOperator.Subtract, Get(I), Num(3))), false, At));
        p.Tracepoint(Block(
            For(I, Less(I, 6), new TryStmt(fails, M, Do(Inc(Place(caught))), At)),
            Do(Set(I, Num(0))),
            new TryStmt(For(I, Less(I, 6), fails), null, Do(Inc(Place(caught), 10)), At)), I, J, M);
        using var r = Run(p, inLine);
        Assert.Equal(11, r.Long(caught));

        // 10/-3 + 10/-2 + 10/-1 + 10/1 + 10/2 and once more the first three.
        Assert.Equal(-3 - 5 - 10 + 10 + 5 - 3 - 5 - 10, r.Long(n));
        Assert.Equal(0, r.Word(ControlBlock.Errors));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AnEndlessLoopEndsByMaxActionAndIsNotCaught(bool inLine)
    {
        var p = new ProgramUnderTest { Limits = new Limits { MaxAction = 100 } };
        var (n, caught) = (p.Long("n"), p.Long("caught"));
        p.Tracepoint(new TryStmt(new LoopStmt(null, Do(Inc(Place(n))), null, At), null, Do(Inc(Place(caught))), At));
        using var r = Run(p, inLine);
        Assert.Equal(0, r.Long(caught));
        Assert.Equal(50, r.Long(n));
        Assert.Equal(1, r.Word(ControlBlock.Errors));
        Assert.Contains("MAXACTION", r.Plan.ErrorSites[r.Records().Single(x => x.Kind == RecordKind.Error).Site].MessageFormat);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void FunctionsWithLoopsReturnFromTheMiddle(bool inLine)
    {
        var p = new ProgramUnderTest();
        var n = p.Long("n");
        var (x, k) = (new Local(0, "x", ScriptType.Long), new Local(1, "k", ScriptType.Long));
        var f = p.Function("f", ScriptType.Long, 1, x, k);
        f.Body = Block(For(k, Less(k, 100), If(Bin(BinaryOperator.Equal, Get(k), Get(x)), new ReturnStmt(Add(Get(k), Num(1000)), At))), new ReturnStmt(Num(-1), At));
        p.Tracepoint(For(I, Less(I, 3), Do(new UpdateExpr(Place(n), BinaryOperator.Add, new CallExpr(f, [Bin(BinaryOperator.Multiply, Get(I), Num(60))], At), false, At))), I);
        using var r = Run(p, inLine);
        Assert.Equal(1000 + 1060 - 1, r.Long(n));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ForeachSortsAndIsLeft(bool inLine)
    {
        var p = new ProgramUnderTest();
        var n = p.Long("n");
        var a = p.Array("a", ScriptType.Long, 100, ScriptType.Long);
        var foreachDown = new ForeachStmt(At)
        {
            Array = a,
            Keys = [J],
            Direction = SortDirection.Descending,
            Body = Block(If(Is(J, 3), new BreakStmt(At)), Do(Set(Place(n), Add(Bin(BinaryOperator.Multiply, Get(n), Num(100)), Get(J))))),
        };

        // a[i] = (i * 7) % 10: by falling value the keys 7 (9), 4 (8), 1 (7), 8 (6), 5 (5), 2 (4), 9 (3), 6, 3 …
        p.Tracepoint(Block(
            For(I, Less(I, 10), Do(Set(Place(a, Get(I)), Bin(BinaryOperator.Modulo, Bin(BinaryOperator.Multiply, Get(I), Num(7)), Num(10))))), foreachDown), I, J);
        using var r = Run(p, inLine);
        Assert.Equal(704010805020906, r.Long(n));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void TextFunctionsScan(bool inLine)
    {
        var p = new ProgramUnderTest();
        var n = p.Long("n");
        var t = p.Text("t", "some text to look through");
        p.Tracepoint(Block(Do(Set(Place(n), Call(IntrinsicId.Contains, Get(t), Str("look")))), Do(Set(Place(t), Str("x")))));
        using var r = Run(p, inLine);
        Assert.Equal(1, r.Long(n));
    }
}
