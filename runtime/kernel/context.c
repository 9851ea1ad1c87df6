// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * One handler run: context, locks, errors.
 *
 * Each CPU has a context for each level that can interrupt the others: task, softirq, hardirq, NMI. An event at a level whose context is in use came
 * from inside a handler (or its interruption by the same level) and is skipped and counted. Handlers whose locks an interrupt's handler may want, too, run
 * with interrupts off (irqs_off, set by the translator): they are short (MAXACTION), and that handler could only spin for a lock that its own CPU holds.
 * What every event pays stands in stap_enter() and finish_run(): no atomic operation without locks, no clock without a watch for overload.
 *
 * A lock is one word: the number of sharers, or -1 for one who excludes all. All or none are taken, in the order of the globals, so there is no deadlock.
 *
 * Overload: cycles spent in handlers are added up for each CPU; when they pass half of an interval the session ends, as SystemTap does.
 */
#include "kernel.h"
#include <linux/delay.h>
#include <linux/percpu.h>
#include <asm/timex.h>

#define MIN_STACK 1024
#define OUT_SIZE 8192

enum { NMI = 3, CONTEXT_LEVELS };

struct stap_load {
	u64 from, spent;
};

static DEFINE_PER_CPU(struct stap_run *[CONTEXT_LEVELS], cpu_runs);
static struct stap_run *alone_run;		/* begin, end, error */
static atomic_t *global_locks;			/* by global */
static DEFINE_PER_CPU(struct stap_load, cpu_loads);

/* Cells of aggregates that a session has: one for each CPU, and one more for handlers in NMI if there are probes that fire there. */
static u32 nmi_cells(void)
{
	return stap_count(STAP_PROBE_PERF) || stap_count(STAP_PROBE_WATCHPOINT) ? nr_cpu_ids : 0;
}

u32 stap_cell_count(void)
{
	return nr_cpu_ids + nmi_cells();
}

static void free_run(struct stap_run *run)
{
	if (run)
		vfree(run->stack);
	vfree(run);
}

static struct stap_run *new_run(unsigned int cpu, unsigned int level)
{
	u64 memory = stap_context_memory(&stap_script, OUT_SIZE);
	u64 head = ALIGN(sizeof(struct stap_run), 8);
	struct stap_run *run = stap_pages(head + memory, cpu < nr_cpu_ids ? cpu_to_node(cpu) : NUMA_NO_NODE);

	if (run) {
		stap_context_init(&run->c, &stap_script, (char *)run + head, OUT_SIZE);
		run->c.cpu = cpu >= nr_cpu_ids ? 0 : level == NMI ? cpu + nmi_cells() : cpu;
		run->c.env = run;
		run->stack = stap_script.user_stacks ? vzalloc(sizeof(*run->stack)) : NULL;
		if (stap_script.user_stacks && !run->stack) {
			vfree(run);
			run = NULL;
		}
	}
	return run;
}

int stap_contexts_start(void)
{
	unsigned int cpu, level;

	global_locks = kvcalloc(stap_script.global_count + 1, sizeof(*global_locks), GFP_KERNEL);
	alone_run = new_run(~0u, 0);
	if (!global_locks || !alone_run)
		return -ENOMEM;
	for_each_possible_cpu(cpu)
		for (level = 0; level < CONTEXT_LEVELS; level++) {
			struct stap_run *run = new_run(cpu, level);

			if (!run)
				return -ENOMEM;
			per_cpu(cpu_runs, cpu)[level] = run;
		}
	return 0;
}

void stap_contexts_stop(void)
{
	unsigned int cpu, level;

	for_each_possible_cpu(cpu)
		for (level = 0; level < CONTEXT_LEVELS; level++) {
			free_run(per_cpu(cpu_runs, cpu)[level]);
			per_cpu(cpu_runs, cpu)[level] = NULL;
		}
	kvfree(global_locks);
	free_run(alone_run);
	global_locks = NULL;
	alone_run = NULL;
}

static __always_inline unsigned int level_now(void)
{
#ifdef CONFIG_PREEMPT_RT
	return in_nmi() ? NMI : in_hardirq() ? 2 : in_serving_softirq() ? 1 : 0;
#else
	unsigned int count = preempt_count();

	if (likely(!(count & (NMI_MASK | HARDIRQ_MASK | SOFTIRQ_OFFSET))))
		return 0;
	return count & NMI_MASK ? NMI : count & HARDIRQ_MASK ? 2 : 1;
#endif
}

noinline void stap_skip(const struct stap_probe *probe, enum stap_skip why)
{
	int n;

	atomic_inc(&stap_control.skipped[why]);
	n = atomic_inc_return(&stap_control.skipped_all);
	if (!stap_control.suppress_errors && (u32)n == stap_script.limits.max_skipped + 1) {
		stap_message(STAP_RECORD_ERROR, "Skipped too many probes, check MAXSKIPPED or try again with stap -t for more details.");
		stap_end_session(1);
	}
}

static inline int take_lock(atomic_t *lock, int exclusive)
{
	int old = atomic_read(lock);

	if (exclusive)
		return old == 0 && atomic_cmpxchg_acquire(lock, 0, -1) == 0;
	while (old >= 0)
		if (atomic_try_cmpxchg_acquire(lock, &old, old + 1))
			return 1;
	return 0;
}

static inline void give_lock(atomic_t *lock, int exclusive)
{
	if (exclusive) {
		atomic_set_release(lock, 0);
	} else {
		smp_mb__before_atomic();
		atomic_dec(lock);
	}
}

/* `tries` are left for all locks of the handler together. */
static noinline int wait_for_lock(const struct stap_lock *l, u32 *tries)
{
	if (in_nmi())
		return 0;
	while ((*tries)--) {
		/* The holder may be a virtual CPU that waits for a physical one: a pause gives it a turn, and udelay() has none on machines without a TSC. */
		cpu_relax();
		udelay(stap_script.limits.try_lock_delay);
		if (take_lock(&global_locks[l->global], l->exclusive))
			return 1;
	}
	return 0;
}

static noinline int take_locks(const struct stap_probe *probe)
{
	u32 i, tries = stap_script.limits.max_try_lock;

	for (i = 0; i < probe->lock_count; i++) {
		const struct stap_lock *l = &probe->locks[i];

		if (likely(take_lock(&global_locks[l->global], l->exclusive)) || wait_for_lock(l, &tries))
			continue;
		while (i--)
			give_lock(&global_locks[probe->locks[i].global], probe->locks[i].exclusive);
		return 0;
	}
	return 1;
}

static noinline void give_locks(const struct stap_probe *probe)
{
	u32 i = probe->lock_count;

	while (i--)
		give_lock(&global_locks[probe->locks[i].global], probe->locks[i].exclusive);
}

/* With interrupts off and all locks, or as before. */
static __always_inline int hold(struct stap_run *run, const struct stap_probe *probe)
{
	if (probe->irqs_off)
		local_irq_save(run->flags);
	if (probe->lock_count && unlikely(!take_locks(probe))) {
		if (probe->irqs_off)
			local_irq_restore(run->flags);
		stap_skip(probe, STAP_SKIP_LOCK);
		return 0;
	}
	run->held = 1;
	return 1;
}

notrace int stap_lock(struct stap_context *c)
{
	return hold(stap_run_of(c), c->probe);
}

/* Below this address the stack belongs to others: recursion stops there. */
static __always_inline unsigned long stack_floor(void)
{
	unsigned long here = (unsigned long)__builtin_frame_address(0);
	unsigned long base = (unsigned long)task_stack_page(current);

	if (likely(here - base < THREAD_SIZE))
		return base + 4 * MIN_STACK;
	return here - 3 * MIN_STACK;	/* an interrupt's stack */
}

static inline int watches_overload(void)
{
	return stap_script.limits.overload_threshold != 0;
}

notrace struct stap_context *stap_enter(const struct stap_probe *probe)
{
	struct stap_run *run;
	unsigned long floor;

	if (unlikely(atomic_read(&stap_control.state) != STAP_RUNNING))
		return NULL;
	preempt_disable_notrace();
	run = this_cpu_read(cpu_runs[level_now()]);
	/* No atomic operation: whoever comes between the two on this CPU and level has given the context back before we go on. */
	if (unlikely(READ_ONCE(run->busy))) {
		stap_skip(probe, STAP_SKIP_REENTRY);
		goto out;
	}
	WRITE_ONCE(run->busy, 1);
	barrier();
	floor = stack_floor();
	if (unlikely((unsigned long)__builtin_frame_address(0) < floor)) {
		stap_skip(probe, STAP_SKIP_STACK);
		goto free;
	}
	if (watches_overload())
		run->began = get_cycles();
	run->held = 0;
	if (!probe->locks_late && unlikely(!hold(run, probe)))
		goto free;
	stap_context_begin(&run->c, probe);
	run->c.stack_floor = floor;
	run->task = current;
	return &run->c;
free:
	WRITE_ONCE(run->busy, 0);
out:
	preempt_enable_notrace();
	return NULL;
}

/* What a failed run comes to. */
static void account_failure(struct stap_run *run)
{
	struct stap_context *c = &run->c;
	u32 n;

	if (c->failed == STAP_ABORTED) {
		stap_end_session(0);	/* the handler has been left; what follows is as after exit() */
		return;
	}
	if (stap_control.suppress_errors) {
		atomic_inc(&stap_control.errors);
		return;
	}
	n = stap_error_line(c, run->line, sizeof(run->line));
	stap_send(STAP_RECORD_ERROR, run->line, n, 0, run->waits);
	if ((u32)atomic_inc_return(&stap_control.errors) > stap_script.limits.max_errors)
		stap_end_session(1);
}

static inline void account_time(u64 began)
{
	struct stap_load *load = this_cpu_ptr(&cpu_loads);
	u64 now = get_cycles();
	u64 threshold = stap_script.limits.overload_threshold, interval = stap_script.limits.overload_interval;

	load->spent += now - began;
	if (now - load->from <= interval)
		return;
	if (load->from && load->spent > threshold && now - load->from < 2 * interval && stap_is_running()) {
		stap_message(STAP_RECORD_ERROR, "probe overhead (%llu cycles) exceeded threshold (%llu cycles) in last %llu cycles",
			     load->spent, threshold, interval);
		stap_end_session(1);
	}
	load->from = now;
	load->spent = 0;
}

/* After the handler: gives everything back. */
static __always_inline void finish_run(struct stap_context *c)
{
	struct stap_run *run = stap_run_of(c);
	const struct stap_probe *probe = c->probe;

	stap_context_end(c);
	if (likely(run->held)) {
		if (probe->lock_count)
			give_locks(probe);
		if (probe->irqs_off)
			local_irq_restore(run->flags);
	}
	if (unlikely(c->failed))
		account_failure(run);
	if (watches_overload())
		account_time(run->began);
	barrier();
	WRITE_ONCE(run->busy, 0);
	preempt_enable_notrace();
}

notrace void stap_leave(struct stap_context *c)
{
	c->probe->handler(c);
	finish_run(c);
}

void stap_leave_procfs(struct stap_context *c, struct stap_buf *into, u32 most)
{
	c->probe->handler(c);
	into->n = min(c->procfs->n, most - 1);
	memcpy(into->s, c->procfs->s, into->n);
	finish_run(c);
}

u32 stap_count(enum stap_probe_kind kind)
{
	const struct stap_probe *p;
	u32 n = 0;

	stap_for_each_probe(p)
		n += p->kind == kind;
	return n;
}

void stap_run_alone(const struct stap_probe *probe)
{
	struct stap_run *run = alone_run;

	run->waits = 1;
	stap_context_begin(&run->c, probe);
	run->task = current;
	run->c.stack_floor = stack_floor();
	probe->handler(&run->c);
	stap_context_end(&run->c);
	if (run->c.failed)
		account_failure(run);
}

void stap_show_all(void)
{
	const struct stap_probe *p;

	if (!stap_script.probe_count)
		return;
	p = stap_script.probes;
	alone_run->waits = 1;
	stap_context_begin(&alone_run->c, p);
	alone_run->task = current;
	alone_run->c.stack_floor = stack_floor();
	if (!stap_script.limits.hide_globals)
		stap_show_globals(&alone_run->c);
	stap_context_end(&alone_run->c);
}

/* Hooks of core. */

void *stap_env_alloc(u64 bytes, u32 cpu)
{
	return stap_pages(bytes, cpu < nr_cpu_ids && cpu_possible(cpu) ? cpu_to_node(cpu) : NUMA_NO_NODE);
}

void stap_env_cut(const struct stap_place *place)
{
	atomic64_inc(&stap_control.cuts);
	if (!READ_ONCE(stap_control.first_cut))
		cmpxchg(&stap_control.first_cut, NULL, place);
}

void stap_env_free(void *memory)
{
	vfree(memory);
}

int stap_env_insert_lock(struct stap_array *array, unsigned long *state)
{
	local_irq_save(*state);
	if (in_nmi()) {
		if (cmpxchg_acquire(&array->insert_lock, 0, 1) == 0)
			return 1;
		local_irq_restore(*state);
		return 0;
	}
	while (cmpxchg_acquire(&array->insert_lock, 0, 1) != 0)
		cpu_relax();
	return 1;
}

void stap_env_insert_unlock(struct stap_array *array, unsigned long state)
{
	smp_store_release(&array->insert_lock, 0);
	local_irq_restore(state);
}
