namespace SystemTap.Bpf;

/// <summary>
/// What the kernel that will run the programs can do, as answers, not versions. The session fills it from feature probes; tests force the
/// older forms.
/// </summary>
public sealed record BpfFeatures
{
    /// <summary>A kernel of 6.12 or newer.</summary>
    public static readonly BpfFeatures Modern = new();

    /// <summary><c>may_goto</c> (Linux 6.9): loops without a callback.</summary>
    public bool MayGoto { get; init; } = true;

    /// <summary><c>bpf_loop</c> (Linux 5.17).</summary>
    public bool BpfLoop { get; init; } = true;

    /// <summary>A global function may use the memory it got as a map's key (not Linux 6.1).</summary>
    public bool MemoryKeys { get; init; } = true;

    /// <summary>Instruction set 4 (Linux 6.6): signed division, sign-extending loads, 32-bit jumps.</summary>
    public bool InstructionSetV4 { get; init; } = true;

    /// <summary>Tracing programs on raw tracepoints with typed arguments (Linux 5.5).</summary>
    public bool TypedTracepoints { get; init; } = true;

    /// <summary>
    /// Whether a typed program on a tracepoint may read that many bytes at that offset behind an argument (BTF id, argument, offset, size). Kernels from 6.12 on refuse it for arguments
    /// that may be null or an error code; such handlers are untyped programs. Null: always.
    /// </summary>
    public Func<int, int, int, int, bool>? ReadableArgument { get; init; }

    /// <summary>Whether the kernel lets BPF programs see a tracepoint, by its name without system; null: all.</summary>
    public Func<string, bool>? HasTracepoint { get; init; }

    /// <summary><c>bpf_map_lookup_percpu_elem</c> (Linux 5.19): reading an aggregate inside a handler.</summary>
    public bool LookupPerCpu { get; init; } = true;

    /// <summary>Programs on function entry and exit by trampoline (Linux 5.5); some kernels and virtual machines refuse them.</summary>
    public bool Trampolines { get; init; } = true;

    /// <summary>kprobe_multi (Linux 5.18 with CONFIG_FPROBE).</summary>
    public bool KprobeMulti { get; init; } = true;

    /// <summary>Kprobes at all (CONFIG_KPROBES, CONFIG_KPROBE_EVENTS).</summary>
    public bool Kprobes { get; init; } = true;

    /// <summary><c>bpf_get_current_task_btf</c> (Linux 5.11).</summary>
    public bool CurrentTaskBtf { get; init; } = true;

    /// <summary>The tracepoint of a thread's exit says whether it was its process's last; of newer kernels, whose parameters are asked besides.</summary>
    public bool LastExitIsTold { get; init; } = true;

    /// <summary>uprobe_multi (Linux 6.6): many places of a user-space file in one attachment.</summary>
    public bool UprobeMulti { get; init; } = true;

    /// <summary><c>bpf_probe_write_user</c>: needs CAP_SYS_ADMIN.</summary>
    public bool WriteUser { get; init; } = true;

    /// <summary>Programs at netfilter hooks (Linux 6.4 with CONFIG_NETFILTER_BPF_LINK).</summary>
    public bool Netfilter { get; init; } = true;

    /// <summary>uprobe_multi attachments of one process see all its threads (Linux 6.10; before, only one).</summary>
    public bool UprobeMultiPid { get; init; } = true;
}

/// <summary>What the compiler must know of the session beside the program and the machine.</summary>
public sealed record BpfOptions
{
    /// <summary>What the kernel can do.</summary>
    public BpfFeatures Features { get; init; } = BpfFeatures.Modern;

    /// <summary>Started with <c>-c</c> or <c>-x</c>: the target process tree is followed and process probes without a path mean it.</summary>
    public bool HasTarget { get; init; }

    /// <summary>Pid of <c>stap</c>, for <c>stp_pid()</c>.</summary>
    public long StapPid { get; init; }

    /// <summary>Name of the session, for <c>module_name()</c>.</summary>
    public string ModuleName { get; init; } = "stap";

    /// <summary>Script arguments.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary>Seconds west of UTC.</summary>
    public long TimeZoneOffset { get; init; }

    public string TimeZoneName { get; init; } = "UTC";

    /// <summary>Uid of the user who started the session.</summary>
    public long SessionUid { get; init; }

    /// <summary>Inode numbers of the namespaces that ns_… functions speak of.</summary>
    public long PidNamespace { get; init; }

    public long UserNamespace { get; init; }

    /// <summary>How that user namespace numbers the kernel's user ids and group ids.</summary>
    public IReadOnlyList<IdRange> UserIds { get; init; } = [];

    public IReadOnlyList<IdRange> GroupIds { get; init; } = [];

    /// <summary>Identity of an executable file in the kernel: inode number and device (major &lt;&lt; 20 | minor); null when it does not exist.</summary>
    public Func<string, (long Inode, long Device)?> FileIdentity { get; init; } = Context.FileIdentity.Of;

    /// <summary>Reads <c>tapset/tables/NAME.tbl</c>; null when there is no such table.</summary>
    public Func<string, string?> ReadTable { get; init; } = static _ => null;

    /// <summary>Bytes of the ring buffer: a power of two, at least a page.</summary>
    public int RingBytes { get; init; } = 4 << 20;
}

/// <summary>A range of user or group ids: <paramref name="Count"/> ids from <paramref name="Outside"/> (the kernel's) are those from <paramref name="Inside"/> in a namespace.</summary>
public readonly record struct IdRange(long Inside, long Outside, long Count)
{
    /// <summary>The id in the namespace of one of the kernel's; 65534 ("nobody") when it has none.</summary>
    public static long Map(IReadOnlyList<IdRange> ranges, long id)
    {
        foreach (var range in ranges)
        {
            if (id >= range.Outside && id - range.Outside < range.Count)
            {
                return range.Inside + id - range.Outside;
            }
        }

        return 65534;
    }
}
