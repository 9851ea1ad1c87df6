// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* timer.*: one high-resolution timer for each probe; the handler runs in its interrupt. */
#include "kernel.h"
#include <linux/hrtimer.h>
#include <asm/irq_regs.h>

struct one {
	struct hrtimer timer;
	const struct stap_probe *probe;
};

static struct one *all;
static u32 count;

/* The interval, ± the random part. */
static u64 interval(const struct stap_probe *p)
{
	s64 ns = p->timer.interval_ns, spread = p->timer.randomize_ns;

	if (spread > 0)
		ns += (s64)(((u64)stap_random32() << 32 | stap_random32()) % (2 * (u64)spread + 1)) - spread;
	return ns < 1000 ? 1000 : ns;
}

static enum hrtimer_restart on_timer(struct hrtimer *timer)
{
	struct one *one = container_of(timer, struct one, timer);
	struct stap_entry entry;
	struct stap_context *c;

	if (atomic_read(&stap_control.state) >= STAP_STOPPING)
		return HRTIMER_NORESTART;
	c = stap_enter(one->probe, &entry);
	if (c) {
		c->regs = get_irq_regs();
		c->user_mode = c->regs && user_mode(c->regs);
		stap_leave(c, &entry);
	}
	hrtimer_forward_now(timer, ns_to_ktime(interval(one->probe)));
	return HRTIMER_RESTART;
}

int stap_timers_start(void)
{
	const struct stap_probe *p;
	u32 n = stap_count(STAP_PROBE_TIMER), i = 0;

	if (!n)
		return 0;
	all = kvcalloc(n, sizeof(*all), GFP_KERNEL);
	if (!all)
		return -ENOMEM;
	count = n;
	stap_for_each_probe(p) {
		if (p->kind != STAP_PROBE_TIMER)
			continue;
		all[i].probe = p;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
		hrtimer_setup(&all[i].timer, on_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
		hrtimer_init(&all[i].timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
		all[i].timer.function = on_timer;
#endif
		hrtimer_start(&all[i].timer, ns_to_ktime(interval(p)), HRTIMER_MODE_REL);
		i++;
	}
	return 0;
}

void stap_timers_stop(void)
{
	while (count)
		hrtimer_cancel(&all[--count].timer);
	kvfree(all);
	all = NULL;
}
