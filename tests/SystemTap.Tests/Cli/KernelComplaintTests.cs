using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Cli.Driver;
using SystemTap.Runtime.Sessions;
using SystemTap.Tests.Differential;
using Xunit;

namespace SystemTap.Tests.Cli;

/// <summary>What the user reads when the verifier refuses a program of ours: the script's line, never the raw log unless asked.</summary>
public sealed class KernelComplaintTests
{
    private const string Script = "global n\nprobe kernel.trace(\"sched_switch\") {\n  n++\n  printf(\"%d\\n\", n)\n}\n";

    /// <summary>The plan of a good script, with code in it that no verifier accepts: it reads a register nothing was put into, at line 4.</summary>
    private static BpfPlan BadPlan()
    {
        var plan = EngineRunner.Shared.Plan(Script);
        var file = plan.Sources.ToList().FindIndex(s => s.Path == "<input>");
        var code = new Assembler { Mark = new SourceMark(file, 3, 3) };
        code.Emit(Instruction.Mov(Reg.R0, 0));
        code.Mark = new SourceMark(file, 4, 18);
        code.Emit(Instruction.Mov(Reg.R1, Reg.R9));
        code.Mark = default;
        code.Exit();
        return plan with { Programs = [.. plan.Programs.Select(p => p with { Code = code.Finish() })] };
    }

    private static VerifierException Refusal() => Assert.Throws<VerifierException>(() => KernelSide.Load(BadPlan(), new SessionOptions()));

    [Fact]
    public void A_refused_program_names_the_line_of_the_script()
    {
        Assert.SkipWhen(Environment.UserName != "root", "needs root");
        Assert.Equal(
            [
                "ERROR: the kernel's verifier refused a program that stap generated; this is a defect of stap, not of the script",
                "\tat: <input>:4:18",
                "     source: printf(\"%d\\n\", n)",
                "     verifier: 1: (bf) r1 = r9: R9 !read_ok",
                "hint: please report it with the script and the kernel's version; until then '--runtime=kernel' may run it; '-vvv' shows the verifier's whole log",
            ],
            KernelComplaint.Lines(Refusal(), showLog: false));
    }

    [Fact]
    public void The_log_is_shown_on_demand_only()
    {
        Assert.SkipWhen(Environment.UserName != "root", "needs root");
        var refusal = Refusal();
        Assert.Contains("processed ", refusal.Log);
        Assert.DoesNotContain(KernelComplaint.Lines(refusal, showLog: false), l => l.Contains("processed ", StringComparison.Ordinal));
        Assert.Contains(KernelComplaint.Lines(refusal, showLog: true), l => l.Contains("processed ", StringComparison.Ordinal));
    }
}
