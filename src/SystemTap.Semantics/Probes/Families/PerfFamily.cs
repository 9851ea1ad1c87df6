using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// <c>perf.type(N).config(N)</c> with <c>.sample(N)</c> or <c>.hz(N)</c>, <c>.process</c> or <c>.process("PATH")</c>, <c>.counter("NAME")</c>. The
/// numbers are those of <c>perf_event_attr</c>; the tapset's <c>perf.sw.*</c> and <c>perf.hw.*</c> aliases stand on these.
/// </summary>
public sealed class PerfFamily : ProbeFamily
{
    /// <summary>Events between two samples when the script says nothing.</summary>
    public const long DefaultPeriod = 1_000_000;

    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = ProbeForms.Of(
        "perf.type(N).config(N)", "perf.type(N).config(N).sample(N)", "perf.type(N).config(N).hz(N)",
        "perf.type(N).config(N).process", "perf.type(N).config(N).process(S)",
        "perf.type(N).config(N).sample(N).process", "perf.type(N).config(N).sample(N).process(S)",
        "perf.type(N).config(N).hz(N).process", "perf.type(N).config(N).hz(N).process(S)",
        "perf.type(N).config(N).process.sample(N)", "perf.type(N).config(N).process(S).sample(N)",
        "perf.type(N).config(N).process.hz(N)", "perf.type(N).config(N).process(S).hz(N)",
        "perf.type(N).config(N).counter(S)", "perf.type(N).config(N).process.counter(S)", "perf.type(N).config(N).process(S).counter(S)");

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.System;

    /// <inheritdoc/>
    public override string ArgumentNoun => "program";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var type = match.Number(1);
        if (type is < 0 or > uint.MaxValue)
        {
            scope.Diagnostics.Error("probe.perf-range", match.Point.Components[1].Argument!.Span, $"perf event type '{type}' is out of range: it must fit 32 bits");
            return;
        }

        var spec = new PerfSpec((uint)type, (ulong)match.Number(2)) { SamplePeriod = DefaultPeriod };
        var processAt = -1;
        for (var i = 3; i < match.Point.Components.Count; i++)
        {
            var component = match.Point.Components[i];
            switch (component.Name)
            {
                case "sample":
                    if (!Positive(component, scope))
                    {
                        return;
                    }

                    spec = spec with { SamplePeriod = match.Number(i) };
                    break;
                case "hz":
                    if (!Positive(component, scope))
                    {
                        return;
                    }

                    spec = spec with { SamplePeriod = 0, FrequencyHz = match.Number(i) };
                    break;
                case "counter":
                    spec = spec with { CounterName = match.Text(i), SamplePeriod = 0 };
                    break;
                case "process":
                    processAt = i;
                    break;
            }
        }

        if (processAt < 0)
        {
            results.Add(new ResolvedPoint(spec, match.Point.ToString(), ProbeContext.None));
        }
        else if (match.Point.Components[processAt].Argument is null)
        {
            if (!scope.HasTargetProcess)
            {
                scope.Diagnostics.Error("probe.perf-no-target", match.Point.Components[processAt].Span,
                    "perf probe with '.process' needs a process: none is given", "start with -c CMD or -x PID, or name the program: process(\"PATH\")");
                return;
            }

            results.Add(new ResolvedPoint(spec with { Processes = new ProcessFilter.All() }, match.Point.ToString(), ProbeContext.None));
        }
        else
        {
            foreach (var (path, filter) in Programs.Find(match.Point, processAt, scope))
            {
                results.Add(new ResolvedPoint(spec with { Processes = filter }, Literal.WithText(match.Point, processAt, path).ToString(), ProbeContext.None));
            }
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<string> Candidates(ProbeMatch match, ResolveScope scope) => Programs.Names(scope);

    private static bool Positive(ProbeComponent component, ResolveScope scope)
    {
        if (((NumberLiteral)component.Argument!).Value > 0)
        {
            return true;
        }

        scope.Diagnostics.Error("probe.perf-range", component.Argument.Span, $"perf '{component}' is out of range: the number must be greater than 0");
        return false;
    }
}
