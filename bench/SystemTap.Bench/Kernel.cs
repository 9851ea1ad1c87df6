using System.Globalization;
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

    /// <summary>Ids of the programs a process holds, by the kernel's own description of its descriptors: others on the machine may load programs meanwhile.</summary>
    public static HashSet<uint> ProgramsOf(int pid)
    {
        var ids = new HashSet<uint>();
        try
        {
            foreach (var file in Directory.EnumerateFiles($"/proc/{pid}/fdinfo"))
            {
                try
                {
                    foreach (var line in File.ReadLines(file))
                    {
                        if (line.StartsWith("prog_id:", StringComparison.Ordinal))
                        {
                            ids.Add(uint.Parse(line.AsSpan("prog_id:".Length).Trim(), CultureInfo.InvariantCulture));
                        }
                    }
                }
                catch (IOException)
                {
                    // closed meanwhile
                }
            }
        }
        catch (IOException)
        {
            return ids;
        }

        return ids;
    }

    /// <summary>Sum over the programs of a process.</summary>
    public static Runs RunsOf(int pid)
    {
        var sum = default(Runs);
        foreach (var id in ProgramsOf(pid))
        {
            sum += Of(id) ?? default;
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
