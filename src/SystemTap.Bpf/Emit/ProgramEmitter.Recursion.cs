using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Deferral;
using SystemTap.Bpf.Layout;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Recursion
// ---------
// BPF refuses a call graph with a ring. Functions that call each other in a ring (a group) become one subprogram, a loop over steps: each round jumps to the place a word of the
// frame says – the start of a function, or the place behind a call – and runs from there until the next call within the group or the end of the function.
//
//   call      the caller's locals, which lie side by side in the frame, are copied to the frame's activation stack (an array of one element a level) with the number of the place to
//             go on; arguments go to the callee's fixed places; the step ends.
//   return    takes the number from the top of the stack; the step ends. The place behind the call copies the locals back and looks at the status
//             as behind any other call, so errors find their `try` in the right activation.
//
// CallLifter has made sure that nothing but locals is alive at such a call. Every activation finds its locals at the same places, so the code of a function is the same as
// without recursion. The verifier sees a loop whose state is in memory.
//
// Loops with such a call inside are made of steps too: each round is one, and its place is stored at the loop's end (Rounds). So a call may stand in a loop on every
// kernel. A foreach keeps what it visits in a map; with a call inside its body every activation has a part of that map of its own (SnapshotSite.Levels).
//
// Overloads: a function that ends with `next` leaves status 3, and the place behind the call tries the next one. Its arguments are locals then (CallLifter), which the
// activation stack has kept.
//
// A program whose calls nest deeper than the kernel's eight frames, or take more than its 512 bytes of stack, is translated again with all functions that call others as one
// group (Compilation.StepwiseCalls): then a handler, the group's loop and a function that calls nobody are all that ever nests. Where loops are callbacks, loops of functions are
// steps as well then.
//
// Depth: all calls of a program with recursion, or with MAXNESTING given, count up and down one word, and the call that would pass MAXNESTING raises its error, as in stap itself.

internal sealed partial class ProgramEmitter
{
    private readonly List<RecursionGroup> _groups = [];
    private Mem? _depth;

    /// <summary>Functions that call each other.</summary>
    private sealed class RecursionGroup(Subprogram driver, int stackMap)
    {
        public Subprogram Driver { get; } = driver;

        public int StackMap { get; } = stackMap;

        public HashSet<Function> Members { get; } = new(ReferenceEqualityComparer.Instance);

        /// <summary>Parts of the frame with the locals of each.</summary>
        public Dictionary<Function, (int Offset, int Size)> Blocks { get; } = new(ReferenceEqualityComparer.Instance);

        public Dictionary<Function, Stmt> Bodies { get; } = new(ReferenceEqualityComparer.Instance);

        /// <summary>Where the next step starts; level of the activation stack; status of the function that ended.</summary>
        public required Mem Place { get; init; }

        public required Mem Level { get; init; }

        public required Mem Status { get; init; }

        /// <summary>Places a step can start at, by number.</summary>
        public List<Label> Places { get; } = [];

        /// <summary>Ends the step.</summary>
        public Label EndOfStep { get; set; }

        public bool IsQueued { get; set; }
    }

    /// <summary>Groups the recursive ones of some functions; must stand before their frames are laid out.</summary>
    private void GroupRecursion(IReadOnlyCollection<Function> functions)
    {
        var all = new HashSet<Function>(ReferenceEqualityComparer.Instance);
        foreach (var function in functions)
        {
            for (var f = function; f is not null; f = f.NextOverload)
            {
                all.Add(f);
            }
        }

        if (_c.Limits.MaxNesting > 0 && all.Count > 0)
        {
            // Asked for: it may be less than the deepest chain.
            _depth ??= TakeFrame(8);
        }

        var callers = _c.StepwiseCalls ? [.. all.Where(f => f.IsRecursive || CallDepth.Callees(f).Count > 0 || (!_c.Features.MayGoto && LoopFinder.In(f.Body)))] : new List<Function>();
        if (callers.Count == 0 && !all.Any(f => f.IsRecursive))
        {
            return;
        }

        if (!_c.Features.MayGoto && !_c.Features.BpfLoop)
        {
            throw Cannot("recursion in a handler that runs in the kernel: this kernel has neither the instruction may_goto (Linux 6.9) nor bpf_loop (Linux 5.17)", all.First(f => f.IsRecursive).Span);
        }

        _depth ??= TakeFrame(8);
        if (callers.Count > 0)
        {
            var together = new RecursionGroup(_a.Declare("run_functions"), _c.Maps.Reserve(MapName("calls_", _name))) { Place = TakeFrame(8), Level = TakeFrame(8), Status = TakeFrame(8) };
            together.Members.UnionWith(callers);
            _groups.Add(together);
            return;
        }

        var reach = all.ToDictionary(f => f, Reach, (IEqualityComparer<Function>)ReferenceEqualityComparer.Instance);
        foreach (var f in all.Where(f => f.IsRecursive && GroupOf(f) is null))
        {
            var number = _c.Maps.Reserve(MapName("calls_", f.Name));
            var group = new RecursionGroup(_a.Declare($"run_{ProgramBtfName(f.Name)}"), number) { Place = TakeFrame(8), Level = TakeFrame(8), Status = TakeFrame(8) };
            foreach (var other in all.Where(o => ReferenceEquals(o, f) || (reach[f].Contains(o) && reach[o].Contains(f))))
            {
                group.Members.Add(other);
            }

            _groups.Add(group);
        }
    }

    private RecursionGroup? GroupOf(Function f) => _groups.Find(g => g.Members.Contains(f));

    private static HashSet<Function> Reach(Function from)
    {
        var found = new HashSet<Function>(ReferenceEqualityComparer.Instance);
        var work = new Stack<Function>([from]);
        while (work.TryPop(out var f))
        {
            foreach (var callee in CallDepth.Callees(f))
            {
                if (found.Add(callee))
                {
                    work.Push(callee);
                }
            }
        }

        return found;
    }

    /// <summary>The body of a function of a group with its calls lifted out of expressions.</summary>
    private Stmt LiftedBody(RecursionGroup group, Function f)
    {
        if (!group.Bodies.TryGetValue(f, out var body))
        {
            body = group.Bodies[f] = new CallLifter(f => Overloads(f).Any(group.Members.Contains), _c.Capacities).Lift(_c.FunctionBodies.GetValueOrDefault(f) ?? f.Body);
        }

        return body;
    }

    /// <summary>The functions a call may run: the one it names, and those that <c>next</c> leads to.</summary>
    private static IEnumerable<Function> Overloads(Function function)
    {
        for (Function? f = function; f is not null; f = UsesNext(f) ? f.NextOverload : null)
        {
            yield return f;
        }
    }

    /// <summary>The group being written when a statement calls into it.</summary>
    private RecursionGroup? GroupCalledIn(Stmt s) => _f.Recursion is RecursionGroup group && LoweredSearch.Calls(s, f => Overloads(f).Any(group.Members.Contains)) ? group : null;

    /// <summary>Repeats a loop's body, by steps when the loop calls into the group being written.</summary>
    private void Rounds(Stmt loop, Label exhausted, Action body)
    {
        // Where loops are callbacks, each takes one of the kernel's eight frames: a program that has too few of them makes all loops of a group steps.
        var group = GroupCalledIn(loop) ?? (_c.StepwiseCalls && !_c.Features.MayGoto ? _f.Recursion as RecursionGroup : null);
        if (group is null)
        {
            Repeat(exhausted, body, loop.Span);
            return;
        }

        if (_a.IsAlive)
        {
            var place = group.Places.Count;
            var top = _a.NewLabel();
            group.Places.Add(top);
            _a.BindJumpedToLater(top);
            body();
            Store(group.Place, place);
            _a.Jump(group.EndOfStep);
        }
    }

    /// <summary>Sizes the activation stack when all frames of a group are laid out.</summary>
    private void CompleteGroups()
    {
        foreach (var group in _groups)
        {
            var size = 8 + group.Blocks.Values.Max(b => b.Size);
            if (size > Storage.LargestPerCpu && !_c.LargeFrames)
            {
                throw new FrameTooLargeException();
            }

            var stacks = (_event.IsPreemptible ? FrameSlots : 1) * (_c.LargeFrames ? _c.Target.PossibleCpuCount : 1);
            _c.Maps.Complete(group.StackMap, _c.LargeFrames ? MapType.Array : MapType.PerCpuArray, 4, size, stacks * Levels);
        }
    }

    /// <summary>Elements of one activation stack.</summary>
    private int Levels => CallDepth.Of(_c.Program) + 1;

    /// <summary>Counts a call; the one too many raises.</summary>
    private void Descend(SourceSpan span)
    {
        if (_depth is { } depth)
        {
            var fine = _a.NewLabel();
            Load(Reg.R0, depth);
            _a.JumpIf(JumpOp.SLt, Reg.R0, CallDepth.Of(_c.Program), fine);
            Raise("MAXNESTING exceeded", span);
            _a.Bind(fine);
            _a.Emit(Instruction.Add64Imm(Reg.R0, 1));
            Save(depth, Reg.R0);
        }
    }

    /// <summary>Behind a call, whatever came of it. R0 is kept.</summary>
    private void Ascend()
    {
        if (_depth is { } depth)
        {
            Load(Reg.R1, depth);
            _a.Emit(Instruction.Add64Imm(Reg.R1, -1));
            Save(depth, Reg.R1);
        }
    }

    /// <summary>A call into a group, arguments in place: R0 = the status.</summary>
    private void Enter(RecursionGroup group, FunctionFrame callee)
    {
        if (!_a.IsAlive)
        {
            return;
        }

        if (!group.IsQueued)
        {
            group.IsQueued = true;
            _pendingGroups.Enqueue(group);
        }

        Store(group.Place, Number(group, callee.Function));
        Store(group.Level, 0);
        CallUnit(group.Driver);
    }

    private readonly Queue<RecursionGroup> _pendingGroups = new();

    private static int Number(RecursionGroup group, Function f) => group.Members.TakeWhile(m => !ReferenceEquals(m, f)).Count();

    /// <summary>Within a group: keeps the caller's locals. What it needs of the arguments has been taken before.</summary>
    private void Push(RecursionGroup group, int place)
    {
        var (offset, size) = group.Blocks[_f.Function!];
        var mark = Marked();
        LevelAddress(group);
        _a.Emit(Instruction.Store(MemSize.DW, Reg.R0, 0, place));
        Move(Reg.R1, Reg.R0);
        _a.Emit(Instruction.Add64Imm(Reg.R1, 8));
        _a.Emit(Instruction.Mov(Reg.R2, size));
        Address(Reg.R3, new Mem(Frame, offset));
        _a.Call(Helper.ProbeReadKernel);
        Load(Reg.R0, group.Level);
        _a.Emit(Instruction.Add64Imm(Reg.R0, 1));
        Save(group.Level, Reg.R0);
        Release(mark);
    }

    /// <summary>Behind a call within a group: the locals again, the status in R0.</summary>
    private void Pop(RecursionGroup group)
    {
        var (offset, size) = group.Blocks[_f.Function!];
        var mark = Marked();
        LevelAddress(group);
        Move(Reg.R3, Reg.R0);
        _a.Emit(Instruction.Add64Imm(Reg.R3, 8));
        Address(Reg.R1, new Mem(Frame, offset));
        _a.Emit(Instruction.Mov(Reg.R2, size));
        _a.Call(Helper.ProbeReadKernel);
        foreach (var site in _openSites)
        {
            SelectLevel(site);
        }

        Load(Reg.R0, group.Status);
        Release(mark);
    }

    /// <summary>Foreach loops around the place being written whose maps have a part for each activation.</summary>
    private readonly List<SnapshotSite> _openSites = [];

    /// <summary>From here on the foreach works on the part of the present activation.</summary>
    private void SelectLevel(SnapshotSite site)
    {
        Load(Reg.R0, ((RecursionGroup)_f.Recursion!).Level);
        _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R0, site.LevelShift));
        _a.LdMapValue(Reg.R1, _c.MapKey(site.HeapMap), 0);
        Save(new Mem(Reg.R1, 0), Reg.R0);
    }

    /// <summary>R0 = the activation stack's element at the present level.</summary>
    private void LevelAddress(RecursionGroup group)
    {
        var key = TakeStack(8);
        var there = _a.NewLabel();

        // Each frame has a stack of its own: by its number on the CPU, and by the CPU where one array serves all.
        var several = _event.IsPreemptible || _c.LargeFrames;
        if (several)
        {
            _a.Emit(Instruction.Mov(Reg.R0, 0));
            if (_c.LargeFrames)
            {
                _a.Call(Helper.GetSmpProcessorId);
            }

            if (_event.IsPreemptible)
            {
                Load(Reg.R1, new Mem(Frame, FrameInUse));
                _a.Emit(Instruction.Add64Imm(Reg.R1, -1));
                _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R0, FrameSlots));
                _a.Emit(Instruction.Add64(Reg.R0, Reg.R1));
            }

            _a.Emit(Instruction.Alu64(AluOp.Mul, Reg.R0, Levels));
        }

        Load(several ? Reg.R1 : Reg.R0, group.Level);
        if (several)
        {
            _a.Emit(Instruction.Add64(Reg.R0, Reg.R1));
        }

        Save(MemSize.W, key, Reg.R0);
        LookupKey(group.StackMap, key);
        _a.JumpIf(JumpOp.Ne, Reg.R0, 0, there);
        Store(_errorSite, -1);
        Store(group.Status, 2);
        _a.Jump(_f.FatalExit);
        _a.Bind(there);
    }

    /// <summary>What bpf_loop repeats at most.</summary>
    private const int MostRounds = 1 << 23;

    private void EmitGroup(RecursionGroup group)
    {
        _f = new FunctionState(null, group.Driver);
        BeginUnit(group.Driver);
        _frameTop = _frameMost;
        _f.FatalExit = _a.NewLabel();
        var spent = _a.NewLabel();
        var span = group.Members.First().Span;
        if (_c.Features.MayGoto)
        {
            var top = _a.Here();
            var done = _a.NewLabel();
            var state = _f;
            _a.MayGoto(spent);
            Steps(group, top, done);
            _a.Bind(done);
            Load(Reg.R0, group.Status);
            _a.Exit();
            _f = state;
            _a.Bind(spent);
            Stop("MAXACTION exceeded", span);
            _a.Bind(_f.FatalExit);
            _a.Emit(Instruction.Mov(Reg.R0, 2));
            _a.Exit();
            return;
        }

        // The frame and the event's context go to the callback by way of the stack.
        Save(new Mem(Reg.R10, -16), Frame);
        _a.EmitUnseen(Instruction.Store(MemSize.DW, Reg.R10, -8, Ctx));
        var round = _a.Declare(group.Driver.Name + "_step");
        _a.LdImm64(Reg.R1, MostRounds);
        _a.LdFunc(Reg.R2, round);
        Move(Reg.R3, Reg.R10);
        _a.Emit(Instruction.Add64Imm(Reg.R3, -16));
        _a.Emit(Instruction.Mov(Reg.R4, 0));
        _a.Call(Helper.Loop);
        _a.LdImm64(Reg.R1, MostRounds);
        _a.JumpIf(JumpOp.Eq, Reg.R0, Reg.R1, spent);
        Load(Reg.R0, group.Status);
        _a.Exit();
        _a.Bind(spent);
        Stop("MAXACTION exceeded", span);
        _a.Bind(_f.FatalExit);
        _a.Emit(Instruction.Mov(Reg.R0, 2));
        _a.Exit();
        _a.Begin(round);
        Load(Frame, new Mem(Reg.R2, 0));
        _a.EmitUnseen(Instruction.Load(MemSize.DW, Ctx, Reg.R2, 8));
        var next = _a.NewLabel();
        var last = _a.NewLabel();
        Steps(group, next, last);
        _a.Bind(next);
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.Exit();
        _a.Bind(last);
        _a.Emit(Instruction.Mov(Reg.R0, 1));
        _a.Exit();
    }

    /// <summary>The code of all functions of a group, and the jump to where the step starts.</summary>
    private void Steps(RecursionGroup group, Label next, Label last)
    {
        var dispatch = _a.NewLabel();
        var leave = _a.NewLabel();
        group.EndOfStep = next;
        foreach (var _ in group.Members)
        {
            group.Places.Add(_a.NewLabel());
        }

        _a.Jump(dispatch);
        foreach (var f in group.Members)
        {
            var frame = _functions[f];
            _f = new FunctionState(f, group.Driver)
            {
                Recursion = group,
                ErrorExit = _a.NewLabel(),
                FatalExit = _a.NewLabel(),
                End = _a.NewLabel(),
                Next = _a.NewLabel(),
                Stack = 16,
            };
            _f.ErrorTarget = _f.ErrorExit;
            At(f.Span);
            _a.BindJumpedToLater(group.Places[Number(group, f)]);
            for (var i = 0; i < frame.Slots.Length; i++)
            {
                _f.Locals[frame.Locals[i]] = frame.Slots[i];
                if (i >= f.ParameterCount)
                {
                    ClearLocal(frame.Slots[i]);
                }
            }

            if (frame.Result is { } result)
            {
                ClearLocal(result);
            }

            Statement(LiftedBody(group, f));
            _a.Bind(_f.End);
            Store(group.Status, 0);
            _a.Jump(leave);
            _a.Bind(_f.Next);
            Store(group.Status, 3);
            _a.Jump(leave);
            _a.Bind(_f.ErrorExit);
            Store(group.Status, 1);
            _a.Jump(leave);
            _a.Bind(_f.FatalExit);
            Store(group.Status, 2);
            _a.Jump(leave);
        }

        _f = new FunctionState(null, group.Driver) { FatalExit = last, Stack = 16 };
        _a.Bind(leave);
        Load(Reg.R0, group.Level);
        _a.JumpIf(JumpOp.SLe, Reg.R0, 0, last);
        _a.Emit(Instruction.Add64Imm(Reg.R0, -1));
        Save(group.Level, Reg.R0);
        var mark = Marked();
        LevelAddress(group);
        Load(Reg.R0, new Mem(Reg.R0, 0));
        Save(group.Place, Reg.R0);
        Release(mark);
        _a.Jump(next);
        _a.Bind(dispatch);
        Load(Reg.R0, group.Place);
        for (var place = 0; place < group.Places.Count; place++)
        {
            _a.JumpIf(JumpOp.Eq, Reg.R0, place, group.Places[place]);
        }

        Store(_errorSite, -1);
        Store(group.Status, 2);
        _a.Jump(last);
    }
}

/// <summary>Finds loops.</summary>
internal sealed class LoopFinder : LoweredWalker
{
    private bool _found;

    public static bool In(Stmt body)
    {
        var finder = new LoopFinder();
        finder.Visit(body);
        return finder._found;
    }

    public override void Visit(Stmt? statement)
    {
        _found |= statement is LoopStmt or ForeachStmt;
        base.Visit(statement);
    }
}
