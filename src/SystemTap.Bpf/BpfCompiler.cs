using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Context;
using SystemTap.Bpf.Deferral;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Layout;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Bpf;

/// <summary>Pass 3 for the BPF engine: a lowered program to maps, instructions and attach plans. Touches no kernel; the same inputs give the same plan.</summary>
public static class BpfCompiler
{
    /// <summary>Bytes of the ring when stacks are sent, some 20 KB each.</summary>
    private const int LargeRing = 16 << 20;

    /// <summary>Translates a program.</summary>
    /// <exception cref="BpfCannotException">The script asks for something this engine cannot do; the exception has the place.</exception>
    public static BpfPlan Compile(LoweredProgram program, Target target, BpfOptions options)
    {
        // The forms that every program could have cost time at each event, so they are taken only by scripts that need them.
        var (largeFrames, stepwiseCalls) = (false, false);
        while (true)
        {
            try
            {
                return Compile(program, target, options, largeFrames, stepwiseCalls);
            }
            catch (FrameTooLargeException) when (!largeFrames)
            {
                largeFrames = true;
            }
            catch (CallsTooDeepException) when (!stepwiseCalls)
            {
                stepwiseCalls = true;
            }
        }
    }

    private static BpfPlan Compile(LoweredProgram program, Target target, BpfOptions options, bool largeFrames, bool stepwiseCalls)
    {
        var namesPrograms = ProgramNames.In(program);
        (program, var refusal, var counts) = HostStatements.Apply(program, target.Architecture);
        var placement = Placement.Of(program);
        GuruWrites.Refuse(placement.HostProbes);
        if (placement.KernelProbes.Count == 0)
        {
            return HostOnly(program, placement);
        }

        var tables = new TableBounds(options, target);
        var capacities = Capacities.Of(program, tables.Bound);
        var maps = new MapTable();
        var (data, ring, constants) = (maps.Reserve("stap_data"), maps.Reserve("stap_ring"), maps.Reserve("stap_const"));
        var locks = Locks.Of(program, placement);

        // Handlers of stap that need a lock are run inside the kernel, where one can be held. Their globals go where BPF reaches them.
        var shared = Array.ConvertAll(placement.KernelUse, static use => use != GlobalUse.None);
        var onDemand = placement.ConcurrentHostProbes.FindAll(p => locks.Of(p) is not null);
        foreach (var probe in onDemand)
        {
            placement.AddOnDemand(probe);
        }

        var storage = Storage.Of(program, placement, capacities, locks, maps, target.PossibleCpuCount);
        var compilation = new Compilation(program, target, options)
        {
            Placement = placement,
            Capacities = capacities,
            Locks = locks,
            SharedGlobals = shared,
            Storage = storage,
            Maps = maps,
            DataMap = data,
            RingMap = ring,
            ConstantMap = constants,
            LargeFrames = largeFrames,
            StepwiseCalls = stepwiseCalls,
            Refusal = refusal,
        };
        if (options.HasTarget)
        {
            compilation.TargetSetMap = maps.Add("stap_targets", MapType.Hash, 4, 4, 32768, MapFlags.NoPrealloc);
        }

        if (program.Counters.Count() is var counters and > 0)
        {
            compilation.CounterMap = maps.Add("stap_counters", MapType.PerfEventArray, 4, 4, counters * target.PossibleCpuCount, MapFlags.None);
        }

        var rewriter = new BodyRewriter(compilation);
        foreach (var function in placement.KernelFunctions)
        {
            compilation.FunctionBodies[function] = rewriter.Rewrite(function.Body);
        }

        var builder = new ProgramBuilder(compilation, rewriter);
        builder.BuildAll();
        foreach (var probe in onDemand)
        {
            builder.OnDemand(probe);
        }

        maps.Complete(data, MapType.Array, 4, storage.Data.Length, 1, MapFlags.Mmapable, storage.Data);
        maps.Complete(ring, MapType.RingBuf, 0, 0, compilation.SendsStacks ? Math.Max(options.RingBytes, LargeRing) : options.RingBytes);

        // Room behind, so that the verifier accepts any index into the last text.
        byte[] texts = [.. compilation.Constants.ToArray(), .. new byte[compilation.Limits.MaxStringLength + 8]];
        maps.Complete(constants, MapType.Array, 4, texts.Length, 1, MapFlags.ReadOnlyProgram, texts, isConstant: true);
        return new BpfPlan
        {
            Program = program,
            Maps = maps.Maps,
            Programs = compilation.Programs,
            Globals = storage.Globals,
            PrintSites = compilation.PrintSites,
            ErrorSites = compilation.ErrorSites,
            CallSites = compilation.CallSites,
            HostProbes = placement.HostProbes,
            DataMap = data,
            RingMap = ring,
            DataSize = storage.Data.Length,
            TargetSetMap = compilation.TargetSetMap,
            CounterMap = compilation.CounterMap,
            Sources = compilation.Sources,
            SendsStacks = compilation.SendsStacks,
            NamesPrograms = namesPrograms,
            LeftToHost = compilation.LeftToHost,
            CountTables = counts,
            CountReaders = counts.Count == 0 ? new HashSet<Probe>() : placement.HostProbes.Where(p => Placement.Touches(program, p, counts.Select(static c => c.Array))).ToHashSet(),
        };
    }

    private static BpfPlan HostOnly(LoweredProgram program, Placement placement)
    {
        var globals = new GlobalStorage[program.Globals.Count];
        for (var i = 0; i < globals.Length; i++)
        {
            globals[i] = new GlobalStorage.HostOnly(program.Globals[i]);
        }

        return new BpfPlan
        {
            Program = program,
            Maps = [],
            Programs = [],
            Globals = globals,
            PrintSites = [],
            ErrorSites = [],
            HostProbes = placement.HostProbes,
            DataMap = -1,
            RingMap = -1,
            DataSize = 0,
        };
    }
}
