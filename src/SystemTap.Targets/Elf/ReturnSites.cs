
namespace SystemTap.Targets;

// Where a function returns.
//
// A uretprobe replaces the return address on the stack. Code that walks its own stack meets the kernel's trampoline there: an exception that passes a
// probed C++ or Rust function ends the program ("terminate called"), and Go, which moves stacks, crashes. For such files a return probe is put on the
// instructions that return instead. That needs all of them: a function that ends in a jump to another one (a tail call) has none at that place.

/// <summary>Finds the instructions by which a function returns.</summary>
public static class ReturnSites
{
    /// <summary>
    /// The file's code walks its own stack: exceptions of C++ or Rust panics, or Go. Or it changes stacks (ucontext): the kernel takes what waits to return on
    /// another stack for left by a jump, and forgets where to.
    /// </summary>
    public static bool AreNeeded(ElfFile file)
    {
        if (file.IsGo)
            return true;
        var isStatic = file.Find(ElfSection.DynamicSymbols) is null;
        foreach (var symbols in (ElfSymbols[])[ElfSymbols.Dynamic(file), file.Symbols])
            for (var i = 0; i < symbols.Count; i++)
                if (symbols[i].NameUtf8 is { Length: 11 } context && (context.SequenceEqual("swapcontext"u8) || context.SequenceEqual("makecontext"u8)) && (isStatic || !symbols[i].IsDefined)
                    || symbols[i].NameUtf8 is { Length: > 5 } name && (name.SequenceEqual("_Unwind_Resume"u8) || name.SequenceEqual("__gxx_personality_v0"u8)
                    || name.SequenceEqual("rust_eh_personality"u8) || name.SequenceEqual("_Unwind_RaiseException"u8) || name.SequenceEqual("__cxa_throw"u8)))
                    return true;
        return false;
    }

    /// <summary>Functions that keep their return address for a later jump: what would be kept is the kernel's trampoline, and the jump goes there when nothing returns.</summary>
    private static readonly HashSet<string> Keepers = new(StringComparer.Ordinal)
    {
        "setjmp", "_setjmp", "__setjmp", "sigsetjmp", "_sigsetjmp", "__sigsetjmp", "__sigsetjmp_cancel", "getcontext", "__getcontext", "swapcontext", "__swapcontext",
        "jump_fcontext", "ontop_fcontext", "coroutine_transfer",
    };

    /// <summary>The function keeps its return address for later (setjmp and its like).</summary>
    public static bool KeepsAddress(string symbol) => Keepers.Contains(symbol.Split('@')[0]);

    /// <summary>
    /// At the function's first instruction the stack's top is a return address. It is not where code is jumped to: a program's first instruction (its argument
    /// count is there), the return from a signal handler, the dynamic linker's resolvers, parts split off by the compiler. The frame information tells; glibc's
    /// code behind the end of a context has none.
    /// </summary>
    public static bool IsCalled(UserFile file, ulong entry, string symbol)
    {
        const int stackPointer = 7, stackPointer32 = 4;
        if (entry == file.Elf.Entry && file.Elf.Entry != 0 || symbol == "__start_context")
            return false;
        if (file.Frames.Find(entry) is not var (row, _))
            return true;
        if (row.IsSignalFrame || row.ReturnRegister < FrameRow.RegisterCount && row.Rules[row.ReturnRegister].Kind == FrameRuleKind.Undefined)
            return false;
        return file.Elf.Machine switch
        {
            ElfMachines.X8664 => row.CfaRegister == stackPointer && row.CfaOffset == 8,
            ElfMachines.I386 => row.CfaRegister == stackPointer32 && row.CfaOffset == 4,
            _ => true,
        };
    }

    /// <summary>Addresses of all returning instructions; null when they cannot all be known.</summary>
    /// <param name="file">The file with the code.</param>
    /// <param name="ranges">The function's code.</param>
    /// <param name="symbols">To recognise parts split off by the compiler (<c>name.cold</c>).</param>
    public static List<ulong>? Of(ElfFile file, IReadOnlyList<(ulong Start, ulong End)> ranges, ElfSymbols symbols)
    {
        var result = new List<ulong>();
        if (ranges.Count == 0)
            return null;
        if (file.Machine == ElfMachines.Arm64)
            return Arm64(file, ranges, result) ? result : null;
        if (file.Machine != ElfMachines.X8664)
            return null;
        var all = new List<(ulong Start, ulong End)>(ranges);
        for (var i = 0; i < all.Count && i < 16; i++)
        {
            if (Code(file, all[i]) is not { Length: > 0 } code)
                return null;
            for (var at = 0; at < code.Length;)
            {
                var (length, kind, target, noTrack) = X86Instructions.Decode(code[at..]);
                var address = all[i].Start + (ulong)at;
                switch (kind)
                {
                    case InstructionKind.Unknown:
                        return null;
                    case InstructionKind.Return:
                        result.Add(address);
                        break;
                    case InstructionKind.IndirectJump when !noTrack:
                        return null;
                    case InstructionKind.Jump:
                        var there = unchecked(address + (ulong)target);
                        if (!all.Exists(r => there >= r.Start && there < r.End))
                        {
                            if (symbols.At(there) is not { } other || other.NameUtf8.IndexOf(".cold"u8) < 0 || other.Size == 0)
                                return null;
                            all.Add((other.Value, other.Value + other.Size));
                        }
                        break;
                }
                at += length;
            }
        }
        result.Sort();
        return result.Count > 0 ? result : null;
    }

    private static ReadOnlySpan<byte> Code(ElfFile file, (ulong Start, ulong End) range) =>
        range.End > range.Start && file.FileOffset(range.Start) is { } offset ? file.Part((ulong)offset, range.End - range.Start).Span : default;

    private static bool Arm64(ElfFile file, IReadOnlyList<(ulong Start, ulong End)> ranges, List<ulong> result)
    {
        foreach (var range in ranges)
        {
            var code = Code(file, range);
            for (var at = 0; at + 4 <= code.Length; at += 4)
            {
                var word = System.Buffers.Binary.BinaryPrimitives.ReadUInt32LittleEndian(code[at..]);
                var address = range.Start + (ulong)at;
                if ((word & 0xfffffc1f) == 0xd65f0000 || word is 0xd65f0bff or 0xd65f0fff)
                    result.Add(address);
                else if ((word & 0xfc000000) == 0x14000000)
                {
                    var target = unchecked(address + (ulong)((long)((int)(word << 6) >> 6) * 4));
                    var inside = false;
                    foreach (var (start, end) in ranges)
                        inside |= target >= start && target < end;
                    if (!inside)
                        return false;
                }
            }
        }
        return result.Count > 0;
    }
}
