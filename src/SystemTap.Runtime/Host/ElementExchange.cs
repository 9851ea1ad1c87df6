using Linux.Bpf;

namespace SystemTap.Runtime.Host;

/// <summary>
/// Compare-and-exchange on the 8-byte value of a hash map's element, from user space: a program of a dozen instructions that stap runs by request.
/// It finds the element and does the exchange in place, so kernel handlers' atomic updates of the same word are never lost. Linux 5.12 (atomics).
/// </summary>
internal sealed class ElementExchange : IDisposable
{
    // The mapped exchange: the key, then these words.
    private const int Expected = 0, Wanted = 8, Found = 16, Seen = 24, Words = 32;
    private const int ValueOffset = Bpf.Plan.GlobalStorage.Array.ValueOffset;

    private readonly BpfMap _scratch;
    private readonly MappedMemory _memory;
    private readonly BpfProgram _program;
    private readonly int _words;

    public ElementExchange(BpfMap elements)
    {
        _words = (elements.Spec.KeySize + 7) & ~7;
        _scratch = BpfMap.Create(MapSpec.GlobalData("stap_exchange", _words + Words));
        _program = BpfProgram.Load(new ProgramSpec("stap_exchange", ProgramType.RawTracepoint, Code(elements)));
        _memory = _scratch.Map();
    }

    /// <summary>True when the element held the expected value and now holds the new one; false when it is gone or was changed.</summary>
    public bool Try(ReadOnlySpan<byte> key, long expected, long wanted)
    {
        key.CopyTo(_memory.Span);
        _memory.Word(_words + Expected) = expected;
        _memory.Word(_words + Wanted) = wanted;
        _memory.Word(_words + Found) = 0;
        _program.TestRun(default);
        return _memory.Word(_words + Found) != 0 && _memory.Word(_words + Seen) == expected;
    }

    public void Dispose()
    {
        _memory.Dispose();
        _program.Dispose();
        _scratch.Dispose();
    }

    private AssembledCode Code(BpfMap elements)
    {
        var a = new Assembler();
        var end = a.NewLabel();
        a.LdMapValue(Reg.R6, _scratch, 0);
        a.LdMap(Reg.R1, elements);
        a.Emit(Instruction.Mov(Reg.R2, Reg.R6));
        a.Call(Helper.MapLookupElem);
        a.JumpIf(JumpOp.Eq, Reg.R0, 0, end);
        a.Emit(Instruction.Mov(Reg.R7, Reg.R0));
        a.Emit(Instruction.Load(MemSize.DW, Reg.R0, Reg.R6, _words + Expected));
        a.Emit(Instruction.Load(MemSize.DW, Reg.R1, Reg.R6, _words + Wanted));
        a.Emit(Instruction.Atomic(AtomicOp.CmpXchg, MemSize.DW, Reg.R7, ValueOffset, Reg.R1));
        a.Emit(Instruction.Store(MemSize.DW, Reg.R6, _words + Seen, Reg.R0));
        a.Emit(Instruction.Store(MemSize.DW, Reg.R6, _words + Found, 1));
        a.Bind(end);
        a.Emit(Instruction.Mov(Reg.R0, 0));
        a.Exit();
        return a.Finish();
    }
}
