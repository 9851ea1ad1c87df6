namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// A family whose spelling is known but which this version cannot resolve. It says so in one sentence, instead of leaving the user with
/// "no such probe point"; scripts that mark the point optional go on without it.
/// </summary>
public sealed class UnavailableFamily : ProbeFamily
{
    private readonly string _what;
    private readonly string _instead;

    private UnavailableFamily(string what, string instead, params string[] forms)
    {
        _what = what;
        _instead = instead;
        Forms = ProbeForms.Of(forms);
    }

    private const string KernelInstead = "use a tracepoint (kernel.trace(\"NAME\")) or system-call probe (syscall.NAME)";
    private const string ProcessInstead = "use process.begin, process.end or process.syscall";

    /// <summary>The families that are still to come.</summary>
    public static readonly ProbeFamily[] All =
    [
        new UnavailableFamily("module.tracepoint", "use kernel.trace(\"NAME\"), which finds the tracepoints of loaded modules too", "module(S).tracepoint(S)", "module(S).trace(S)"),
        new UnavailableFamily("kernel.mark", KernelInstead, "kernel.mark(S)"),
        new UnavailableFamily("process.data", ProcessInstead, ProcessForms("data(S)", "data(N)")),
        new UnavailableFamily("java", ProcessInstead, "java(S)", "java(N)"),
        new UnavailableFamily("python3", ProcessInstead, "python3.module(S)", "python2.module(S)"),
        new UnavailableFamily("debuginfod", ProcessInstead, "debuginfod.process(S)", "debuginfod.archive(S)"),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; }

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.User;

    /// <inheritdoc/>
    public override bool IsOpenEnded => true;

    /// <inheritdoc/>
    public override bool IsAvailable => false;

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results) =>
        scope.Diagnostics.Error("probe.unavailable", match.Point.Components[0].Span,
            $"'{_what}' probes are not available yet in this version: '{match.Point}' cannot be resolved", _instead);

    private static string[] ProcessForms(params string[] ends)
    {
        var forms = new List<string>();
        foreach (var end in ends)
        {
            forms.Add("process." + end);
            forms.Add("process(S)." + end);
            forms.Add("process(N)." + end);
        }

        return [.. forms];
    }
}
