using Linux.Bpf;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Context;

// Perf events, process life, and the set of the target's processes.
//
// process.begin: exec (sched_process_exec runs in the new program), and the first return of a forked child from clone(): the child's own sys_exit with
// result 0, so the handler runs in the child's context, which the fork tracepoint (in the parent) could not give. thread.begin likewise. The end of a
// process is the exit of its last thread (signal->live is 0 by then). Processes that already run when the session starts get their begin from a walk over
// all tasks, run once after everything is attached. It skips kernel threads, which have no begin either when they are new, and the children of stap:
// the command of -c, which will be seen when it execs.
//
// Until Linux 6.16 a task has lost its memory when sched_process_exit is reached, and with it what tells which program it ran. Where a probe asks for that, threads of
// the program are remembered where their exit begins (a kprobe of do_exit).

internal sealed partial class ProgramBuilder
{
    /// <summary>When the first thread started, its number, the probe.</summary>
    private const int EndedKeySize = 16;

    private void Perf(Probe probe, AttachPlan attach, ProcessFilter? filter)
    {
        var body = rewriter.Rewrite(probe.Body);
        Simple(probe, body, NeedsOf(body), new PerfContext(c.Target), attach, e => ProcessFilters.Emit(e, filter, e.Exit, probe.Span));
    }

    private void Process(Probe probe, ProcessSpec spec)
    {
        var body = rewriter.Rewrite(probe.Body);
        var needs = NeedsOf(body);
        var span = probe.Span;
        switch (spec.Event)
        {
            case ProcessEvent.Begin:
                Simple(probe, body, needs, new TracepointContext("sched_process_exec", 0), new AttachPlan.RawTracepoint("sched_process_exec"),
                    e => ProcessFilters.Emit(e, spec.Filter, e.Exit, span));
                ChildReturn(probe, body, leader: true);
                Walk(leader: true);
                break;
            case ProcessEvent.ThreadBegin:
                ChildReturn(probe, body, leader: false);
                Walk(leader: false);
                break;
            case ProcessEvent.End:
                var exits = Exits(probe, spec.Filter);
                Simple(probe, body, needs, new TracepointContext("sched_process_exit", 0), new AttachPlan.RawTracepoint("sched_process_exit"), e =>
                {
                    exits(e);
                    var mayRepeat = OnlyLastThread(e, e.Exit);
                    if (mayRepeat)
                    {
                        OnlyOnce(e, probe.Index, e.Exit);
                    }
                });
                break;
            case ProcessEvent.ThreadEnd:
                var ends = Exits(probe, spec.Filter);
                Simple(probe, body, needs, new TracepointContext("sched_process_exit", 0), new AttachPlan.RawTracepoint("sched_process_exit"), e =>
                {
                    ends(e);
                    Leader(e, false, e.Exit);
                });
                break;
        }

        void Walk(bool leader)
        {
            var function = c.Target.KernelBtfOrNull?.FindFunctionId("bpf_iter_task") ?? 0;
            if (function == 0)
            {
                return; // No iterators before Linux 5.8, which is older than anything else here works on.
            }

            Simple(probe, body, needs, new TaskWalkContext(function), new AttachPlan.TaskWalk(), e => e.Filter(() =>
            {
                var task = c.Structure("task_struct", span);
                e.CurrentTask();
                e.Code.Emit(Instruction.Mov(Reg.R8, Reg.R0));
                e.LoadField(Reg.R0, Reg.R8, c.Offset(task, "mm", span), 8, typed: true);
                e.Code.JumpIf(JumpOp.Eq, Reg.R0, 0, e.Exit);
                e.LoadField(Reg.R0, Reg.R8, c.Offset(task, "real_parent", span), 8, typed: true);
                e.Code.JumpIf(JumpOp.Eq, Reg.R0, 0, e.Exit);
                e.LoadField(Reg.R0, Reg.R0, c.Offset(task, "tgid", span), 4, typed: true);
                e.Code.JumpIf(JumpOp.Eq, Reg.R0, (int)c.Options.StapPid, e.Exit);
                Leader(e, leader, e.Exit);
                ProcessFilters.Emit(e, spec.Filter, e.Exit, span);
            }), "walk");
        }

        void ChildReturn(Probe p, Stmt b, bool leader)
        {
            var btfId = c.Features.TypedTracepoints ? c.Target.Tracepoints.Find("sys_exit")?.AttachId ?? 0 : 0;
            var context = new SyscallContext(c.Target, true, btfId);
            Simple(p, b, needs, context, new AttachPlan.RawTracepoint("sys_exit"), e =>
            {
                var child = e.Code.NewLabel();
                e.Code.Emit(Instruction.Load(MemSize.DW, Reg.R0, ProgramEmitter.Ctx, 8));
                e.Code.JumpIf(JumpOp.Ne, Reg.R0, 0, e.Exit);
                context.LoadNumber(e, Reg.R0);
                foreach (var name in (ReadOnlySpan<string>)["clone", "clone3", "fork", "vfork"])
                {
                    if (c.Target.Architecture.Syscalls.Number(name) is >= 0 and var number)
                    {
                        e.Code.JumpIf(JumpOp.Eq, Reg.R0, number, child);
                    }
                }

                e.Code.Jump(e.Exit);
                e.Code.Bind(child);
                Leader(e, leader, e.Exit);
                ProcessFilters.Emit(e, spec.Filter, e.Exit, span);
            }, leader ? "fork" : "thread");
        }
    }

    /// <summary>What tests at sched_process_exit whether the thread is of the processes meant.</summary>
    private Action<ProgramEmitter> Exits(Probe probe, ProcessFilter? filter)
    {
        if (filter is not ProcessFilter.Executable || LastExitParameter >= 0)
        {
            return e => ProcessFilters.Emit(e, filter, e.Exit, probe.Span);
        }

        const string function = "do_exit";
        if (!c.Features.Kprobes)
        {
            throw new BpfCannotException("which program a process ran cannot be told at its end: the kernel is older than 6.16 and built without kprobes", probe.Span, "leave the path out and test execname()");
        }

        if (c.ExitingMap < 0)
        {
            c.ExitingMap = c.Maps.Add("stap_exiting", MapType.LruHash, EndedKeySize, 4, 4096, MapFlags.None);
        }

        var context = new KernelProbeContext(c.Target, new KernelFunctionSpec(function, null, 0, false), isMulti: false);
        var e = new ProgramEmitter(c, context, "exit", hasFrame: false);
        e.BeginAlways();
        ProcessFilters.Emit(e, filter, e.Exit, probe.Span);
        e.Remember(c.ExitingMap, Key(e));
        e.End();
        c.Programs.Add(new ProgramPlan($"p{probe.Index}_exit", (uint)context.Type, e.Finish(probe.Span), new AttachPlan.KernelFunctions([new KernelPlace(function, 0, 0, 0)], false, false), []));
        return at => at.Forget(c.ExitingMap, Key(at), at.Exit);

        Mem Key(ProgramEmitter e)
        {
            var key = e.StackBytes(EndedKeySize);
            e.Code.Call(Helper.GetCurrentPidTgid);
            e.SaveWord(key, Reg.R0);
            e.Code.Emit(Instruction.Mov(Reg.R0, probe.Index));
            e.SaveWord(key.At(8), Reg.R0);
            return key;
        }
    }

    /// <summary>Which parameter of sched_process_exit says that no thread is left (Linux 6.16, where the task still has its memory); -1: none.</summary>
    private int LastExitParameter => c.Target.Tracepoints.Find("sched_process_exit")?.Parameters is { } parameters ? parameters.ToList().FindIndex(static p => p.Name == "group_dead") : -1;

    /// <summary>Goes to the label unless the current thread is (or is not) its process's first.</summary>
    private static void Leader(ProgramEmitter e, bool wanted, Label skip)
    {
        e.CurrentIds();
        e.Code.Emit(Instruction.Mov32(Reg.R1, Reg.R0));
        e.Code.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 32));
        e.Code.JumpIf(wanted ? JumpOp.Ne : JumpOp.Eq, Reg.R0, Reg.R1, skip);
    }

    /// <summary>
    /// Goes to the label unless the process ends with the exit of the current thread (at sched_process_exit). Newer kernels say it; on older ones threads that
    /// exit at one moment may all see nobody left: true then.
    /// </summary>
    private bool OnlyLastThread(ProgramEmitter e, Label skip)
    {
        if (c.Features.LastExitIsTold && LastExitParameter is >= 0 and var place)
        {
            e.Code.Emit(Instruction.Load(MemSize.DW, Reg.R0, ProgramEmitter.Ctx, (short)(place * 8)));
            e.Code.Emit(Instruction.Alu64(AluOp.And, Reg.R0, 0xff));
            e.Code.JumpIf(JumpOp.Eq, Reg.R0, 0, skip);
            return false;
        }

        var typed = c.Features.CurrentTaskBtf;
        e.Code.Call(typed ? Helper.GetCurrentTaskBtf : Helper.GetCurrentTask);
        e.LoadField(Reg.R0, Reg.R0, c.Offset(c.Structure("task_struct", default), "signal", default), 8, typed);
        e.Code.JumpIf(JumpOp.Eq, Reg.R0, 0, skip);
        e.LoadField(Reg.R0, Reg.R0, c.Offset(c.Structure("signal_struct", default), "live", default), 4, typed);
        e.Code.JumpIf(JumpOp.Ne, Reg.R0, 0, skip);
        return true;
    }

    /// <summary>Goes to the label if the probe has seen the end of the current process: its number and the start of its first thread are remembered.</summary>
    private void OnlyOnce(ProgramEmitter e, int probe, Label seen)
    {
        if (c.EndedMap < 0)
        {
            c.EndedMap = c.Maps.Add("stap_ended", MapType.LruHash, EndedKeySize, 4, 4096, MapFlags.None);
        }

        var typed = c.Features.CurrentTaskBtf;
        var task = c.Structure("task_struct", default);
        var key = e.StackBytes(EndedKeySize);
        e.Code.Call(typed ? Helper.GetCurrentTaskBtf : Helper.GetCurrentTask);
        e.LoadField(Reg.R8, Reg.R0, c.Offset(task, "group_leader", default), 8, typed);
        e.LoadField(Reg.R0, Reg.R8, c.Offset(task, "start_time", default), 8, typed);
        e.SaveWord(key, Reg.R0);
        e.LoadField(Reg.R0, Reg.R8, c.Offset(task, "tgid", default), 4, typed);
        e.Code.Emit(Instruction.Alu64(AluOp.Lsh, Reg.R0, 32));
        e.Code.Emit(Instruction.Alu64(AluOp.Or, Reg.R0, probe));
        e.SaveWord(key.At(8), Reg.R0);
        e.AddOnce(c.EndedMap, key, seen);
    }

    // ---- the target's tree -----------------------------------------------------------------------------------------------

    /// <summary>Children of the target's processes join the set. Runs from the moment it is attached, whatever the session's state.</summary>
    private void FollowForks()
    {
        var task = c.Structure("task_struct", default);
        var (pid, tgid) = (c.Offset(task, "pid", default), c.Offset(task, "tgid", default));
        var btfId = c.Features.TypedTracepoints ? c.Target.Tracepoints.Find("sched_process_fork")?.AttachId ?? 0 : 0;
        var context = new TracepointContext("sched_process_fork", btfId);
        var e = new ProgramEmitter(c, context, "follow_fork", hasFrame: false);
        e.BeginAlways();
        var typed = context.IsTyped;
        var child = e.StackWord();
        var value = e.StackWord();
        e.Code.Emit(Instruction.Load(MemSize.DW, Reg.R8, ProgramEmitter.Ctx, 0));
        e.LoadField(Reg.R0, Reg.R8, tgid, 4, typed);
        e.InTargetSet(Reg.R0);
        e.Code.JumpIf(JumpOp.Eq, Reg.R0, 0, e.Exit);
        e.Code.Emit(Instruction.Load(MemSize.DW, Reg.R8, ProgramEmitter.Ctx, 8));
        e.LoadField(Reg.R0, Reg.R8, tgid, 4, typed);
        e.SaveWord(child, Reg.R0);
        e.LoadField(Reg.R1, Reg.R8, pid, 4, typed);
        e.LoadWord(Reg.R0, child);
        e.Code.JumpIf(JumpOp.Ne, Reg.R0, Reg.R1, e.Exit);
        e.Code.Emit(Instruction.Store(MemSize.DW, value.Base, value.Offset, 1));
        e.UpdateTargetSet(child, value);
        e.End();
        Add("follow_fork", context, e, "sched_process_fork");
    }

    private void FollowExits()
    {
        var context = new TracepointContext("sched_process_exit", 0);
        var e = new ProgramEmitter(c, context, "follow_exit", hasFrame: false);
        e.BeginAlways();
        OnlyLastThread(e, e.Exit);
        var pid = e.StackWord();
        e.Code.Call(Helper.GetCurrentPidTgid);
        e.Code.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 32));
        e.SaveWord(pid, Reg.R0);
        e.RemoveFromTargetSet(pid);
        e.End();
        Add("follow_exit", context, e, "sched_process_exit");
    }

    private void Add(string name, TracepointContext context, ProgramEmitter e, string tracepoint) =>
        c.Programs.Add(new ProgramPlan(name, (uint)context.Type, e.Finish(default), new AttachPlan.RawTracepoint(tracepoint), [])
        {
            ExpectedAttachType = (uint)context.ExpectedAttachType,
            AttachBtfId = context.AttachBtfId,
        });
}
