using System.Text;

namespace Linux.Bpf;

// From code to a running program
// ------------------------------
// A ProgramSpec is data: slots, map symbols, functions, source marks. Load() does, in this order:
//
//   1. Copy the slots and write the descriptor of each map into its two-slot load. The spec itself is never changed, so one
//      spec can be loaded many times, also from several threads.
//   2. If the program has functions or source marks, write a BTF blob for it (ProgramBtf) and load that first. BTF is not a
//      luxury: callbacks (bpf_loop, for_each) and global functions are refused unless *every* function has a FUNC record, and
//      line info is what lets a verifier message name the script's line.
//   3. PROG_LOAD without a log. A log costs little on success, but a log buffer that is too small makes a *good* program
//      fail with ENOSPC, and the size cannot be known beforehand.
//   4. If that failed, load again with log level 1, growing the buffer (64 KiB, then what the kernel says it needs or four
//      times as much, up to 16 MiB). The errno of the second load counts. If the verifier wrote nothing the
//      refusal is not about the code (permission, memory, unknown attribute) and becomes a BpfException;
//      else a VerifierException with summary, full log and source mark.
//
// The BTF descriptor is closed after the load: the program holds its own reference. Maps are held by the program too, so a map
// object may be disposed while the program runs.
//
// Deliberately not done: CO-RE relocation (the caller compiles for the running kernel and has live offsets), ELF objects,
// tokens and signatures, and retrying EAGAIN (the seam does that). Nor is the log parsed for anything but the number of the
// last instruction: its words change from kernel to kernel.

/// <summary>A loaded program. Attaching is the business of the link classes.</summary>
public sealed unsafe class BpfProgram : IDisposable
{
    private const int FirstLog = 64 << 10, LargestLog = 16 << 20;
    private readonly KernelFd _fd;

    private BpfProgram(ProgramSpec spec, KernelFd fd) => (Spec, _fd) = (spec, fd);

    /// <summary>What it was made from.</summary>
    public ProgramSpec Spec { get; }
    /// <summary>Name given at load.</summary>
    public string Name => Spec.Name;
    /// <summary>The descriptor; -1 once closed.</summary>
    public int Fd => _fd.Value;
    internal IBpfSys Sys => _fd.Sys;

    /// <summary>Verifies and loads.</summary>
    /// <exception cref="VerifierException">The verifier refused the code.</exception>
    /// <exception cref="BpfException">Refused for another reason: permission, memory, a feature this kernel does not have.</exception>
    public static BpfProgram Load(ProgramSpec spec, IBpfSys? sys = null)
    {
        sys ??= LinuxBpfSys.Instance;
        return new BpfProgram(spec, new KernelFd(sys, (int)Load(spec, sys, explain: true)));
    }

    /// <summary>Loads without a log and without throwing for what the kernel answers: for feature probes, where refusal is an ordinary answer.</summary>
    /// <returns>The program, or null with the errno.</returns>
    public static BpfProgram? TryLoad(ProgramSpec spec, out int errno, IBpfSys? sys = null)
    {
        sys ??= LinuxBpfSys.Instance;
        long fd = Load(spec, sys, explain: false);
        errno = fd < 0 ? (int)-fd : 0;
        return fd < 0 ? null : new BpfProgram(spec, new KernelFd(sys, (int)fd));
    }

    private static long Load(ProgramSpec spec, IBpfSys sys, bool explain)
    {
        Instruction[] slots = Patch(spec);
        ProgramBtf? btf = ProgramBtf.Needed(spec.Code) ? new ProgramBtf(spec) : null;
        using KernelFd? btfFd = btf?.Load(sys);
        Span<byte> license = stackalloc byte[64];
        license.Clear();
        Encoding.ASCII.TryGetBytes(spec.License, license[..63], out _);
        int[] fdArray = FdArray(spec);

        fixed (Instruction* code = slots)
        fixed (byte* licensePointer = license)
        fixed (ProgramBtf.FuncInfo* funcs = btf?.Funcs)
        fixed (ProgramBtf.LineInfo* lines = btf?.Lines)
        fixed (int* fds = fdArray)
        {
            ProgLoadAttr attr = default;
            attr.ProgType = spec.Type;
            attr.InsnCnt = (uint)slots.Length;
            attr.Insns = (ulong)code;
            attr.License = (ulong)licensePointer;
            attr.ProgFlags = (uint)spec.Flags;
            attr.ProgName = ObjectName.From(spec.Name);
            attr.ExpectedAttachType = spec.ExpectedAttachType;
            attr.AttachBtfId = (uint)spec.AttachBtfId;
            attr.AttachBtfObjFd = spec.AttachBtfObjFd;
            attr.FdArray = (ulong)fds;
            if (btf is not null)
            {
                attr.ProgBtfFd = btfFd!.Value;
                (attr.FuncInfo, attr.FuncInfoCnt, attr.FuncInfoRecSize) = ((ulong)funcs, (uint)btf.Funcs.Length, (uint)sizeof(ProgramBtf.FuncInfo));
                if (btf.Lines.Length > 0)
                    (attr.LineInfo, attr.LineInfoCnt, attr.LineInfoRecSize) = ((ulong)lines, (uint)btf.Lines.Length, (uint)sizeof(ProgramBtf.LineInfo));
            }
            long fd = sys.Bpf(BpfCommand.ProgLoad, &attr, sizeof(ProgLoadAttr));
            return fd < 0 && explain ? LoadWithLog(spec, sys, &attr, fd) : fd;
        }
    }

    private static long LoadWithLog(ProgramSpec spec, IBpfSys sys, ProgLoadAttr* attr, long error)
    {
        for (int size = FirstLog; ;)
        {
            byte[] log = GC.AllocateUninitializedArray<byte>(size);
            log[0] = 0;
            long fd;
            fixed (byte* pointer = log)
            {
                (attr->LogBuf, attr->LogSize, attr->LogLevel, attr->LogTrueSize) = ((ulong)pointer, (uint)size, 1, 0);
                fd = sys.Bpf(BpfCommand.ProgLoad, attr, sizeof(ProgLoadAttr));
            }
            if (fd >= 0)
                return fd; // What disturbed the first load was not the code.
            if (fd == -Errno.ENOSPC && size < LargestLog)
            {
                // Linux 6.4 says how much it wanted to write.
                long wanted = attr->LogTrueSize > size ? (long)attr->LogTrueSize + 1 : (long)size * 4;
                size = (int)Math.Min(wanted, LargestLog);
                continue;
            }
            string text = VerifierLog.Text(log);
            // A log that overflowed its largest buffer still holds its beginning (or its end, since 6.4).
            int errno = (int)-(fd == -Errno.ENOSPC ? error : fd);
            if (string.IsNullOrWhiteSpace(text))
                throw new BpfException($"program \"{spec.Name}\"", $"load as {spec.Type}", errno, errno == Errno.EINVAL
                    ? "the kernel may not have this program or attach type" : null);
            throw new VerifierException(spec, errno, text);
        }
    }

    private static Instruction[] Patch(ProgramSpec spec)
    {
        Instruction[] slots = spec.Code.Slots.ToArray();
        foreach (MapReference reference in spec.Code.Maps)
        {
            BpfMap? map = reference.Map as BpfMap ?? spec.ResolveMap?.Invoke(reference.Map);
            if (map is null || map.Fd < 0)
                throw new BpfException($"program \"{spec.Name}\"",
                    $"find the map {(map is null ? "for symbol \"" + reference.Map + "\"" : "\"" + map.Name + "\"")} of instruction {reference.Slot}", Errno.EBADF,
                    map is null ? "give ResolveMap" : "it is closed already");
            slots[reference.Slot] = slots[reference.Slot].WithImm(map.Fd);
        }
        return slots;
    }

    // Entry 0 means vmlinux and is never read.
    private static int[] FdArray(ProgramSpec spec)
    {
        if (spec.ModuleBtfFds.Count == 0)
            return [];
        int[] fds = new int[spec.ModuleBtfFds.Count + 1];
        for (int i = 0; i < spec.ModuleBtfFds.Count; i++)
            fds[i + 1] = spec.ModuleBtfFds[i];
        return fds;
    }

    /// <summary>Counters and facts the kernel keeps. Run time and count stay 0 unless <see cref="BpfStats.Enable"/> is in force.</summary>
    public ProgramInfo Info()
    {
        ProgInfoData data = default;
        ObjInfoAttr attr = new() { Fd = Fd, InfoLen = (uint)sizeof(ProgInfoData), Info = (ulong)&data };
        BpfException.Check(Sys.Bpf(BpfCommand.ObjGetInfoByFd, &attr, sizeof(ObjInfoAttr)), "program", Name, "read its description");
        return new ProgramInfo(data.Id, data.Type, data.Name.ToString(), data.RunTimeNs, data.RunCount, data.RecursionMisses, data.VerifiedInstructions, data.JitedLength);
    }

    /// <summary>
    /// Runs the program now in this thread. Raw tracepoints (5.10) take up to 96 bytes of context and a CPU; SYSCALL programs (5.14)
    /// take and give back a context; XDP and socket filters take a packet of at least 14 bytes and a repeat count.
    /// </summary>
    /// <exception cref="BpfException">The program type cannot be run so, or a size is wrong.</exception>
    public TestRunResult TestRun(in TestRunInput input)
    {
        ReadOnlySpan<byte> contextIn = input.Context;
        Span<byte> contextResult = input.ContextOut;
        if (Spec.Type == ProgramType.Syscall && contextIn.Length > 0)
        {
            // The kernel writes this type's context back over the input and refuses an output buffer.
            Span<byte> inPlace = contextResult.Length >= contextIn.Length ? contextResult[..contextIn.Length] : new byte[contextIn.Length];
            contextIn.CopyTo(inPlace);
            contextIn = inPlace;
            contextResult = default;
        }
        fixed (byte* context = contextIn, contextOut = contextResult, data = input.Data, dataOut = input.DataOut)
        {
            ProgTestRunAttr attr = default;
            attr.ProgFd = Fd;
            (attr.CtxIn, attr.CtxSizeIn) = ((ulong)context, (uint)contextIn.Length);
            (attr.CtxOut, attr.CtxSizeOut) = ((ulong)contextOut, (uint)contextResult.Length);
            (attr.DataIn, attr.DataSizeIn) = ((ulong)data, (uint)input.Data.Length);
            (attr.DataOut, attr.DataSizeOut) = ((ulong)dataOut, (uint)input.DataOut.Length);
            attr.Repeat = (uint)input.Repeat;
            if (input.Cpu is { } cpu)
                (attr.Flags, attr.Cpu) = (1 /* BPF_F_TEST_RUN_ON_CPU */, (uint)cpu);
            BpfException.Check(Sys.Bpf(BpfCommand.ProgTestRun, &attr, sizeof(ProgTestRunAttr)), "program", Name, "run by request");
            return new TestRunResult((int)attr.RetVal, (int)attr.Duration, (int)attr.DataSizeOut, (int)attr.CtxSizeOut);
        }
    }

    /// <summary>Closes our descriptor; attached links keep the program alive.</summary>
    public void Dispose() => _fd.Dispose();
}

/// <summary>What <see cref="BpfProgram.TestRun"/> gives the program. A default value is a run with no input.</summary>
public readonly ref struct TestRunInput
{
    /// <summary>Context bytes; for a raw tracepoint its arguments as 64-bit words.</summary>
    public ReadOnlySpan<byte> Context { get; init; }
    /// <summary>Receives the context afterwards (SYSCALL, XDP); if shorter than the input of a SYSCALL program, the result is dropped.</summary>
    public Span<byte> ContextOut { get; init; }
    /// <summary>Packet.</summary>
    public ReadOnlySpan<byte> Data { get; init; }
    /// <summary>Receives the packet.</summary>
    public Span<byte> DataOut { get; init; }
    /// <summary>Number of runs, for packet types; 0 = once.</summary>
    public int Repeat { get; init; }
    /// <summary>CPU to run on, for raw tracepoints.</summary>
    public int? Cpu { get; init; }
}

/// <summary>Outcome of a run by request.</summary>
/// <param name="ReturnValue">R0 of the program.</param>
/// <param name="DurationNs">Mean time of a run; packet types only.</param>
/// <param name="DataSize">Bytes of packet after the run.</param>
/// <param name="ContextSize">Bytes of context after the run.</param>
public readonly record struct TestRunResult(int ReturnValue, int DurationNs, int DataSize, int ContextSize);

/// <summary>Facts and counters of a program.</summary>
/// <param name="Id">Kernel id, unique while the system is up.</param>
/// <param name="Type">Program type.</param>
/// <param name="Name">First 15 bytes of the name.</param>
/// <param name="RunTimeNs">Total time in the program, while statistics were on.</param>
/// <param name="RunCount">Runs, while statistics were on.</param>
/// <param name="RecursionMisses">Runs dropped since the program was active on that CPU already. Linux 5.12.</param>
/// <param name="VerifiedInstructions">Instructions the verifier walked. Linux 5.16.</param>
/// <param name="JitedBytes">Bytes of machine code; 0 if interpreted.</param>
public readonly record struct ProgramInfo(uint Id, ProgramType Type, string Name, ulong RunTimeNs, ulong RunCount,
    ulong RecursionMisses, uint VerifiedInstructions, uint JitedBytes);

/// <summary>The kernel's switch for per-program run time statistics.</summary>
public static unsafe class BpfStats
{
    /// <summary>Turns statistics on until the result is disposed; costs about 20 ns per program run, for all programs. Linux 5.8.</summary>
    public static KernelFd Enable(IBpfSys? sys = null)
    {
        sys ??= LinuxBpfSys.Instance;
        EnableStatsAttr attr = new() { Type = 0 };
        return new KernelFd(sys, (int)BpfException.Check(sys.Bpf(BpfCommand.EnableStats, &attr, sizeof(EnableStatsAttr)), "statistics", "run time", "enable"));
    }
}
