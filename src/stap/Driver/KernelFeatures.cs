using Linux.Bpf;
using SystemTap.Bpf;
using SystemTap.Targets;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;
using SystemTap.Cli.CommandLine;

namespace SystemTap.Cli.Driver;

internal sealed partial class SessionDriver
{
    /// <summary>What the running kernel answers, asked by loading tiny programs (about 50 µs each); nothing is asked when no handler runs in the kernel.</summary>
    private BpfFeatures KernelFeatures(LoweredProgram program)
    {
        if (!program.Probes.Any(p => p.Spec.RunsInKernel))
        {
            return BpfFeatures.Modern;
        }

        var features = AskKernel();
        var hasUserProbes = program.Probes.Any(p => p.Spec is UserFunctionSpec);
        var functions = program.Probes.Any(p => p.Spec is KernelFunctionSpec);
        return new BpfFeatures
        {
            WriteUser = !_options.Guru || features.Has(KernelFeature.WriteUser),
            MayGoto = features.Has(KernelFeature.MayGoto),
            BpfLoop = features.Has(KernelFeature.BpfLoop),
            MemoryKeys = program.Functions.Count == 0 || features.Has(KernelFeature.MemoryKeys),
            InstructionSetV4 = features.Has(KernelFeature.CpuV4),
            TypedTracepoints = features.Has(KernelFeature.TpBtf),
            ReadableArgument = ReadableArgument,
            HasTracepoint = HasTracepoint,
            UprobeMulti = !hasUserProbes || features.Has(KernelFeature.UprobeMulti),
            UprobeMultiPid = !hasUserProbes || features.Has(KernelFeature.PreemptDisable), // of the same release
            Netfilter = !program.Probes.Any(p => p.Spec is NetfilterSpec) || features.Has(KernelFeature.NetfilterPrograms),
            Trampolines = functions && features.Has(KernelFeature.FentryAttach),
            Kprobes = (functions || program.Probes.Any(p => p.Spec is ProcessSpec)) && features.Has(KernelFeature.KprobePmu),
            KprobeMulti = functions && features.Has(KernelFeature.KprobeMulti),
        };
    }

    private Features AskKernel()
    {
        var btf = _target.KernelBtf;
        return new Features(name => btf.FindFunctionId(name), typedefId: name => btf.Find(BtfKind.Typedef, name)?.Id ?? 0);
    }

    private readonly HashSet<string> _leftOut = new(StringComparer.Ordinal);
    private bool? _refusesFunctions;

    /// <summary>Why a point that may be left out cannot be probed on the running kernel, by this session's runtime or the one it may become; null when it can.</summary>
    private string? Obstacle(ResolvedPoint point)
    {
        if (UsesModule || _options.Mode != Mode.Run || _options.LastPass < 5 || !_target.IsLive)
        {
            return null;
        }

        if (point.Spec is TracepointSpec tracepoint)
        {
            return HasTracepoint(tracepoint.Name) ? null : "this kernel does not offer the tracepoint to BPF programs";
        }

        if (point.Spec is not KernelFunctionSpec { Kind: not KernelAttachKind.Lsm })
        {
            return null;
        }

        if (_refusesFunctions is null)
        {
            var features = AskKernel();
            _refusesFunctions = !features.Has(KernelFeature.KprobePmu) && !features.Has(KernelFeature.FentryAttach) && (_options.Runtime != "auto" || ModuleObstacle() is not null);
        }

        if (_refusesFunctions == false)
        {
            return null;
        }

        const string reason = "this kernel is built without kprobes and refuses function trampolines";
        if (_leftOut.Add(point.PointText))
        {
            Report(2, $"optional probe point '{point.PointText}' is left out: {reason}");
        }

        return reason;
    }

    private readonly Dictionary<string, bool> _tracepoints = new(StringComparer.Ordinal);

    /// <summary>Asks the kernel whether BPF programs can have a tracepoint; without an answer the program itself will meet what is in the way.</summary>
    private bool HasTracepoint(string name)
    {
        if (_tracepoints.TryGetValue(name, out var known))
        {
            return known;
        }

        try
        {
            // Shared by all questions; the kernel closes it with the process.
            _tracepointTrial ??= BpfProgram.Load(new ProgramSpec("tracepoint", ProgramType.RawTracepoint,
                new Assembler().Emit(Instruction.Load(MemSize.DW, Reg.R0, Reg.R1, 8 * 11)).Emit(Instruction.Mov(Reg.R0, 0)).Exit().Finish()));
            known = RawTracepoint.Exists(_tracepointTrial, name);
        }
        catch (BpfException)
        {
            known = true;
        }

        _tracepoints[name] = known;
        return known;
    }

    private BpfProgram? _tracepointTrial;

    /// <summary>Asks the verifier whether a typed program may read behind an argument of a tracepoint.</summary>
    private static bool ReadableArgument(int attachId, int argument, int offset, int size)
    {
        var a = new Assembler();
        a.Emit(Instruction.Load(MemSize.DW, Reg.R1, Reg.R1, 8 * argument))
            .Emit(Instruction.Load(size switch { 1 => MemSize.B, 2 => MemSize.H, 4 => MemSize.W, _ => MemSize.DW }, Reg.R0, Reg.R1, offset))
            .Emit(Instruction.Mov(Reg.R0, 0))
            .Exit();
        try
        {
            BpfProgram.Load(new ProgramSpec("argument", ProgramType.Tracing, a.Finish()) { ExpectedAttachType = AttachType.TraceRawTp, AttachBtfId = attachId }).Dispose();
            return true;
        }
        catch (VerifierException)
        {
            return false;
        }
        catch (BpfException)
        {
            // Whatever this is, the program itself meets it too, and says so.
            return true;
        }
    }
}
