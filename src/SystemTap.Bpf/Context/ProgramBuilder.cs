using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Deferral;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Context;

/// <summary>Makes the programs of all kernel handlers, by kind of event.</summary>
internal sealed partial class ProgramBuilder(Compilation c, BodyRewriter rewriter)
{
    public void BuildAll()
    {
        var entries = new List<Probe>();
        var returns = new List<Probe>();
        var user = new List<Probe>();
        var functions = new List<Probe>();
        if (c.TargetSetMap >= 0)
        {
            FollowForks();
        }

        foreach (var probe in c.Placement.KernelProbes)
        {
            switch (probe.Spec)
            {
                case TracepointSpec t:
                    Tracepoint(probe, t);
                    break;
                case SyscallSpec s:
                    (s.IsReturn ? returns : entries).Add(probe);
                    break;
                case PerfSpec { CounterName: not null }:
                    // Counted without a handler, see Compilation.CounterMap.
                    break;
                case PerfSpec s:
                    Perf(probe, new AttachPlan.PerfEvent(s.Type, s.Config, s.SamplePeriod, s.FrequencyHz, s.Processes is ProcessFilter.Pid p ? p.Id : -1), s.Processes);
                    break;
                case ProfileSpec s:
                    Perf(probe, new AttachPlan.PerfEvent(1, 0, 0, s.FrequencyHz), null);
                    break;
                case UserFunctionSpec:
                    user.Add(probe);
                    break;
                case ProcessSpec s:
                    Process(probe, s);
                    break;
                case KernelFunctionSpec:
                    functions.Add(probe);
                    break;
                case WatchpointSpec s:
                    Perf(probe, new AttachPlan.PerfEvent(5, 0, 1, 0) { BreakpointAddress = s.Address, BreakpointLength = s.Length, BreakpointOnRead = s.OnRead }, null);
                    break;
                case NetfilterSpec s:
                    Netfilter(probe, s);
                    break;
                default:
                    throw new BpfCannotException($"probe \"{probe.PointText}\" cannot be attached by the BPF engine", probe.Span, "run with --runtime=kernel");
            }
        }

        if (user.Count > 0)
        {
            Uprobes(user);
        }

        if (functions.Count > 0)
        {
            KernelFunctions(functions);
        }

        if (entries.Count > 0)
        {
            Syscalls(entries, isReturn: false);
        }

        if (returns.Count > 0)
        {
            Syscalls(returns, isReturn: true);
        }

        // Last, so that a process still belongs to the target while handlers see its end.
        if (c.TargetSetMap >= 0)
        {
            FollowExits();
        }
    }

    /// <summary>
    /// A handler of stap that looks at several globals of kernel handlers: a program that stap runs at its time, under the lock. One that the engine cannot
    /// translate stays with the host evaluator, whose single accesses are atomic, and the plan says so.
    /// </summary>
    public void OnDemand(Probe probe)
    {
        var sites = c.PrintSites.Count;
        try
        {
            foreach (var function in c.Placement.AddOnDemand(probe))
            {
                if (!c.FunctionBodies.ContainsKey(function))
                {
                    c.FunctionBodies[function] = rewriter.Rewrite(function.Body);
                }
            }

            var body = new EarlyUnlock(c.SharedGlobals, c.Capacities).Apply(rewriter.Rewrite(probe.Body));
            Simple(probe, body, NeedsOf(body), new RequestContext(), new AttachPlan.OnDemand(), null);
        }
        catch (BpfCannotException e)
        {
            c.PrintSites.RemoveRange(sites, c.PrintSites.Count - sites);
            c.LeftToHost.Add((probe, e));
        }
    }

    private HandlerNeeds NeedsOf(Stmt body)
    {
        var needs = new HandlerNeeds(f => c.FunctionBodies.GetValueOrDefault(f) ?? f.Body, c.Storage.Globals, c.Target);
        needs.Visit(body);
        return needs;
    }

    /// <summary>
    /// A pointer to qualified void (<c>const void *</c>): the verifier of older kernels (6.1) looks for the type behind the qualifier, finds none and refuses
    /// to load the argument in a typed program.
    /// </summary>
    private static bool IsUnreadable(Targets.BtfType type) => type.IsPointer && type.Stripped.Target is { IsVoid: true, Kind: not Targets.BtfKind.Void };

    private void Tracepoint(Probe probe, TracepointSpec spec)
    {
        if (c.Features.HasTracepoint?.Invoke(spec.Name) == false)
        {
            throw new BpfCannotException($"tracepoint \"{spec.Name}\" cannot be probed by the BPF engine: this kernel does not offer it to BPF programs", probe.Span, "run with --runtime=kernel");
        }

        var body = rewriter.Rewrite(probe.Body);
        var needs = NeedsOf(body);
        var typed = needs.DirectLoads && c.Features.TypedTracepoints ? c.Target.Tracepoints.Find(spec.Name) : null;
        var btfId = typed is null || typed.Parameters.Any(p => IsUnreadable(p.Type))
            || needs.ArgumentLoads.Any(l => c.Features.ReadableArgument?.Invoke((int)typed.AttachId, l.Argument, l.Offset, l.Size) == false) ? 0 : typed.AttachId;
        var context = new TracepointContext(spec.Name, btfId);
        Simple(probe, body, needs, context, new AttachPlan.RawTracepoint(spec.Name), null);
    }

    private void Netfilter(Probe probe, NetfilterSpec spec)
    {
        const int inet = 1, ipv4 = 2, ipv6 = 10;
        if (spec.Family is not (inet or ipv4 or ipv6))
        {
            throw new BpfCannotException($"probe \"{probe.PointText}\" cannot be attached by the BPF engine: its programs see IPv4 and IPv6 packets only", probe.Span, "run with --runtime=kernel");
        }

        if (!c.Features.Netfilter)
        {
            throw new BpfCannotException($"probe \"{probe.PointText}\" cannot be attached by the BPF engine: this kernel has no netfilter programs (Linux 6.4 with CONFIG_NETFILTER_BPF_LINK)", probe.Span,
                "run with --runtime=kernel");
        }

        var body = rewriter.Rewrite(probe.Body);
        var needs = NeedsOf(body);
        needs.Frame = true; // typed words are turned into plain numbers through it
        Simple(probe, body, needs, new NetfilterContext(), new AttachPlan.Netfilter(spec.Family == inet ? [ipv4, ipv6] : [spec.Family], spec.Hook, spec.Priority), null);
    }

    /// <summary>A program of one handler.</summary>
    private void Simple(Probe probe, Stmt body, HandlerNeeds needs, EventContext context, AttachPlan attach, Action<ProgramEmitter>? filter, string suffix = "")
    {
        var name = $"p{probe.Index}{suffix}_{probe.Name}";
        var emitter = new ProgramEmitter(c, context, name, needs.Frame);

        // Claiming a frame can be seen: a run that finds none is counted as skipped.
        var late = !(context.IsPreemptible && needs.Frame);
        if (late)
        {
            emitter.BeginUnchecked(probe.Span);
        }
        else
        {
            emitter.Begin(probe.Span);
        }

        filter?.Invoke(emitter);
        emitter.EnterFrame(needs);
        emitter.Handler(probe, body, LocalFinder.In(body), needs.Loops, checkState: late);
        emitter.End();
        c.Programs.Add(new ProgramPlan(ProgramEmitter.MapName("", name), (uint)context.Type, emitter.Finish(probe.Span), attach, [probe])
        {
            ExpectedAttachType = (uint)context.ExpectedAttachType,
            AttachBtfId = context.AttachBtfId,
        });
    }
}
