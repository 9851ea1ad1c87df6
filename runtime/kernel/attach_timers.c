// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* timer.*: one high-resolution timer for each probe; the handler runs in its interrupt. */
#include "kernel.h"
#include <linux/hrtimer.h>
#include <asm/irq_regs.h>

struct timer_probe {
	struct hrtimer timer;
	const struct stap_probe *probe;
};

static struct timer_probe *timers;
static u32 timer_count;

/* The interval, ± the random part. */
static u64 timer_interval(const struct stap_probe *p)
{
	s64 ns = p->timer.interval_ns, spread = p->timer.randomize_ns;

	if (spread > 0)
		ns += (s64)(((u64)stap_random32() << 32 | stap_random32()) % (2 * (u64)spread + 1)) - spread;
	return ns < 1000 ? 1000 : ns;
}

static enum hrtimer_restart on_timer(struct hrtimer *timer)
{
	struct timer_probe *timer_probe = container_of(timer, struct timer_probe, timer);
	struct stap_context *c;

	if (atomic_read(&stap_control.state) >= STAP_STOPPING)
		return HRTIMER_NORESTART;
	c = stap_enter(timer_probe->probe);
	if (c) {
		c->regs = get_irq_regs();
		c->user_mode = c->regs && user_mode(c->regs);
		stap_leave(c);
	}
	hrtimer_forward_now(timer, ns_to_ktime(timer_interval(timer_probe->probe)));
	return HRTIMER_RESTART;
}

int stap_timers_start(void)
{
	const struct stap_probe *p;
	u32 n = stap_count(STAP_PROBE_TIMER), i = 0;

	if (!n)
		return 0;
	timers = kvcalloc(n, sizeof(*timers), GFP_KERNEL);
	if (!timers)
		return -ENOMEM;
	timer_count = n;
	stap_for_each_probe(p) {
		if (p->kind != STAP_PROBE_TIMER)
			continue;
		timers[i].probe = p;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
		hrtimer_setup(&timers[i].timer, on_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
		hrtimer_init(&timers[i].timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
		timers[i].timer.function = on_timer;
#endif
		hrtimer_start(&timers[i].timer, ns_to_ktime(timer_interval(p)), HRTIMER_MODE_REL);
		i++;
	}
	return 0;
}

void stap_timers_stop(void)
{
	while (timer_count)
		hrtimer_cancel(&timers[--timer_count].timer);
	kvfree(timers);
	timers = NULL;
}
