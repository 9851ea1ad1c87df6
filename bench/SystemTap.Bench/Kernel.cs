using Linux.Bpf;

namespace SystemTap.Bench;

/// <summary>Run time and run count of BPF programs, straight from the kernel: no tool under test is asked about itself.</summary>
internal static unsafe class Kernel
{
    public readonly record struct Runs(ulong TimeNs, ulong Count)
    {
        public static Runs operator -(Runs a, Runs b) => new(a.TimeNs - b.TimeNs, a.Count - b.Count);
        public static Runs operator +(Runs a, Runs b) => new(a.TimeNs + b.TimeNs, a.Count + b.Count);
    }

    /// <summary>Ids of all loaded programs.</summary>
    public static HashSet<uint> ProgramIds()
    {
        var ids = new HashSet<uint>();
        IdAttr attr = default;
        while (LinuxBpfSys.Instance.Bpf(BpfCommand.ProgGetNextId, &attr, sizeof(IdAttr)) >= 0)
        {
            ids.Add(attr.NextId);
            attr = new IdAttr { Id = attr.NextId };
        }

        return ids;
    }

    /// <summary>Sum over all programs that are not in <paramref name="before"/>.</summary>
    public static Runs NewPrograms(HashSet<uint> before, out int programs)
    {
        var sum = default(Runs);
        programs = 0;
        foreach (var id in ProgramIds())
        {
            if (!before.Contains(id) && Of(id) is { } runs)
            {
                sum += runs;
                programs++;
            }
        }

        return sum;
    }

    /// <summary>One program's counters; null when it is gone.</summary>
    private static Runs? Of(uint id)
    {
        IdAttr attr = new() { Id = id };
        var fd = (int)LinuxBpfSys.Instance.Bpf(BpfCommand.ProgGetFdById, &attr, sizeof(IdAttr));
        if (fd < 0)
        {
            return null;
        }

        ProgInfoData info = default;
        ObjInfoAttr ask = new() { Fd = fd, InfoLen = (uint)sizeof(ProgInfoData), Info = (ulong)&info };
        var status = LinuxBpfSys.Instance.Bpf(BpfCommand.ObjGetInfoByFd, &ask, sizeof(ObjInfoAttr));
        LinuxBpfSys.Instance.Close(fd);
        return status < 0 ? null : new Runs(info.RunTimeNs, info.RunCount);
    }

    /// <summary>A program that does nothing, attached to the raw system call entry: the floor under every figure.</summary>
    public static IDisposable EmptyProgram()
    {
        var a = new Assembler();
        a.Emit(Instruction.Mov(Reg.R0, 0)).Exit();
        var program = BpfProgram.Load(new ProgramSpec("empty", ProgramType.RawTracepoint, a.Finish()));
        return new Pair(RawTracepoint.Attach(program, "sys_enter"), program);
    }

    private sealed class Pair(IDisposable first, IDisposable second) : IDisposable
    {
        public void Dispose()
        {
            first.Dispose();
            second.Dispose();
        }
    }
}
