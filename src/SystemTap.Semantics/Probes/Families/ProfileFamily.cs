using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// <c>timer.profile</c>, <c>timer.profile.tick</c>: every CPU at the kernel's tick rate; <c>timer.profile.freq.hz(N)</c>: at a given rate. The handler
/// sees the interrupted context.
/// </summary>
public sealed class ProfileFamily : ProbeFamily
{
    /// <summary>More samples per second than this the kernel refuses by default (kernel.perf_event_max_sample_rate).</summary>
    public const long HighestHz = 100_000;

    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } =
        ProbeForms.Of("timer.profile", "timer.profile.tick", "timer.profile.freq.hz(N)");

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.System;

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        long hz = match.FormIndex == 2 ? match.Number(3) : scope.Target.TicksPerSecond;
        if (hz is < 1 or > HighestHz)
        {
            scope.Diagnostics.Error("probe.profile-range", match.Point.Components[3].Argument!.Span,
                $"profile frequency '{hz}' is out of range: it must lie between 1 and {HighestHz}");
            return;
        }

        results.Add(new ResolvedPoint(new ProfileSpec(hz), match.Point.ToString(), ProbeContext.None));
    }
}
