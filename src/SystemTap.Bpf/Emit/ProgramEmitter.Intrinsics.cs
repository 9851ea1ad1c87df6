using System.Globalization;
using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// The built-ins inside the kernel. What a session fixes is a constant here; what cannot be had says so with its place.

internal sealed partial class ProgramEmitter
{
    private bool TryConstantIntrinsic(IntrinsicExpr i, out long value)
    {
        long? constant = i.Intrinsic.Id switch
        {
            IntrinsicId.StpPid => _c.Options.StapPid,
            IntrinsicId.ArgumentCount => _c.Options.Arguments.Count,
            IntrinsicId.SessionUid => _c.Options.SessionUid,
            IntrinsicId.TargetPidNamespace => _c.Options.PidNamespace,
            IntrinsicId.TargetUserNamespace => _c.Options.UserNamespace,
            IntrinsicId.Hz => _c.Target.TicksPerSecond,
            IntrinsicId.PageSize => _c.Target.PageSize,
            IntrinsicId.TimeZoneOffset => _c.Options.TimeZoneOffset,
            IntrinsicId.SizeOfPointer => 8,
            IntrinsicId.MaxStringLength => _c.Limits.MaxStringLength,
            IntrinsicId.IsReturn => _event.IsReturn ? 1 : 0,
            IntrinsicId.RegistersValid => _event.HasRegisters ? 1 : 0,
            IntrinsicId.UserMode when _event.IsAlwaysUserMode is { } mode => mode ? 1 : 0,
            _ => null,
        };
        value = constant ?? 0;
        return constant is not null;
    }

    /// <summary>A text known now.</summary>
    private string? ConstantText(IntrinsicExpr i) => i.Intrinsic.Id switch
    {
        IntrinsicId.ModuleName => _c.Options.ModuleName,
        IntrinsicId.TimeZoneName => _c.Options.TimeZoneName,
        IntrinsicId.ProbePointText or IntrinsicId.ProbeName or IntrinsicId.ProbeFunction or IntrinsicId.PointFunction or IntrinsicId.ProbeModule or IntrinsicId.ProbeType =>
            _f.Function is not null && IsForSeveral ? null : TextOf(i, _probeIndex),
        IntrinsicId.Argument when TryConstant(i.Arguments[0], out var n) => n >= 1 && n <= _c.Options.Arguments.Count ? _c.Options.Arguments[(int)n - 1] : "",
        _ => null,
    };

    private string? TextOf(IntrinsicExpr i, int probe) => i.Intrinsic.Id switch
    {
        IntrinsicId.ProbePointText => _c.Program.Probes[probe].PointText,
        IntrinsicId.ProbeName => _c.Program.Probes[probe].Name,
        IntrinsicId.ProbeFunction or IntrinsicId.PointFunction => ProbedFunction.Name(_c.Program.Probes[probe].Spec) ?? "",
        IntrinsicId.ProbeModule => ProbedFunction.Module(_c.Program.Probes[probe].Spec),
        IntrinsicId.ProbeType => _c.Program.Probes[probe].Spec.MechanismName,
        _ => null,
    };

    /// <summary>A built-in of type long, into R0.</summary>
    private void LongIntrinsic(IntrinsicExpr i)
    {
        switch (i.Intrinsic.Id)
        {
            case IntrinsicId.CurrentTask:
                if (_event.HasOwnTask)
                {
                    TaskAddress();
                }
                else
                {
                    _a.Call(Helper.GetCurrentTask);
                }

                break;
            case IntrinsicId.Pid:
                CurrentIds();
                _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 32));
                break;
            case IntrinsicId.Tid:
                CurrentIds();
                _a.Emit(Instruction.Mov32(Reg.R0, Reg.R0));
                break;
            case IntrinsicId.Uid:
                CurrentOwner(group: false);
                break;
            case IntrinsicId.Gid:
                CurrentOwner(group: true);
                break;
            case IntrinsicId.StackPointer:
                OwnStack();
                break;
            case IntrinsicId.Cpu:
                _a.Call(Helper.GetSmpProcessorId);
                break;
            case IntrinsicId.PerfCounters:
                _a.Emit(Instruction.Mov(Reg.R0, _c.Program.Counters.Count()));
                break;
            case IntrinsicId.PerfCounter:
                PerfCounter(i);
                break;
            case IntrinsicId.NamespaceId:
                NamespaceId(i);
                break;
            case IntrinsicId.InTarget:
                CurrentIds();
                _a.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 32));
                InTargetSet(Reg.R0);
                break;
            case IntrinsicId.InTargetSet:
                Long(i.Arguments[0], Reg.R0);
                InTargetSet(Reg.R0);
                break;
            case IntrinsicId.TaskFromPid:
                TaskFromPid(i);
                break;
            case IntrinsicId.MonotonicNs:
            case IntrinsicId.Cycles:
            case IntrinsicId.CpuClockNs:
                // The clocks of all CPUs tick together on the machines BPF runs on; SystemTap's per-CPU clock is one of them.
                if (i.Arguments.Count > 0)
                {
                    Discard(i.Arguments[0]);
                }

                _a.Call(Helper.KtimeGetNs);
                break;
            case IntrinsicId.BootNs:
                _a.Call(Helper.KtimeGetBootNs);
                break;
            case IntrinsicId.WallNs:
                _a.Call(Helper.KtimeGetBootNs);
                DataAddress(Reg.R1, ControlBlock.WallOffset);
                Load(Reg.R1, new Mem(Reg.R1, 0));
                _a.Emit(Instruction.Add64(Reg.R0, Reg.R1));
                break;
            case IntrinsicId.Jiffies:
                _a.Call(Helper.Jiffies64);
                break;
            case IntrinsicId.Random32:
                _a.Call(Helper.GetPrandomU32);
                _a.Emit(Instruction.Mov32(Reg.R0, Reg.R0));
                break;
            case IntrinsicId.StringLength:
                var mark = Marked();
                Length(Text(i.Arguments[0]), Reg.R0);
                Release(mark);
                break;
            case IntrinsicId.ByteAt:
                ByteAt(i);
                break;
            case IntrinsicId.Contains:
            case IntrinsicId.Position:
                Position(i);
                break;
            case IntrinsicId.LoadAverage:
                LoadAverage(i);
                break;
            case IntrinsicId.WriteUser:
                WriteUser(i.Arguments, i.Span);
                break;
            case IntrinsicId.WriteKernel:
                throw Cannot("writing to kernel memory: BPF programs cannot", i.Span);
            case IntrinsicId.WriteRegister:
                throw Cannot(GuruWrites.What(i.Intrinsic.Id) + ": BPF programs cannot", i.Span, "run with --runtime=kernel");
            case IntrinsicId.ParseLong:
                ParseLong(i);
                break;
            case IntrinsicId.UserSnapshot or IntrinsicId.UserSnapshotFrom:
                UserSnapshot(i.Arguments, i.Span);
                break;
            case IntrinsicId.KernelFrame:
                KernelFrame(i.Arguments[0]);
                break;
            case IntrinsicId.GroupCount:
                _ = MatchSubject;
                Load(Reg.R0, _matchCount);
                break;
            case IntrinsicId.UserMode or IntrinsicId.RegisterByName or IntrinsicId.UserRegisterByName or IntrinsicId.FunctionArgument
                or IntrinsicId.InstructionPointer or IntrinsicId.UserInstructionPointer or IntrinsicId.ReturnValue:
                _event.LongIntrinsic(this, i);
                break;
            case IntrinsicId.StackEntry:
                throw StapsText(i);
            default:
                throw Cannot($"the built-in \"{i.Intrinsic.Name}\" in a handler that runs in the kernel", i.Span);
        }
    }

    /// <summary>R0 = 1 when the pid in R0 belongs to the target's tree.</summary>
    public void InTargetSet(Reg pid)
    {
        if (_c.TargetSetMap < 0)
        {
            _a.Emit(Instruction.Mov(Reg.R0, 0));
            return;
        }

        var mark = Marked();
        var key = TakeStack(8);
        Save(MemSize.W, key, pid);
        LookupKey(_c.TargetSetMap, key);
        var no = _a.NewLabel();
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, no);
        _a.Emit(Instruction.Mov(Reg.R0, 1));
        _a.Bind(no);
        Release(mark);
    }

    /// <summary>A built-in without value.</summary>
    private void VoidIntrinsic(IntrinsicExpr i)
    {
        switch (i.Intrinsic.Id)
        {
            case IntrinsicId.Exit:
                StopSession(RecordKind.Exit, i);
                break;
            case IntrinsicId.Abort:
                StopSession(RecordKind.Abort, i);
                Leave();
                break;
            case IntrinsicId.Error:
                RaiseText(i.Arguments[0], i.Span);
                break;
            case IntrinsicId.Warn:
                Send(RecordKind.Warn, 0, i.Arguments, RingFlagQuiet, i.Span);
                break;
            case IntrinsicId.System:
                Send(RecordKind.System, 0, i.Arguments, RingFlagForce, i.Span);
                break;
            case IntrinsicId.Printk:
                Send(RecordKind.Printk, 0, i.Arguments, RingFlagQuiet, i.Span);
                break;
            case IntrinsicId.FtracePrint:
                Send(RecordKind.Ftrace, 0, i.Arguments, RingFlagQuiet, i.Span);
                break;
            case IntrinsicId.SwitchFile:
                Send(RecordKind.SwitchFile, 0, [], RingFlagQuiet, i.Span);
                break;
            case IntrinsicId.RaiseSignal:
                RaiseSignal(i);
                break;
            case IntrinsicId.Delay or IntrinsicId.Panic or IntrinsicId.DumpStack or IntrinsicId.SetFunctionArgument or IntrinsicId.SetReturnValue:
                throw Cannot(GuruWrites.What(i.Intrinsic.Id) + ": BPF programs cannot", i.Span, "run with --runtime=kernel");
            default:
                throw Cannot($"the built-in \"{i.Intrinsic.Name}\" in a handler that runs in the kernel", i.Span);
        }
    }

    // The kernel's own array, where its symbols have data (CONFIG_KALLSYMS_ALL).
    private void LoadAverage(IntrinsicExpr i)
    {
        if (_c.Target.KernelSymbols.Find("avenrun")?.Address is not (> 0 and var address))
        {
            throw Cannot("the load average where a kernel handler computes with it: this kernel does not tell where it is (CONFIG_KALLSYMS_ALL)", i.Span, "only print it, or ask in a timer probe");
        }

        Long(i.Arguments[0], Reg.R0);
        var none = _a.NewLabel();
        var end = _a.NewLabel();
        _a.JumpIf(JumpOp.Gt, Reg.R0, 2, none);
        _a.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R0, 3));
        _a.LdImm64(Reg.R1, (long)address);
        _a.Emit(Instruction.Add64(Reg.R0, Reg.R1));
        ReadKernel(Reg.R0, 0, 8);
        _a.Jump(end);
        _a.Bind(none);
        _a.Emit(Instruction.Mov(Reg.R0, 0));
        _a.Bind(end);
    }

    private void RaiseSignal(IntrinsicExpr i)
    {
        Long(i.Arguments[0], Reg.R1);
        At(i.Span);
        _a.Call(Helper.SendSignalThread);
        var good = _a.NewLabel();
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, good);
        Raise("the kernel did not send the signal (error {0})", i.Span, Reg.R0);
        _a.Bind(good);
    }

    /// <summary>No handler starts from now on; stap hears of it at once.</summary>
    private void StopSession(int record, IntrinsicExpr i)
    {
        DataAddress(Reg.R1, ControlBlock.State);
        _a.Emit(Instruction.Store(MemSize.DW, Reg.R1, 0, 2));
        Send(record, 0, [], RingFlagForce, i.Span);
    }

    /// <summary>Leaves the whole handler without an error record.</summary>
    private void Leave()
    {
        Store(_errorSite, -1);
        _a.Jump(_f.FatalExit);
    }

    /// <summary>A stack or a name of an address where the kernel itself would have to go on with it.</summary>
    private BpfCannotException StapsText(IntrinsicExpr i) => Deferral.HostStatements.IsStapsOnly(i.Intrinsic.Id)
        ? Cannot("stacks of programs and names of addresses are made by stap, not by BPF programs, and this handler cannot be left to stap"
            + (_c.Refusal is { } refusal ? $": {refusal.Reason} ({refusal.Span})" : ""), i.Span, "only print it, or run with --runtime=kernel")
        : Cannot($"the built-in \"{i.Intrinsic.Name}\" in a text that a kernel handler uses", i.Span, "only print it, or run with --runtime=kernel");

    private StringValue TextIntrinsic(IntrinsicExpr i)
    {
        switch (i.Intrinsic.Id)
        {
            case IntrinsicId.ProbePointText or IntrinsicId.ProbeName or IntrinsicId.ProbeFunction or IntrinsicId.PointFunction or IntrinsicId.ProbeModule or IntrinsicId.ProbeType:
                return CallerText(i);
            case IntrinsicId.ExecName:
                var name = TakeFrame(16);
                CurrentName(name);
                return new StringValue(null, name, 16, null);
            case IntrinsicId.KernelStackRaw:
                return KernelStackRaw();
            case IntrinsicId.KernelStack:
                return KernelStackText();
            case IntrinsicId.Substring:
                return Substring(i);
            case IntrinsicId.ToLower or IntrinsicId.ToUpper:
                return ChangeCase(i);
            case IntrinsicId.EscapeText:
                return Escape(i);
            case IntrinsicId.Replace:
                return Replace(i);
            case IntrinsicId.Tokenize:
                return Tokenize(i);
            case IntrinsicId.MatchedGroup:
                return MatchedGroup(i);
            case IntrinsicId.TableFlags:
                return TableFlags(i);
            case IntrinsicId.CharString:
                return CharText(i.Arguments[0]);
            case IntrinsicId.TableName or IntrinsicId.SyscallName:
                return TableName(i);
            default:
                throw StapsText(i);
        }
    }
}
