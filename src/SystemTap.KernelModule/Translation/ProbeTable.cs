using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;

namespace SystemTap.KernelModule.Translation;

/// <summary>The table of probes: what to attach, which handler, which locks.</summary>
internal sealed class ProbeTable(EmitContext context)
{
    private readonly HashSet<Probe> _conditions = new(ReferenceEqualityComparer.Instance);

    public static string HandlerName(Probe probe) => "probe_" + C.Int(probe.Index);

    /// <summary>Writes a function for the probe's condition, if it is made of numbers in globals only (others cannot be tested outside of the handler).</summary>
    public void WriteCondition(CWriter w, Probe probe)
    {
        if (probe.Condition is { } condition && Code(condition) is { } code)
        {
            _conditions.Add(probe);
            w.Line($"static s64 condition_{C.Int(probe.Index)}(void)");
            w.Open();
            w.Line($"return {code};");
            w.Close();
            w.Line();
        }
    }

    private string? Code(Expr e) => e switch
    {
        LongConst c => C.Long(c.Value),
        ReadExpr { Place: GlobalPlace { Type: ScriptType.Long } p } => $"stap_load(&{context.Name(p.Global)})",
        UnaryExpr u when Code(u.Operand) is { } o => u.Operator switch
        {
            UnaryOperator.Minus => $"(-{o})",
            UnaryOperator.Not => $"(!{o})",
            UnaryOperator.Complement => $"(~(s64){o})",
            _ => o,
        },
        LogicalExpr l when Code(l.Left) is { } a && Code(l.Right) is { } b => $"({a} {(l.IsAnd ? "&&" : "||")} {b})",
        BinaryExpr x when Code(x.Left) is { } a && Code(x.Right) is { } b => x.Operator switch
        {
            BinaryOperator.Less => $"({a} < {b})",
            BinaryOperator.Greater => $"({a} > {b})",
            BinaryOperator.LessOrEqual => $"({a} <= {b})",
            BinaryOperator.GreaterOrEqual => $"({a} >= {b})",
            BinaryOperator.Equal => $"({a} == {b})",
            BinaryOperator.NotEqual => $"({a} != {b})",
            BinaryOperator.Add => $"({a} + {b})",
            BinaryOperator.Subtract => $"({a} - {b})",
            BinaryOperator.BitAnd => $"({a} & {b})",
            BinaryOperator.BitOr => $"({a} | {b})",
            _ => null,
        },
        _ => null,
    };

    public void Write(CWriter w)
    {
        var program = context.Program;
        if (program.Probes.Count == 0)
        {
            return;
        }

        foreach (var probe in program.Probes)
        {
            var locks = context.Locks.For(probe);
            if (locks.Count > 0)
            {
                w.Line($"static const struct stap_lock locks_{C.Int(probe.Index)}[] = {{ {string.Join(", ", locks.Select(l => $"{{ {l.Global}, {(l.Exclusive ? 1 : 0)} }}"))} }};");
            }
        }

        w.Open("static const struct stap_probe probes[] =");
        foreach (var probe in program.Probes)
        {
            WriteProbe(w, probe);
        }

        w.Close(";");
        w.Line();
    }

    private void WriteProbe(CWriter w, Probe probe)
    {
        var (kind, isReturn, processes, fields) = Spec(probe);
        w.Open();
        w.Line($".kind = {kind}, .is_return = {(isReturn ? 1 : 0)}, .handler = {HandlerName(probe)},");
        w.Line($".point = {C.Literal(probe.PointText)}, .name = {C.Literal(probe.Name)}, .mechanism = {C.Literal(probe.Spec.MechanismName)},");
        w.Line($".place = {context.Data.Place(probe.Span)},");
        var locks = context.Locks.For(probe).Count;
        if (locks > 0)
        {
            w.Line($".locks = locks_{C.Int(probe.Index)}, .lock_count = {locks},");
        }

        if (context.Locks.NeedsInterruptsOff(probe))
        {
            w.Line(".irqs_off = 1,");
        }

        if (context.Locks.BodyOf(probe).IsLate)
        {
            w.Line(".locks_late = 1,");
        }

        if (ArgumentUse.Of(probe) is > 0 and var arguments)
        {
            w.Line($".arguments = {arguments},");
        }

        if (_conditions.Contains(probe))
        {
            w.Line($".condition = condition_{C.Int(probe.Index)},");
        }

        if (processes is not null)
        {
            w.Line(processes switch
            {
                ProcessFilter.Executable f => $".processes = {{ STAP_FILTER_PATH, 0, {C.Literal(f.Path)} }},",
                ProcessFilter.Pid f => $".processes = {{ STAP_FILTER_PID, {f.Id}, NULL }},",
                _ => ".processes = { STAP_FILTER_ALL, 0, NULL },",
            });
        }

        if (ProbedFunction.Name(probe.Spec) is { } function)
        {
            w.Line($".function = {C.Literal(function)}, .module = {C.Literal(ProbedFunction.Module(probe.Spec))},");
        }

        if (fields.Length > 0)
        {
            w.Line(fields + ",");
        }

        w.Close(",");
    }

    private static (string Kind, bool IsReturn, ProcessFilter? Processes, string Fields) Spec(Probe probe)
    {
        switch (probe.Spec)
        {
            case SessionSpec s:
                var kind = s.Event switch { SessionEvent.Begin => "BEGIN", SessionEvent.End => "END", SessionEvent.Error => "ERROR", _ => "NEVER" };
                return ("STAP_PROBE_" + kind, false, null, $".priority = {C.Long(s.Priority)}");
            case TimerSpec s:
                return ("STAP_PROBE_TIMER", false, null, $".timer = {{ {C.Long(s.IntervalNs)}, {C.Long(s.RandomizeNs)} }}");
            case ProfileSpec s:
                return ("STAP_PROBE_PROFILE", false, null, $".profile = {{ {C.Long(s.FrequencyHz)} }}");
            case TracepointSpec s:
                return ("STAP_PROBE_TRACEPOINT", false, null, $".trace = {{ {C.Literal(s.Name)}, {C.LiteralOrNull(s.System)} }}");
            case SyscallSpec s:
                return ("STAP_PROBE_SYSCALL", s.IsReturn, s.Processes, $".syscall = {{ {s.Number}, {(s.IsCompat ? 1 : 0)}, {C.Literal(s.Name)} }}");
            case ProcessSpec s:
                var happens = s.Event switch
                {
                    ProcessEvent.Begin => "STAP_PROCESS_BEGIN",
                    ProcessEvent.End => "STAP_PROCESS_END",
                    ProcessEvent.ThreadBegin => "STAP_THREAD_BEGIN",
                    _ => "STAP_THREAD_END",
                };
                return ("STAP_PROBE_PROCESS", false, s.Filter, $".process = {{ {happens} }}");
            case PerfSpec s:
                return ("STAP_PROBE_PERF", false, s.Processes, $".perf = {{ {s.Type}u, {s.Config}ULL, {C.Long(s.SamplePeriod)}, {C.Long(s.FrequencyHz)}, {C.LiteralOrNull(s.CounterName)} }}");
            case ProcfsSpec s:
                return ("STAP_PROBE_PROCFS", false, null, $".procfs = {{ {C.Literal(s.Path)}, {(s.IsWrite ? 1 : 0)}, 0{Convert.ToString(0x1b6 & ~s.Umask, 8)}, {s.MaxSize} }}");
            case KernelFunctionSpec s:
                if (s.Kind == KernelAttachKind.Lsm)
                {
                    throw new ModuleCannotException("the kernel-module runtime cannot attach LSM hooks", probe.Span, "use --runtime=bpf");
                }

                return ("STAP_PROBE_KERNEL", s.IsReturn, null,
                    $".code = {{ {C.Literal(s.Symbol)}, {C.LiteralOrNull(s.Module)}, {C.Long(s.Offset)}, 0x{s.Address:x}ULL, {s.MaxActive}, {(s.Kind == KernelAttachKind.Kprobe ? 1 : 0)}, {(s.IsGuess ? 1 : 0)} }}");
            case UserFunctionSpec s:
                return ("STAP_PROBE_USER", s.IsReturn, s.Processes, $".user = {{ {C.Literal(s.Path)}, {C.Literal(s.Symbol)}, {C.Long(s.FileOffset)}, {C.Long(s.SemaphoreOffset)}, {s.StackArguments?.Register + 1 ?? 0}, {s.StackArguments?.Displacement ?? 0} }}");
            case WatchpointSpec s:
                return ("STAP_PROBE_WATCHPOINT", false, null, $".watch = {{ 0x{s.Address:x}ULL, {C.Literal(s.Symbol)}, {s.Length}, {(s.OnRead ? 1 : 0)} }}");
            case NetfilterSpec s:
                return ("STAP_PROBE_NETFILTER", false, null, $".netfilter = {{ {s.Hook}, {s.Family}, {s.Priority} }}");
            default:
                throw new ModuleCannotException($"the kernel-module runtime cannot attach probes of kind '{probe.Spec.MechanismName}'", probe.Span);
        }
    }
}
