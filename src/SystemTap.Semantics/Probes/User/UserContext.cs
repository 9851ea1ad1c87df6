using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Targeting;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

/// <summary>Context variables at a place of a user-space file. Knows where the file is loaded, so that its global variables can be read.</summary>
public abstract class UserContext(Target target, UserFile file, ulong address) : ProbeContext
{
    private readonly Dictionary<string, Unreadable> _problems = new(StringComparer.Ordinal);

    /// <summary>The program or library.</summary>
    public UserFile File { get; } = file;

    protected Target Target { get; } = target;

    /// <summary>Registers and calling convention of the file's code.</summary>
    protected Architecture Architecture => File.IsUser ? Target.Architecture.Of(File.Elf) : Target.Architecture;

    /// <summary>The place, as linked.</summary>
    protected ulong Address { get; } = address;

    /// <summary>The instruction pointer of the event is <see cref="Address"/> as loaded.</summary>
    protected virtual bool IsAtAddress => true;

    /// <summary>The unit of the place, whose file-local variables come first; null when unknown.</summary>
    public virtual DwarfUnit? Unit => null;

    /// <inheritdoc/>
    public override string? Explain(string name) => _problems.GetValueOrDefault(name)?.Text;

    /// <inheritdoc/>
    public override bool NeedsModule(string name) => _problems.GetValueOrDefault(name) is { NeedsModule: true };

    /// <summary>The session's runtime can read vector registers of programs.</summary>
    protected bool ReadsVectors => File.IsUser && Runtime == "kernel";

    protected void Problem(string name, Unreadable? why)
    {
        if (why is not null)
        {
            _problems[name] = why;
        }
    }

    /// <summary>Difference between where this file is loaded and how it was linked; null when it cannot be known at this event.</summary>
    public Expr? Bias(SourceSpan span) =>
        !File.Elf.IsRelocated ? new LongConst(0, span)
        : IsAtAddress ? new BinaryExpr(BinaryOperator.Add, new ContextExpr(ContextValue.Register, Target.Architecture.InstructionPointer.Offset, span), new LongConst(unchecked(-(long)Address), span), span)
        : ProgramBias(Target, File, span);

    /// <summary>Where an address of this file, as linked, is loaded; null when it cannot be known at this event.</summary>
    public Expr? Loaded(ulong address, SourceSpan span) => File.Kernel is not null ? InKernel(File, address, span) : Sum(Bias(span), address, span);

    /// <summary>The same for a file that is not this place's own: the kernel, or the program of the event's process.</summary>
    public static Expr? Loaded(Target target, UserFile file, ulong address, SourceSpan span) =>
        file.Kernel is not null ? InKernel(file, address, span) : Sum(ProgramBias(target, file, span), address, span);

    /// <summary>In the running kernel a number; in another one the distance from a symbol whose place the module learns when it is loaded.</summary>
    private static Expr? InKernel(UserFile file, ulong address, SourceSpan span) =>
        file.Kernel!.Loaded(address) is { } loaded ? new LongConst((long)loaded, span)
        : file.Kernel.FromAnchor(address) is { } distance ? new BinaryExpr(BinaryOperator.Add, new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.KernelAnchor), [], span), new LongConst(distance, span), span)
        : null;

    private static Expr? Sum(Expr? bias, ulong address, SourceSpan span) =>
        bias is LongConst c ? new LongConst(c.Value + (long)address, span) : bias is null ? null : new BinaryExpr(BinaryOperator.Add, bias, new LongConst((long)address, span), span);

    /// <summary>The same for a program (not a library) in any event of its process: the kernel remembers where its code begins.</summary>
    public static Expr? ProgramBias(Target target, UserFile file, SourceSpan span)
    {
        if (!file.Elf.IsRelocated)
        {
            return new LongConst(0, span);
        }

        ulong? first = null;
        foreach (var segment in file.Elf.Segments)
        {
            if (segment is { Type: ElfSegment.Load, IsExecutable: true } && (first is null || segment.Address < first))
            {
                first = segment.Address;
            }
        }

        return file.Elf.IsProgram && first is { } start && OfTask(target, span, ("task_struct", "mm"), ("mm_struct", "start_code")) is { } code
            ? new BinaryExpr(BinaryOperator.Add, code, new LongConst(unchecked(-(long)start), span), span)
            : null;
    }

    /// <summary>Why <see cref="ThreadLocal"/> finds nothing.</summary>
    public static string ThreadLocalProblem(UserFile file) =>
        !file.Elf.Is64 ? "it is thread-local, and where 32-bit programs keep such variables is not known here"
        : file.Elf.IsProgram ? "it is thread-local, and the kernel's types do not tell where threads keep such variables"
        : file.Elf.ThreadLocalSlot is null ? "it is thread-local, and nothing in its library tells where threads keep it: the library's own code never asks"
        : "it is thread-local, and where its library is loaded cannot be known at this event";

    /// <summary>
    /// A thread-local variable. Of the program: behind the thread pointer on arm64, before it on x86. Of a library (x86): where the dynamic linker has told the library's own code,
    /// at a distance from the thread pointer or in the table of blocks that each thread has (glibc's DTV, also for libraries that were loaded by dlopen).
    /// </summary>
    /// <param name="target">The machine.</param>
    /// <param name="file">Which file's.</param>
    /// <param name="loaded">Where an address of the file, as linked, is loaded.</param>
    /// <param name="offset">In the file's thread-local block.</param>
    /// <param name="span">Place for messages.</param>
    public static Expr? ThreadLocal(Target target, UserFile file, Func<ulong, SourceSpan, Expr?> loaded, long offset, SourceSpan span)
    {
        if (file.Elf.ThreadLocal is not { } segment || !file.Elf.Is64)
        {
            return null;
        }

        // GNU ld writes addresses instead of offsets into the address table of split units.
        if (offset >= (long)segment.MemorySize && offset - (long)segment.Address is >= 0 and var within && within < (long)segment.MemorySize)
        {
            offset = within;
        }

        var alignment = (long)Math.Max(1, segment.Alignment);
        if (target.Architecture.Name == "x86_64" && !file.Elf.IsProgram)
        {
            return OfTask(target, span, ("task_struct", "thread"), ("thread_struct", "fsbase")) is { } thread && file.Elf.ThreadLocalSlot is { } slot && loaded(slot.Address, span) is { } place
                ? OfLibrary(thread, slot, place, offset, span) : null;
        }

        if (!file.Elf.IsProgram)
        {
            return null;
        }

        if (target.Architecture.Name == "x86_64")
        {
            var size = ((long)segment.MemorySize + alignment - 1) / alignment * alignment;
            return OfTask(target, span, ("task_struct", "thread"), ("thread_struct", "fsbase")) is { } fs ? TargetBinder.Offset(fs, offset - size, span) : null;
        }

        var head = (16 + alignment - 1) / alignment * alignment;
        return OfTask(target, span, ("task_struct", "thread"), ("thread_struct", "uw.tp_value")) is { } tp ? TargetBinder.Offset(tp, head + offset, span) : null;
    }

    private static Expr OfLibrary(Expr thread, ThreadLocalSlot slot, Expr place, long offset, SourceSpan span)
    {
        switch (slot.Kind)
        {
            case ThreadLocalSlotKind.Distance:
                return Distance(Load(place));
            case ThreadLocalSlotKind.Module:
                return Block(Load(place));
            default:
                // Distances are below the thread pointer, addresses are not negative.
                var argument = Load(TargetBinder.Offset(place, 8, span));
                return new ConditionalExpr(new BinaryExpr(BinaryOperator.Less, argument, new LongConst(0, span), span), Distance(argument), Block(Load(argument)), span);
        }

        DerefExpr Load(Expr address) => new(address, 8, false, true, span);

        Expr Distance(Expr distance) => TargetBinder.Offset(new BinaryExpr(BinaryOperator.Add, thread, distance, span), offset - slot.Offset, span);

        // dtv[-1] is how many rows the thread's table has, dtv[n] the block of file n: none (-1) until the thread first asks for it. Address 0 then gives a read fault.
        Expr Block(Expr number)
        {
            var table = Load(TargetBinder.Offset(thread, 8, span));
            var row = Load(new BinaryExpr(BinaryOperator.Add, table, new BinaryExpr(BinaryOperator.Multiply, number, new LongConst(16, span), span), span));
            var rows = Load(TargetBinder.Offset(table, -16, span));
            var known = new BinaryExpr(BinaryOperator.GreaterOrEqual, rows, number, span);
            return TargetBinder.Offset(new ConditionalExpr(known, row, new LongConst(0, span), span), offset, span);
        }
    }

    /// <summary>A chain of members from the current task: pointers are followed, structures within are entered.</summary>
    internal static Expr? OfTask(Target target, SourceSpan span, params ReadOnlySpan<(string Struct, string Member)> path)
    {
        if (target.KernelBtfOrNull is not { } btf)
        {
            return null;
        }

        Expr value = new IntrinsicExpr(IntrinsicTable.Get(IntrinsicId.CurrentTask), [], span);
        long offset = 0;
        for (var i = 0; i < path.Length; i++)
        {
            var type = btf.Find(BtfKind.Struct, path[i].Struct);
            foreach (var part in path[i].Member.Split('.'))
            {
                if (type?.FindMember(part) is not { } member)
                {
                    return null;
                }

                offset += member.ByteOffset;
                type = member.Type.Stripped;
            }

            if (i == path.Length - 1 || type is { IsPointer: true })
            {
                value = new DerefExpr(TargetBinder.Offset(value, offset, span), 8, false, false, span) { MemberName = path[i].Struct + "." + path[i].Member };
                offset = 0;
            }
        }

        return value;
    }

    /// <summary>A variable at its address or with its value, as a typed value.</summary>
    internal static TypedValue? Typed(LocationLowering.Result result, BtfType type, bool isUser, SourceSpan span, out Unreadable? problem)
    {
        problem = null;
        var stripped = type.Stripped;
        var ctype = new CType(type, isUser, false);
        switch (stripped.Kind)
        {
            case BtfKind.Struct or BtfKind.Union or BtfKind.Array or BtfKind.Forward:
                return new TypedValue(result.Value, ctype with { IsInMemory = true })
                {
                    Parts = result.IsAddress ? null : result.Parts ?? new ObjectParts([new ObjectPart(0, 64, result.Value, false, null)], 0, isUser),
                };
            case BtfKind.Pointer when result.Pointee is { } pointee:
                return new TypedValue(result.Value, ctype) { Pointee = pointee };
            case var _ when result.Pointee is not null:
                problem = "what it points to was optimised away";
                return null;
            case BtfKind.Pointer or BtfKind.Int or BtfKind.Enum or BtfKind.Enum64 or BtfKind.Float when result.Parts is { } parts && stripped.Size is > 0 and <= 8:
                return parts.Read(0, (int)stripped.Size * 8, stripped.IsSigned, span, out problem) is { } gathered ? new TypedValue(gathered, ctype) : null;
            case BtfKind.Pointer:
                return new TypedValue(result.IsAddress ? new DerefExpr(result.Value, type.Btf.PointerSize, false, isUser, span)
                    : LocationLowering.Narrow(result.Value, type.Btf.PointerSize, false, span), ctype);
            case BtfKind.Int or BtfKind.Enum or BtfKind.Enum64 or BtfKind.Float when stripped.Size is 1 or 2 or 4 or 8:
                var size = (int)stripped.Size;
                return new TypedValue(result.IsAddress
                    ? new DerefExpr(result.Value, size, stripped.IsSigned, isUser, span)
                    : LocationLowering.Narrow(result.Value, size, stripped.IsSigned, span), ctype);
            default:
                problem = $"a value of type '{type.Declaration}' does not fit a script's number";
                return null;
        }
    }
}
