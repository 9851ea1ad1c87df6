using System.Buffers.Binary;
using Linux.Bpf;
using SystemTap.Runtime.Host;

namespace SystemTap.Runtime.Sessions;

/// <summary>
/// Memory reads for handlers that run in stap: a tiny program, run by request in stap's own context, copies kernel memory (or stap's own user memory)
/// into a mapped array. Loaded at the first use, because most scripts never need it. Costs about 2 µs per kilobyte. Linux 5.10 (raw tracepoint test runs).
/// </summary>
internal sealed class PeekService : IMemoryReader, IDisposable
{
    // The exchange: request words, answer words, bytes.
    private const int Address = 0, Size = 8, IsUser = 16, Result = 24, Task = 32, Data = 64, Most = 1024;

    private readonly BpfMap? _map;
    private readonly BpfProgram? _program;
    private readonly MappedMemory? _memory;

    public PeekService()
    {
        try
        {
            _map = BpfMap.Create(MapSpec.GlobalData("stap_peek", Data + Most));
            _program = BpfProgram.Load(new ProgramSpec("stap_peek", ProgramType.RawTracepoint, Code(_map)));
            _memory = _map.Map();
        }
        catch (BpfException)
        {
            // Not permitted or not there: every read is then a read fault, which the script can catch.
            Dispose();
        }
    }

    public bool ReadKernel(ulong address, Span<byte> into) => Read(address, into, 0);

    public bool ReadUser(ulong address, Span<byte> into) => Read(address, into, 1);

    public ulong CurrentTask()
    {
        // The read of nothing at address 0 is refused; the task stands there all the same.
        Run(0, [], 0);
        return _memory is { } memory ? (ulong)memory.Word(Task) : 0;
    }

    public void Dispose()
    {
        _memory?.Dispose();
        _program?.Dispose();
        _map?.Dispose();
    }

    private bool Read(ulong address, Span<byte> into, long user)
    {
        while (into.Length > 0)
        {
            var part = into[..Math.Min(into.Length, Most)];
            if (!Run(address, part, user))
            {
                return false;
            }

            into = into[part.Length..];
            address += (ulong)part.Length;
        }

        return true;
    }

    private bool Run(ulong address, Span<byte> into, long user)
    {
        if (_memory is not { } memory || _program is null)
        {
            return false;
        }

        memory.Word(Address) = (long)address;
        memory.Word(Size) = into.Length;
        memory.Word(IsUser) = user;
        memory.Word(Result) = -1;
        try
        {
            _program.TestRun(default);
        }
        catch (BpfException)
        {
            return false;
        }

        if (memory.Word(Result) != 0)
        {
            return false;
        }

        memory.Span.Slice(Data, into.Length).CopyTo(into);
        return true;
    }

    private static AssembledCode Code(BpfMap map)
    {
        var a = new Assembler();
        var kernel = a.NewLabel();
        var store = a.NewLabel();
        var end = a.NewLabel();
        a.LdMapValue(Reg.R6, map, 0);
        a.Call(Helper.GetCurrentTask);
        a.Emit(Instruction.Store(MemSize.DW, Reg.R6, Task, Reg.R0));
        a.Emit(Instruction.Load(MemSize.DW, Reg.R2, Reg.R6, Size));
        a.JumpIf(JumpOp.Gt, Reg.R2, Most, end);
        a.Emit(Instruction.Load(MemSize.DW, Reg.R3, Reg.R6, Address));
        a.Emit(Instruction.Load(MemSize.DW, Reg.R7, Reg.R6, IsUser));
        a.Emit(Instruction.Mov(Reg.R1, Reg.R6));
        a.Emit(Instruction.Add64Imm(Reg.R1, Data));
        a.JumpIf(JumpOp.Eq, Reg.R7, 0, kernel);
        a.Call(Helper.ProbeReadUser);
        a.Jump(store);
        a.Bind(kernel);
        a.Call(Helper.ProbeReadKernel);
        a.Bind(store);
        a.Emit(Instruction.Store(MemSize.DW, Reg.R6, Result, Reg.R0));
        a.Bind(end);
        a.Emit(Instruction.Mov(Reg.R0, 0));
        a.Exit();
        return a.Finish();
    }
}
