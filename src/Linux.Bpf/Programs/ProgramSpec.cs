namespace Linux.Bpf;

/// <summary>What a program shall be; plain data. <see cref="BpfProgram.Load(ProgramSpec,IBpfSys)"/> makes it real.</summary>
public sealed record ProgramSpec
{
    /// <summary>A program of a type.</summary>
    public ProgramSpec(string name, ProgramType type, AssembledCode code) => (Name, Type, Code) = (name, type, code);

    /// <summary>Name in messages, in BTF, and its first 15 bytes in the kernel. Must be a C identifier.</summary>
    public string Name { get; init; }
    /// <summary>Decides the context, the helpers and how it attaches.</summary>
    public ProgramType Type { get; init; }
    /// <summary>The code.</summary>
    public AssembledCode Code { get; init; }
    /// <summary>Many helpers need a GPL-compatible one.</summary>
    public string License { get; init; } = "GPL";
    /// <summary>Needed by tracing and multi-probe programs.</summary>
    public AttachType ExpectedAttachType { get; init; }
    /// <summary>BTF id of the function or tracepoint typedef a tracing program attaches to.</summary>
    public int AttachBtfId { get; init; }
    /// <summary>Descriptor of the module's BTF that id belongs to; 0 = vmlinux.</summary>
    public int AttachBtfObjFd { get; init; }
    /// <summary>Sleepable, strict alignment and the like (<c>BPF_F_*</c> of PROG_LOAD).</summary>
    public ProgramFlags Flags { get; init; }
    /// <summary>Texts the source marks point into, by file index.</summary>
    public IReadOnlyList<SourceFile> Sources { get; init; } = [];
    /// <summary>Descriptors of module BTFs; a kfunc call with fd index n uses entry n-1.</summary>
    public IReadOnlyList<int> ModuleBtfFds { get; init; } = [];
    /// <summary>Turns a map symbol of the code into a map; not needed if the symbols are <see cref="BpfMap"/>s.</summary>
    public Func<object, BpfMap>? ResolveMap { get; init; }
}

/// <summary>Flags of PROG_LOAD.</summary>
[Flags]
public enum ProgramFlags : uint
{
    None = 0,
    StrictAlignment = 1 << 0,
    AnyAlignment = 1 << 1,
    /// <summary>May sleep (fentry, uprobe, iter, SYSCALL). Linux 5.10.</summary>
    Sleepable = 1 << 4,
}
