using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Targeting;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

// Was a function called by the one that the script means?
//
// The return address tells: it is behind one of the calls that were found in the caller. Where it is on the stack, and where the caller's own return address is, says
// the call frame information, which is run here, at compile time, with expressions as the registers' values (as LocationLowering does with variables). So the
// test of a path of any length is one expression of loads and comparisons, without any unwinder in the kernel, correct without frame pointers:
//
//     called 2 deep, from 0x1234 or 0x1260, that from 0x2000:   ra = [cfa-8] - bias;  (ra == 0x1234 && [cfa'-8] - bias == 0x2000) || (ra == 0x1260 && …)
//
// Many calls are told apart by bisection. Inlined copies are in the frame of the function around them and add nothing. In the kernel there is its own
// unwinder: entry N of the kernel's stack.
//
// A return probe on the same function has put the kernel's trampoline in place of the return address when an entry probe behind the prologue looks: the kernel keeps
// the true one with the task.

/// <summary>Makes the test for one path.</summary>
/// <param name="target">The machine.</param>
/// <param name="file">The file that holds all functions of the path.</param>
/// <param name="address">The place probed, as linked.</param>
/// <param name="span">Place for messages.</param>
internal sealed class CallerTest(Target target, UserFile file, ulong address, SourceSpan span)
{
    /// <summary>What is known of a frame: where execution is, and what its registers hold.</summary>
    private sealed record Frame(ulong Row, int Number, Func<int, Expr?> Register);

    /// <summary>1 when the function was called along the path; null when that cannot be told.</summary>
    public Expr? Of(CallPath path)
    {
        if (file.IsUser && !file.Elf.Is64)
        {
            return null;
        }

        _isEntry = address == path.Function.Entry && !path.Function.IsInlined;
        return Matches(new Frame(address, 0, Register), path);
    }

    private bool _isEntry;

    private ContextExpr? Register(int number) => target.Architecture.FindDwarfRegister(number) is { } register ? new ContextExpr(ContextValue.Register, register.Offset, span) : null;

    private Expr? Matches(Frame frame, CallPath path)
    {
        while (path.Function.IsInlined && path.Caller is { } around)
        {
            path = around;
        }

        if (path.Caller is null)
        {
            return Constant(1);
        }

        if (!file.IsUser)
        {
            // Of a kernel that is not the running one only distances are known: from the place itself, in the same section.
            Expr value = KernelFrame(frame.Number + 1);
            if (IsElsewhere)
            {
                var section = file.Dwarf!.SectionAt(address).Section;
                if (path.Returns.Any(r => file.Dwarf.SectionAt(r).Section != section) || _isEntry && file.Dwarf.SectionAt(address).Offset % 16 != 0)
                {
                    return null;
                }

                value = new BinaryExpr(BinaryOperator.Subtract, value, Here(), span);
            }

            return Among(value, path.Returns, path.Caller, _ => new Frame(0, frame.Number + 1, Register));
        }

        if (Unwind(frame) is not var (returnAddress, caller))
        {
            return null;
        }

        var bias = file.Elf.IsRelocated ? Plus(new ContextExpr(ContextValue.Register, target.Architecture.InstructionPointer.Offset, span), unchecked(-(long)address)) : null;
        var test = Among(Linked(returnAddress), path.Returns, path.Caller, caller);
        if (test is not null && frame.Number == 0 && address != path.Function.Entry && Instance("orig_ret_vaddr") is { } original && Instance("func") is { } function && Instance(null) is { } instance
            && Among(Linked(original), path.Returns, path.Caller, caller) is { } hidden)
        {
            var isOurs = new BinaryExpr(BinaryOperator.Equal, Linked(function), Constant((long)path.Function.Entry), span);
            var known = new BinaryExpr(BinaryOperator.NotEqual, instance, Constant(0), span);
            test = new LogicalExpr(isAnd: false, test, new LogicalExpr(isAnd: true, known, new LogicalExpr(isAnd: true, isOurs, hidden, span), span), span);
        }

        return test;

        Expr Linked(Expr loaded) => bias is null ? loaded : new BinaryExpr(BinaryOperator.Subtract, loaded, bias, span);
    }

    /// <summary>The value is one of the addresses, and the path goes on from there.</summary>
    private Expr? Among(Expr value, IReadOnlyList<ulong> addresses, CallPath caller, Func<ulong, Frame> frame)
    {
        if (addresses.Count > 1)
        {
            var middle = addresses.Count / 2;
            var low = Among(value, [.. addresses.Take(middle)], caller, frame);
            var high = Among(value, [.. addresses.Skip(middle)], caller, frame);
            return low is null || high is null || Loaded(addresses[middle]) is not { } border
                ? null
                : new ConditionalExpr(new BinaryExpr(BinaryOperator.Less, value, Constant(border), span), low, high, span);
        }

        if (Loaded(addresses[0]) is not { } place || Matches(frame(addresses[0] - 1), caller) is not { } rest)
        {
            return null;
        }

        var here = new BinaryExpr(BinaryOperator.Equal, value, Constant(place), span);
        return rest is LongConst ? here : new LogicalExpr(isAnd: true, here, rest, span);
    }

    /// <summary>
    /// The place itself as loaded. A kprobe's handler sees an instruction pointer behind the breakpoint; at a function's entry it is some bytes further, behind what is patched there
    /// for tracing: the kernel aligns functions to 16 bytes.
    /// </summary>
    private BinaryExpr Here() => _isEntry
        ? new BinaryExpr(BinaryOperator.BitAnd, KernelFrame(0), Constant(-16), span)
        : new BinaryExpr(BinaryOperator.Subtract, KernelFrame(0), Constant(1), span);

    private bool IsElsewhere => file.Kernel is { } kernel && kernel.Loaded(address) is null;

    private long? Loaded(ulong linked) => file.Kernel is null ? (long)linked : IsElsewhere ? unchecked((long)(linked - address)) : (long?)file.Kernel.Loaded(linked);

    private IntrinsicExpr KernelFrame(int number) => new(IntrinsicTable.Get(IntrinsicId.KernelFrame), [Constant(number)], span);

    /// <summary>The return address of a frame, and what is known of the caller's when that is known.</summary>
    private (Expr ReturnAddress, Func<ulong, Frame> Caller)? Unwind(Frame frame)
    {
        var architecture = target.Architecture;
        var stackPointer = architecture.StackPointer.DwarfNumber;
        if (file.Frames.Find(frame.Row) is not var (row, _))
        {
            // Without frame information a function's first instruction is still known: nothing has been pushed.
            if (frame.Number > 0 || frame.Register(stackPointer) is not { } top)
            {
                return null;
            }

            return architecture.ReturnAddress is { } link
                ? (frame.Register(link.DwarfNumber)!, row => new Frame(row, 1, frame.Register))
                : (Load(top), row => new Frame(row, 1, n => n == stackPointer ? Plus(top, 8) : frame.Register(n)));
        }

        if (row.CfaRegister < 0 || frame.Register(row.CfaRegister) is not { } @base)
        {
            return null;
        }

        var cfa = Plus(@base, row.CfaOffset);
        return Value(row.ReturnRegister) is { } address
            ? (address, next => new Frame(next, frame.Number + 1, n => n == stackPointer ? cfa : Value(n)))
            : null;

        Expr? Value(int number) => number >= FrameRow.RegisterCount ? null : row.Rules[number] switch
        {
            { Kind: FrameRuleKind.Same } => frame.Register(number),
            { Kind: FrameRuleKind.Offset } rule => Load(Plus(cfa, rule.Value)),
            { Kind: FrameRuleKind.ValueOffset } rule => Plus(cfa, rule.Value),
            { Kind: FrameRuleKind.Register } rule => frame.Register((int)rule.Value),
            _ => null,
        };
    }

    /// <summary>A member of what the kernel keeps for the latest return probe that the task is in, or (null) its address.</summary>
    private Expr? Instance(string? member) => member is null
        ? UserContext.OfTask(target, span, ("task_struct", "utask"), ("uprobe_task", "return_instances"))
        : UserContext.OfTask(target, span, ("task_struct", "utask"), ("uprobe_task", "return_instances"), ("return_instance", member));

    private DerefExpr Load(Expr at) => new(at, 8, false, true, span);

    private LongConst Constant(long value) => new(value, span);

    private Expr Plus(Expr value, long offset) => TargetBinder.Offset(value, offset, span);
}
