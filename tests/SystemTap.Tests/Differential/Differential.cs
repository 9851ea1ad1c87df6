using SystemTap.Bpf;

namespace SystemTap.Tests.Differential;

/// <summary>How two engines differ on one script.</summary>
/// <param name="Kind">What sort of difference; shrinking keeps it.</param>
/// <param name="Text">For people.</param>
internal sealed record Difference(string Kind, string Text);

/// <summary>
/// Compares engines on a script of <see cref="ScriptGenerator"/>: all in the host evaluator with globals in memory; the body in the kernel and the dump in <c>stap</c>, on shared maps; and, on
/// demand, the body in <c>stap</c> and the dump in the kernel.
/// </summary>
internal static class Differential
{
    private const string Body = "probe BODY {", Dump = "probe DUMP {";
    private const string BeginProbe = "probe begin {", EndProbe = "probe end, error {";

    /// <summary>With <c>DIFFERENTIAL_OLDER</c> set, programs are compiled as for Linux 6.1: loops by bpf_loop, functions that look their frame up.</summary>
    private static readonly BpfFeatures? Features = Environment.GetEnvironmentVariable("DIFFERENTIAL_OLDER") is null ? null
        : BpfFeatures.Modern with { MayGoto = false, InstructionSetV4 = false, MemoryKeys = false, UprobeMulti = false };

    public static Difference? Compare(string script, Dictionary<string, int> refusals, bool all = true)
    {
        var runner = EngineRunner.Shared;
        var host = runner.Run(With(script, BeginProbe, EndProbe));
        if (!host.Ran)
        {
            return new Difference("host " + Word(host.Refusal!), $"the host does not run it: {host.Refusal}");
        }

        return Check("kernel", runner.Run(With(script, EngineRunner.KernelProbe, EndProbe), features: Features))
            ?? (all && !host.Text.Contains("ERROR: ", StringComparison.Ordinal) && !script.Contains("exit()", StringComparison.Ordinal) ? Check("mixed", runner.Run(With(script, BeginProbe, EngineRunner.KernelProbe), features: Features)) : null);

        Difference? Check(string engine, EngineOutcome got)
        {
            if (got.IsDefect)
            {
                return new Difference($"{engine} {Word(got.Refusal!)}", $"the {engine} engine fails: {got.Refusal}");
            }

            if (!got.Ran)
            {
                refusals[got.Refusal!] = refusals.GetValueOrDefault(got.Refusal!) + 1;
                return null;
            }

            return host.Text == got.Text ? null : new Difference(engine + " text", $"=== host\n{host.Text}=== {engine}\n{got.Text}");
        }
    }

    private static string With(string script, string body, string dump) => script.Replace(Body, body, StringComparison.Ordinal).Replace(Dump, dump, StringComparison.Ordinal);

    // Shrinking must not slip from one defect to another: the first words of the reason stay.
    private static string Word(string refusal) => refusal.Length > 40 ? refusal[..40] : refusal;
}
