namespace SystemTap.Targets;

/// <summary>A loaded file around an address.</summary>
/// <param name="File">Its frame information and symbols.</param>
/// <param name="Bias">What to subtract from an address of the process to get one of the file.</param>
public readonly record struct LoadedFile(UserImage File, ulong Bias);

/// <summary>Finds what is mapped at an address of a process; null for nothing known.</summary>
public delegate LoadedFile? FindLoaded(ulong address);

// One step: with the row of the current address, the CFA is computed from the registers, the return address and the callee-saved registers are fetched by
// their rules, the stack pointer becomes the CFA. Where no row exists (generated code, assembly without annotations) the frame pointer is tried:
// [rbp] is the caller's rbp and [rbp+8] the return address, accepted only when they look like it. The end of a signal's handler is known by its instructions there. Addresses of callers are behind the call instruction, so
// rows are looked up one byte before – except for what a signal interrupted.

/// <summary>Walks a stack by call frame information.</summary>
public sealed class Unwinder(Architecture architecture)
{
    private readonly int _stackPointer = architecture.StackPointer.DwarfNumber;
    private readonly ulong _word = (ulong)architecture.PointerSize;
    private readonly int _framePointer = architecture.FramePointer.DwarfNumber;
    private readonly int _linkRegister = architecture.ReturnAddress?.DwarfNumber ?? -1;

    /// <summary>The addresses of a stack, innermost first.</summary>
    /// <param name="pc">Where the process is.</param>
    /// <param name="registers">By DWARF number, at least <see cref="FrameRow.RegisterCount"/>; changed.</param>
    /// <param name="find">What is mapped where.</param>
    /// <param name="read">Memory: of the stack at least.</param>
    /// <param name="most">Most addresses.</param>
    public List<ulong> Walk(ulong pc, Span<ulong> registers, FindLoaded find, ReadWord read, int most)
    {
        var result = new List<ulong>(Math.Min(most, 32));
        var exact = true;
        Span<ulong> next = stackalloc ulong[FrameRow.RegisterCount];
        while (result.Count < most && pc != 0)
        {
            result.Add(pc);
            var stack = registers[_stackPointer];
            var first = result.Count == 1;
            var step = Step(pc, exact ? pc : pc - 1, registers, next, find, read, first, out var caller, out exact);
            if (!step || caller == pc && next[_stackPointer] == stack)
                break;
            // Stacks grow down: a caller's frame is above, except on leaving a signal's alternative stack.
            if (next[_stackPointer] <= stack && !exact && !first)
                break;
            next.CopyTo(registers);
            pc = caller;
        }
        return result;
    }

    private bool Step(ulong here, ulong pc, ReadOnlySpan<ulong> registers, Span<ulong> next, FindLoaded find, ReadWord read, bool first, out ulong caller, out bool exact)
    {
        exact = false;
        caller = 0;
        registers[..FrameRow.RegisterCount].CopyTo(next);
        if (find(pc) is not { } loaded || loaded.File.Frames.Find(pc - loaded.Bias) is not { } found)
            return BySignal(here, registers, next, find, read, out caller, out exact) || ByFramePointer(registers, next, find, read, first, out caller);

        var (row, isDebug) = found;
        var frames = loaded.File.Frames;
        ulong cfa;
        if (row.CfaRegister >= 0)
        {
            if (row.CfaRegister >= FrameRow.RegisterCount)
                return false;
            cfa = registers[row.CfaRegister] + (ulong)row.CfaOffset;
        }
        else if (FrameExpression.Evaluate(frames.Expression(row.CfaExpression, isDebug), registers, null, read) is { } computed)
        {
            cfa = computed;
        }
        else
        {
            return false;
        }

        next[_stackPointer] = cfa;
        for (var i = 0; i < FrameRow.RegisterCount; i++)
        {
            var rule = row.Rules[i];
            switch (rule.Kind)
            {
                case FrameRuleKind.Offset:
                    if (!read(cfa + (ulong)rule.Value, out next[i]) && i == row.ReturnRegister)
                        return false;
                    break;
                case FrameRuleKind.ValueOffset:
                    next[i] = cfa + (ulong)rule.Value;
                    break;
                case FrameRuleKind.Register when (ulong)rule.Value < FrameRow.RegisterCount:
                    next[i] = registers[(int)rule.Value];
                    break;
                case FrameRuleKind.Expression:
                    if ((FrameExpression.Evaluate(frames.Expression(rule, isDebug), registers, cfa, read) is not { } place || !read(place, out next[i])) && i == row.ReturnRegister)
                        return false;
                    break;
                case FrameRuleKind.ValueExpression:
                    if (FrameExpression.Evaluate(frames.Expression(rule, isDebug), registers, cfa, read) is { } value)
                        next[i] = value;
                    else if (i == row.ReturnRegister)
                        return false;
                    break;
                case FrameRuleKind.Undefined when i == row.ReturnRegister:
                    return false; // the outermost function says so
            }
        }

        exact = row.IsSignalFrame;
        caller = next[row.ReturnRegister];

        // Without a rule the return address is where the call left it: on arm64 in the link register, on x86 there is always a rule.
        return row.Rules[row.ReturnRegister].Kind != FrameRuleKind.Same || _linkRegister >= 0;
    }

    private bool BySignal(ulong here, ReadOnlySpan<ulong> registers, Span<ulong> next, FindLoaded find, ReadWord read, out ulong caller, out bool exact)
    {
        caller = 0;
        exact = false;
        if (architecture.SignalReturn is not { } signal || find(here) is not { } loaded || !loaded.File.HasCode(here - loaded.Bias, signal.Code))
            return false;
        foreach (var (register, offset) in signal.Registers)
            if (!read(registers[_stackPointer] + (ulong)offset, out next[register]))
                return false;
        caller = next[architecture.InstructionPointer.DwarfNumber];
        exact = true;
        return true;
    }

    private bool ByFramePointer(ReadOnlySpan<ulong> registers, Span<ulong> next, FindLoaded find, ReadWord read, bool first, out ulong caller)
    {
        var frame = registers[_framePointer];
        if (frame >= registers[_stackPointer] && frame % _word == 0 && read(frame, out var outer) && read(frame + _word, out caller) && find(caller) is not null)
        {
            next[_framePointer] = outer;
            next[_stackPointer] = frame + (2 * _word);
            return true;
        }
        // At the first instruction of a function nothing has been pushed yet; a call through a bad pointer looks the same.
        if (first && _linkRegister < 0 && read(registers[_stackPointer], out caller) && find(caller) is not null)
        {
            next[_stackPointer] = registers[_stackPointer] + _word;
            return true;
        }
        caller = 0;
        return false;
    }
}
