// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Module start and end, and the states of the session. */
#include "kernel.h"
#include <linux/delay.h>
#include <linux/mutex.h>
#include <linux/tracepoint.h>
#include <linux/nsproxy.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a SystemTap script");
/* staprun loads no module without this line. */
MODULE_INFO(stap, "script module, transport " __stringify(STAP_TRANSPORT));

static unsigned long ring_kb = 1024;
module_param(ring_kb, ulong, 0400);
MODULE_PARM_DESC(ring_kb, "output buffer of each CPU in KB, rounded up to a power of two");

struct stap_control stap_control;
struct stap_session stap_session;

static DEFINE_MUTEX(session_lock);	/* start and stop one at a time */
static int attached;

void stap_end_session(int failed)
{
	if (failed)
		atomic_set(&stap_control.failed, 1);
	if (atomic_cmpxchg(&stap_control.state, STAP_RUNNING, STAP_STOPPING) == STAP_RUNNING ||
	    atomic_cmpxchg(&stap_control.state, STAP_STARTING, STAP_STOPPING) == STAP_STARTING)
		stap_wake_reader();
}

void stap_exit(void)
{
	stap_end_session(0);
}

/* Handlers of a session event, lower priority first, equal ones in the script's order. */
static void run_session_probes(enum stap_probe_kind kind)
{
	const struct stap_probe *p, *next;
	const struct stap_probe *last = NULL;

	for (;;) {
		next = NULL;
		stap_for_each_probe(p) {
			if (p->kind != kind || (last && (p->priority < last->priority || (p->priority == last->priority && p <= last))))
				continue;
			if (!next || p->priority < next->priority)
				next = p;
		}
		if (!next)
			return;
		/* After an end handler failed, error handlers run instead of the rest. */
		if (kind == STAP_PROBE_END && atomic_read(&stap_control.failed))
			return;
		/* exit() in a begin handler: the rest of them do not run. */
		if (kind == STAP_PROBE_BEGIN && atomic_read(&stap_control.state) != STAP_STARTING)
			return;
		stap_run_alone(next);
		last = next;
	}
}

static void detach_events(void)
{
	if (!attached)
		return;
	attached = 0;
#define STOP(kind) stap_##kind##_stop();
	STAP_KINDS(STOP)
#undef STOP
	tracepoint_synchronize_unregister();
	synchronize_rcu();
	stap_filters_stop();
}

static int attach_events(void)
{
	int error;

	attached = 1;
	error = stap_filters_start();
#define START(kind) if (!error) error = stap_##kind##_start();
	STAP_KINDS(START)
#undef START
	return error;
}

int stap_start(const struct stap_start *start)
{
	int error = 0;

	mutex_lock(&session_lock);
	if (atomic_cmpxchg(&stap_control.state, STAP_LOADED, STAP_STARTING) != STAP_LOADED) {
		mutex_unlock(&session_lock);
		return -EBUSY;
	}
	stap_session.target = start->target;
	stap_control.suppress_errors = start->suppress_errors || stap_script.limits.suppress_errors;
	stap_session.stp_pid = start->stp_pid;
	stap_session.uid = start->uid;
	stap_session.pid_namespace = start->pid_namespace;
	stap_session.user_namespace = start->user_namespace;
	stap_find_user_namespace(start->user_namespace);
	stap_session.tz_offset = start->tz_offset;
	strscpy(stap_session.tz_name, start->tz_name, sizeof(stap_session.tz_name));
	stap_session.hz = HZ;
	stap_session.page_size = PAGE_SIZE;
	strscpy(stap_session.module_name, THIS_MODULE->name, sizeof(stap_session.module_name));

	run_session_probes(STAP_PROBE_BEGIN);
	if (atomic_read(&stap_control.state) == STAP_STARTING) {
		error = attach_events();
		if (error) {
			stap_end_session(1);
			detach_events();
		} else {
			/* All probes go live at one moment, so what is handled at a call's entry is handled at its return, too. */
			atomic_cmpxchg(&stap_control.state, STAP_STARTING, STAP_RUNNING);
			stap_processes_walk();
		}
	}
	mutex_unlock(&session_lock);
	return error;
}

void stap_stop(int run_handlers)
{
	int state;

	mutex_lock(&session_lock);
	state = atomic_read(&stap_control.state);
	if (state != STAP_LOADED && state != STAP_ENDED) {
		atomic_cmpxchg(&stap_control.state, STAP_RUNNING, STAP_STOPPING);
		detach_events();
		atomic_set(&stap_control.state, STAP_ENDING);
		if (run_handlers) {
			run_session_probes(STAP_PROBE_END);
			if (atomic_read(&stap_control.failed))
				run_session_probes(STAP_PROBE_ERROR);
			stap_show_all();
		}
		atomic_set(&stap_control.state, STAP_ENDED);
	}
	mutex_unlock(&session_lock);
}

static int __init stap_module_start(void)
{
	int error;

	if (stap_script.api != STAP_API) {
		pr_err("stap: the script was made for another run-time\n");
		return -EINVAL;
	}
	error = stap_output_start((u64)ring_kb << 10);
	if (!error)
		error = stap_core_start(&stap_script, stap_cell_count()) ? -ENOMEM : 0;
	if (!error)
		error = stap_contexts_start();
	if (!error)
		error = stap_control_start();
	if (error) {
		stap_contexts_stop();
		stap_core_stop(&stap_script);
		stap_output_stop();
	}
	return error;
}

static void __exit stap_module_stop(void)
{
	/* First the files: it waits for staprun's calls and closes what it has open. */
	stap_control_stop();
	stap_stop(0);
	stap_forget_symbol_addresses();
	stap_contexts_stop();
	stap_core_stop(&stap_script);
	stap_output_stop();
	stap_put_user_namespace();
}

module_init(stap_module_start);
module_exit(stap_module_stop);
