using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Deferral;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Context;

// Probes in user code
// -------------------
// Handlers of one file that are equal but for constants are one program, attached to all their places at once by uprobe_multi (Linux 6.6) or, on older
// kernels, place by place through the uprobe PMU. The attachment's cookie is the row of a table that holds the constants and the probe's number. A
// thousand functions with one handler are one program and one system call.
//
// These programs run in the process's own context and can be preempted by others of their kind on the same CPU, so a frame is claimed (see
// ProgramEmitter.EnterFrame). The kernel runs the probes of one place last-attached first; programs are therefore made in reverse order.

internal sealed partial class ProgramBuilder
{
    private sealed record UprobeKey(string Path, bool IsReturn, bool AtInstructions, ProcessFilter Processes, StackArguments? Stack, string Shape);

    private void Uprobes(List<Probe> probes)
    {
        var groups = new List<(UprobeKey Key, MergedHandlers Group, HashSet<long> Offsets)>();
        var byKey = new Dictionary<UprobeKey, int>();
        foreach (var probe in probes)
        {
            var spec = (UserFunctionSpec)probe.Spec;
            var shape = HandlerShape.Of(probe);
            var key = new UprobeKey(spec.Path, spec.IsReturn, spec.ReturnSites is not null, spec.Processes, spec.StackArguments, shape.Text);

            // Two equal handlers of one place both run: the second goes into another group.
            if (!byKey.TryGetValue(key, out var index) || groups[index].Offsets.Contains(spec.FileOffset))
            {
                index = byKey[key] = groups.Count;
                groups.Add((key, new MergedHandlers { Shape = shape }, []));
            }

            groups[index].Group.Members.Add((probe, shape, groups[index].Group.Members.Count));
            groups[index].Offsets.Add(spec.FileOffset);
        }

        groups.Reverse();
        foreach (var (key, group, _) in groups)
        {
            Uprobe(key, group);
        }
    }

    private void Uprobe(UprobeKey key, MergedHandlers group)
    {
        var sites = new List<UprobeSite>(group.Members.Count);
        for (var i = 0; i < group.Members.Count; i++)
        {
            var probe = group.Members[i].Probe;
            var spec = (UserFunctionSpec)probe.Spec;
            foreach (var offset in spec.ReturnSites ?? [spec.FileOffset])
            {
                sites.Add(new UprobeSite(offset, spec.SemaphoreOffset, (ulong)i, spec.Symbol));
            }
        }

        group.Prepare(c, rewriter);
        var first = group.First;
        var context = new UprobeContext(c.Target, key.IsReturn, c.Features.UprobeMulti, key.Stack);
        var needs = NeedsOf(group.Body);
        var name = $"p{first.Index}_{first.Name}";
        var e = new ProgramEmitter(c, context, name, needs.Frame);
        e.Begin(first.Span);
        ProcessFilters.Emit(e, key.Processes, e.Exit, first.Span);
        e.EnterFrame(needs);
        if (group.Table >= 0)
        {
            var number = e.StackWord();
            e.Code.Emit(Instruction.Mov(Reg.R1, ProgramEmitter.Ctx));
            e.Code.Call(Helper.GetAttachCookie);
            e.SaveWord(number, Reg.R0);
            e.FindRow(group.Table, number, group.Columns, group.ProbeColumn, e.Exit);
        }

        e.Handler(first, group.Body, LocalFinder.In(group.Body), needs.Loops);
        e.End();
        var members = new Probe[group.Members.Count];
        for (var i = 0; i < members.Length; i++)
        {
            members[i] = group.Members[i].Probe;
        }

        var pid = key.Processes is ProcessFilter.Pid p && c.Features.UprobeMultiPid ? p.Id : 0;
        c.Programs.Add(new ProgramPlan(ProgramEmitter.MapName("", name), (uint)context.Type, e.Finish(first.Span), new AttachPlan.Uprobe(key.Path, sites, key.IsReturn && !key.AtInstructions, pid), members)
        {
            ExpectedAttachType = (uint)context.ExpectedAttachType,
        });
    }
}
