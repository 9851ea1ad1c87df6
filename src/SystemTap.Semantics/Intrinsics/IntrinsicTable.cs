using SystemTap.Semantics.Lowered;
using static SystemTap.Semantics.Intrinsics.IntrinsicTraits;

namespace SystemTap.Semantics.Intrinsics;

/// <summary>Ids of the built-ins; <see cref="IntrinsicTable"/> says what each does.</summary>
public enum IntrinsicId
{
    // Session control
    Exit, Abort, Error, Warn, Log, System,

    // Current task
    CurrentTask, Pid, Tid, Uid, Gid, ExecName, Cpu, InTarget,

    // Constants of the session
    Target, StpPid, ModuleName, Argument, ArgumentCount, Hz, PageSize, TimeZoneOffset, TimeZoneName, SizeOfPointer, MaxStringLength,

    // The event
    ProbePointText, ProbeName, ProbeType, IsReturn, UserMode, RegistersValid, RegisterByName, UserRegisterByName, FunctionArgument, InstructionPointer, UserInstructionPointer, SyscallName,

    // Clocks, random
    MonotonicNs, BootNs, WallNs, CpuClockNs, Jiffies, Cycles, Random32,

    // Memory
    KernelString, UserString, KernelBufferQuoted, UserBufferQuoted,

    // Strings
    StringLength, Substring, ByteAt, Contains, Position, Replace, Tokenize, ParseLong, EscapeText, ToLower, ToUpper, CharString,

    // Tables
    TableName, TableFlags,

    // Regular expressions
    MatchedGroup, GroupCount,

    // Guru and kernel log
    Printk, FtracePrint,

    // Files of the session
    SwitchFile,

    // Target process set
    InTargetSet,

    // Return value of the event, as the ABI passes it
    ReturnValue,

    // Tasks by number; who runs the session
    TaskFromPid, SessionUid, TargetPidNamespace, TargetUserNamespace, NamespaceId,
    PerfCounter, PerfCounters,

    // The probed function; stacks and symbols
    ProbeFunction, ProbeModule, PointFunction, KernelStack, KernelFrame, UserStack, StackEntry, StackHead, SymbolName, SymbolData, SymbolModule, SymbolLines, SymbolPlace,
    UserSymbolName, UserSymbolData, UserModule, UserSymbolLines, UserSymbolPlace,

    // What the BPF engine makes of the stacks above; no tapset calls them
    KernelStackRaw, StackText, UserSnapshot, UserSnapshotFrom, UnwoundStack,

    // The user stack from given registers
    UserStackFrom,

    // Where the handler's own stack is
    StackPointer,

    // Where a symbol of the kernel is loaded that debug information knows as well; no tapset calls it
    KernelAnchor,

    // Guru writes into the traced process and into the kernel
    WriteUser, WriteKernel,

    // Guru: signals, waiting, stopping the machine, changing the probed function's registers; the load of the machine
    RaiseSignal, Delay, Panic, DumpStack, SetFunctionArgument, SetReturnValue, WriteRegister, LoadAverage,
}

/// <summary>The closed list of built-ins (DESIGN.md §2).</summary>
public static class IntrinsicTable
{
    private const ScriptType L = ScriptType.Long;
    private const ScriptType S = ScriptType.String;
    private const ScriptType V = ScriptType.Void;

    /// <summary>All built-ins, by id.</summary>
    public static readonly IReadOnlyList<Intrinsic> All = Build();

    private static readonly Dictionary<string, Intrinsic> ByName = All.ToDictionary(i => i.Name, StringComparer.Ordinal);

    /// <summary>The built-in with an id.</summary>
    public static Intrinsic Get(IntrinsicId id) => All[(int)id];

    /// <summary>Looks up a tapset's <c>_stap_…</c> name; null when there is none.</summary>
    public static Intrinsic? Find(string name) => ByName.GetValueOrDefault(name);

    private static Intrinsic[] Build()
    {
        var all = new Intrinsic?[Enum.GetValues<IntrinsicId>().Length];
        void Add(IntrinsicId id, string name, ScriptType result, IntrinsicTraits traits, params ScriptType[] parameters) =>
            all[(int)id] = new Intrinsic(id, "_stap_" + name, result, parameters, traits);

        // exit(): no new handler starts, the current one finishes, end probes run. abort(): at once, end probes do not run.
        Add(IntrinsicId.Exit, "exit", V, None);
        Add(IntrinsicId.Abort, "abort", V, NoReturn);

        // error(text): raises a run-time error with that message; warn: "WARNING: text" on stderr; log: text and newline to the output.
        Add(IntrinsicId.Error, "error", V, NoReturn | Fallible, S);
        Add(IntrinsicId.Warn, "warn", V, None, S);
        Add(IntrinsicId.Log, "log", V, None, S);

        // system(cmd): stap runs the shell command.
        Add(IntrinsicId.System, "system", V, None, S);

        // Address of the current struct task_struct (the interrupted one in timers and perf events).
        Add(IntrinsicId.CurrentTask, "current_task", L, Pure | Stable);
        Add(IntrinsicId.Pid, "pid", L, Pure | Stable);
        Add(IntrinsicId.Tid, "tid", L, Pure | Stable);
        Add(IntrinsicId.Uid, "uid", L, Pure | Stable);
        Add(IntrinsicId.Gid, "gid", L, Pure | Stable);
        Add(IntrinsicId.ExecName, "execname", S, Pure | Stable);
        Add(IntrinsicId.Cpu, "cpu", L, Pure | Stable);

        // 1 when the current process is the one of -x/-c or descends from it (the set follows fork and exit).
        Add(IntrinsicId.InTarget, "in_target", L, Pure | Stable);

        Add(IntrinsicId.Target, "target", L, Pure | Stable | Deferrable | SessionConstant);
        Add(IntrinsicId.StpPid, "stp_pid", L, Pure | Stable | Deferrable | SessionConstant);
        Add(IntrinsicId.ModuleName, "module_name", S, Pure | Stable | Deferrable | SessionConstant);

        // Script argument n (1-based) as text, "" when absent; number of script arguments.
        Add(IntrinsicId.Argument, "argument", S, Pure | Deferrable, L);
        Add(IntrinsicId.ArgumentCount, "argument_count", L, Pure | Stable | Deferrable | SessionConstant);
        Add(IntrinsicId.Hz, "hz", L, Pure | Stable | Deferrable | SessionConstant);
        Add(IntrinsicId.PageSize, "page_size", L, Pure | Stable | Deferrable | SessionConstant);

        // Seconds west of UTC (as tz_gmtoff() gives) and abbreviation of the local zone when the session started.
        Add(IntrinsicId.TimeZoneOffset, "tz_gmtoff", L, Pure | Stable | Deferrable | SessionConstant);
        Add(IntrinsicId.TimeZoneName, "tz_name", S, Pure | Stable | Deferrable | SessionConstant);
        Add(IntrinsicId.SizeOfPointer, "sizeof_pointer", L, Pure | Stable | Deferrable | SessionConstant);
        Add(IntrinsicId.MaxStringLength, "maxstringlen", L, Pure | Stable | Deferrable | SessionConstant);

        // pp(), pn(), probe_type() of the running probe: constants of the handler.
        Add(IntrinsicId.ProbePointText, "pp", S, Pure | Stable);
        Add(IntrinsicId.ProbeName, "pn", S, Pure | Stable);
        Add(IntrinsicId.ProbeType, "probe_type", S, Pure | Stable);
        Add(IntrinsicId.IsReturn, "is_return", L, Pure | Stable);

        // 1 when the event interrupted user code; registers by name raise an error when there are none.
        Add(IntrinsicId.UserMode, "user_mode", L, Pure | Stable);
        Add(IntrinsicId.RegistersValid, "registers_valid", L, Pure | Stable);
        Add(IntrinsicId.RegisterByName, "register", L, Pure | Stable | Fallible, S);
        Add(IntrinsicId.UserRegisterByName, "user_register", L, Pure | Stable | Fallible, S);
        Add(IntrinsicId.FunctionArgument, "function_arg", L, Pure | Stable | Fallible, L);
        Add(IntrinsicId.InstructionPointer, "ip", L, Pure | Stable | Fallible);

        // Address in the kernel stack that the handler runs on.
        Add(IntrinsicId.StackPointer, "stack_pointer", L, Pure | Fallible);
        Add(IntrinsicId.UserInstructionPointer, "uip", L, Pure | Stable | MyProcess);

        // Name of a system-call number in the running ABI, decimal text when unknown.
        Add(IntrinsicId.SyscallName, "syscall_name", S, Pure | Deferrable, L);

        // Nanoseconds: CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME; clock of a CPU; jiffies; cycle counter.
        Add(IntrinsicId.MonotonicNs, "monotonic_ns", L, Pure);
        Add(IntrinsicId.BootNs, "boot_ns", L, Pure);
        Add(IntrinsicId.WallNs, "wall_ns", L, Pure);
        Add(IntrinsicId.CpuClockNs, "cpu_clock_ns", L, Pure, L);
        Add(IntrinsicId.Jiffies, "jiffies", L, Pure);
        Add(IntrinsicId.Cycles, "cycles", L, Pure);

        // Uniform 32-bit number.
        Add(IntrinsicId.Random32, "random32", L, None);

        // (address, most bytes): text up to a NUL. Raise "read fault"/"string copy fault" errors with the address.
        Add(IntrinsicId.KernelString, "kernel_string", S, Pure | Fallible | KernelRead, L, L);
        Add(IntrinsicId.UserString, "user_string", S, Pure | Fallible | MyProcess, L, L);

        // (address, input bytes, output bytes): bytes, NULs included, escaped and in double quotes; "..." when cut.
        Add(IntrinsicId.KernelBufferQuoted, "kernel_buffer_quoted", S, Pure | Fallible | KernelRead, L, L, L);
        Add(IntrinsicId.UserBufferQuoted, "user_buffer_quoted", S, Pure | Fallible | MyProcess, L, L, L);

        Add(IntrinsicId.StringLength, "strlen", L, Pure | Deferrable, S);

        // substr(s, start, length): "" when out of bounds, as SystemTap's.
        Add(IntrinsicId.Substring, "substr", S, Pure | Deferrable, S, L, L);

        // byte at a position (0–255), −1 when out of bounds.
        Add(IntrinsicId.ByteAt, "byte_at", L, Pure | Deferrable, S, L);
        Add(IntrinsicId.Contains, "contains", L, Pure | Deferrable, S, S);

        // offset of the second in the first, −1 when absent.
        Add(IntrinsicId.Position, "position", L, Pure | Deferrable, S, S);

        // replace(text, search, replacement): every occurrence.
        Add(IntrinsicId.Replace, "replace", S, Pure | Deferrable, S, S, S);

        // tokenize(input, delimiters, isContinue): next token; keeps state per handler run.
        Add(IntrinsicId.Tokenize, "tokenize", S, None, S, S, L);

        // strtol(text, base): as C's, 0 when no digits.
        Add(IntrinsicId.ParseLong, "parse_long", L, Pure | Deferrable, S, L);

        // escape(text, most output bytes, quoted): C escapes for unprintable bytes; quoted adds quotes and "..." when cut.
        Add(IntrinsicId.EscapeText, "escape_text", S, Pure | Deferrable, S, L, L);
        Add(IntrinsicId.ToLower, "tolower", S, Pure | Deferrable, S);
        Add(IntrinsicId.ToUpper, "toupper", S, Pure | Deferrable, S);

        // one-byte string, "" for 0.
        Add(IntrinsicId.CharString, "char_string", S, Pure | Deferrable, L);

        // (table, value, fallback): the table is a literal name of a file tapset/tables/NAME.tbl; name of the value, else the fallback text.
        Add(IntrinsicId.TableName, "table_name", S, Pure | Deferrable, S, L, S);

        // (table, value): names of the set bits joined by "|", the rest as 0x…; "0x0" for none unless the table names 0.
        Add(IntrinsicId.TableFlags, "table_flags", S, Pure | Deferrable, S, L);

        // Of the last successful match of this handler run.
        Add(IntrinsicId.MatchedGroup, "matched", S, Pure | Fallible, L);
        Add(IntrinsicId.GroupCount, "ngroups", L, Pure);

        Add(IntrinsicId.Printk, "printk", V, Guru, L, S);
        Add(IntrinsicId.FtracePrint, "ftrace", V, None, S);
        Add(IntrinsicId.SwitchFile, "switch_file", V, None);

        // 1 when the process with this pid descends from target().
        Add(IntrinsicId.InTargetSet, "in_target_set", L, Pure, L);

        // Return value of the probed function or system call; an error in probes that have none.
        Add(IntrinsicId.ReturnValue, "return_value", L, Pure | Stable | Fallible);

        // Address of the task_struct with this thread id, 0 when there is none.
        Add(IntrinsicId.TaskFromPid, "task_from_pid", L, Pure | KernelRead, L);

        // Uid of the user who started stap; inode numbers of the pid and user namespaces that ns_… functions speak of (those of
        // --target-namespaces' process, else stap's own).
        Add(IntrinsicId.SessionUid, "session_uid", L, Pure | Stable | Deferrable | SessionConstant);
        Add(IntrinsicId.TargetPidNamespace, "target_pid_namespace", L, Pure | Stable | Deferrable | SessionConstant);
        Add(IntrinsicId.TargetUserNamespace, "target_user_namespace", L, Pure | Stable | Deferrable | SessionConstant);

        // namespace_id(kind, id): a user (kind 0) or group (1) id of the kernel as the target user namespace numbers it; 65534 when it has no number there.
        Add(IntrinsicId.NamespaceId, "namespace_id", L, Pure | Deferrable, L, L);

        // What the running CPU has counted of a counter of @perf since the session began; how many counters there are.
        Add(IntrinsicId.PerfCounter, "perf_counter", L, None, L);
        Add(IntrinsicId.PerfCounters, "perf_counters", L, Pure | Stable);

        // Name and module ("kernel" for the image itself) of the function a probe is on; "" for events of other kinds, where probe_function gives the
        // running function of samples instead.
        Add(IntrinsicId.ProbeFunction, "probe_function", S, Pure | Stable);
        Add(IntrinsicId.PointFunction, "point_function", S, Pure | Stable);
        Add(IntrinsicId.ProbeModule, "probe_module", S, Pure | Stable);

        // Stacks as addresses "0x… 0x…", innermost first, at most MAXBACKTRACE; "" where there is none.
        Add(IntrinsicId.KernelStack, "kernel_stack", S, Pure | Stable | KernelRead);
        Add(IntrinsicId.UserStack, "user_stack", S, Pure | Stable | MyProcess);

        // (n): the n-th address (from 0) of the kernel's stack, 0 when it has fewer. A number that the kernel has itself, unlike texts of stacks.
        Add(IntrinsicId.KernelFrame, "kernel_frame", L, Pure | KernelRead, L);

        // (list, n): the n-th address (from 0) of such a list, 0 when it has fewer.
        Add(IntrinsicId.StackEntry, "stack_entry", L, Pure | Deferrable, S, L);

        // (list, n): the first n addresses of such a list, all of them for a negative number.
        Add(IntrinsicId.StackHead, "stack_head", S, Pure | Deferrable, S, L);

        // Kernel addresses: name, "name+0x1/0x2 [module]", module (an error when unknown), lines of a list, source place.
        // Lines (list, style): 0 " 0xADDR : name+0x1/0x2 [module]\n", 1 "name+0x1 [module]\n", 2 as 0 with source places.
        // Place (address, part): 0 file:line, 1 file, 2 line; the address in hexadecimal when unknown.
        Add(IntrinsicId.SymbolName, "symbol_name", S, Pure | Deferrable | KernelRead, L);
        Add(IntrinsicId.SymbolData, "symbol_data", S, Pure | Deferrable | KernelRead, L);
        Add(IntrinsicId.SymbolModule, "symbol_module", S, Pure | Deferrable | Fallible | KernelRead, L);
        Add(IntrinsicId.SymbolLines, "symbol_lines", S, Pure | Deferrable | KernelRead, S, L);
        Add(IntrinsicId.SymbolPlace, "symbol_place", S, Pure | Deferrable | KernelRead, L, L);

        // The same for addresses of a process, which comes first. Lines has a style 3: "name+0x1\n".
        Add(IntrinsicId.UserSymbolName, "user_symbol_name", S, Pure | Deferrable | MyProcess, L, L);
        Add(IntrinsicId.UserSymbolData, "user_symbol_data", S, Pure | Deferrable | MyProcess, L, L);
        Add(IntrinsicId.UserModule, "user_module", S, Pure | Deferrable | Fallible | MyProcess, L, L);
        Add(IntrinsicId.UserSymbolLines, "user_symbol_lines", S, Pure | Deferrable | MyProcess, L, S, L);
        Add(IntrinsicId.UserSymbolPlace, "user_symbol_place", S, Pure | Deferrable | MyProcess, L, L, L);

        // The kernel's stack as bytes, and its text; the number of a snapshot of registers and user stack sent to stap, and the stack unwound from it.
        Add(IntrinsicId.KernelAnchor, "kernel_anchor", L, Pure | Stable);
        Add(IntrinsicId.KernelStackRaw, "kernel_stack_raw", S, Pure | Stable | KernelRead);
        Add(IntrinsicId.StackText, "stack_text", S, Pure | Deferrable, S);
        Add(IntrinsicId.UserSnapshot, "user_snapshot", L, Pure | Stable | MyProcess);
        Add(IntrinsicId.UnwoundStack, "unwound_stack", S, Pure | Deferrable, L);

        // (instruction pointer, stack pointer, frame pointer): the same from there instead of from the event's registers.
        Add(IntrinsicId.UserStackFrom, "user_stack_from", S, Pure | MyProcess, L, L, L);
        Add(IntrinsicId.UserSnapshotFrom, "user_snapshot_from", L, Pure | MyProcess, L, L, L);

        // (address, bytes 1/2/4/8, value): stores into the memory of the current process and yields the value; raises "write fault".
        Add(IntrinsicId.WriteUser, "write_user", L, Fallible | Guru, L, L, L);

        // The same for kernel memory: the kernel-module runtime only.
        Add(IntrinsicId.WriteKernel, "write_kernel", L, Fallible | Guru, L, L, L);

        // raise_signal(number): sends the current thread a signal; an error when the kernel refuses. delay(ns): waits busily. panic(text): stops the machine.
        // dump_stack(): the kernel's stack into the kernel log.
        Add(IntrinsicId.RaiseSignal, "raise_signal", V, Fallible | Guru, L);
        Add(IntrinsicId.Delay, "delay", V, Guru, L);
        Add(IntrinsicId.Panic, "panic", V, Guru, S);
        Add(IntrinsicId.DumpStack, "dump_stack", V, Guru);

        // (n, value): the n-th argument (from 0) of the probed function; what it returns. The kernel-module runtime only.
        Add(IntrinsicId.SetFunctionArgument, "set_function_arg", V, Fallible | Guru, L, L);
        Add(IntrinsicId.SetReturnValue, "set_return_value", V, Fallible | Guru, L);

        // (offset in struct pt_regs, bytes 1/2/4/8, value): a register of the probed code, and yields the value. The kernel-module runtime only.
        Add(IntrinsicId.WriteRegister, "write_register", L, Fallible | Guru, L, L, L);

        // load_average(n): over 1 (n 0), 5 (1) or 15 (2) minutes, with 11 bits behind the binary point as the kernel keeps it; 0 for other n.
        Add(IntrinsicId.LoadAverage, "load_average", L, Pure | Deferrable, L);

        return all.Select((i, n) => i ?? throw new InvalidOperationException($"intrinsic {(IntrinsicId)n} has no entry")).ToArray();
    }
}
