using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Probes.Families;

/// <summary><c>begin end error never</c>, the first three with an optional priority (lower runs first, default 0).</summary>
public sealed class SessionFamily : ProbeFamily
{
    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } =
        ProbeForms.Of("begin", "begin(N)", "end", "end(N)", "error", "error(N)", "never");

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.User;

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var what = match.FormIndex switch
        {
            <= 1 => SessionEvent.Begin,
            <= 3 => SessionEvent.End,
            <= 5 => SessionEvent.Error,
            _ => SessionEvent.Never,
        };
        var priority = match.Point.Components[0].Argument is null ? 0 : match.Number(0);
        results.Add(new ResolvedPoint(new SessionSpec(what, priority), match.Point.ToString(), ProbeContext.None));
    }
}
