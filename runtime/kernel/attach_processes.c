// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * process.begin, .end, .thread.begin, .thread.end, by the scheduler's tracepoints. A handler for a forked child runs in its parent, one for a process
 * that is already there when the session starts runs in staprun: the context's task says whom the event is about, and the tasks' built-ins ask that.
 */
#include "kernel.h"
#include <linux/tracepoint.h>
#include <linux/binfmts.h>
#include <linux/hash.h>

#define ENDED_BITS 12

static int process_exec_set, process_fork_set, process_exit_set;
static atomic64_t ended[1 << ENDED_BITS];

static void run_process_probes(enum stap_process_event event, struct task_struct *task)
{
	const struct stap_probe *p;

	stap_for_each_probe(p) {
		struct stap_context *c;

		if (p->kind != STAP_PROBE_PROCESS || p->process.event != event || !stap_passes(p, task))
			continue;
		c = stap_enter(p);
		if (!c)
			continue;
		stap_run_of(c)->task = task;
		if (task->mm && !(task->flags & PF_KTHREAD))
			c->regs = c->user_regs = task_pt_regs(task);
		c->user_mode = 1;
		stap_leave(c);
	}
}

static void process_exec(void *data, struct task_struct *task, pid_t old, struct linux_binprm *program)
{
	run_process_probes(STAP_PROCESS_BEGIN, task);
}

static void process_fork(void *data, struct task_struct *parent, struct task_struct *child)
{
	if (child->flags & PF_KTHREAD)
		return;
	run_process_probes(child->tgid == parent->tgid ? STAP_THREAD_BEGIN : STAP_PROCESS_BEGIN, child);
}

/*
 * Threads that exit at one moment may all see nobody left: the first one's is the end. The process is remembered by its first thread's start and number,
 * in a place that another one takes only when it ends in the same microseconds.
 */
static int ended_already(const struct task_struct *task)
{
	u64 process = task->group_leader->start_time ^ (u64)task->tgid << 40;

	return atomic64_xchg(&ended[hash_32(task->tgid, ENDED_BITS)], process) == process;
}

static void process_exit(void *data, struct task_struct *task)
{
	if (task->flags & PF_KTHREAD)
		return;
	if (task != task->group_leader)
		run_process_probes(STAP_THREAD_END, task);
	if (atomic_read(&task->signal->live) == 0 && !ended_already(task))
		run_process_probes(STAP_PROCESS_END, task);
	stap_exits_forget(task);
}

int stap_processes_start(void)
{
	const struct stap_probe *p;
	int begins = 0, ends = 0, error = 0;

	stap_for_each_probe(p)
		if (p->kind == STAP_PROBE_PROCESS) {
			if (p->process.event == STAP_PROCESS_BEGIN || p->process.event == STAP_THREAD_BEGIN)
				begins = 1;
			else
				ends = 1;
		}
	if (begins && !(error = stap_tracepoint_add("sched_process_exec", process_exec, NULL, STAP_ANY)))
		process_exec_set = 1;
	if (!error && begins && !(error = stap_tracepoint_add("sched_process_fork", process_fork, NULL, STAP_ANY)))
		process_fork_set = 1;
	if (!error && ends && (error = stap_exits_start())) {
		stap_message(STAP_RECORD_ERROR, "which program a process ran cannot be told at its end: kernel function \"do_exit\" cannot be probed (error %d); leave the path out", error);
		return error;
	}
	if (!error && ends && !(error = stap_tracepoint_add("sched_process_exit", process_exit, NULL, STAP_ANY)))
		process_exit_set = 1;
	if (error) {
		stap_message(STAP_RECORD_ERROR, "the tracepoints of process events cannot be registered (error %d)", error);
	}
	return error;
}

/* process.begin for what runs already; the session is live. */
void stap_processes_walk(void)
{
	struct task_struct *task;

	if (!process_exec_set)
		return;
	rcu_read_lock();
	for_each_process(task)
		/* Not what holds the command of -c for staprun: the command begins with its exec. */
		if (!(task->flags & PF_KTHREAD) && task->mm && rcu_dereference(task->real_parent)->tgid != stap_session.stp_pid)
			run_process_probes(STAP_PROCESS_BEGIN, task);
	rcu_read_unlock();
}

void stap_processes_stop(void)
{
	if (process_exec_set)
		stap_tracepoint_remove("sched_process_exec", process_exec, NULL);
	if (process_fork_set)
		stap_tracepoint_remove("sched_process_fork", process_fork, NULL);
	if (process_exit_set)
		stap_tracepoint_remove("sched_process_exit", process_exit, NULL);
	stap_exits_stop();
	process_exec_set = process_fork_set = process_exit_set = 0;
}
