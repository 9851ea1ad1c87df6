using System.Buffers.Binary;
using System.Text;
using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Deferral;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Bpf.Context;

// System calls
// ------------
// However many system-call probes a script has, there is one program on sys_enter and one on sys_exit. Each
//   1. finds the interface: a 32-bit call (TS_COMPAT in thread_info.status) has its own numbers and registers. Handlers of the call with the same name
//      serve it too, by a table from its number to the native one, unless the script has one for the 32-bit call itself (syscall.compat_NAME);
//   2. finds the handlers: first those for every call, then by number.
// Handlers of the same shape are one group (HandlerShape) with a table row for each number: a row says "served" and holds the constants and the probe.
// With few groups, the program tests them one after the other. With many, it ends in a tail call by number to a program made of that number's
// handlers; a number without handlers falls through.

internal sealed partial class ProgramBuilder
{
    /// <summary>Groups up to which one program tests them in turn: a test costs 2–3 ns, a tail call about 5.</summary>
    private const int MostInline = 8;

    private sealed class Group : MergedHandlers
    {
        public required SyscallSpec Spec { get; init; }

        public bool IsForAll => Spec.Number < 0;
    }

    private void Syscalls(List<Probe> probes, bool isReturn)
    {
        var groups = GroupSyscalls(probes);
        var tracepoint = isReturn ? "sys_exit" : "sys_enter";
        var btfId = c.Features.TypedTracepoints ? c.Target.Tracepoints.Find(tracepoint)?.AttachId ?? 0 : 0;
        foreach (var group in groups)
        {
            group.Prepare(c, rewriter);
        }

        var native = NativeNumbers(groups, isReturn);

        if (groups.Count <= MostInline)
        {
            Emit($"{tracepoint}", groups, new SyscallContext(c.Target, isReturn, btfId), new AttachPlan.RawTracepoint(tracepoint), -1, -1, native);
            return;
        }

        // Tail calls: handlers for every call and groups that serve many numbers stay in the dispatcher; the others go by number. So "syscall.*" costs two
        // tests although the odd calls (ipc, socketcall) have handlers of their own shape.
        var always = groups.FindAll(g => g.IsForAll);
        foreach (var group in groups.Where(g => !g.IsForAll && g.Table >= 0 && g.Members.Count >= 16).OrderByDescending(g => g.Members.Count).Take(MostInline / 2))
        {
            always.Add(group);
        }

        var jump = c.Maps.Add(isReturn ? "sys_exit_jump" : "sys_enter_jump", MapType.ProgArray, 4, 4, 1024);
        int compatJump = -1;

        // The dispatcher is never entered twice on one CPU, so neither are its targets: they share a frame.
        var frame = new FrameMap(tracepoint, c.LargeFrames);
        foreach (var compat in (ReadOnlySpan<bool>)[false, true])
        {
            var byNumber = new SortedDictionary<int, List<Group>>();
            foreach (var group in groups)
            {
                if (always.Contains(group) || group.Spec.IsCompat != compat)
                {
                    continue;
                }

                foreach (var (probe, _, _) in group.Members)
                {
                    var number = ((SyscallSpec)probe.Spec).Number;
                    if (!byNumber.TryGetValue(number, out var list))
                    {
                        byNumber[number] = list = [];
                    }

                    if (!list.Contains(group))
                    {
                        list.Add(group);
                    }
                }
            }

            if (compat && byNumber.Count > 0)
            {
                compatJump = c.Maps.Add(isReturn ? "cmp_exit_jump" : "cmp_enter_jump", MapType.ProgArray, 4, 4, 1024);
            }

            foreach (var (number, list) in byNumber)
            {
                Emit($"{(isReturn ? "x" : "n")}{(compat ? "c" : "")}{number}", list, new SyscallContext(c.Target, isReturn, btfId) { IsCompat = compat },
                    new AttachPlan.TailCall(compat ? compatJump : jump, number), -1, -1, native, frame);
            }
        }

        Emit(tracepoint, always, new SyscallContext(c.Target, isReturn, btfId), new AttachPlan.RawTracepoint(tracepoint), jump, compatJump, native);
    }

    /// <summary>Map from 32-bit numbers to native ones, 0xffff for those without a native call of that name or with handlers of their own; -1: not needed.</summary>
    private int NativeNumbers(List<Group> groups, bool isReturn)
    {
        var (native, compat) = (c.Target.Architecture.Syscalls, c.Target.Architecture.CompatSyscalls);
        if (compat.Length == 0 || !groups.Exists(g => !g.Spec.IsCompat && !g.IsForAll))
        {
            return -1;
        }

        var own = new HashSet<int>();
        foreach (var group in groups.Where(g => g.Spec.IsCompat))
        {
            own.UnionWith(group.Members.Select(m => ((SyscallSpec)m.Probe.Spec).Number));
        }

        var contents = new byte[compat.Length * 4];
        for (var number = 0; number < compat.Length; number++)
        {
            var other = compat.Name(number) is { } name && !own.Contains(number) ? native.Number(name) : -1;
            BinaryPrimitives.WriteUInt32LittleEndian(contents.AsSpan(number * 4), other < 0 ? 0xffff : (uint)other);
        }

        return c.Maps.Add(isReturn ? "native_exit" : "native_enter", MapType.Array, 4, 4, compat.Length, MapFlags.None, contents);
    }

    private static List<Group> GroupSyscalls(List<Probe> probes)
    {
        var groups = new List<Group>();
        var byShape = new Dictionary<string, Group>(StringComparer.Ordinal);
        foreach (var probe in probes)
        {
            var spec = (SyscallSpec)probe.Spec;
            var shape = HandlerShape.Of(probe);
            var key = $"{spec.IsCompat} {spec.Number < 0} {spec.Processes} {shape.Text}";
            var taken = byShape.TryGetValue(key, out var group) && (spec.Number < 0 || group.Members.Exists(m => ((SyscallSpec)m.Probe.Spec).Number == spec.Number));
            if (group is null || taken)
            {
                group = new Group { Shape = shape, Spec = spec };
                groups.Add(group);
                byShape[key] = group;
            }

            group.Members.Add((probe, shape, spec.Number));
        }

        return groups;
    }

    private void Emit(string name, List<Group> groups, SyscallContext context, AttachPlan attach, int jump, int compatJump, int nativeNumbers, FrameMap? frame = null)
    {
        var needs = new HandlerNeeds(f => c.FunctionBodies.GetValueOrDefault(f) ?? f.Body, c.Storage.Globals, c.Target);
        var probes = new List<Probe>();
        foreach (var group in groups)
        {
            needs.Visit(group.Body);
            foreach (var (probe, _, _) in group.Members)
            {
                if (attach is not AttachPlan.TailCall tail || ((SyscallSpec)probe.Spec).Number == tail.Index)
                {
                    probes.Add(probe);
                }
            }
        }

        var span = groups.Count > 0 ? groups[0].First.Span : default;
        var e = new ProgramEmitter(c, context, name, needs.Frame, frame);
        e.BeginUnchecked(span);
        var isTail = attach is AttachPlan.TailCall;
        var number = e.StackWord();
        context.LoadNumber(e, Reg.R0);
        e.SaveWord(number, Reg.R0);
        var interfaces = SyscallInterface.Emit(e, c, number, span);
        var native = number;
        if (attach is AttachPlan.TailCall mine)
        {
            e.StoreWord(number, mine.Index);
        }
        else if (nativeNumbers >= 0)
        {
            native = e.StackWord();
            var known = e.Code.NewLabel();
            e.LoadWord(Reg.R0, number);
            e.SaveWord(native, Reg.R0);
            interfaces.Require(e, true, known);
            e.MapNumber(nativeNumbers, number, native);
            e.Code.Bind(known);
        }

        e.EnterFrame(needs);
        foreach (var group in groups)
        {
            var next = e.Code.NewLabel();
            context.IsCompat = group.Spec.IsCompat;
            context.CompatWord = group.Spec.IsCompat ? null : interfaces.Word;
            if (!isTail && group.Spec.IsCompat && !group.IsForAll)
            {
                interfaces.Require(e, true, next);
            }

            var wanted = group.Spec.IsCompat ? number : native;
            if (group.Table >= 0)
            {
                e.FindRow(group.Table, wanted, group.Columns, group.ProbeColumn, next);
            }
            else
            {
                e.UseRow(default, [], -1);
                if (!group.IsForAll && !isTail)
                {
                    e.LoadWord(Reg.R0, wanted);
                    e.Code.JumpIf(JumpOp.Ne, Reg.R0, group.Spec.Number, next);
                }
            }

            ProcessFilters.Emit(e, group.Spec.Processes, next, group.First.Span);

            // Each handler looks at the session's state: exit() may have been in the one before.
            e.Handler(group.First, group.Body, LocalFinder.In(group.Body), needs.Loops, checkState: true);
            e.Code.Bind(next);
        }

        if (jump >= 0)
        {
            if (compatJump >= 0)
            {
                var notCompat = e.Code.NewLabel();
                interfaces.Require(e, true, notCompat);
                e.TailCall(compatJump, number);
                e.Code.Bind(notCompat);
            }

            e.TailCall(jump, native);
        }

        e.End();
        c.Programs.Add(new ProgramPlan(ProgramEmitter.MapName("", name), (uint)context.Type, e.Finish(span), attach, probes)
        {
            ExpectedAttachType = (uint)context.ExpectedAttachType,
            AttachBtfId = context.AttachBtfId,
        });
    }
}

/// <summary>Which interface the current call came through: a word on the stack, not 0 for 32-bit calls.</summary>
internal sealed class SyscallInterface(Mem word)
{
    public Mem Word => word;

    public static SyscallInterface Emit(ProgramEmitter e, Compilation c, Mem number, Language.Text.SourceSpan span)
    {
        var result = new SyscallInterface(e.StackWord());
        var code = e.Code;
        var x86 = c.Target.Architecture.Name == "x86_64";
        if (x86)
        {
            // x32 calls use the native entry with bit 30 set in the number.
            e.LoadWord(Reg.R0, number);
            code.JumpIf(JumpOp.Set, Reg.R0, 0x40000000, e.Exit);
        }

        // x86: TS_COMPAT (2) in thread_info.status; arm64: TIF_32BIT (bit 22) in thread_info.flags. thread_info is the head of the task.
        var info = c.Structure("thread_info", span);
        var offset = c.Offset(c.Structure("task_struct", span), "thread_info", span) + c.Offset(info, x86 ? "status" : "flags", span);
        code.Call(c.Features.CurrentTaskBtf ? Helper.GetCurrentTaskBtf : Helper.GetCurrentTask);
        e.LoadField(Reg.R0, Reg.R0, offset, x86 ? 4 : 8, c.Features.CurrentTaskBtf);
        code.Emit(Instruction.Alu64(AluOp.And, Reg.R0, x86 ? 2 : 1 << 22));
        e.SaveWord(result.Word, Reg.R0);
        return result;
    }

    /// <summary>Goes to the label when the call is of the other interface.</summary>
    public void Require(ProgramEmitter e, bool compat, Label otherwise)
    {
        e.LoadWord(Reg.R0, word);
        e.Code.JumpIf(compat ? JumpOp.Eq : JumpOp.Ne, Reg.R0, 0, otherwise);
    }
}
