namespace Linux.Bpf;

/// <summary>The trial behind each feature. None throws; refusals are answers.</summary>
internal sealed unsafe class FeatureProbes(IBpfSys sys, Func<string, int>? kfuncId, Func<string, int>? typedefId)
{
    internal FeatureAnswer Run(KernelFeature feature)
    {
        try
        {
            return Probe(feature);
        }
        catch (BpfException e)
        {
            return Judge(e.ErrorNumber); // A map or BTF the trial needed was refused.
        }
    }

    private FeatureAnswer Probe(KernelFeature feature) => feature switch
    {
        KernelFeature.MayGoto => Loads(a =>
        {
            Label end = a.NewLabel();
            a.MayGoto(end).Bind(end);
        }),
        KernelFeature.BpfLoop => Callback(Helper.Loop, null),
        KernelFeature.ForEachMapElem => ForEach(),
        KernelFeature.CpuV4 => Loads(a => a
            .Emit(Instruction.Mov(Reg.R1, -7)).Emit(Instruction.Mov(Reg.R2, 2)).Emit(Instruction.SDiv64(Reg.R1, Reg.R2))
            .Emit(Instruction.Store(MemSize.DW, Reg.R10, -8, Reg.R1)).Emit(Instruction.LoadSx(MemSize.W, Reg.R1, Reg.R10, -8))
            .Emit(Instruction.MovSx(Reg.R1, Reg.R1, 8)).Emit(Instruction.JumpLong(0))),
        KernelFeature.AtomicFetch => Loads(a => Slot(a).Emit(Instruction.Mov(Reg.R1, 1))
            .Emit(Instruction.Atomic(AtomicOp.FetchAdd, MemSize.DW, Reg.R10, -8, Reg.R1))
            .Emit(Instruction.Mov(Reg.R0, 0)).Emit(Instruction.Atomic(AtomicOp.CmpXchg, MemSize.DW, Reg.R10, -8, Reg.R1))),
        KernelFeature.LoadAcquire => Loads(a => Slot(a).Emit(Instruction.LoadAcquire(MemSize.DW, Reg.R1, Reg.R10, -8))
            .Emit(Instruction.StoreRelease(MemSize.DW, Reg.R10, -8, Reg.R1))),
        KernelFeature.RingBuf => Creates(MapSpec.Ring("probe", Environment.SystemPageSize)),
        KernelFeature.RingBufOverwrite => Creates(MapSpec.Ring("probe", Environment.SystemPageSize) with { Flags = MapFlags.RingBufOverwrite }),
        KernelFeature.IterNum => Kfuncs(["bpf_iter_num_new", "bpf_iter_num_next", "bpf_iter_num_destroy"], (a, id) =>
        {
            Iterator(a).Emit(Instruction.Mov(Reg.R2, 0)).Emit(Instruction.Mov(Reg.R3, 1)).CallKfunc(id[0]);
            Label again = a.Here(), end = a.NewLabel();
            Iterator(a).CallKfunc(id[1]).JumpIf(JumpOp.Eq, Reg.R0, 0, end).Jump(again).Bind(end);
            Iterator(a).CallKfunc(id[2]);
        }),
        KernelFeature.PreemptDisable => Kfuncs(["bpf_preempt_disable", "bpf_preempt_enable"], (a, id) => a.CallKfunc(id[0]).CallKfunc(id[1])),
        KernelFeature.LocalIrqSave => Kfuncs(["bpf_local_irq_save", "bpf_local_irq_restore"], (a, id) =>
        {
            Iterator(a).CallKfunc(id[0]);
            Iterator(a).CallKfunc(id[1]);
        }),
        KernelFeature.StringKfuncs => Kfuncs(["bpf_strlen", "bpf_strcmp", "bpf_strstr"], (a, id) =>
        {
            Slot(a);
            foreach (int kfunc in id)
                Iterator(a).Emit(Instruction.Mov(Reg.R2, Reg.R1)).CallKfunc(kfunc);
        }),
        KernelFeature.StrCaseCmp => Kfuncs(["bpf_strcasecmp"], (a, id) =>
            Iterator(Slot(a)).Emit(Instruction.Mov(Reg.R2, Reg.R1)).CallKfunc(id[0])),
        KernelFeature.RdonlyCast => Kfuncs(["bpf_rdonly_cast"], (a, id) => Iterator(Slot(a)).Emit(Instruction.Mov(Reg.R2, 0)).CallKfunc(id[0])),
        KernelFeature.KprobeMulti => KprobeMultiLink(AttachType.TraceKprobeMulti),
        KernelFeature.KprobeSession => KprobeMultiLink(AttachType.TraceKprobeSession),
        KernelFeature.UprobeMulti => UprobeMultiLink(AttachType.TraceUprobeMulti),
        KernelFeature.UprobeSession => UprobeMultiLink(AttachType.TraceUprobeSession),
        KernelFeature.WriteUser => Loads(a => Iterator(Slot(a)).Emit(Instruction.Mov(Reg.R2, Reg.R1)).Emit(Instruction.Mov(Reg.R1, 0)).Emit(Instruction.Mov(Reg.R3, 8)).Call(Helper.ProbeWriteUser), ProgramType.KProbe),
        KernelFeature.KprobePmu => PmuExists("kprobe"),
        KernelFeature.UprobePmu => PmuExists("uprobe"),
        KernelFeature.FentryAttach => Fentry(),
        KernelFeature.TpBtf => TypedTracepoint(),
        KernelFeature.RawTpCookie => RawTracepointCookie(),
        KernelFeature.PerfLink => PerfEventLink(),
        KernelFeature.MapValueAccess => MapValue(),
        KernelFeature.MmapableArray => Mmapable(),
        KernelFeature.BatchOps => Batch(),
        KernelFeature.BtfFuncInfo => Function(FuncLinkage.Static, 8),
        KernelFeature.GlobalFunctions => Function(FuncLinkage.Global, 8),
        KernelFeature.MemoryKeys => MemoryKeys(),
        KernelFeature.PrivateStack => Function(FuncLinkage.Static, 400),
        KernelFeature.TaskStorage => TaskStorageMap(),
        KernelFeature.NetfilterPrograms => Loads(Trial(_ => { }, ProgramType.Netfilter) with { ExpectedAttachType = AttachType.Netfilter }),
        KernelFeature.SyscallPrograms => Loads(_ => { }, ProgramType.Syscall, ProgramFlags.Sleepable),
        _ => FeatureAnswer.Inconclusive,
    };

    // Not permitted, no memory or no descriptors says nothing about the feature.
    private static FeatureAnswer Judge(int errno) => errno switch
    {
        0 => FeatureAnswer.Yes,
        Errno.EPERM or Errno.ENOMEM or Errno.EMFILE or Errno.EAGAIN or Errno.EINTR => FeatureAnswer.Inconclusive,
        _ => FeatureAnswer.No,
    };

    private static FeatureAnswer Known(bool yes) => yes ? FeatureAnswer.Yes : FeatureAnswer.No;

    // ---- programs ----

    private static Assembler Slot(Assembler a) => a.Emit(Instruction.Store(MemSize.DW, Reg.R10, -8, 0));
    private static Assembler Iterator(Assembler a) => a.Emit(Instruction.Mov(Reg.R1, Reg.R10)).Emit(Instruction.Add64Imm(Reg.R1, -8));

    private static ProgramSpec Trial(Action<Assembler> body, ProgramType type = ProgramType.RawTracepoint)
    {
        var a = new Assembler();
        body(a);
        return new ProgramSpec("probe", type, a.Emit(Instruction.Mov(Reg.R0, 0)).Exit().Finish());
    }

    private FeatureAnswer Loads(ProgramSpec spec)
    {
        using BpfProgram? program = BpfProgram.TryLoad(spec, out int errno, sys);
        return Judge(errno);
    }

    private FeatureAnswer Loads(Action<Assembler> body, ProgramType type = ProgramType.RawTracepoint, ProgramFlags flags = ProgramFlags.None) =>
        Loads(Trial(body, type) with { Flags = flags });

    private FeatureAnswer Kfuncs(string[] names, Action<Assembler, int[]> body)
    {
        if (kfuncId is null)
            return FeatureAnswer.Inconclusive;
        int[] ids = new int[names.Length];
        for (int i = 0; i < ids.Length; i++)
            if ((ids[i] = kfuncId(names[i])) <= 0)
                return FeatureAnswer.No;
        return Loads(a => body(a, ids));
    }

    internal FeatureAnswer KfuncAllowed(string name, ProgramType type)
    {
        if (kfuncId is null)
            return FeatureAnswer.Inconclusive;
        int id = kfuncId(name);
        if (id <= 0)
            return FeatureAnswer.No;
        using BpfProgram? program = BpfProgram.TryLoad(Trial(a =>
        {
            for (Reg r = Reg.R1; r <= Reg.R5; r++)
                a.Emit(Instruction.Mov(r, 0));
            a.CallKfunc(id);
        }, type), out int errno, sys);
        return errno is Errno.EINVAL ? FeatureAnswer.Yes : Judge(errno);
    }

    private FeatureAnswer Callback(Helper helper, BpfMap? map)
    {
        var a = new Assembler();
        Subprogram callback = a.Declare("callback");
        if (map is null)
            a.Emit(Instruction.Mov(Reg.R1, 1));
        else
            a.LdMap(Reg.R1, map);
        a.LdFunc(Reg.R2, callback).Emit(Instruction.Mov(Reg.R3, 0)).Emit(Instruction.Mov(Reg.R4, 0)).Call(helper)
            .Emit(Instruction.Mov(Reg.R0, 0)).Exit();
        a.Begin(callback).Emit(Instruction.Mov(Reg.R0, 0)).Exit();
        return Loads(new ProgramSpec("probe", ProgramType.RawTracepoint, a.Finish()));
    }

    private FeatureAnswer ForEach()
    {
        using BpfMap map = BpfMap.Create(new MapSpec("probe", MapType.Array, 4, 8, 1), sys);
        return Callback(Helper.ForEachMapElem, map);
    }

    // Two frames that each use so much stack; more than 512 bytes together need private stacks.
    private FeatureAnswer Function(FuncLinkage linkage, int stack)
    {
        var a = new Assembler();
        Subprogram callee = a.Declare("callee", linkage, FuncParam.Scalar);
        a.Emit(Instruction.Store(MemSize.DW, Reg.R10, -stack, 0)).Emit(Instruction.Mov(Reg.R1, 0)).Call(callee).Emit(Instruction.Mov(Reg.R0, 0)).Exit();
        a.Begin(callee).Emit(Instruction.Store(MemSize.DW, Reg.R10, -stack, 0)).Emit(Instruction.Mov(Reg.R0, 0)).Exit();
        return Loads(new ProgramSpec("probe", ProgramType.RawTracepoint, a.Finish()));
    }

    private FeatureAnswer MemoryKeys()
    {
        using BpfMap map = BpfMap.Create(new MapSpec("probe", MapType.Array, 4, 8, 1), sys);
        var a = new Assembler();
        Subprogram callee = a.Declare("callee", FuncLinkage.Global, FuncParam.Memory(8));
        Label none = a.NewLabel();
        Slot(a);
        Iterator(a).Call(callee).Emit(Instruction.Mov(Reg.R0, 0)).Exit();
        a.Begin(callee).JumpIf(JumpOp.Eq, Reg.R1, 0, none).Emit(Instruction.Mov(Reg.R2, Reg.R1)).LdMap(Reg.R1, map).Call(Helper.MapLookupElem);
        a.Bind(none).Emit(Instruction.Mov(Reg.R0, 0)).Exit();
        return Loads(new ProgramSpec("probe", ProgramType.RawTracepoint, a.Finish()));
    }

    // ---- maps ----

    private FeatureAnswer Creates(MapSpec spec)
    {
        using BpfMap map = BpfMap.Create(spec, sys);
        return FeatureAnswer.Yes;
    }

    private FeatureAnswer MapValue()
    {
        using BpfMap map = BpfMap.Create(new MapSpec("probe", MapType.Array, 4, 8, 1), sys);
        return Loads(a => a.LdMapValue(Reg.R1, map, 0).Emit(Instruction.Store(MemSize.DW, Reg.R1, 0, 1)));
    }

    private FeatureAnswer Mmapable()
    {
        using BpfMap map = BpfMap.Create(MapSpec.GlobalData("probe", 8), sys);
        using MappedMemory memory = map.Map();
        return FeatureAnswer.Yes;
    }

    private FeatureAnswer Batch()
    {
        using BpfMap map = BpfMap.Create(new MapSpec("probe", MapType.Hash, 4, 8, 1), sys);
        map.LookupBatch(new BatchCursor(), stackalloc byte[4], stackalloc byte[8]);
        return Known(!map.UsesBatchFallback);
    }

    private FeatureAnswer TaskStorageMap()
    {
        var btf = new BtfBuilder();
        int key = btf.Int("int", 4, signed: true), value = btf.Int("long", 8, signed: true);
        using KernelFd fd = btf.Load("probe", sys);
        return Creates(new MapSpec("probe", MapType.TaskStorage, 4, 8, 0, MapFlags.NoPrealloc)
        {
            BtfFd = fd.Value, BtfKeyTypeId = key, BtfValueTypeId = value,
        });
    }

    // ---- attaching ----

    private long Link(BpfProgram program, ref LinkCreateAttr attr)
    {
        attr.ProgFd = program.Fd;
        attr.AttachType = program.Spec.ExpectedAttachType;
        fixed (LinkCreateAttr* pointer = &attr)
        {
            long fd = sys.Bpf(BpfCommand.LinkCreate, pointer, sizeof(LinkCreateAttr));
            if (fd >= 0)
                sys.Close((int)fd);
            return fd;
        }
    }

    // A symbol that cannot exist: a kernel with kprobe_multi looks it up and says ESRCH; one without says EINVAL or EOPNOTSUPP first.
    private FeatureAnswer KprobeMultiLink(AttachType type)
    {
        using BpfProgram? program = BpfProgram.TryLoad(Trial(_ => { }, ProgramType.KProbe) with { ExpectedAttachType = type }, out int errno, sys);
        if (program is null)
            return Judge(errno);
        fixed (byte* name = "no such function\0"u8)
        {
            ulong pointer = (ulong)name;
            LinkCreateAttr attr = new() { KprobeSyms = (ulong)&pointer, KprobeCount = 1 };
            return Known(Link(program, ref attr) is >= 0 or -Errno.ESRCH);
        }
    }

    // A folder in place of a file: a kernel with uprobe_multi finds it is not a regular file (EBADF).
    private FeatureAnswer UprobeMultiLink(AttachType type)
    {
        using BpfProgram? program = BpfProgram.TryLoad(Trial(_ => { }, ProgramType.KProbe) with { ExpectedAttachType = type }, out int errno, sys);
        if (program is null)
            return Judge(errno);
        fixed (byte* path = "/\0"u8)
        {
            ulong offset = 0;
            LinkCreateAttr attr = new() { UprobePath = (ulong)path, UprobeOffsets = (ulong)&offset, UprobeCount = 1 };
            return Known(Link(program, ref attr) is >= 0 or -Errno.EBADF);
        }
    }

    private FeatureAnswer PmuExists(string pmu) => Known(sys.ReadText($"/sys/bus/event_source/devices/{pmu}/type") is not null);

    // bpf_fentry_test1 exists for such tests (net/bpf/test_run.c) and is never called otherwise. EPERM is an answer here: hardened kernels refuse.
    private FeatureAnswer Fentry()
    {
        if (kfuncId is null)
            return FeatureAnswer.Inconclusive;
        int id = kfuncId("bpf_fentry_test1");
        if (id <= 0)
            return FeatureAnswer.No;
        using BpfProgram? program = BpfProgram.TryLoad(Trial(_ => { }, ProgramType.Tracing) with { ExpectedAttachType = AttachType.TraceFEntry, AttachBtfId = id }, out int errno, sys);
        if (program is null)
            return errno is Errno.EPERM ? FeatureAnswer.No : Judge(errno);
        LinkCreateAttr attr = default;
        long fd = Link(program, ref attr);
        if (fd == -Errno.EINVAL)
        {
            RawTracepointAttr open = new() { ProgFd = program.Fd };
            fd = sys.Bpf(BpfCommand.RawTracepointOpen, &open, sizeof(RawTracepointAttr));
            if (fd >= 0)
                sys.Close((int)fd);
        }
        return Known(fd >= 0);
    }

    private FeatureAnswer TypedTracepoint()
    {
        if (typedefId is null)
            return FeatureAnswer.Inconclusive;
        int id = typedefId("btf_trace_sched_switch");
        return id <= 0 ? FeatureAnswer.No
            : Loads(Trial(_ => { }, ProgramType.Tracing) with { ExpectedAttachType = AttachType.TraceRawTp, AttachBtfId = id });
    }

    // A tracepoint that cannot exist: ENOENT if the attribute with a cookie was understood, EINVAL or E2BIG if not.
    private FeatureAnswer RawTracepointCookie()
    {
        using BpfProgram? program = BpfProgram.TryLoad(Trial(_ => { }), out int errno, sys);
        if (program is null)
            return Judge(errno);
        fixed (byte* name = "no such tracepoint\0"u8)
        {
            RawTracepointAttr open = new() { Name = (ulong)name, ProgFd = program.Fd, Cookie = 1 };
            return Known(sys.Bpf(BpfCommand.RawTracepointOpen, &open, sizeof(RawTracepointAttr)) == -Errno.ENOENT);
        }
    }

    // No perf event behind descriptor -1: EBADF if perf links exist, EINVAL if not.
    private FeatureAnswer PerfEventLink()
    {
        using BpfProgram? program = BpfProgram.TryLoad(Trial(_ => { }, ProgramType.PerfEvent), out int errno, sys);
        if (program is null)
            return Judge(errno);
        LinkCreateAttr attr = new() { ProgFd = program.Fd, TargetFd = -1, AttachType = AttachType.PerfEvent };
        return Known(sys.Bpf(BpfCommand.LinkCreate, &attr, sizeof(LinkCreateAttr)) == -Errno.EBADF);
    }
}
