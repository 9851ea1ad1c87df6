using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Keys found by their hash
// ------------------------
// A stack as key has room for twenty addresses, of which a system call's has three. The kernel's hash map hashes and compares all of a key; here the words that are used are enough. So tables of
// counts (Deferral/KernelCounts) with large keys are maps from an 8-byte hash to element and key, and a look-up ends with a comparison. Two keys with one hash are not mixed up: the second finds
// no room, and what finds no room is sent to stap as a record.
//
// It would not do for arrays from which elements are deleted: the kernel gives their memory to the next one inserted, and between look-up and comparison it would be another's.

internal sealed partial class ProgramEmitter
{
    /// <summary>2⁶⁴ divided by the golden ratio, odd.</summary>
    private const long HashFactor = unchecked((long)0x9E3779B97F4A7C15);

    /// <summary>The hash of a key, 8 bytes on the stack. R0–R2 are lost.</summary>
    private Mem Hash(KeyLayout layout, Mem key)
    {
        var hash = TakeStack(8);
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.LdImm64(Reg.R2, HashFactor);
        EachWord(layout, key, _ =>
        {
            _a.Emit(Instruction.Alu64(AluOp.Xor, Reg.R0, Reg.R1));
            _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R0, Reg.R2));
        });
        Save(hash, Reg.R0);
        return hash;
    }

    /// <summary>Jumps when another key stands in an element. R1 and R2 are lost.</summary>
    private void JumpIfOther(KeyLayout layout, Mem key, Mem element, Label other) => EachWord(layout, key, at =>
    {
        Load(Reg.R2, element.At(at));
        _a.JumpIf(JumpOp.Ne, Reg.R1, Reg.R2, other);
    });

    /// <summary>Does something with each word of a key, in R1; of texts and stacks, which zeros follow, up to the first zero.</summary>
    /// <param name="layout">The key's.</param>
    /// <param name="key">Where it is.</param>
    /// <param name="body">Gets the word's offset; must keep R1.</param>
    private void EachWord(KeyLayout layout, Mem key, Action<int> body)
    {
        var at = 0;
        for (var i = 0; i < layout.Types.Count; i++)
        {
            var next = _a.NewLabel();
            var end = at + layout.Capacities[i];
            for (; at < end; at += 8)
            {
                Load(Reg.R1, key.At(at));
                body(at);
                if (layout.Types[i] == ScriptType.String && at + 8 < end)
                {
                    _a.JumpIf(JumpOp.Eq, Reg.R1, 0, next);
                }
            }

            _a.Bind(next);
        }
    }
}
