// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* kernel.data: hardware watchpoints. */
#include "kernel.h"
#include <linux/perf_event.h>
#include <linux/hw_breakpoint.h>

static struct perf_event * __percpu **watchpoints;
static u32 watchpoint_count;

static void on_access(struct perf_event *event, struct perf_sample_data *data, struct pt_regs *regs)
{
	struct stap_context *c = stap_enter(event->overflow_handler_context);

	if (c) {
		c->regs = regs;
		c->user_mode = regs && user_mode(regs);
		stap_leave(c);
	}
}

int stap_watchpoints_start(void)
{
	const struct stap_probe *p;
	u32 n = stap_count(STAP_PROBE_WATCHPOINT);

	if (!n)
		return 0;
	watchpoints = kvcalloc(n, sizeof(*watchpoints), GFP_KERNEL);
	if (!watchpoints)
		return -ENOMEM;
	stap_for_each_probe(p) {
		struct perf_event_attr attr;
		struct perf_event * __percpu *event;
		u64 address = p->watch.address;

		if (p->kind != STAP_PROBE_WATCHPOINT)
			continue;
		/* The kernel that the module was built for need not have been loaded at the same place. */
		if (p->watch.symbol && *p->watch.symbol)
			address = stap_watched_address(p);
		if (!address) {
			stap_message(STAP_RECORD_ERROR, "probe %s: this kernel has no variable '%s', or /proc/kallsyms hides where it is (kernel.kptr_restrict)", p->point, p->watch.symbol);
			return -ENOENT;
		}
		hw_breakpoint_init(&attr);
		attr.bp_addr = address;
		attr.bp_len = p->watch.length == 1 ? HW_BREAKPOINT_LEN_1 : p->watch.length == 2 ? HW_BREAKPOINT_LEN_2 :
			      p->watch.length == 4 ? HW_BREAKPOINT_LEN_4 : HW_BREAKPOINT_LEN_8;
		attr.bp_type = p->watch.on_read ? HW_BREAKPOINT_R | HW_BREAKPOINT_W : HW_BREAKPOINT_W;
		event = register_wide_hw_breakpoint(&attr, on_access, (void *)p);
		if (IS_ERR((void __force *)event)) {
			long error = PTR_ERR((void __force *)event);

			stap_message(STAP_RECORD_ERROR, "probe %s: the watchpoint cannot be set (error %ld)%s", p->point, error,
				     error == -ENOSPC ? "; all watchpoint registers are in use" : error == -EINVAL ? "; the address must be aligned to the length" : "");
			return error;
		}
		watchpoints[watchpoint_count++] = event;
	}
	return 0;
}

void stap_watchpoints_stop(void)
{
	while (watchpoint_count)
		unregister_wide_hw_breakpoint(watchpoints[--watchpoint_count]);
	kvfree(watchpoints);
	watchpoints = NULL;
}
