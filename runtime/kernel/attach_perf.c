// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * perf.* and timer.profile: a perf event on each CPU; the handler runs when it overflows. Counters of @perf have no handler: they only count, and
 * stap_perf_counter reads the one of the running CPU.
 */
#include "kernel.h"
#include <linux/perf_event.h>
#include <linux/cpu.h>

struct perf_probe {
	const struct stap_probe *probe;
	struct perf_event *event[];	/* by CPU */
};

static struct perf_probe **perf_probes;
static u32 perf_count;

/* Counters of @perf by number: the first probe of each name. */
static struct perf_probe **counters;
static u32 counter_count;

s64 stap_perf_counter(s64 number)
{
	struct perf_event *event;
	unsigned long flags;
	s64 value = 0;

	if (number < 0 || number >= counter_count)
		return 0;
	local_irq_save(flags);
	event = counters[number]->event[smp_processor_id()];
	if (event) {
		if (READ_ONCE(event->oncpu) == smp_processor_id())
			event->pmu->read(event);
		value = local64_read(&event->count);
	}
	local_irq_restore(flags);
	return value;
}

static bool is_counter(const struct stap_probe *p)
{
	return p->kind == STAP_PROBE_PERF && p->perf.counter;
}

static bool has_counter(const char *name)
{
	u32 i;

	for (i = 0; i < counter_count; i++)
		if (!strcmp(counters[i]->probe->perf.counter, name))
			return true;
	return false;
}

static void on_overflow(struct perf_event *event, struct perf_sample_data *data, struct pt_regs *regs)
{
	const struct stap_probe *p = event->overflow_handler_context;
	struct stap_context *c;

	if (p->processes.kind != STAP_FILTER_NONE && !stap_passes(p, current))
		return;
	c = stap_enter(p);
	if (c) {
		c->regs = regs;
		c->user_mode = regs && user_mode(regs);
		stap_leave(c);
	}
}

static int add_perf_probe(struct perf_probe *perf_probe)
{
	const struct stap_probe *p = perf_probe->probe;
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
		if (p->perf.counter)
			attr.sample_period = 0;
		else if (p->perf.frequency_hz > 0) {
			attr.freq = 1;
			attr.sample_freq = p->perf.frequency_hz;
		} else {
			attr.sample_period = p->perf.period > 0 ? p->perf.period : 1000000;
		}
	}
	for_each_online_cpu(cpu) {
		struct perf_event *event = perf_event_create_kernel_counter(&attr, cpu, NULL, is_counter(p) ? NULL : on_overflow, (void *)p);

		if (IS_ERR(event)) {
			stap_message(STAP_RECORD_ERROR, "probe %s: the event cannot be counted on CPU %u (error %ld)%s", p->point, cpu, PTR_ERR(event),
				     PTR_ERR(event) == -ENOENT || PTR_ERR(event) == -EOPNOTSUPP ? "; this machine does not have it" : "");
			return PTR_ERR(event);
		}
		perf_probe->event[cpu] = event;
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
	perf_probes = kvcalloc(n, sizeof(*perf_probes), GFP_KERNEL);
	counters = kvcalloc(n, sizeof(*counters), GFP_KERNEL);
	if (!perf_probes || !counters)
		return -ENOMEM;
	cpus_read_lock();
	stap_for_each_probe(p) {
		struct perf_probe *perf_probe;

		if ((p->kind != STAP_PROBE_PERF && p->kind != STAP_PROBE_PROFILE) || (is_counter(p) ? has_counter(p->perf.counter) : !p->handler))
			continue;
		perf_probe = kvzalloc(struct_size(perf_probe, event, nr_cpu_ids), GFP_KERNEL);
		if (!perf_probe) {
			error = -ENOMEM;
			break;
		}
		perf_probe->probe = p;
		perf_probes[perf_count++] = perf_probe;
		error = add_perf_probe(perf_probe);
		if (error)
			break;
		if (is_counter(p))
			counters[counter_count++] = perf_probe;
	}
	cpus_read_unlock();
	return error;
}

void stap_perf_stop(void)
{
	unsigned int cpu;

	counter_count = 0;
	while (perf_count) {
		struct perf_probe *perf_probe = perf_probes[--perf_count];

		for (cpu = 0; cpu < nr_cpu_ids; cpu++)
			if (perf_probe->event[cpu])
				perf_event_release_kernel(perf_probe->event[cpu]);
		kvfree(perf_probe);
	}
	kvfree(perf_probes);
	perf_probes = NULL;
	kvfree(counters);
	counters = NULL;
}
