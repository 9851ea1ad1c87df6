using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Context;
using SystemTap.Bpf.Deferral;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Script functions: subprograms with arguments, locals and result at fixed places of the frame. R0 of a function is its status: 0 fine, 1 error, 2 stop, 3 `next`.

internal sealed partial class ProgramEmitter
{
    /// <summary>Gives each function that the program may call, and its overloads, places for parameters, locals and result in the frame.</summary>
    private void PlaceFunctions(IReadOnlyCollection<Function> functions)
    {
        GroupRecursion(functions);
        foreach (var function in functions)
        {
            for (var f = function; f is not null && !_functions.ContainsKey(f); f = f.NextOverload)
            {
                var group = GroupOf(f);
                var locals = new List<Local>();
                for (var i = 0; i < f.ParameterCount; i++)
                {
                    locals.Add(f.Locals[i]);
                }

                foreach (var local in LocalFinder.In(group is null ? _c.FunctionBodies.GetValueOrDefault(f) ?? f.Body : LiftedBody(group, f)))
                {
                    if (!locals.Contains(local))
                    {
                        locals.Add(local);
                    }
                }

                var slots = new LocalSlot[locals.Count];
                var first = _frameTop;
                for (var i = 0; i < slots.Length; i++)
                {
                    slots[i] = locals[i].Type == ScriptType.String
                        ? TakeString(Capacities.BufferFor(_c.Capacities.Of(locals[i])))
                        : new LocalSlot(TakeFrame(8), 0);
                }

                if (group is not null)
                {
                    group.Blocks[f] = (first, Math.Max(8, _frameTop - first));
                }

                LocalSlot? result = f.ReturnType switch
                {
                    ScriptType.Long => new LocalSlot(TakeFrame(8), 0),
                    ScriptType.String => TakeString(Capacities.BufferFor(_c.Capacities.Of(new CallExpr(f, [], f.Span)))),
                    _ => null,
                };
                _functions[f] = new FunctionFrame(f, group?.Driver ?? _a.Declare(ProgramBtfName(f.Name)), locals, slots, result);
            }
        }

        CompleteGroups();
    }

    private static string ProgramBtfName(string name)
    {
        var text = new System.Text.StringBuilder(name.Length);
        foreach (var c in name)
        {
            text.Append(char.IsAsciiLetterOrDigit(c) || c == '_' ? c : '_');
        }

        return text.Length > 0 && char.IsAsciiDigit(text[0]) ? "_" + text : text.ToString();
    }

    /// <summary>Calls a function; the result stands at its place in the frame until the next call.</summary>
    private LocalSlot? Call(CallExpr c)
    {
        var frame = _functions[c.Function];
        var candidates = new List<FunctionFrame>();
        foreach (var f in Overloads(c.Function))
        {
            candidates.Add(_functions[f]);
        }

        // Within a group the caller's temporaries do not survive the call: overloads then get the arguments evaluated again, from locals.
        var within = _f.Recursion is RecursionGroup own && candidates.Exists(f => own.Members.Contains(f.Function));
        var mark = Marked();
        var texts = new StringValue[c.Arguments.Count];
        var longs = new Temp?[c.Arguments.Count];
        if (!within)
        {
            Arguments(c, within, candidates.Count > 1, texts, longs);
        }

        var end = _a.NewLabel();
        for (var n = 0; n < candidates.Count; n++)
        {
            var f = candidates[n];
            var group = GroupOf(f.Function);
            var inGroup = group is not null && ReferenceEquals(group, _f.Recursion);
            if (within)
            {
                Arguments(c, within, overloaded: true, texts, longs);
            }

            At(c.Span);
            Descend(c.Span);
            var place = 0;
            if (inGroup && _a.IsAlive)
            {
                place = group!.Places.Count;
                group.Places.Add(_a.NewLabel());
                Push(group, place);
            }

            for (var i = 0; i < c.Arguments.Count; i++)
            {
                if (c.Arguments[i].Type == ScriptType.String)
                {
                    CopyToSlot(texts[i], f.Slots[i]);
                    continue;
                }

                if (longs[i] is { } temp)
                {
                    Get(Reg.R0, temp);
                }
                else
                {
                    Long(c.Arguments[i], Reg.R0);
                }

                Save(f.Slots[i].Memory, Reg.R0);
            }

            if (inGroup && _a.IsAlive)
            {
                Store(group!.Place, Number(group, f.Function));
                _a.Jump(group.EndOfStep);
                _a.BindJumpedToLater(group.Places[place]);
                Pop(group);
            }
            else if (group is not null)
            {
                Enter(group, f);
            }
            else
            {
                Enqueue(f);
                CallUnit(f.Subprogram);
            }

            Ascend();
            var notFine = _a.NewLabel();
            _a.JumpIf(JumpOp.Ne, Reg.R0, 0, notFine);
            if (!ReferenceEquals(f, frame) && f.Result is { } result)
            {
                Copy(frame.Result!.Value.Memory, result.Memory, result.Capacity > 0 ? 8 + Math.Min(result.Capacity, frame.Result.Value.Capacity) : 8);
                if (frame.Result.Value.Capacity > result.Capacity)
                {
                    Clear(frame.Result.Value.Memory.At(8 + result.Capacity), frame.Result.Value.Capacity - result.Capacity);
                }
            }

            _a.Jump(end);
            _a.Bind(notFine);
            if (!UsesNext(f.Function))
            {
                NoteCaller(c.Span);
                _a.JumpIf(JumpOp.Eq, Reg.R0, 1, _f.ErrorTarget);
                _a.Jump(_f.FatalExit);
                break;
            }

            // Status 3: `next` in the function, the next overload gets the same arguments.
            var goOn = _a.NewLabel();
            _a.JumpIf(JumpOp.Eq, Reg.R0, 3, goOn);
            NoteCaller(c.Span);
            _a.JumpIf(JumpOp.Eq, Reg.R0, 1, _f.ErrorTarget);
            _a.Jump(_f.FatalExit);
            _a.Bind(goOn);
            if (n == candidates.Count - 1)
            {
                Raise("all functions exhausted", c.Span);
            }
        }

        _a.Bind(end);
        Release(mark);
        return frame.Result;
    }

    /// <summary>Evaluates the arguments of a call where they must not depend on the callee's places.</summary>
    private void Arguments(CallExpr c, bool within, bool overloaded, StringValue[] texts, Temp?[] longs)
    {
        // An argument that itself calls something must not overwrite arguments already in place: compute all first, then place them. Overloads get them
        // from here again, for the first function may have changed its parameters.
        for (var i = 0; i < c.Arguments.Count; i++)
        {
            if (c.Arguments[i].Type == ScriptType.String)
            {
                texts[i] = Text(c.Arguments[i]);
                if (within && texts[i].Literal is null)
                {
                    // The callee's places may be the caller's own.
                    var copy = TakeString(texts[i].Capacity);
                    CopyToSlot(texts[i], copy);
                    texts[i] = copy.AsString;
                }
            }
            else if (overloaded || !IsSimple(c.Arguments[i]) || KeyOrder.Matters([c.Arguments[i]], c.Arguments, i + 1))
            {
                Long(c.Arguments[i], Reg.R0);
                var temp = Temp.InMemory(TakeFrame(8));
                Put(temp, Reg.R0);
                longs[i] = temp;
            }
        }
    }

    private readonly HashSet<Function> _queued = new(ReferenceEqualityComparer.Instance);

    private void Enqueue(FunctionFrame frame)
    {
        // A call that cannot be reached is not written, and a function nobody calls is refused.
        if (_a.IsAlive && _queued.Add(frame.Function))
        {
            _pending.Enqueue(frame);
        }
    }

    private static bool UsesNext(Function f) => LoweredSearch.SaysNext(f.Body);

    private void EmitFunction(FunctionFrame frame)
    {
        var function = frame.Function;
        _f = new FunctionState(function, frame.Subprogram);
        _frameTop = _frameMost;
        At(function.Span);
        BeginUnit(frame.Subprogram);
        for (var i = 0; i < frame.Slots.Length; i++)
        {
            _f.Locals[frame.Locals[i]] = frame.Slots[i];
            if (i >= function.ParameterCount)
            {
                ClearLocal(frame.Slots[i]);
            }
        }

        if (frame.Result is { } result)
        {
            ClearLocal(result);
        }

        _f.ErrorTarget = _f.ErrorExit = _a.NewLabel();
        _f.FatalExit = _a.NewLabel();
        _f.End = _a.NewLabel();
        _f.Next = _a.NewLabel();
        Statement(_c.FunctionBodies.GetValueOrDefault(function) ?? function.Body);
        _a.Bind(_f.End);
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.Exit();
        _a.Bind(_f.ErrorExit);
        _a.Emit(Instruction.Mov(Reg.R0, 1));
        _a.Exit();
        _a.Bind(_f.FatalExit);
        _a.Emit(Instruction.Mov(Reg.R0, 2));
        _a.Exit();
        _a.Bind(_f.Next);
        _a.Emit(Instruction.Mov(Reg.R0, 3));
        _a.Exit();
    }
}
