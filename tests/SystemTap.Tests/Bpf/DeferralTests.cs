using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using Xunit;
using static SystemTap.Tests.Bpf.L;

namespace SystemTap.Tests.Bpf;

public class DeferralTests
{
    private static FormatExpr Sprintf(params Expr[] args) => new([.. args.Select(a => Seg(a.Type == ScriptType.String ? FormatConversion.String : FormatConversion.Signed))], args, At);

    [Fact]
    public void PreparedTextIsLeftToStap()
    {
        var p = new ProgramUnderTest();
        var (name, argstr, fd) = (new Local(0, "name", ScriptType.String), new Local(1, "argstr", ScriptType.String), new Local(2, "fd", ScriptType.Long));
        p.Tracepoint(Block(
            Do(Set(name, Str("read"))),
            Do(Set(fd, Arg(0, 4))),
            Do(Set(argstr, Sprintf(Get(fd), Str(", "), Call(IntrinsicId.TableName, Str("errno"), Arg(1), Str("?"))))),
            Print(Get(name), Get(argstr), Get(fd))), name, argstr, fd);
        using var r = new PlanRunner(p.Build());
        r.Run(0, 7, 8);
        var record = Assert.Single(r.Records());

        // Two raw numbers travel, nothing else, and the program has neither frame nor strings.
        Assert.Equal([7L, 8L], record.Values);
        Assert.DoesNotContain(r.Plan.Maps, m => m.Name.StartsWith("f_", StringComparison.Ordinal));
    }

    [Fact]
    public void ValuesAreThoseOfTheAssignment()
    {
        var p = new ProgramUnderTest();
        var x = p.Long("x", 5);
        var (early, late) = (new Local(0, "early", ScriptType.String), new Local(1, "late", ScriptType.String));
        p.Tracepoint(Block(
            Do(Set(early, Sprintf(Get(x)))),
            Do(Set(Place(x), Num(6))),
            Do(Set(late, Sprintf(Get(x)))),
            Print(Get(early), Get(late))), early, late);
        using var r = new PlanRunner(p.Build());
        r.Run();
        Assert.Equal([5L, 6L], Assert.Single(r.Records()).Values);
    }

    [Fact]
    public void AssignmentsInBranchesDoNotLeak()
    {
        var p = new ProgramUnderTest();
        var s = new Local(0, "s", ScriptType.String);
        p.Tracepoint(Block(
            If(Arg(0), Do(Set(s, Str("yes")))),
            Print(Get(s))), s);
        using var r = new PlanRunner(p.Build());
        r.Run(0, 1);
        r.Run(0, 0);
        Assert.Equal(["yes", ""], r.Records().Select(x => (string)x.Values[0]));
    }

    [Fact]
    public void SmallFunctionsAreExpandedAndFallBack()
    {
        var p = new ProgramUnderTest();
        var address = new Local(0, "address", ScriptType.Long);
        var quoted = p.Function("quoted", ScriptType.String, 1, address);
        quoted.Body = Block(
            If(Bin(BinaryOperator.Equal, Get(address), Num(0)), new ReturnStmt(Str("NULL"), At)),
            new TryStmt(new ReturnStmt(Call(IntrinsicId.EscapeText, Call(IntrinsicId.KernelString, Get(address), Num(100)), Num(100), Num(1)), At), null,
                new ReturnStmt(Sprintf(Get(address)), At), At));
        p.Tracepoint(Print(new CallExpr(quoted, [Arg(0)], At)));
        using var r = new PlanRunner(p.Build());
        Assert.Empty(r.Plan.Programs[0].Code.Subprograms);
        r.Run(0, 0);
        r.Run(0, 16);
        var records = r.Records();
        Assert.Equal(2, records.Count);
        Assert.Equal(0, r.Word(ControlBlock.Errors));

        // The argument is a choice by the selector among the leaves.
        var argument = Assert.IsType<ConditionalExpr>(Assert.Single(r.Plan.PrintSites[records[0].Site].Arguments));
        var selector = (LeafExpr)((BinaryExpr)argument.Condition).Left;
        Assert.Equal([1L, 3L], records.Select(x => (long)x.Values[selector.Index]));
    }

    [Fact]
    public void EffectsKeepTheirOrder()
    {
        var p = new ProgramUnderTest();
        var x = p.Long("x", 1);
        p.Tracepoint(Print(Call(IntrinsicId.ExecName), Inc(Place(x)), Get(x)));
        using var r = new PlanRunner(p.Build());
        r.Run();
        var values = Assert.Single(r.Records()).Values;
        Assert.Contains(1L, values);
        Assert.Contains(2L, values);
    }

    [Fact]
    public void CapacitiesFollowTheValues()
    {
        var p = new ProgramUnderTest();
        var n = p.Array("n", ScriptType.String, 10, ScriptType.String);
        var grow = p.Text("grow");
        p.Tracepoint(Block(Do(Set(Place(n, Call(IntrinsicId.ExecName)), Str("twelve bytes"))), Do(Set(Place(grow), Cat(Get(grow), Str("x"))))));
        var c = Capacities.Of(p.Build(), _ => -1);
        Assert.Equal(15, c.OfKey(n, 0));
        Assert.Equal(12, c.Of(n));
        Assert.Equal(511, c.Of(grow));
        Assert.Equal(16, Capacities.BufferFor(15));
        Assert.Equal(24, Capacities.BufferFor(16));
    }
}
