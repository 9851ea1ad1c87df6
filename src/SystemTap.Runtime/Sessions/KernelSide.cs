using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Runtime.Host;
using SystemTap.Runtime.Native;

namespace SystemTap.Runtime.Sessions;

/// <summary>The part of a session inside the kernel: maps, programs, links, ring. Everything is a descriptor of this process.</summary>
public sealed partial class KernelSide : IDisposable
{
    /// <summary>Values of <see cref="ControlBlock.State"/>.</summary>
    public const int Starting = 0, Running = 1, Stopping = 2;

    private readonly BpfPlan _plan;
    private readonly BpfMap[] _maps;
    private readonly List<BpfProgram> _programs = [];
    private readonly List<BpfLink> _links = [];
    private readonly List<BpfLink> _walks = [];
    private readonly Dictionary<SystemTap.Semantics.Lowered.Probe, BpfProgram> _onDemand = new(ReferenceEqualityComparer.Instance);
    private MappedMemory? _data;
    private RingBuffer? _ring;
    private KernelFd? _statistics;
    private BpfGlobalStore? _store;
    private bool _draining;
    private long _clockSet;

    private readonly Action<string> _complain;

    private KernelSide(BpfPlan plan, Action<string> complain)
    {
        _plan = plan;
        _complain = complain;
        _maps = new BpfMap[plan.Maps.Count];
    }

    /// <summary>The script's globals.</summary>
    public BpfGlobalStore Store => _store!;

    /// <summary>Descriptor to wait for; −1 when kernel handlers send nothing.</summary>
    public int RingDescriptor => _ring is null ? -1 : _maps[_plan.RingMap].Fd;

    public long Errors => Counter(ControlBlock.Errors);

    public long LostRecords => Counter(ControlBlock.LostRecords);

    public long SkippedLock => Counter(ControlBlock.SkippedLock);

    public long SkippedReentry => Counter(ControlBlock.SkippedReentry);

    public long TruncatedStrings => Counter(ControlBlock.TruncatedStrings);

    /// <summary>Where the first of them was cut; null when none was.</summary>
    public string? FirstTruncation =>
        Counter(ControlBlock.FirstTruncation) is > 0 and var site && site <= _plan.ErrorSites.Count && _plan.ErrorSites[(int)site - 1].Span is { IsWritten: true } span ? span.ToString() : null;

    public long NonResidentReads => Counter(ControlBlock.NonResidentReads);

    /// <summary>Creates and fills the maps, loads the programs. Nothing is attached.</summary>
    /// <exception cref="BpfException">The kernel refuses one of them.</exception>
    public static KernelSide Load(BpfPlan plan, SessionOptions options, Action<string>? complain = null)
    {
        var side = new KernelSide(plan, complain ?? (static _ => { }));
        try
        {
            if (options.Timing)
            {
                side._statistics = BpfStats.Enable();
            }

            side.CreateMaps(options);
            side.LoadPrograms();
            side._store = new BpfGlobalStore(plan, side._maps, side._data);
            return side;
        }
        catch
        {
            side.Dispose();
            throw;
        }
    }

    /// <summary>What the kernel says of the programs, in the plan's order.</summary>
    public IEnumerable<ProgramInfo> ProgramFacts() => _programs.Select(static p => p.Info());

    /// <summary>Attaches all programs; tail-call slots first, as the plan orders them.</summary>
    public void Attach()
    {
        for (var pass = 0; pass < 2; pass++)
        {
            for (var i = 0; i < _programs.Count; i++)
            {
                var plan = _plan.Programs[i];
                if (plan.Attach is AttachPlan.TailCall == (pass == 0))
                {
                    Attach(plan, _programs[i]);
                }
            }
        }
    }

    /// <summary>Runs the handlers that are about what is already there, such as processes alive at the start. The state must be "running".</summary>
    public void Walk()
    {
        foreach (var walk in _walks)
        {
            Iterator.Run(walk);
        }

        _walks.Clear();
    }

    /// <summary>Detaches everything; maps stay readable.</summary>
    public void Detach()
    {
        CloseLinks();
    }

    public void SetState(int state)
    {
        if (_data is { } data)
        {
            Volatile.Write(ref data.Word(ControlBlock.State), state);
        }

        _store!.KernelRuns = state == Running;
    }

    /// <summary>No handler starts from now on; those that run may finish, so the kernel is still at work.</summary>
    public void StopHandlers()
    {
        if (_data is { } data)
        {
            Volatile.Write(ref data.Word(ControlBlock.State), Stopping);
        }
    }

    /// <summary>Tells the programs the process of -x/-c and its descendants.</summary>
    public void SetTarget(int pid, IReadOnlyList<int> tree)
    {
        if (_data is { } data)
        {
            Volatile.Write(ref data.Word(ControlBlock.TargetPid), pid);
        }

        if (_plan.TargetSetMap >= 0)
        {
            foreach (var member in tree)
            {
                _maps[_plan.TargetSetMap].Update((uint)member, 1u);
            }
        }
    }

    /// <summary>Whether the programs count a process to the target's tree; null when they keep no such set.</summary>
    public bool? TargetSetContains(long pid) =>
        _plan.TargetSetMap < 0 ? null : _maps[_plan.TargetSetMap].TryLookup((uint)pid, out uint _);

    /// <summary>Reads the records made so far; also keeps the wall clock's offset fresh.</summary>
    /// <returns>Records read.</returns>
    public int Drain(RecordReader reader)
    {
        RefreshClock();

        // A record's handling may print a warning or run something that drains again.
        if (_ring is null || _draining)
        {
            return 0;
        }

        _draining = true;
        try
        {
            var handler = new Handler(reader);
            return _ring.Drain(ref handler, 50_000);
        }
        finally
        {
            _draining = false;
        }
    }

    /// <summary>Runs the kernel dropped because a program was active on that CPU.</summary>
    public long RecursionMisses()
    {
        ulong misses = 0;
        foreach (var program in _programs)
        {
            misses += program.Info().RecursionMisses;
        }

        return (long)misses + _missed;
    }

    /// <summary>Runs and total nanoseconds of each program (statistics must be on).</summary>
    public IEnumerable<(ProgramPlan Plan, long Hits, long TotalNs)> Times()
    {
        for (var i = 0; i < _programs.Count; i++)
        {
            var info = _programs[i].Info();
            yield return (_plan.Programs[i], (long)info.RunCount, (long)info.RunTimeNs);
        }
    }

    /// <summary>Nanoseconds all attached programs have run, as far as statistics were on.</summary>
    internal long RunTime()
    {
        long total = 0;
        for (var i = 0; i < _programs.Count; i++)
        {
            if (_plan.Programs[i].Attach is not (AttachPlan.TailCall or AttachPlan.OnDemand))
            {
                total += (long)_programs[i].Info().RunTimeNs;
            }
        }

        return total;
    }

    public void Dispose()
    {
        Detach();
        StopCounters();
        _ring?.Dispose();
        _data?.Dispose();
        _store?.Dispose();
        foreach (var program in _programs)
        {
            program.Dispose();
        }

        _programs.Clear();
        foreach (var map in _maps)
        {
            map?.Dispose();
        }

        _statistics?.Dispose();
        _statistics = null;
    }

    private readonly struct Handler(RecordReader reader) : IRingHandler
    {
        public bool OnRecord(ReadOnlySpan<byte> record)
        {
            reader.Read(record);
            return true;
        }
    }

    private long Counter(int offset) => _data is { } data ? Volatile.Read(ref data.Word(offset)) : 0;

    private void RefreshClock()
    {
        var boot = Libc.Clock(Libc.BootTime);
        if (_data is { } data && boot - _clockSet > 1_000_000_000)
        {
            Volatile.Write(ref data.Word(ControlBlock.WallOffset), Libc.Clock(Libc.Realtime) - boot);
            _clockSet = boot;
        }
    }

    private void CreateMaps(SessionOptions options)
    {
        foreach (var plan in _plan.Maps)
        {
            var entries = plan.Id == _plan.RingMap && options.RingBytes > plan.MaxEntries ? options.RingBytes : plan.MaxEntries;
            var spec = new MapSpec(plan.Name, (MapType)plan.Type, plan.KeySize, plan.ValueSize, entries, (MapFlags)plan.Flags)
            {
                InnerMap = plan.InnerMapId < 0 ? null : _maps[plan.InnerMapId].Spec,
            };
            BpfMap map;
            try
            {
                map = BpfMap.Create(spec);
            }
            catch (BpfException e) when (e.ErrorNumber == Errno.E2BIG && plan.WhenTooLarge is not null)
            {
                throw new IOException(plan.WhenTooLarge, e);
            }

            _maps[plan.Id] = map;
            if (plan.Id == _plan.CounterMap)
            {
                StartCounters(map);
            }

            if (plan.Contents is { } contents)
            {
                Fill(map, contents);
            }

            if (plan.IsConstant)
            {
                map.Freeze();
            }
        }

        if (_plan.DataMap >= 0)
        {
            _data = _maps[_plan.DataMap].Map();
            Volatile.Write(ref _data.Word(ControlBlock.StapPid), Environment.ProcessId);
            RefreshClock();
        }

        if (_plan.RingMap >= 0)
        {
            _ring = new RingBuffer(_maps[_plan.RingMap]);
        }
    }

    private static void Fill(BpfMap map, ReadOnlySpan<byte> contents)
    {
        var size = map.Spec.ValueSize;
        var value = new byte[map.ValueBytes];
        for (var i = 0; i * size < contents.Length; i++)
        {
            var element = contents.Slice(i * size, Math.Min(size, contents.Length - (i * size)));
            value.AsSpan().Clear();
            if (map.IsPerCpu)
            {
                for (var at = 0; at < value.Length; at += PerCpu.Stride(size))
                {
                    element.CopyTo(value.AsSpan(at));
                }
            }
            else
            {
                element.CopyTo(value);
            }

            map.Update(BpfMap.Bytes(i), value);
        }
    }

    /// <summary>
    /// Runs the handler of a probe of stap inside the kernel, when the plan has a program for it. What it prints is in the ring afterwards.
    /// </summary>
    /// <returns>False: the host evaluator runs it.</returns>
    public bool Run(SystemTap.Semantics.Lowered.Probe probe)
    {
        if (!_onDemand.TryGetValue(probe, out var program))
        {
            return false;
        }

        program.TestRun(default);
        return true;
    }

    private void LoadPrograms()
    {
        // With the sources, a refusal names the script's line.
        SourceFile[] sources = [.. _plan.Sources.Select(static s => new SourceFile(s.Path, s.Content))];
        foreach (var plan in _plan.Programs)
        {
            var spec = new ProgramSpec(plan.Name, (ProgramType)plan.ProgramType, plan.Code)
            {
                ExpectedAttachType = (AttachType)plan.ExpectedAttachType,
                AttachBtfId = plan.AttachBtfId,
                ResolveMap = key => _maps[(int)key],
                Sources = sources,
            };
            _programs.Add(BpfProgram.Load(spec));
            if (plan.Attach is AttachPlan.OnDemand)
            {
                _onDemand[plan.Probes[0]] = _programs[^1];
            }
        }
    }

    private void Attach(ProgramPlan plan, BpfProgram program)
    {
        switch (plan.Attach)
        {
            case AttachPlan.TailCall slot:
                _maps[slot.MapId].SetFd((uint)slot.Index, program.Fd);
                break;
            case AttachPlan.RawTracepoint point:
                _links.Add(plan.AttachBtfId != 0 ? RawTracepoint.AttachTyped(program) : RawTracepoint.Attach(program, point.Tracepoint));
                break;
            case AttachPlan.PerfEvent perf:
                foreach (var cpu in CpuList.Online())
                {
                    var spec = new PerfEventSpec
                    {
                        Name = plan.Name,
                        Type = perf.Type,
                        Config = perf.Config,
                        Period = (ulong)perf.SamplePeriod,
                        Frequency = (ulong)perf.FrequencyHz,
                        Pid = perf.Pid,
                        Cpu = cpu,
                        Inherit = perf.Pid >= 0,
                        Config1 = perf.BreakpointAddress,
                        Config2 = (ulong)perf.BreakpointLength,
                        BreakpointType = perf.BreakpointAddress == 0 ? 0u : perf.BreakpointOnRead ? 3u : 2u,
                    };
                    _links.Add(PerfEvent.Open(spec).Attach(program));
                }

                break;
            case AttachPlan.Uprobe uprobe:
                AttachUprobes(plan, uprobe, program);
                break;
            case AttachPlan.TaskWalk:
                _walks.Add(Iterator.Attach(program));
                _links.Add(_walks[^1]);
                break;
            case AttachPlan.Netfilter netfilter:
                foreach (var family in netfilter.Families)
                {
                    _links.Add(NetfilterHook.Attach(program, family, netfilter.Hook, netfilter.Priority));
                }

                break;
            case AttachPlan.Trampoline:
                _links.Add(Trampoline.Attach(program));
                break;
            case AttachPlan.KernelFunctions functions:
                AttachFunctions(functions, program);
                break;
            case AttachPlan.OnDemand:
                break;
            default:
                throw new NotSupportedException($"attach kind {plan.Attach.GetType().Name} has no loader");
        }
    }
}
