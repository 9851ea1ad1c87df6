using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Binding;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Probes;
using SystemTap.Semantics.Targeting;

namespace SystemTap.Semantics.Lowering;

internal sealed partial class BodyLowering
{
    /// <summary>Target expressions: <c>$x</c>, paths, casts, <c>@entry</c> and the rest.</summary>
    private Expr LowerTarget(Expression e)
    {
        var binder = _session.TargetBinder.For(_unit.Context);
        switch (e)
        {
            case TargetVariable v when SetOf(v.Name) is { } set:
                return binder.Variables(WithEntries(), set, 0, At(v.Span));
            case TargetVariable v when _session.ProcfsValueVariable(_unit, v) is { } value:
                return new ReadExpr(new LocalPlace(LocalOf(value)), At(v.Span));
            case EntryExpression n:
                return LowerEntry(n.Operand, At(n.Span))?.Value ?? Missing(n.Span);
            case TargetExpression { PrettyDepth: > 0, Value: TargetVariable all } each when SetOf(all.Name) is { } every:
                return binder.Variables(WithEntries(), every, each.PrettyDepth, At(each.Span));
            case TargetExpression { PrettyDepth: > 0 } t:
                return Typed(t) is { } shown && binder.Pretty(shown, t.PrettyDepth, At(t.Span), quiet: false) is { } text
                    ? text
                    : Missing(t.Span, ScriptType.String);
            case EnumExpression n:
                return binder.EnumValue(n.Name.Value, At(n.Span), quiet: false) ?? Missing(n.Span);
            case EnumNameExpression n:
                var operand = Typed(n.Operand) ?? new TypedValue(Lower(n.Operand), null);
                return binder.EnumName(operand, n.Type?.Value, n.Module?.Value, At(n.Span), quiet: false) ?? Missing(n.Span, ScriptType.String);
            case DerefExpression d:
                return new DerefExpr(Lower(d.Address), (int)d.Size, isSigned: d.Size == 8, d.IsUser, At(d.Span));
            case RegisterExpression r:
                return LowerRegister(r);
            case ConstExpression c:
                return LowerConst(c);
            case PerfExpression p:
                return LowerPerf(p);
            default:
                return Typed(e) is { } typed ? Loaded(typed, At(e.Span)) : Missing(e.Span);
        }
    }

    private Expr Loaded(TypedValue value, SourceSpan span)
    {
        if (value is { Parts: not null, CType: { } type })
        {
            _session.Report("target.in-registers", span, $"a value of type '{type.Type.Declaration}' is kept in registers here and has no address", "name its members, or print it as a whole with $ or $$ behind it");
            return Missing(span);
        }

        if (value.Pointee is not null)
        {
            _session.Report("target.no-pointer", span, "the pointer itself was optimised away: only what it points to can be read", "name a member, or print what it points to with $ or $$ behind it");
            return Missing(span);
        }

        return value.CType is null ? value.Value : _session.TargetBinder.Load(value, span).Value;
    }

    /// <summary>The value with its C type, not loaded; null after a reported error.</summary>
    private TypedValue? Typed(Expression e)
    {
        var binder = _session.TargetBinder.For(_unit.Context);
        switch (e)
        {
            case TargetVariable v:
                return ResolveTarget(v);
            case AtVarExpression v:
                return binder.Variable(v.Name.Value, v.Module?.Value, At(v.Span), quiet: false);
            case CastExpression c:
                return binder.Cast(Lower(c.Operand), c.Type.Value, c.Module?.Value, At(c.Span), quiet: false);
            case EntryExpression n:
                return LowerEntry(n.Operand, At(n.Span));
            case TargetExpression { PrettyDepth: 0 } or TargetExpression:
                var t = (TargetExpression)e;
                var value = Typed(t.Value);
                if (value is { CType: null } && t.Accessors.Count > 0)
                {
                    return ReportUntyped(t.Value, t.Accessors[0]);
                }

                foreach (var accessor in t.Accessors)
                {
                    if (value is null)
                    {
                        return null;
                    }

                    value = accessor switch
                    {
                        MemberAccessor m => binder.Member(value, m.Name, At(m.Span), quiet: false),
                        IndexAccessor i => binder.Index(value, Lower(i.Index), At(i.Span), quiet: false),
                        _ => null,
                    };
                }

                return value is not null && t.AddressOf ? binder.AddressOf(value, At(t.Span), quiet: false) : value;
            case IndexExpression { Array: IdentifierExpression id, Indexes: [{ } index] } x when _session.Resolve(_unit, id) is LocalSymbol local:
                if (_session.CTypes.Of(local) is not { } ctype)
                {
                    _session.Report("semantic.unresolved-array", x.Span, $"unresolved array '{id.Name}': it has no global declaration and no C type", $"add 'global {id.Name}'");
                    return null;
                }

                return binder.Index(new TypedValue(Lower(id), ctype), Lower(index), At(x.Span), quiet: false);
            default:
                // Autocast: script values that were assigned from typed ones.
                return new TypedValue(Lower(e), _session.CTypes.OfExpression(_unit, e));
        }
    }

    private TypedValue? ReportUntyped(Expression value, Accessor accessor)
    {
        var what = value is IdentifierExpression id ? $"'{id.Name}'" : "this value";
        var how = accessor is MemberAccessor m ? $"'->{m.Name}'" : "an index";
        _session.Report("semantic.untyped-access", accessor.Span, $"{what} has no C type, {how} cannot be applied", "use @cast(value, \"type\")");
        return null;
    }

    private TypedValue? ResolveTarget(TargetVariable v)
    {
        if (SetOf(v.Name) is { } set)
        {
            return new TypedValue(_session.TargetBinder.Variables(WithEntries(), set, 0, At(v.Span)), null);
        }

        if (_unit.Context.Find(v.Name, At(v.Span)) is { } value)
        {
            return value;
        }

        // Reported when the body was discovered.
        return _unit.Context.EntryPoint is not null && LowerEntry(v, At(v.Span)) is { } entry ? entry : new TypedValue(Missing(v.Span), null);
    }

    /// <summary>The context, whose parameters at a return are those saved at entry.</summary>
    private ProbeContext WithEntries() => _unit.Context.EntryPoint is null ? _unit.Context : new EntryValues(this);

    private sealed class EntryValues(BodyLowering lowering) : ProbeContext
    {
        private readonly ProbeContext _inner = lowering._unit.Context;

        public override IReadOnlyList<ContextVariable> Variables => _inner.Variables;

        public override IReadOnlyList<ContextVariable> Parameters => _inner.Parameters;

        public override IReadOnlyList<ContextVariable> Locals => _inner.Locals;

        public override TypedValue? Resolve(string name, SourceSpan span) =>
            _inner.Resolve(name, span) ?? (_inner.EntryPoint!.Context.Resolve(name, span) is null ? null : lowering.LowerEntry(new TargetVariable(span, name), span));
    }

    private static VariableSet? SetOf(string name) => name switch
    {
        "$$vars" => VariableSet.Vars,
        "$$parms" => VariableSet.Parms,
        "$$locals" => VariableSet.Locals,
        "$$return" => VariableSet.Return,
        _ => null,
    };

    /// <summary>Reads the local that the start of the handler filled from what the entry probe stored.</summary>
    private TypedValue? LowerEntry(Expression operand, SourceSpan span)
    {
        if (_session.EntryOf(_unit, operand) is not { } use)
        {
            return null;
        }

        use.Temporary ??= NewTemporary("__entry" + Locals.Count, use.Type ?? ScriptType.Long);
        return new TypedValue(new ReadExpr(new LocalPlace(use.Temporary), span), _session.CTypes.OfExpression(use.EntryUnit, use.Operand));
    }

    private Expr StoreTarget(Expression target, Expr value, SourceSpan span)
    {
        Expr? store = null;
        if (target is TargetVariable v)
        {
            store = _unit.Context.Assign(v.Name, value, span);
        }

        if (store is null && target is TargetVariable or TargetExpression or CastExpression or AtVarExpression && Typed(target) is { } place)
        {
            return _session.TargetBinder.For(_unit.Context).Store(place, value, target.Span, quiet: false) ?? value;
        }

        if (store is null)
        {
            _session.Report("semantic.assign-target", target.Span, "this target variable cannot be assigned here");
            return value;
        }

        return store;
    }

    private Expr LowerRegister(RegisterExpression r)
    {
        if (r.Number is < 0 or > int.MaxValue || _session.Input.Target.Architecture.FindDwarfRegister((int)r.Number)?.Name is not { } name)
        {
            _session.Report("semantic.register", r.Span, $"register {r.Number} does not exist on this architecture");
            return Missing(r.Span);
        }

        var intrinsic = IntrinsicTable.Get(r.IsUser ? IntrinsicId.UserRegisterByName : IntrinsicId.RegisterByName);
        _program.NoteIntrinsic(intrinsic);
        return new IntrinsicExpr(intrinsic, [new StringConst(name, At(r.Span))], At(r.Span));
    }

    private Expr LowerPerf(PerfExpression p)
    {
        var names = PerfSpec.Counters(_session.Probes.Select(u => u.Probe?.Point.Spec)).Select(s => s.CounterName!).ToList();
        var number = names.IndexOf(p.Counter.Value);
        if (number < 0)
        {
            _session.Report("semantic.perf", p.Span, $"no counter is named \"{p.Counter.Value}\"",
                names.Count > 0 ? $"the script has \"{string.Join("\", \"", names)}\"" : $"define it: probe perf.sw.task_clock.counter(\"{p.Counter.Value}\") {{ }}");
            return Missing(p.Span);
        }

        if (_unit.Probe is { } probe && !probe.Point.Spec.RunsInKernel)
        {
            _session.Report("semantic.perf", p.Span, $"@perf counts for the thread that an event meets; '{probe.Name}' meets none", "read it in a probe of a function, a system call or a tracepoint");
            return Missing(p.Span);
        }

        return LowerCall(_session.CallFor(p), [new LongConst(number, At(p.Span))]);
    }

    private Expr LowerConst(ConstExpression c)
    {
        if (_session.TargetBinder.For(_unit.Context).EnumValue(c.Code.Value, At(c.Span), quiet: true) is { } value)
        {
            return value;
        }

        if (_session.Options.Runtime == "bpf")
        {
            _session.Report("semantic.cannot-embedded", c.Span, $"@const(\"{c.Code.Value}\") needs the kernel-module runtime", "use --runtime=kernel");
        }

        return new EmbeddedCExpr(ScriptType.Long, "(" + c.Code.Value + ")", At(c.Span));
    }
}
