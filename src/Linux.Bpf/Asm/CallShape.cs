namespace Linux.Bpf;

/// <summary>
/// How deep the calls of a program nest and how much stack they take together, as the verifier adds it up (<c>check_max_stack_depth</c>): callbacks count as calls, each function's stack is
/// rounded up, and the limits are <see cref="MostFrames"/> and <see cref="MostStack"/>. Newer kernels give each function a stack of its own and then count frames only.
/// </summary>
/// <param name="Frames">Functions on the deepest way, the main program included.</param>
/// <param name="Stack">Bytes on the way that takes most.</param>
public readonly record struct CallShape(int Frames, int Stack)
{
    /// <summary>MAX_CALL_FRAMES.</summary>
    public const int MostFrames = 8;

    /// <summary>MAX_BPF_STACK.</summary>
    public const int MostStack = 512;

    private const int Rounding = 32;

    /// <summary>Every kernel's verifier accepts it.</summary>
    public bool Fits => Frames <= MostFrames && Stack <= MostStack;

    /// <summary>Looks at a program, whose calls must form no ring.</summary>
    public static CallShape Of(AssembledCode code)
    {
        ReadOnlySpan<Instruction> slots = code.Slots.Span;
        int[] starts = new int[code.Subprograms.Count + 1];
        for (int i = 1; i < starts.Length; i++)
            starts[i] = code.Subprograms[i - 1].Slot;
        var callees = new HashSet<int>[starts.Length];
        int[] stacks = new int[starts.Length];
        for (int f = 0; f < starts.Length; f++)
        {
            callees[f] = [];
            int end = f + 1 < starts.Length ? starts[f + 1] : slots.Length;
            for (int i = starts[f]; i < end; i++)
            {
                Instruction insn = slots[i];
                bool isCall = insn.OpCode == (Op.Jmp | Op.Call) && (byte)insn.Src == Op.PseudoCall;
                if (isCall || (insn.IsWide && (byte)insn.Src == Op.PseudoFunc))
                {
                    int callee = Array.BinarySearch(starts, i + insn.Imm + 1);
                    if (callee > 0)
                        callees[f].Add(callee);
                }
                stacks[f] = Math.Max(stacks[f], Reach(slots, i));
                if (insn.IsWide)
                    i++;
            }
            stacks[f] = (Math.Max(stacks[f], 1) + Rounding - 1) / Rounding * Rounding;
        }
        var known = new CallShape[starts.Length];
        return Deepest(0, callees, stacks, known);
    }

    // How far down an instruction uses the stack: by an access, by an address made of the stack pointer, or by the budget of may_goto.
    private static int Reach(ReadOnlySpan<Instruction> slots, int i)
    {
        Instruction insn = slots[i];
        if (insn.OpCode == (Op.Jmp | Op.JCond))
            return 8;
        if (insn.Class is Op.St or Op.Stx && insn.Dst == Reg.R10 || insn.Class == Op.Ldx && insn.Src == Reg.R10)
            return -insn.Offset;
        bool isCopy = insn.OpCode == (Op.Alu64 | (byte)AluOp.Mov | Op.X) && insn.Src == Reg.R10;
        return isCopy && i + 1 < slots.Length && slots[i + 1] is { } next && next.OpCode == (Op.Alu64 | (byte)AluOp.Add | Op.K) && next.Dst == insn.Dst ? -next.Imm : 0;
    }

    private static CallShape Deepest(int f, HashSet<int>[] callees, int[] stacks, CallShape[] known)
    {
        if (known[f].Frames > 0)
            return known[f];
        known[f] = new CallShape(1, stacks[f]); // A ring, which the verifier refuses, ends here.
        int frames = 0, stack = 0;
        foreach (int callee in callees[f])
        {
            CallShape below = Deepest(callee, callees, stacks, known);
            (frames, stack) = (Math.Max(frames, below.Frames), Math.Max(stack, below.Stack));
        }
        return known[f] = new CallShape(frames + 1, stack + stacks[f]);
    }
}
