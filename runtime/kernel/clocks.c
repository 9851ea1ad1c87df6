// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Clocks, the load and random numbers; all safe from NMI. */
#include "kernel.h"
#include <linux/timekeeping.h>
#include <linux/sched/clock.h>
#include <linux/sched/loadavg.h>
#include <linux/jiffies.h>
#include <linux/random.h>
#include <asm/timex.h>

s64 stap_monotonic_ns(void)
{
	return ktime_get_mono_fast_ns();
}

s64 stap_boot_ns(void)
{
	return ktime_get_boot_fast_ns();
}

s64 stap_wall_ns(void)
{
	return ktime_get_real_fast_ns();
}

s64 stap_cpu_clock_ns(s64 cpu)
{
	return cpu >= 0 && cpu < nr_cpu_ids && cpu_possible(cpu) ? sched_clock_cpu(cpu) : 0;
}

s64 stap_jiffies(void)
{
	return get_jiffies_64();
}

s64 stap_cycles(void)
{
	return get_cycles();
}

s64 stap_load_average(s64 n)
{
	return n >= 0 && n < 3 ? READ_ONCE(avenrun[n]) : 0;
}

/* The kernel's generator takes locks, so that an NMI may not ask it: a xorshift generator for each CPU, seeded from it once. */
s64 stap_random32(void)
{
	static u64 seed;
	static DEFINE_PER_CPU(u64, state);
	u64 x;

	if (unlikely(!seed) && !in_nmi())
		seed = get_random_u64() | 1;
	x = raw_cpu_read(state);
	if (!x)
		x = seed ^ ((u64)(raw_smp_processor_id() + 1) * 0x9e3779b97f4a7c15ull);
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	raw_cpu_write(state, x);
	return (x * 0x2545f4914f6cdd1dull) >> 32;
}
