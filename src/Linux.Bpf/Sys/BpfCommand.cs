namespace Linux.Bpf;

/// <summary>Commands of bpf(2), <c>enum bpf_cmd</c>.</summary>
public enum BpfCommand
{
    MapCreate = 0, MapLookupElem = 1, MapUpdateElem = 2, MapDeleteElem = 3, MapGetNextKey = 4, ProgLoad = 5, ObjPin = 6, ObjGet = 7,
    ProgAttach = 8, ProgDetach = 9, ProgTestRun = 10, ProgGetNextId = 11, MapGetNextId = 12, ProgGetFdById = 13, MapGetFdById = 14,
    ObjGetInfoByFd = 15, ProgQuery = 16, RawTracepointOpen = 17, BtfLoad = 18, BtfGetFdById = 19, TaskFdQuery = 20,
    MapLookupAndDeleteElem = 21, MapFreeze = 22, BtfGetNextId = 23, MapLookupBatch = 24, MapLookupAndDeleteBatch = 25,
    MapUpdateBatch = 26, MapDeleteBatch = 27, LinkCreate = 28, LinkUpdate = 29, LinkGetFdById = 30, LinkGetNextId = 31,
    EnableStats = 32, IterCreate = 33, LinkDetach = 34, ProgBindMap = 35,
}

/// <summary>Map types, <c>enum bpf_map_type</c>.</summary>
public enum MapType : uint
{
    Hash = 1, Array = 2, ProgArray = 3, PerfEventArray = 4, PerCpuHash = 5, PerCpuArray = 6, StackTrace = 7, CgroupArray = 8, LruHash = 9,
    LruPerCpuHash = 10, LpmTrie = 11, ArrayOfMaps = 12, HashOfMaps = 13, DevMap = 14, SockMap = 15, CpuMap = 16, XskMap = 17, SockHash = 18,
    CgroupStorage = 19, ReusePortSockArray = 20, PerCpuCgroupStorage = 21, Queue = 22, Stack = 23, SkStorage = 24, DevMapHash = 25,
    StructOps = 26, RingBuf = 27, InodeStorage = 28, TaskStorage = 29, BloomFilter = 30, UserRingBuf = 31, CgrpStorage = 32, Arena = 33,
}

/// <summary>Flags of map creation.</summary>
[Flags]
public enum MapFlags : uint
{
    None = 0,
    /// <summary>Allocate hash elements as they come instead of all at once.</summary>
    NoPrealloc = 1 << 0,
    NoCommonLru = 1 << 1,
    NumaNode = 1 << 2,
    /// <summary>User space may only read.</summary>
    ReadOnly = 1 << 3,
    /// <summary>User space may only write.</summary>
    WriteOnly = 1 << 4,
    StackBuildId = 1 << 5,
    ZeroSeed = 1 << 6,
    /// <summary>Programs may only read.</summary>
    ReadOnlyProgram = 1 << 7,
    /// <summary>Programs may only write.</summary>
    WriteOnlyProgram = 1 << 8,
    Clone = 1 << 9,
    /// <summary>An array that can be mapped; Linux 5.5.</summary>
    Mmapable = 1 << 10,
    PreserveElems = 1 << 11,
    /// <summary>Inner arrays of different sizes; Linux 5.10.</summary>
    InnerMap = 1 << 12,
    /// <summary>Ring buffer that overwrites its oldest records; Linux 6.19.</summary>
    RingBufOverwrite = 1 << 19,
}

/// <summary>Flags of <see cref="BpfMap.Update"/>.</summary>
public enum UpdateMode : ulong
{
    /// <summary>Insert or replace.</summary>
    Any = 0,
    /// <summary>Only insert.</summary>
    NoExist = 1,
    /// <summary>Only replace.</summary>
    Exist = 2,
}

/// <summary>Program types, <c>enum bpf_prog_type</c>.</summary>
public enum ProgramType : uint
{
    Unspec = 0, SocketFilter = 1, KProbe = 2, SchedCls = 3, SchedAct = 4, Tracepoint = 5, Xdp = 6, PerfEvent = 7, CgroupSkb = 8,
    CgroupSock = 9, LwtIn = 10, LwtOut = 11, LwtXmit = 12, SockOps = 13, SkSkb = 14, CgroupDevice = 15, SkMsg = 16, RawTracepoint = 17,
    CgroupSockAddr = 18, LwtSeg6Local = 19, LircMode2 = 20, SkReuseport = 21, FlowDissector = 22, CgroupSysctl = 23,
    RawTracepointWritable = 24, CgroupSockopt = 25, Tracing = 26, StructOps = 27, Ext = 28, Lsm = 29, SkLookup = 30,
    /// <summary>Runs only by <see cref="BpfProgram.TestRun"/>, may sleep; Linux 5.14.</summary>
    Syscall = 31,
    Netfilter = 32,
}

/// <summary>Attach types this library uses, <c>enum bpf_attach_type</c>.</summary>
public enum AttachType : uint
{
    None = 0,
    TraceRawTp = 23,
    TraceFEntry = 24,
    TraceFExit = 25,
    ModifyReturn = 26,
    LsmMac = 27,
    TraceIter = 28,
    PerfEvent = 41,
    TraceKprobeMulti = 42,
    Netfilter = 45,
    TraceUprobeMulti = 48,
    TraceKprobeSession = 56,
    TraceUprobeSession = 57,
}
