using System.Globalization;
using Linux.Bpf;
using SystemTap.Bpf.Deferral;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Bpf.Context;

// Kernel functions: which attach kind?
// ------------------------------------
//   trampoline (fentry, fexit)   about a tenth of a kprobe's cost when it fires, typed arguments; each detach waits a grace period, so for few functions only.
//                                Runs preemptible: not for handlers that hold a lock. Needs BTF for the function, at most six words of arguments.
//   kprobe_multi                 one link for any number of functions, by address: a thousand in a fraction of a second. Function entries and returns only.
//   kprobe by perf event         the rest: one function, an instruction inside, kernels without fprobe (Debian's 6.1). Each takes a while.
//   kprobe event of tracefs      modules: by name, so that the kernel attaches it whenever the module is loaded, before its first instruction runs. Many functions of a module that
//                                is loaded are one kprobe_multi link nevertheless, which keeps the module from being unloaded.
//
// Handlers equal but for constants (`kernel.function("tcp_*") { n[probefunc()]++ }`) are one program; the cookie of each place is its row in
// the table of constants.

internal sealed partial class ProgramBuilder
{
    /// <summary>Functions up to which trampolines are used: their detaching costs a grace period each.</summary>
    private const int MostTrampolines = 8;

    /// <summary>Functions of modules up to which each is an event of its own, that comes and goes with its module.</summary>
    private const int MostModuleEvents = 50;

    /// <summary>Words of arguments that every kernel's trampolines carry.</summary>
    private const int MostTrampolineWords = 6;

    private void KernelFunctions(List<Probe> probes)
    {
        if (!c.Features.Kprobes && !c.Features.Trampolines)
        {
            throw new BpfCannotException("kernel functions cannot be probed on this kernel: it is built without kprobes and refuses function trampolines", probes[0].Span,
                "use tracepoints (kernel.trace(\"NAME\")) or system calls (syscall.NAME), or a kernel with CONFIG_KPROBES");
        }

        var groups = new List<MergedHandlers>();
        var byShape = new Dictionary<string, MergedHandlers>(StringComparer.Ordinal);
        var taken = new HashSet<(string Key, string? Module, string Symbol, long Offset)>();
        foreach (var probe in probes)
        {
            var spec = (KernelFunctionSpec)probe.Spec;
            if (spec.Kind == KernelAttachKind.Lsm)
            {
                Lsm(probe, spec);
                continue;
            }

            if (probes.Count <= MostTrampolines && TryTrampoline(probe, spec))
            {
                continue;
            }

            if (!c.Features.Kprobes)
            {
                throw new BpfCannotException($"kernel function \"{spec.Symbol}\" cannot be probed this way on this kernel: it is built without kprobes", probe.Span, "use fewer functions, by name");
            }

            // The kernel itself says so for code that is there; of a module that comes later it would only skip the probe.
            if (spec is { Module: not null, Address: 0 } && c.Target.KernelFunctions.IsTraceable(spec.Symbol, spec.Module) == false)
            {
                throw new BpfCannotException($"function \"{spec.Symbol}\" of module \"{spec.Module}\" cannot be probed by BPF programs: ftrace cannot patch it (notrace, as all exit functions)", probe.Span);
            }

            var shape = HandlerShape.Of(probe);
            var key = $"{spec.IsReturn} {spec.Offset != 0} {spec.Kind} {(spec.Module is null ? "kernel" : spec.Address != 0 ? "loaded" : "unloaded")} {shape.Text}";

            // A link of many places knows each of them once: a second probe of a function needs a program of its own, however equal its handler.
            var again = 0;
            while (!taken.Add((key + again, spec.Module, spec.Symbol, spec.Offset)))
            {
                again++;
            }

            key += again;
            if (!byShape.TryGetValue(key, out var group))
            {
                byShape[key] = group = new MergedHandlers { Shape = shape };
                groups.Add(group);
            }

            group.Members.Add((probe, shape, group.Members.Count));
        }

        foreach (var group in groups)
        {
            Kprobes(group);
        }
    }

    private bool TryTrampoline(Probe probe, KernelFunctionSpec spec)
    {
        if (!c.Features.Trampolines || spec.Kind != KernelAttachKind.Any || spec.BtfFunction == 0 || spec.Module is not null || spec.Offset != 0
            || c.Locks.Of(probe) is not null || c.Target.KernelBtfOrNull is not { } btf || Words(btf.Type(spec.BtfFunction), spec.IsReturn) is not (>= 0 and var words))
        {
            return false;
        }

        var body = rewriter.Rewrite(probe.Body);
        var needs = NeedsOf(body);
        if (needs.Registers)
        {
            return false;
        }

        needs.Frame = true; // typed words are turned into plain numbers through it
        Simple(probe, body, needs, new TrampolineContext(c.Target, spec, words), new AttachPlan.Trampoline(), null);
        return true;
    }

    /// <summary>Words of a function's arguments; −1 when trampolines cannot serve it on every kernel.</summary>
    private static int Words(BtfType function, bool withResult)
    {
        if (function.IsVariadic || (withResult && !function.ReturnType.IsVoid && (function.ReturnType.IsStructOrUnion || function.ReturnType.Size > 8)))
        {
            return -1;
        }

        var words = 0;
        foreach (var parameter in function.Parameters)
        {
            if (parameter.Type.IsStructOrUnion || parameter.Type.IsFloat || parameter.Type.Size > 8 || IsUnreadable(parameter.Type))
            {
                return -1;
            }

            words++;
        }

        return words <= MostTrampolineWords ? words : -1;
    }

    private void Lsm(Probe probe, KernelFunctionSpec spec)
    {
        var words = Math.Max(0, c.Target.KernelBtf.Type(spec.BtfFunction).Parameters.Count);
        var body = rewriter.Rewrite(probe.Body);
        var needs = NeedsOf(body);
        needs.Frame = true;
        Simple(probe, body, needs, new TrampolineContext(c.Target, spec, words), new AttachPlan.Trampoline(), null);
    }

    private void Kprobes(MergedHandlers group)
    {
        group.Prepare(c, rewriter);
        var first = (KernelFunctionSpec)group.First.Spec;
        var needs = NeedsOf(group.Body);
        var comeAndGo = first.Module is not null && (first.Address == 0 || group.Members.Count <= MostModuleEvents);
        var isMulti = c.Features.KprobeMulti && group.Members.Count > 1 && first.Kind == KernelAttachKind.Any && first.Offset == 0 && !needs.Registers && !comeAndGo;
        var context = new KernelProbeContext(c.Target, first, isMulti);
        var name = string.Create(CultureInfo.InvariantCulture, $"p{group.First.Index}_{first.Symbol}");
        var e = new ProgramEmitter(c, context, name, needs.Frame);
        var span = group.First.Span;
        e.Begin(span);
        e.EnterFrame(needs);
        if (group.Table >= 0)
        {
            var number = e.StackWord();
            e.Code.Emit(Instruction.Mov(Reg.R1, ProgramEmitter.Ctx));
            e.Code.Call(Helper.GetAttachCookie);
            e.SaveWord(number, Reg.R0);
            e.FindRow(group.Table, number, group.Columns, group.ProbeColumn, e.Exit);
        }

        e.Handler(group.First, group.Body, LocalFinder.In(group.Body), needs.Loops);
        e.End();

        var places = new KernelPlace[group.Members.Count];
        var probes = new Probe[places.Length];
        for (var i = 0; i < places.Length; i++)
        {
            var (probe, _, number) = group.Members[i];
            var spec = (KernelFunctionSpec)probe.Spec;
            probes[i] = probe;

            // A plain name was resolved without reading kallsyms; one link takes either addresses or names.
            var address = spec.Address != 0 || !isMulti ? spec.Address : c.Target.KernelSymbols.Find(spec.Symbol)?.Address ?? 0;
            places[i] = new KernelPlace(spec.Symbol, spec.Offset, address == 0 ? 0 : address + (ulong)spec.Offset, (ulong)number, isMulti ? null : spec.Module);
        }

        c.Programs.Add(new ProgramPlan(ProgramEmitter.MapName("", name), (uint)context.Type, e.Finish(span), new AttachPlan.KernelFunctions(places, first.IsReturn, isMulti), probes)
        {
            ExpectedAttachType = (uint)context.ExpectedAttachType,
        });
    }
}
