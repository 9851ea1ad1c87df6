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
//   1. finds the interface: a 32-bit call (TS_COMPAT in thread_info.status; the x32 bit in the number) has its own numbers and registers;
//   2. finds the handlers: first those for every call, then by number.
// Handlers of the same shape are one group (HandlerShape) with a table row for each number: a row says "served" and holds the constants and the probe.
// With few groups, the program tests them one after the other. With many, it ends in a tail call by number to a program made of that number's
// handlers; a number without handlers falls through.

internal sealed partial class ProgramBuilder
{
    /// <summary>Groups up to which one program tests them in turn: a test costs 2–3 ns, a tail call about 5.</summary>
    private const int MostInline = 8;

    private sealed class Group
    {
        public required HandlerShape Shape { get; init; }

        public required SyscallSpec Spec { get; init; }

        /// <summary>Probe and values for each number.</summary>
        public List<(Probe Probe, HandlerShape Shape)> Members { get; } = [];

        public Stmt Body { get; set; } = BlockStmt.Empty;

        public Probe First => Members[0].Probe;

        public bool IsForAll => Spec.Number < 0;

        public int Table { get; set; } = -1;

        public List<RowColumn> Columns { get; } = [];

        public int RowSize { get; set; }

        public int ProbeColumn { get; set; } = -1;
    }

    private void Syscalls(List<Probe> probes, bool isReturn)
    {
        var groups = GroupSyscalls(probes);
        var tracepoint = isReturn ? "sys_exit" : "sys_enter";
        var btfId = c.Features.TypedTracepoints ? c.Target.Tracepoints.Find(tracepoint)?.AttachId ?? 0 : 0;
        foreach (var group in groups)
        {
            Prepare(group);
        }

        if (groups.Count <= MostInline)
        {
            Emit($"{tracepoint}", groups, new SyscallContext(c.Target, isReturn, btfId), new AttachPlan.RawTracepoint(tracepoint), -1, -1);
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
        var frame = new FrameMap(tracepoint);
        foreach (var compat in (ReadOnlySpan<bool>)[false, true])
        {
            var byNumber = new SortedDictionary<int, List<Group>>();
            foreach (var group in groups)
            {
                if (always.Contains(group) || group.Spec.IsCompat != compat)
                {
                    continue;
                }

                foreach (var (probe, _) in group.Members)
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
                    new AttachPlan.TailCall(compat ? compatJump : jump, number), -1, -1, frame);
            }
        }

        Emit(tracepoint, always, new SyscallContext(c.Target, isReturn, btfId), new AttachPlan.RawTracepoint(tracepoint), jump, compatJump);
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

            group.Members.Add((probe, shape));
        }

        return groups;
    }

    /// <summary>Replaces what differs by columns and makes the table.</summary>
    private void Prepare(Group group)
    {
        if (group.Members.Count == 1)
        {
            group.Body = rewriter.Rewrite(group.First.Body);
            return;
        }

        // Row: word 0 says served; then the probe's index; then the columns.
        group.ProbeColumn = 0;
        group.Columns.Add(new RowColumn(ScriptType.Long, 8, 8));
        var size = 16;
        var replacements = new Dictionary<Expr, Expr>(ReferenceEqualityComparer.Instance);
        var differing = new List<int>();
        for (var h = 0; h < group.Shape.Holes.Count; h++)
        {
            var same = true;
            var longest = 0;
            foreach (var (_, shape) in group.Members)
            {
                same &= shape.Values[h].Equals(group.Shape.Values[h]);
                longest = Math.Max(longest, shape.Values[h] is string s ? s.Length : 0);
            }

            var hole = group.Shape.Holes[h];
            if (same)
            {
                continue;
            }

            var column = new RowColumn(hole.Type, size, hole.Type == ScriptType.Long ? 8 : Capacities.BufferFor(longest));
            size += column.Capacity;
            replacements[hole] = new ColumnExpr(group.Columns.Count, hole.Type, hole.Span) { Length = longest };
            group.Columns.Add(column);
            differing.Add(h);
        }

        // A local of the merged handler must hold the longest of all.
        foreach (var (_, shape) in group.Members)
        {
            for (var i = 0; i < shape.Locals.Count; i++)
            {
                c.Capacities.AtLeast(group.Shape.Locals[i], c.Capacities.Of(shape.Locals[i]));
            }
        }

        var top = 0;
        foreach (var (probe, _) in group.Members)
        {
            top = Math.Max(top, ((SyscallSpec)probe.Spec).Number);
        }

        var contents = new byte[(top + 1) * size];
        foreach (var (probe, shape) in group.Members)
        {
            var row = contents.AsSpan(((SyscallSpec)probe.Spec).Number * size, size);
            row[0] = 1;
            BinaryPrimitives.WriteInt64LittleEndian(row[8..], probe.Index);
            for (var i = 0; i < differing.Count; i++)
            {
                var at = row[group.Columns[i + 1].Offset..];
                if (shape.Values[differing[i]] is string text)
                {
                    Encoding.Latin1.GetBytes(text, at);
                }
                else
                {
                    BinaryPrimitives.WriteInt64LittleEndian(at, (long)shape.Values[differing[i]]);
                }
            }
        }

        group.RowSize = size;
        group.Table = c.Maps.Add(ProgramEmitter.MapName("r_", group.First.Name), MapType.Array, 4, size, top + 1, MapFlags.None, contents);
        group.Body = rewriter.Rewrite(new NodeReplacer(replacements).Replace(group.First.Body));
    }

    private void Emit(string name, List<Group> groups, SyscallContext context, AttachPlan attach, int jump, int compatJump, FrameMap? frame = null)
    {
        var needs = new HandlerNeeds(f => c.FunctionBodies.GetValueOrDefault(f) ?? f.Body, c.Storage.Globals, c.Target);
        var probes = new List<Probe>();
        var anyCompat = jump >= 0 || groups.Exists(g => g.Spec.IsCompat);
        foreach (var group in groups)
        {
            needs.Visit(group.Body);
            foreach (var (probe, _) in group.Members)
            {
                if (attach is not AttachPlan.TailCall tail || ((SyscallSpec)probe.Spec).Number == tail.Index)
                {
                    probes.Add(probe);
                }
            }
        }

        var span = groups.Count > 0 ? groups[0].First.Span : default;
        var e = new ProgramEmitter(c, context, name, needs.Frame, frame);
        e.Begin(span);
        var isTail = attach is AttachPlan.TailCall;
        var number = e.StackWord();
        context.LoadNumber(e, Reg.R0);
        e.SaveWord(number, Reg.R0);
        var interfaces = SyscallInterface.None;
        if (!isTail)
        {
            // Calls of the other interface have other numbers: without handlers for them they are none of our business.
            interfaces = SyscallInterface.Emit(e, c, number, anyCompat, span);
        }

        e.EnterFrame(needs);
        var first = true;
        foreach (var group in groups)
        {
            var next = e.Code.NewLabel();
            if (!first)
            {
                // exit() in the handler before this one: new handlers do not start.
                e.CheckState();
            }

            first = false;
            context.IsCompat = group.Spec.IsCompat;
            if (!isTail && !group.IsForAll)
            {
                interfaces.Require(e, group.Spec.IsCompat, next);
            }

            if (group.Table >= 0)
            {
                e.FindRow(group.Table, number, group.Columns, group.ProbeColumn, next);
            }
            else
            {
                e.UseRow(default, [], -1);
                if (!group.IsForAll && !isTail)
                {
                    e.LoadWord(Reg.R0, number);
                    e.Code.JumpIf(JumpOp.Ne, Reg.R0, group.Spec.Number, next);
                }
            }

            ProcessFilters.Emit(e, group.Spec.Processes, next, group.First.Span);
            e.Handler(group.First, group.Body, LocalFinder.In(group.Body), needs.Loops);
            e.Code.Bind(next);
        }

        if (jump >= 0)
        {
            if (compatJump >= 0)
            {
                var native = e.Code.NewLabel();
                interfaces.Require(e, true, native);
                e.TailCall(compatJump, number);
                e.Code.Jump(e.Exit);
                e.Code.Bind(native);
            }

            var none = e.Code.NewLabel();
            interfaces.Require(e, false, none);
            e.TailCall(jump, number);
            e.Code.Bind(none);
        }

        e.End();
        c.Programs.Add(new ProgramPlan(ProgramEmitter.MapName("", name), (uint)context.Type, e.Finish(span), attach, probes)
        {
            ExpectedAttachType = (uint)context.ExpectedAttachType,
            AttachBtfId = context.AttachBtfId,
        });
    }
}

/// <summary>Which interface the current call came through: a word on the stack, or nothing when only native calls get past the entry.</summary>
internal sealed class SyscallInterface
{
    public static readonly SyscallInterface None = new();

    private Mem? _word;

    public static SyscallInterface Emit(ProgramEmitter e, Compilation c, Mem number, bool anyCompat, Language.Text.SourceSpan span)
    {
        var result = new SyscallInterface();
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
        if (anyCompat)
        {
            result._word = e.StackWord();
            e.SaveWord(result._word.Value, Reg.R0);
        }
        else
        {
            code.JumpIf(JumpOp.Ne, Reg.R0, 0, e.Exit);
        }

        return result;
    }

    /// <summary>Goes to the label when the call is of the other interface.</summary>
    public void Require(ProgramEmitter e, bool compat, Label otherwise)
    {
        if (_word is { } word)
        {
            e.LoadWord(Reg.R0, word);
            e.Code.JumpIf(compat ? JumpOp.Eq : JumpOp.Ne, Reg.R0, 0, otherwise);
        }
    }
}
