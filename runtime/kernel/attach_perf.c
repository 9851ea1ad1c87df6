// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* perf.* and timer.profile: a perf event on each CPU; the handler runs when it overflows. */
#include "kernel.h"
#include <linux/perf_event.h>
#include <linux/cpu.h>

struct one {
	const struct stap_probe *probe;
	struct perf_event *event[];	/* by CPU */
};

static struct one **all;
static u32 count;

static void on_overflow(struct perf_event *event, struct perf_sample_data *data, struct pt_regs *regs)
{
	const struct stap_probe *p = event->overflow_handler_context;
	struct stap_entry entry;
	struct stap_context *c;

	if (p->processes.kind != STAP_FILTER_NONE && !stap_passes(p, current))
		return;
	c = stap_enter(p, &entry);
	if (c) {
		c->regs = regs;
		c->user_mode = regs && user_mode(regs);
		stap_leave(c, &entry);
	}
}

static int add(struct one *one)
{
	const struct stap_probe *p = one->probe;
	struct perf_event_attr attr = { .size = sizeof(attr), .disabled = 0 };
	unsigned int cpu;

	if (p->kind == STAP_PROBE_PROFILE) {
		attr.type = PERF_TYPE_SOFTWARE;
		attr.config = PERF_COUNT_SW_CPU_CLOCK;
		attr.freq = 1;
		attr.sample_freq = p->profile.frequency_hz > 0 ? p->profile.frequency_hz : HZ;
	} else {
		attr.type = p->perf.type;
		attr.config = p->perf.config;
		if (p->perf.frequency_hz > 0) {
			attr.freq = 1;
			attr.sample_freq = p->perf.frequency_hz;
		} else {
			attr.sample_period = p->perf.period > 0 ? p->perf.period : 1000000;
		}
	}
	for_each_online_cpu(cpu) {
		struct perf_event *event = perf_event_create_kernel_counter(&attr, cpu, NULL, on_overflow, (void *)p);

		if (IS_ERR(event)) {
			stap_message(STAP_RECORD_ERROR, "probe %s: the event cannot be counted on CPU %u (error %ld)%s", p->point, cpu, PTR_ERR(event),
				     PTR_ERR(event) == -ENOENT || PTR_ERR(event) == -EOPNOTSUPP ? "; this machine does not have it" : "");
			return PTR_ERR(event);
		}
		one->event[cpu] = event;
	}
	return 0;
}

int stap_perf_start(void)
{
	const struct stap_probe *p;
	u32 n = stap_count(STAP_PROBE_PERF) + stap_count(STAP_PROBE_PROFILE);
	int error = 0;

	if (!n)
		return 0;
	all = kvcalloc(n, sizeof(*all), GFP_KERNEL);
	if (!all)
		return -ENOMEM;
	cpus_read_lock();
	stap_for_each_probe(p) {
		struct one *one;

		if ((p->kind != STAP_PROBE_PERF && p->kind != STAP_PROBE_PROFILE) || !p->handler)
			continue;
		one = kvzalloc(struct_size(one, event, nr_cpu_ids), GFP_KERNEL);
		if (!one) {
			error = -ENOMEM;
			break;
		}
		one->probe = p;
		all[count++] = one;
		error = add(one);
		if (error)
			break;
	}
	cpus_read_unlock();
	return error;
}

void stap_perf_stop(void)
{
	unsigned int cpu;

	while (count) {
		struct one *one = all[--count];

		for (cpu = 0; cpu < nr_cpu_ids; cpu++)
			if (one->event[cpu])
				perf_event_release_kernel(one->event[cpu]);
		kvfree(one);
	}
	kvfree(all);
	all = NULL;
}
