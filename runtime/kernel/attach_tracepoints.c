// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Kernel tracepoints, by name. The callback takes more words than any tracepoint passes: what is beyond the real arguments is left over from the caller
 * and never read by a handler, whose arguments the translator knows from the kernel's types.
 */
#include "kernel.h"
#include <linux/tracepoint.h>

struct wanted_tracepoint {
	const char *name;
	struct tracepoint *found;
};

static void compare_tracepoint(struct tracepoint *tp, void *data)
{
	struct wanted_tracepoint *w = data;

	if (strcmp(tp->name, w->name) == 0)
		w->found = tp;
}

static struct tracepoint *find_tracepoint(const char *name)
{
	struct wanted_tracepoint w = { .name = name };

	for_each_kernel_tracepoint(compare_tracepoint, &w);
	return w.found;
}

int stap_tracepoint_add(const char *name, void *callback, void *data, enum stap_turn turn)
{
	struct tracepoint *tp = find_tracepoint(name);

	return tp ? tracepoint_probe_register_prio(tp, callback, data, TRACEPOINT_DEFAULT_PRIO + turn) : -ENOENT;
}

void stap_tracepoint_remove(const char *name, void *callback, void *data)
{
	struct tracepoint *tp = find_tracepoint(name);

	if (tp)
		tracepoint_probe_unregister(tp, callback, data);
}

/* For handlers that read no argument, and for those that read only what comes in registers. */
static void on_tracepoint_alone(void *data)
{
	struct stap_context *c = stap_enter(data);

	if (c)
		stap_leave(c);
}

static void on_tracepoint_few(void *data, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4)
{
	struct stap_context *c = stap_enter(data);

	if (c) {
		u64 args[] = { a0, a1, a2, a3, a4 };

		c->args = args;
		stap_leave(c);
	}
}

static void on_tracepoint(void *data, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4, u64 a5, u64 a6, u64 a7, u64 a8, u64 a9, u64 a10, u64 a11)
{
	struct stap_context *c = stap_enter(data);

	if (c) {
		u64 args[] = { a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11 };

		c->args = args;
		stap_leave(c);
	}
}

static void *tracepoint_callback(const struct stap_probe *p)
{
	return p->arguments == 0 ? (void *)on_tracepoint_alone : p->arguments <= 5 ? (void *)on_tracepoint_few : (void *)on_tracepoint;
}

static u32 tracepoints_registered;		/* probes before this one are */

int stap_tracepoints_start(void)
{
	u32 i;

	for (i = 0; i < stap_script.probe_count; i++) {
		const struct stap_probe *p = &stap_script.probes[i];
		int error;

		tracepoints_registered = i;
		if (p->kind != STAP_PROBE_TRACEPOINT)
			continue;
		error = stap_tracepoint_add(p->trace.name, tracepoint_callback(p), (void *)p, STAP_ANY);
		if (error) {
			stap_message(STAP_RECORD_ERROR, "probe %s: tracepoint \"%s\" %s", p->point, p->trace.name,
				     error == -ENOENT ? "is not in this kernel (those of modules are not reached yet)" : "cannot be registered");
			return error;
		}
	}
	tracepoints_registered = i;
	return 0;
}

void stap_tracepoints_stop(void)
{
	while (tracepoints_registered) {
		const struct stap_probe *p = &stap_script.probes[--tracepoints_registered];

		if (p->kind == STAP_PROBE_TRACEPOINT)
			stap_tracepoint_remove(p->trace.name, tracepoint_callback(p), (void *)p);
	}
}
