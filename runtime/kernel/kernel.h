/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The kernel side of the module run-time: what its files share.
 *
 *   main.c        module start and end, the session's states, begin/end/error handlers
 *   context.c     contexts, locks on globals, skipped probes, errors: everything around one handler run
 *   output.c      per-CPU rings mapped by staprun
 *   control.c     /proc/systemtap/NAME/control: how staprun drives the session
 *   memory.c clocks.c tasks.c registers.c stacks.c     built-ins
 *   attach_*.c    one file for each kind of event
 *
 * Life of a session: staprun loads the module (nothing happens yet), opens the control file, maps the rings and asks for START: begin handlers run in
 * that call, then events are attached. exit(), errors or staprun ask for the end; STOP detaches all events and runs end or error handlers. Closing the
 * control file (also by the death of staprun) detaches everything, unless the session was detached on purpose. Unloading frees.
 */
#ifndef STAP_KERNEL_H
#define STAP_KERNEL_H

#define STAP_KERNEL_HEADERS
#include <linux/module.h>
#include <linux/kernel.h>
#include <linux/version.h>
#include <linux/types.h>
#include <linux/string.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/preempt.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <linux/ptrace.h>
#include <linux/fs.h>
#include <linux/wait.h>

#include "../core/core.h"
#include "transport.h"

/* ------------------------------------------------------------------------------------------------------------------------------------ session */

enum stap_state {
	STAP_LOADED,	/* nothing has run */
	STAP_STARTING,	/* begin handlers run, events are being attached */
	STAP_RUNNING,
	STAP_STOPPING,	/* exit() or too many errors: no event handler runs any more */
	STAP_ENDING,	/* end handlers run */
	STAP_ENDED,
};

struct stap_control {
	atomic_t state;
	atomic_t errors;
	atomic_t failed;		/* error handlers run instead of end handlers */
	atomic_t skipped[STAP_SKIP_KINDS];
	atomic_t skipped_all;
	atomic64_t lost;		/* prints */
	atomic64_t cuts;		/* strings */
	const struct stap_place *first_cut;
	atomic64_t overwritten;		/* records, while nobody read */
	int detached;			/* goes on without staprun */
	int suppress_errors;		/* errors only end their handler */
};

extern struct stap_control stap_control;

void *stap_pages(u64 bytes, int node);	/* memory.c; freed by vfree() */

static inline int stap_is_running(void)
{
	return atomic_read(&stap_control.state) == STAP_RUNNING;
}

/* The session shall end; from any context. `failed`: with error handlers. */
void stap_end_session(int failed);

/* main.c, for the control file; process context. */
int stap_start(const struct stap_start *start);
void stap_stop(int run_handlers);

/* ----------------------------------------------------------------------------------------------------------------------------------- contexts */

/* A context and what this run-time keeps beside it. */
struct stap_run {
	struct stap_context c;
	struct task_struct *task;	/* whom the event is about: current, or the child of a fork */
	int busy;
	unsigned long flags;		/* interrupts, before the handler turned them off */
	u64 began;			/* cycles */
	int held;			/* the probe's locks and its interrupts */
	int waits;			/* begin/end/error: prints may wait for room */
	struct stap_stack_record *stack;	/* room for one, if the script asks for user stacks */
	char line[1024];		/* of an error */
};

static inline struct stap_run *stap_run_of(const struct stap_context *c)
{
	return container_of(c, struct stap_run, c);
}

u32 stap_cell_count(void);
int stap_contexts_start(void);
void stap_contexts_stop(void);

/* A context for an event handler, preemption off, its locks taken (with irqs_off: interrupts off) if not locks_late; NULL: the event is not handled (and counted). */
struct stap_context *stap_enter(const struct stap_probe *probe);

/* Runs the handler and gives everything back. */
void stap_leave(struct stap_context *c);

/* The same for a procfs read: copies the text that the handler gives. */
void stap_leave_procfs(struct stap_context *c, struct stap_buf *into, u32 most);

/* Runs a begin, end or error handler; process context. */
void stap_run_alone(const struct stap_probe *probe);
void stap_show_all(void);

void stap_skip(const struct stap_probe *probe, enum stap_skip why);

/* A line of staprun's standard error: STAP_RECORD_WARNING or STAP_RECORD_ERROR. */
void stap_message(enum stap_record_type type, const char *format, ...) __printf(2, 3);

/* ------------------------------------------------------------------------------------------------------------------------------------- output */

int stap_output_start(u64 bytes_per_cpu);
void stap_output_stop(void);
/* One record; 0: no room (counted as lost). */
int stap_send(enum stap_record_type type, const void *bytes, u32 n, int more, int may_wait);
int stap_output_mmap(struct vm_area_struct *vma);
int stap_output_pending(void);
void stap_output_leave(void);	/* nobody reads from now on */
u64 stap_output_take(void);	/* a reader does; yields the number below which all records are written or gone. Process context */
u64 stap_ring_bytes(void);
void stap_wake_reader(void);
u64 stap_new_stack_number(void);

int stap_control_start(void);
void stap_control_stop(void);
struct proc_dir_entry;
struct proc_dir_entry *stap_proc_folder(void);
wait_queue_head_t *stap_reader_queue(void);

/* ------------------------------------------------------------------------------------------------------------------------------------- events */

/* Each kind: start attaches all probes of the kind (0, or an error after a message), stop detaches them; stop is also right after a failed start and
 * when start was never called. After all stops, stap_wait_handlers() has seen every handler end. */
#define STAP_KINDS(X) X(tracepoints) X(syscalls) X(processes) X(kprobes) X(watchpoints) X(netfilter) X(procfs) X(uprobes) X(perf) X(timers)
#define STAP_DECLARE(kind) int stap_##kind##_start(void); void stap_##kind##_stop(void);
STAP_KINDS(STAP_DECLARE)

/* Names of symbols whose addresses staprun finds, each with its NUL, into a buffer or (NULL) not at all; yields their bytes. The probed functions come first, when they are many
 * (before Linux 6.2 the kernel goes through all its symbols for each name); then the watched variables, which the kernel does not look up for modules. */
u64 stap_symbol_names(char *into);
u32 stap_symbol_functions(void);
long stap_take_symbol_addresses(const void __user *from, u64 bytes);
void stap_forget_symbol_addresses(void);
u64 stap_watched_address(const struct stap_probe *probe);

/* The user namespace of ns_uid() and its like, from the start of the session until the module goes. */
void stap_find_user_namespace(u64 inode);
void stap_put_user_namespace(void);

/* Tracepoints by name, for several files. */
/* Whose callback runs before or after those of others at the same tracepoint: the target's processes are known before its first event and until its last. */
enum stap_turn { STAP_LAST = -1, STAP_ANY = 0, STAP_FIRST = 1 };
int stap_tracepoint_add(const char *name, void *callback, void *data, enum stap_turn turn);
void stap_tracepoint_remove(const char *name, void *callback, void *data);

/* Numbers of probes of a kind, and a walk over them. */
u32 stap_count(enum stap_probe_kind kind);
#define stap_for_each_probe(p) for ((p) = stap_script.probes; (p) < stap_script.probes + stap_script.probe_count; (p)++)

/* Misses that the kernel counts, added when a kind stops. */
static inline void stap_add_skips(enum stap_skip why, long n)
{
	if (n > 0) {
		atomic_add(n, &stap_control.skipped[why]);
		atomic_add(n, &stap_control.skipped_all);
	}
}

/* Processes. */
void stap_processes_walk(void);
int stap_filters_start(void);
void stap_filters_stop(void);
int stap_passes(const struct stap_probe *probe, struct task_struct *task);
int stap_exits_start(void);
void stap_exits_forget(const struct task_struct *task);
void stap_exits_stop(void);
int stap_is_compat(void);	/* the system call under way; elsewhere it has no meaning */

/* The registers are those of a 32-bit program. */
static inline int stap_is_narrow(struct pt_regs *regs)
{
	return user_mode(regs) && !user_64bit_mode(regs);
}

struct pt_regs *stap_user_registers(struct stap_context *c);	/* of the interrupted user code; NULL: none */

#endif
