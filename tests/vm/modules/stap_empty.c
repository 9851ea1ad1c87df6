// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Attaches a probe that does nothing: what the kernel itself takes for an event of that kind. stap_empty.ko kprobe=SYMBOL or trace=NAME.
 */
#include <linux/module.h>
#include <linux/kprobes.h>
#include <linux/tracepoint.h>

static char *kprobe, *trace;
module_param(kprobe, charp, 0);
module_param(trace, charp, 0);

static struct kprobe probe;
static struct tracepoint *found;

static int on_kprobe(struct kprobe *p, struct pt_regs *registers)
{
	return 0;
}

static void on_trace(void *data, unsigned long a, unsigned long b, unsigned long c)
{
}

static void look(struct tracepoint *tp, void *data)
{
	if (strcmp(tp->name, trace) == 0)
		found = tp;
}

static int __init stap_empty_start(void)
{
	if (kprobe) {
		probe.symbol_name = kprobe;
		probe.pre_handler = on_kprobe;
		return register_kprobe(&probe);
	}
	if (!trace)
		return -EINVAL;
	for_each_kernel_tracepoint(look, NULL);
	return found ? tracepoint_probe_register(found, on_trace, NULL) : -ENOENT;
}

static void __exit stap_empty_stop(void)
{
	if (kprobe)
		unregister_kprobe(&probe);
	else
		tracepoint_probe_unregister(found, on_trace, NULL);
	tracepoint_synchronize_unregister();
}

module_init(stap_empty_start);
module_exit(stap_empty_stop);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("an empty probe");
