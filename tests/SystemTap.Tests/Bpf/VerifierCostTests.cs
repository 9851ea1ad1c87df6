using System.Globalization;
using System.Text;
using SystemTap.Bpf.Plan;
using SystemTap.Runtime.Sessions;
using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Tests.Differential;
using Xunit;
using static SystemTap.Tests.Bpf.L;

namespace SystemTap.Tests.Bpf;

/// <summary>What programs cost the kernel: the verifier's walk, and events that are filtered out.</summary>
public class VerifierCostTests
{
    /// <summary>Eight levels of functions, each calling the one below three times and formatting twice: walked at each call, the lowest would be walked 2,187 times.</summary>
    [Fact]
    public void Functions_that_call_each_other_are_walked_once()
    {
        Assert.SkipWhen(Environment.UserName != "root", "needs root");
        var script = new StringBuilder("function f0:string(x:long) { return sprintf(\"%d\", x) }\n");
        for (var level = 1; level <= 8; level++)
        {
            script.Append(CultureInfo.InvariantCulture, $"function f{level}:string(x:long) {{ if (x < 0) error(sprintf(\"%x\", x)) return f{level - 1}(x) . sprintf(\"%5d\", x) . f{level - 1}(x + 1) . f{level - 1}(x - 1) }}\n");
        }

        script.Append("global n ").Append(EngineRunner.KernelProbe).Append(" n[f8(7)]++ }");
        var plan = EngineRunner.Shared.Plan(script.ToString());
        using var side = KernelSide.Load(plan, new SessionOptions());
        Assert.InRange(Assert.Single(side.ProgramFacts()).VerifiedInstructions, 1u, 20_000u);
    }

    [Fact]
    public void Filters_come_before_the_session_state()
    {
        var p = new ProgramUnderTest();
        var n = p.Long("n");
        p.Tracepoint(If(Bin(BinaryOperator.Equal, Call(IntrinsicId.Pid), Num(Environment.ProcessId)), Do(Inc(Place(n)))));
        using var r = new PlanRunner(p.Build());
        Assert.True(FirstCall(r) < FirstData(r), r.Plan.Programs[0].Code.ToString());

        // Before the session runs, and after, a handler that would match does nothing.
        r.Word(ControlBlock.State) = 0;
        r.Run(0, 1);
        Assert.Equal(0, r.Long(n));
        r.Word(ControlBlock.State) = 1;
        r.Run(0, 1);
        Assert.Equal(1, r.Long(n));
        r.Word(ControlBlock.State) = 2;
        r.Run(0, 1);
        Assert.Equal(1, r.Long(n));
    }

    [Fact]
    public void A_filter_that_can_fail_waits_for_the_session()
    {
        var p = new ProgramUnderTest();
        var n = p.Long("n");
        p.Tracepoint(If(Bin(BinaryOperator.Divide, Call(IntrinsicId.Pid), Arg(0)), Do(Inc(Place(n)))));
        using var r = new PlanRunner(p.Build());
        Assert.True(FirstData(r) < FirstCall(r), r.Plan.Programs[0].Code.ToString());
        r.Word(ControlBlock.State) = 0;
        r.Run(0, 0);
        Assert.Equal(0, r.Word(ControlBlock.Errors));
        r.Word(ControlBlock.State) = 1;
        r.Run(0, 0);
        Assert.Equal(1, r.Word(ControlBlock.Errors));
    }

    private static int FirstCall(PlanRunner r) => Index(r, i => i.ToString().Contains("call", StringComparison.Ordinal));

    private static int FirstData(PlanRunner r) => Index(r, i => i.IsWide);

    private static int Index(PlanRunner r, Func<Linux.Bpf.Instruction, bool> meant)
    {
        var slots = r.Plan.Programs[0].Code.Slots.ToArray();
        var at = Array.FindIndex(slots, i => meant(i));
        return at < 0 ? slots.Length : at;
    }
}
