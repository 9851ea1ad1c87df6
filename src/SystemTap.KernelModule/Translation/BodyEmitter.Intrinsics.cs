using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.KernelModule.Translation;

// Built-ins: one call of the run-time each, or a member of the context or session.
internal sealed partial class BodyEmitter
{
    private Operand Intrinsic(IntrinsicExpr e)
    {
        var id = e.Intrinsic.Id;
        if (id is IntrinsicId.TableName or IntrinsicId.TableFlags)
        {
            return TableValue(e);
        }

        var operands = Operands(e.Arguments);
        string A(int i) => e.Arguments[i].Type == ScriptType.String ? operands[i].Code : Bare(operands[i].Code);
        var reads = Effect.None;
        foreach (var operand in operands)
        {
            reads |= operand.Reads;
        }

        switch (id)
        {
            // Session control.
            case IntrinsicId.Exit: return Do("stap_exit();");
            case IntrinsicId.Abort:
                _w.Line("stap_abort(c);");
                _w.Line($"goto {FailLabel()};");
                return Dead(e);
            case IntrinsicId.Error:
                _w.Line($"stap_fail_text(c, {P(e.Span)}, {A(0)});");
                _w.Line($"goto {FailLabel()};");
                return Dead(e);
            case IntrinsicId.Warn: return Do($"stap_warn(c, {A(0)});");
            case IntrinsicId.Log: return Do($"stap_log(c, {A(0)});");
            case IntrinsicId.System: return Do($"stap_system(c, {A(0)});");
            case IntrinsicId.Printk: return Do($"stap_printk({A(0)}, {A(1)});");
            case IntrinsicId.FtracePrint: return Do($"stap_ftrace({A(0)});");
            case IntrinsicId.SwitchFile: return Do("stap_switch_file();");
            case IntrinsicId.Delay: return Do($"stap_delay({A(0)});");
            case IntrinsicId.Panic: return Do($"stap_panic({A(0)});");
            case IntrinsicId.DumpStack: return Do("stap_dump_stack();");
            case IntrinsicId.RaiseSignal:
            case IntrinsicId.SetFunctionArgument:
            case IntrinsicId.SetReturnValue:
                var refused = Store(id == IntrinsicId.RaiseSignal ? $"stap_raise_signal({A(0)})"
                    : id == IntrinsicId.SetReturnValue ? $"stap_set_return_value(c, {A(0)})" : $"stap_set_function_argument(c, {A(0)}, {A(1)})");
                FailIf(refused.Code, $"stap_fail(c, {P(e.Span)}, {Refusal(id)});");
                return Constant("0");
            case IntrinsicId.LoadAverage: return Store($"stap_load_average({A(0)})");

            // Current task.
            case IntrinsicId.CurrentTask: return Store("stap_current_task(c)");
            case IntrinsicId.Pid: return Store("stap_pid(c)");
            case IntrinsicId.Tid: return Store("stap_tid(c)");
            case IntrinsicId.Uid: return Store("stap_uid(c)");
            case IntrinsicId.Gid: return Store("stap_gid(c)");
            case IntrinsicId.ExecName: return StoreText("stap_execname(c)");
            case IntrinsicId.Cpu: return Store("stap_cpu(c)");
            case IntrinsicId.InTarget: return Store("stap_in_target(c)");
            case IntrinsicId.InTargetSet: return Store($"stap_in_target_set({A(0)})");
            case IntrinsicId.TaskFromPid: return Store($"stap_task_from_pid({A(0)})");

            case IntrinsicId.NamespaceId: return Store($"stap_namespace_id({A(0)}, {A(1)})");
            case IntrinsicId.PerfCounter: return Store($"stap_perf_counter({A(0)})");
            case IntrinsicId.PerfCounters: return Constant(C.Long(_context.Program.Counters.Count()));

            // Constants of the session.
            case IntrinsicId.Target: return new Operand("stap_session.target", Effect.None);
            case IntrinsicId.StpPid: return new Operand("stap_session.stp_pid", Effect.None);
            case IntrinsicId.SessionUid: return new Operand("stap_session.uid", Effect.None);
            case IntrinsicId.TargetPidNamespace: return new Operand("stap_session.pid_namespace", Effect.None);
            case IntrinsicId.TargetUserNamespace: return new Operand("stap_session.user_namespace", Effect.None);
            case IntrinsicId.ModuleName: return new Operand("stap_c_string(stap_session.module_name)", Effect.None);
            case IntrinsicId.Argument: return StoreText($"stap_argument({A(0)})");
            case IntrinsicId.ArgumentCount: return Constant(C.Long(_context.Options.Arguments.Count));
            case IntrinsicId.Hz: return new Operand("stap_session.hz", Effect.None);
            case IntrinsicId.PageSize: return new Operand("stap_session.page_size", Effect.None);
            case IntrinsicId.TimeZoneOffset: return new Operand("stap_session.tz_offset", Effect.None);
            case IntrinsicId.TimeZoneName: return new Operand("stap_c_string(stap_session.tz_name)", Effect.None);
            case IntrinsicId.SizeOfPointer: return Constant("(s64)sizeof(void *)");
            case IntrinsicId.MaxStringLength: return Constant("STAP_MAXSTRINGLEN");

            // The event.
            case IntrinsicId.ProbePointText: return new Operand("stap_c_string(c->probe->point)", Effect.None);
            case IntrinsicId.ProbeName: return new Operand("stap_c_string(c->probe->name)", Effect.None);
            case IntrinsicId.ProbeType: return new Operand("stap_c_string(c->probe->mechanism)", Effect.None);
            case IntrinsicId.IsReturn: return new Operand("c->probe->is_return", Effect.None);
            case IntrinsicId.UserMode: return new Operand("c->user_mode", Effect.None);
            case IntrinsicId.StackPointer: return Store("(s64)(unsigned long)__builtin_frame_address(0)");
            case IntrinsicId.RegistersValid: return new Operand("(c->regs != NULL)", Effect.None);
            case IntrinsicId.RegisterByName: return Fallible($"stap_register(c, {P(e.Span)}, {A(0)})");
            case IntrinsicId.UserRegisterByName: return Fallible($"stap_user_register(c, {P(e.Span)}, {A(0)})");
            case IntrinsicId.FunctionArgument: return Fallible($"stap_function_argument(c, {P(e.Span)}, {A(0)} - 1)");
            case IntrinsicId.InstructionPointer: return Fallible($"stap_ip(c, {P(e.Span)})");
            case IntrinsicId.ReturnValue: return Fallible($"stap_return_value(c, {P(e.Span)})");
            case IntrinsicId.UserInstructionPointer: return Store("stap_uip(c)");
            case IntrinsicId.SyscallName: return StoreText($"stap_syscall_name(c, {A(0)})");

            // Clocks, random.
            case IntrinsicId.MonotonicNs: return Store("stap_monotonic_ns()");
            case IntrinsicId.BootNs: return Store("stap_boot_ns()");
            case IntrinsicId.WallNs: return Store("stap_wall_ns()");
            case IntrinsicId.CpuClockNs: return Store($"stap_cpu_clock_ns({A(0)})");
            case IntrinsicId.Jiffies: return Store("stap_jiffies()");
            case IntrinsicId.Cycles: return Store("stap_cycles()");
            case IntrinsicId.Random32: return Store("stap_random32()");

            // Memory.
            case IntrinsicId.KernelString: return FallibleText($"stap_kernel_string(c, {P(e.Span)}, {A(0)}, {A(1)})");
            case IntrinsicId.UserString: return FallibleText($"stap_user_string(c, {P(e.Span)}, {A(0)}, {A(1)})");
            case IntrinsicId.KernelBufferQuoted: return FallibleText($"stap_kernel_buffer_quoted(c, {P(e.Span)}, {A(0)}, {A(1)}, {A(2)})");
            case IntrinsicId.UserBufferQuoted: return FallibleText($"stap_user_buffer_quoted(c, {P(e.Span)}, {A(0)}, {A(1)}, {A(2)})");

            case IntrinsicId.WriteKernel or IntrinsicId.WriteUser:
                var user = id == IntrinsicId.WriteUser;
                var stored = Store($"stap_write_{(user ? "user" : "kernel")}((u64)({A(0)}), {A(1)}, (u64)({A(2)}))");
                FailIf($"!{stored.Code}", $"stap_fail_write(c, {P(e.Span)}, (u64)({A(0)}), {(user ? "1" : "0")});");
                return operands[2];

            case IntrinsicId.WriteRegister:
                var written = Store($"stap_write_register(c, {A(0)}, {A(1)}, {A(2)})");
                FailIf(written.Code, $"stap_fail(c, {P(e.Span)}, \"registers cannot be changed in this kind of probe\");");
                return operands[2];

            // Strings.
            case IntrinsicId.StringLength: return new Operand($"(s64){A(0)}.n", reads);
            case IntrinsicId.Substring: return StoreText($"stap_substr({A(0)}, {A(1)}, {A(2)})", reads);
            case IntrinsicId.ByteAt: return new Operand($"stap_byte_at({A(0)}, {A(1)})", reads);
            case IntrinsicId.Contains: return new Operand($"(stap_position({A(0)}, {A(1)}) >= 0)", reads);
            case IntrinsicId.Position: return new Operand($"stap_position({A(0)}, {A(1)})", reads);
            case IntrinsicId.Replace: return StoreText($"stap_replace(c, {P(e.Span)}, {A(0)}, {A(1)}, {A(2)})", reads);
            case IntrinsicId.Tokenize: return StoreText($"stap_tokenize(c, {A(0)}, {A(1)}, {A(2)})");
            case IntrinsicId.ParseLong: return new Operand($"stap_parse_long({A(0)}, {A(1)})", reads);
            case IntrinsicId.EscapeText: return StoreText($"stap_escape_text(c, {A(0)}, {A(1)}, {A(2)})");
            case IntrinsicId.ToLower: return StoreText($"stap_tolower(c, {A(0)})");
            case IntrinsicId.ToUpper: return StoreText($"stap_toupper(c, {A(0)})");
            case IntrinsicId.CharString: return StoreText($"stap_char_string(c, {A(0)})");

            // Regular expressions.
            case IntrinsicId.MatchedGroup:
                var group = operands[0].IsConstant ? operands[0] : Store(operands[0].Code);
                FailIf($"{group.Code} < 0 || {group.Code} >= c->match_count", $"stap_fail_group(c, {P(e.Span)}, {Bare(group.Code)});");
                return StoreText($"stap_matched(c, {Bare(group.Code)})");
            case IntrinsicId.GroupCount: return Store("c->match_count");

            // The probed function; stacks and names of addresses.
            case IntrinsicId.ProbeFunction: return StoreText("stap_probe_function(c)");
            case IntrinsicId.PointFunction: return StoreText("stap_point_function(c)");
            case IntrinsicId.ProbeModule: return StoreText("stap_probe_module(c)");
            case IntrinsicId.KernelStack: return StoreText("stap_kernel_stack_text(c)");
            case IntrinsicId.KernelAnchor: return Store("stap_env_kernel_anchor()");
            case IntrinsicId.KernelFrame: return Store($"stap_stack_entry(c, stap_kernel_stack_text(c), {A(0)})");
            case IntrinsicId.UserStack: return StoreText($"stap_user_stack_text(c, {Kept})");
            case IntrinsicId.UserStackFrom: return StoreText($"stap_user_stack_from(c, {A(0)}, {A(1)}, {A(2)}, {Kept})");
            case IntrinsicId.StackEntry: return Store($"stap_stack_entry(c, {A(0)}, {A(1)})");
            case IntrinsicId.StackHead: return StoreText($"stap_stack_head(c, {A(0)}, {A(1)})", reads);
            case IntrinsicId.SymbolName: return StoreText($"stap_symbol_name(c, {A(0)})");
            case IntrinsicId.SymbolData: return StoreText($"stap_symbol_data(c, {A(0)})");
            case IntrinsicId.SymbolModule: return FallibleText($"stap_symbol_module(c, {P(e.Span)}, {A(0)})");
            case IntrinsicId.SymbolLines: return StoreText($"stap_symbol_lines(c, {A(0)}, {A(1)}, {Kept})");
            case IntrinsicId.SymbolPlace: return StoreText($"stap_symbol_place(c, {A(0)}, {A(1)})");
            case IntrinsicId.UserSymbolName: return StoreText($"stap_user_symbol(c, \"N\", {A(0)}, {A(1)})");
            case IntrinsicId.UserSymbolData: return StoreText($"stap_user_symbol(c, \"D\", {A(0)}, {A(1)})");
            case IntrinsicId.UserModule: return StoreText($"stap_user_symbol(c, \"M\", {A(0)}, {A(1)})");
            case IntrinsicId.UserSymbolLines: return StoreText($"stap_user_symbol_lines(c, {A(0)}, {A(1)}, {A(2)})");
            case IntrinsicId.UserSymbolPlace: return StoreText($"stap_user_symbol_place(c, {A(0)}, {A(1)}, {A(2)})");
            default:
                throw new ModuleCannotException($"the kernel-module runtime cannot do '{e.Intrinsic.Name}' yet", e.Span);
        }
    }

    private string Kept => _context.Stacks.IsKept ? "1" : "0";

    private Operand Do(string statement)
    {
        _w.Line(statement);
        return Constant("0");
    }

    private static string Refusal(IntrinsicId id) => id switch
    {
        IntrinsicId.RaiseSignal => "\"the kernel did not send the signal\"",
        IntrinsicId.SetFunctionArgument => "\"function arguments cannot be changed in this kind of probe\"",
        _ => "\"the return value cannot be changed in this kind of probe\"",
    };

    // After a jump: nothing is evaluated any more, but C wants a value.
    private static Operand Dead(Expr e) => Constant(e.Type == ScriptType.String ? "STAP_EMPTY" : "0LL");

    private Operand Fallible(string call)
    {
        var result = Store(call);
        CheckFailed();
        return result;
    }

    private Operand FallibleText(string call)
    {
        var result = StoreText(call);
        CheckFailed();
        return result;
    }

    private Operand TableValue(IntrinsicExpr e)
    {
        if (e.Arguments[0] is not StringConst name)
        {
            throw new ModuleCannotException("the name of a value table must be a literal", e.Span);
        }

        string table;
        try
        {
            table = _context.Data.Table(name.Value);
        }
        catch (IOException error)
        {
            throw new ModuleCannotException(error.Message, e.Span);
        }

        var operands = Operands([.. e.Arguments.Skip(1)]);
        return e.Intrinsic.Id == IntrinsicId.TableName
            ? StoreText($"stap_table_name({table}, {Bare(operands[0].Code)}, {operands[1].Code})", operands[1].Reads)
            : StoreText($"stap_table_flags(c, {table}, {Bare(operands[0].Code)})");
    }
}
