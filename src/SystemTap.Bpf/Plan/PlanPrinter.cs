using System.Globalization;
using System.Text;

namespace SystemTap.Bpf.Plan;

/// <summary>The text of <c>-p3</c>: maps, where globals live, programs (with instructions when verbose), and which handlers stap runs.</summary>
public static class PlanPrinter
{
    /// <summary>Prints a plan.</summary>
    public static string Print(BpfPlan plan, bool withInstructions)
    {
        var text = new StringBuilder();
        text.Append("# maps\n");
        foreach (var map in plan.Maps)
        {
            text.Append(CultureInfo.InvariantCulture, $"{map.Id} {map.Name}: type {map.Type}, key {map.KeySize}, value {map.ValueSize}, entries {map.MaxEntries}\n");
        }

        text.Append("# globals\n");
        foreach (var storage in plan.Globals)
        {
            text.Append(CultureInfo.InvariantCulture, $"{storage.Global.Name}: ").Append(storage switch
            {
                GlobalStorage.HostOnly => "in stap",
                GlobalStorage.Scalar s => $"data+{s.Offset}",
                GlobalStorage.ScalarStatistics s => $"map {s.MapId}, {s.Layout.Size} bytes per CPU",
                GlobalStorage.Array a => $"map {a.MapId}, value {a.ValueCapacity}",
                GlobalStorage.StatisticsArray a => $"map {a.MapId}, {a.Layout.Size} bytes per CPU",
                _ => "?",
            }).Append('\n');
        }

        text.Append("# programs\n");
        foreach (var program in plan.Programs)
        {
            text.Append(CultureInfo.InvariantCulture, $"{program.Name}: type {program.ProgramType}, {program.Code.Slots.Length} instructions, {Attach(program.Attach)}");
            foreach (var probe in program.Probes)
            {
                text.Append(" /* ").Append(probe.PointText).Append(" */");
            }

            text.Append('\n');
            if (withInstructions)
            {
                text.Append(program.Code).Append('\n');
            }
        }

        text.Append("# handlers run by stap\n");
        foreach (var probe in plan.HostProbes)
        {
            text.Append(probe.PointText).Append('\n');
        }

        return text.ToString();
    }

    private static string Attach(AttachPlan attach) => attach switch
    {
        AttachPlan.Trampoline => "function trampoline",
        AttachPlan.KernelFunctions f => $"{(f.IsMulti ? "kprobe_multi" : "kprobe")}{(f.AtReturn ? " return" : "")} of {f.Places.Count} places",
        AttachPlan.RawTracepoint t => $"raw tracepoint {t.Tracepoint}",
        AttachPlan.PerfEvent p => $"perf event type {p.Type} config {p.Config}",
        AttachPlan.Netfilter n => $"netfilter hook {n.Hook} of families {string.Join(' ', n.Families)} at priority {n.Priority}",
        AttachPlan.TailCall t => $"entry {t.Index} of map {t.MapId}",
        AttachPlan.TaskWalk => "once for each task at the start",
        AttachPlan.OnDemand => "run on demand",
        _ => "?",
    };
}
