using System.Diagnostics;
using System.Globalization;
using SystemTap.Bpf.Plan;
using SystemTap.Runtime.Output;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Sessions;

/// <summary>Run times for <c>-t</c>: stap's own handlers by the clock, kernel programs by the kernel's statistics.</summary>
public sealed class HandlerTimes(LoweredProgram program, bool enabled)
{
    private struct Row
    {
        public long Hits, Total, Min, Max;
    }

    private readonly Row[] _rows = enabled ? new Row[program.Probes.Count] : [];

    internal long Begin() => enabled ? Stopwatch.GetTimestamp() : 0;

    internal void End(Probe probe, long start)
    {
        if (!enabled || probe.Index >= _rows.Length)
        {
            return;
        }

        var took = (long)(Stopwatch.GetTimestamp() - start) * 1_000_000_000 / Stopwatch.Frequency;
        ref var row = ref _rows[probe.Index];
        row.Min = row.Hits == 0 ? took : Math.Min(row.Min, took);
        row.Max = Math.Max(row.Max, took);
        row.Total += took;
        row.Hits++;
    }

    /// <summary>Appends the table. The kernel keeps count and total of a program, not its extremes, so those stand as <c>-</c>.</summary>
    internal void Write(ByteSink sink, KernelSide? kernel)
    {
        sink.Append("----- probe hit report:\n");
        foreach (var probe in program.Probes)
        {
            var row = probe.Index < _rows.Length ? _rows[probe.Index] : default;
            if (row.Hits > 0)
            {
                Line(sink, probe.PointText, probe, row.Hits, row.Min.ToString(CultureInfo.InvariantCulture), row.Total / row.Hits, row.Max.ToString(CultureInfo.InvariantCulture));
            }
        }

        foreach (var (plan, hits, total) in kernel?.Times() ?? [])
        {
            // Programs without a probe are our own; those run by request stand above, by the clock.
            if (hits > 0 && plan.Probes.Count > 0 && plan.Attach is not AttachPlan.OnDemand)
            {
                var name = plan.Probes.Count == 1 ? plan.Probes[0].PointText : $"{plan.Name} ({plan.Probes.Count} probes)";
                Line(sink, name, plan.Probes.Count > 0 ? plan.Probes[0] : null, hits, "-", total / hits, "-");
            }
        }
    }

    private static void Line(ByteSink sink, string name, Probe? probe, long hits, string min, long average, string max)
    {
        sink.Append(name);
        if (probe?.Span.Source is not null)
        {
            sink.Append(", (");
            sink.Append(probe.Span.ToString());
            sink.Append(")");
        }

        sink.Append(string.Create(CultureInfo.InvariantCulture, $", hits: {hits}, ns: {min}min/{average}avg/{max}max\n"));
    }
}
