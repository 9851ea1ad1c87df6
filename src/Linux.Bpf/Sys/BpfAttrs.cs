using System.Runtime.InteropServices;

namespace Linux.Bpf;

// One struct per command of bpf(2), laid out as the members of "union bpf_attr" in linux/bpf.h (kernel 6.18). Pointers are 64 bits on
// every architecture. The kernel accepts a longer attr than it knows when the tail is zero, so the newest layout works on old
// kernels; a non-zero field it does not know gives E2BIG. Sizes and offsets are asserted in the tests.

/// <summary>Sixteen bytes of object name, NUL-terminated; the kernel allows letters, digits, '_' and '.'.</summary>
[System.Runtime.CompilerServices.InlineArray(16)]
public struct ObjectName
{
    private byte _first;

    /// <summary>Keeps what fits in 15 bytes and replaces what the kernel refuses by '_'.</summary>
    public static ObjectName From(string name)
    {
        ObjectName result = default;
        for (int i = 0; i < name.Length && i < 15; i++)
            result[i] = char.IsAsciiLetterOrDigit(name[i]) || name[i] is '_' or '.' ? (byte)name[i] : (byte)'_';
        return result;
    }

    /// <inheritdoc/>
    public override string ToString()
    {
        ReadOnlySpan<byte> bytes = this;
        int end = bytes.IndexOf((byte)0);
        return System.Text.Encoding.ASCII.GetString(end < 0 ? bytes : bytes[..end]);
    }
}

/// <summary>BPF_MAP_CREATE.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public struct MapCreateAttr
{
    public MapType MapType;
    public uint KeySize, ValueSize, MaxEntries;
    public MapFlags MapFlags;
    public int InnerMapFd;
    public uint NumaNode;
    public ObjectName MapName;
    public uint MapIfindex;
    public int BtfFd;
    public uint BtfKeyTypeId, BtfValueTypeId, BtfVmlinuxValueTypeId;
    public ulong MapExtra;
    public int ValueTypeBtfObjFd, MapTokenFd;
}

/// <summary>BPF_MAP_*_ELEM and BPF_MAP_GET_NEXT_KEY; Value is also next_key. MAP_FREEZE uses the descriptor alone.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public struct MapElemAttr
{
    public int MapFd;
    private readonly int _pad;
    public ulong Key, Value, Flags;
}

/// <summary>BPF_MAP_*_BATCH.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public struct MapBatchAttr
{
    public ulong InBatch, OutBatch, Keys, Values;
    public uint Count;
    public int MapFd;
    public ulong ElemFlags, Flags;
}

/// <summary>BPF_PROG_LOAD.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public struct ProgLoadAttr
{
    public ProgramType ProgType;
    public uint InsnCnt;
    public ulong Insns, License;
    public uint LogLevel, LogSize;
    public ulong LogBuf;
    public uint KernVersion, ProgFlags;
    public ObjectName ProgName;
    public uint ProgIfindex;
    public AttachType ExpectedAttachType;
    public int ProgBtfFd;
    public uint FuncInfoRecSize;
    public ulong FuncInfo;
    public uint FuncInfoCnt, LineInfoRecSize;
    public ulong LineInfo;
    public uint LineInfoCnt, AttachBtfId;
    public int AttachBtfObjFd;
    public uint CoreReloCnt;
    public ulong FdArray, CoreRelos;
    public uint CoreReloRecSize, LogTrueSize;
    public int ProgTokenFd;
    public uint FdArrayCnt;
}

/// <summary>BPF_PROG_TEST_RUN.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public struct ProgTestRunAttr
{
    public int ProgFd;
    public uint RetVal, DataSizeIn, DataSizeOut;
    public ulong DataIn, DataOut;
    public uint Repeat, Duration, CtxSizeIn, CtxSizeOut;
    public ulong CtxIn, CtxOut;
    public uint Flags, Cpu, BatchSize;
    private readonly uint _pad;
}

/// <summary>BPF_OBJ_GET_INFO_BY_FD.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public struct ObjInfoAttr
{
    public int Fd;
    public uint InfoLen;
    public ulong Info;
}

/// <summary>BPF_*_GET_FD_BY_ID and BPF_*_GET_NEXT_ID (NextId is the answer of the latter).</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public struct IdAttr
{
    public uint Id, NextId, OpenFlags;
}

/// <summary>BPF_OBJ_PIN and BPF_OBJ_GET.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public struct ObjPinAttr
{
    public ulong PathName;
    public int BpfFd;
    public uint FileFlags;
    public int PathFd;
    private readonly int _pad;
}

/// <summary>BPF_BTF_LOAD.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public struct BtfLoadAttr
{
    public ulong Btf, LogBuf;
    public uint BtfSize, LogSize, LogLevel, LogTrueSize, Flags;
    public int TokenFd;
}

/// <summary>BPF_RAW_TRACEPOINT_OPEN; the cookie came with Linux 6.10.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public struct RawTracepointAttr
{
    public ulong Name;
    public int ProgFd;
    private readonly int _pad;
    public ulong Cookie;
}

/// <summary>BPF_ENABLE_STATS.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public struct EnableStatsAttr
{
    public uint Type;
}

/// <summary>BPF_ITER_CREATE.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public struct IterCreateAttr
{
    public int LinkFd;
    public uint Flags;
}

/// <summary>BPF_LINK_CREATE: the common head, then a union with one view per attach kind.</summary>
[StructLayout(LayoutKind.Explicit, Size = 64, Pack = 8)]
public struct LinkCreateAttr
{
    [FieldOffset(0)] public int ProgFd;
    [FieldOffset(4)] public int TargetFd;
    [FieldOffset(8)] public AttachType AttachType;
    [FieldOffset(12)] public uint Flags;
    // tracing: fentry, fexit, tp_btf
    [FieldOffset(16)] public uint TargetBtfId;
    [FieldOffset(24)] public ulong TracingCookie;
    // iter
    [FieldOffset(16)] public ulong IterInfo;
    [FieldOffset(24)] public uint IterInfoLen;
    // perf event
    [FieldOffset(16)] public ulong PerfCookie;
    // kprobe_multi
    [FieldOffset(16)] public uint KprobeFlags;
    [FieldOffset(20)] public uint KprobeCount;
    [FieldOffset(24)] public ulong KprobeSyms;
    [FieldOffset(32)] public ulong KprobeAddrs;
    [FieldOffset(40)] public ulong KprobeCookies;
    // uprobe_multi
    [FieldOffset(16)] public ulong UprobePath;
    [FieldOffset(24)] public ulong UprobeOffsets;
    [FieldOffset(32)] public ulong UprobeRefCtrOffsets;
    [FieldOffset(40)] public ulong UprobeCookies;
    [FieldOffset(48)] public uint UprobeCount;
    [FieldOffset(52)] public uint UprobeFlags;
    [FieldOffset(56)] public int UprobePid;
    // netfilter
    [FieldOffset(16)] public uint NetfilterFamily;
    [FieldOffset(20)] public uint NetfilterHook;
    [FieldOffset(24)] public int NetfilterPriority;
    [FieldOffset(28)] public uint NetfilterFlags;
}

/// <summary><c>struct bpf_prog_info</c> of Linux 6.18 as far as it is used; the kernel fills what it knows.</summary>
[StructLayout(LayoutKind.Explicit, Size = 232, Pack = 8)]
public struct ProgInfoData
{
    [FieldOffset(0)] public ProgramType Type;
    [FieldOffset(4)] public uint Id;
    [FieldOffset(16)] public uint JitedLength;
    [FieldOffset(20)] public uint XlatedLength;
    [FieldOffset(40)] public ulong LoadTime;
    [FieldOffset(64)] public ObjectName Name;
    [FieldOffset(192)] public ulong RunTimeNs;
    [FieldOffset(200)] public ulong RunCount;
    [FieldOffset(208)] public ulong RecursionMisses;
    [FieldOffset(216)] public uint VerifiedInstructions;
}

/// <summary><c>struct bpf_map_info</c>, head only.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public struct MapInfoData
{
    public MapType Type;
    public uint Id, KeySize, ValueSize, MaxEntries;
    public MapFlags Flags;
    public ObjectName Name;
}
