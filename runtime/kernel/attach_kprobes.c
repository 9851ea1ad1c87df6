// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Functions of the kernel and its modules: kprobes and kretprobes. The kernel uses ftrace for those at a function's entry. A function that does not
 * exist or may not be probed is a warning: the others of a wildcard go on, as in SystemTap.
 */
#include "kernel.h"
#include <linux/kprobes.h>

struct one {
	const struct stap_probe *probe;
	int registered;
	char symbol[128];	/* MODULE:SYMBOL or SYMBOL */
	union {
		struct kprobe entry;
		struct kretprobe ret;
	};
};

static struct one *all;
static u32 count;

static int on_entry(struct kprobe *kp, struct pt_regs *regs)
{
	struct one *one = container_of(kp, struct one, entry);
	struct stap_entry entry;
	struct stap_context *c = stap_enter(one->probe, &entry);

	if (c) {
		c->regs = regs;
		stap_leave(c, &entry);
	}
	return 0;
}


static int on_return(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct kretprobe *rp = get_kretprobe(instance);
	struct stap_entry entry;
	struct stap_context *c;

	if (!rp)
		return 0;
	c = stap_enter(container_of(rp, struct one, ret)->probe, &entry);
	if (c) {
		c->regs = regs;
		c->value = regs_return_value(regs);
		stap_leave(c, &entry);
	}
	return 0;
}


static int add(struct one *one)
{
	const struct stap_probe *p = one->probe;
	struct kprobe *kp = p->is_return ? &one->ret.kp : &one->entry;

	if (p->code.symbol && *p->code.symbol) {
		snprintf(one->symbol, sizeof(one->symbol), "%s%s%s", p->code.module ?: "", p->code.module ? ":" : "", p->code.symbol);
		kp->symbol_name = one->symbol;
		kp->offset = p->code.offset;
	} else {
		kp->addr = (kprobe_opcode_t *)(unsigned long)p->code.address;
	}
	if (!p->is_return) {
		kp->pre_handler = on_entry;
		return register_kprobe(kp);
	}
	one->ret.handler = on_return;
	one->ret.maxactive = p->code.max_active > 0 ? p->code.max_active : max_t(int, 15, 6 * num_possible_cpus());
	return register_kretprobe(&one->ret);
}

static const char *reason(int error)
{
	switch (error) {
	case -ENOENT: return "there is no such function in this kernel";
	case -EINVAL: return "the kernel does not allow probes there";
	case -EADDRNOTAVAIL: return "several functions have this name";
	case -EILSEQ: case -ERANGE: return "no instruction begins there";
	case -EOPNOTSUPP: return "the kernel cannot probe there";
	default: return "the kernel refused it";
	}
}

int stap_kprobes_start(void)
{
	const struct stap_probe *p;
	u32 n = stap_count(STAP_PROBE_KERNEL), i = 0;

	if (!n)
		return 0;
	all = kvcalloc(n, sizeof(*all), GFP_KERNEL);
	if (!all)
		return -ENOMEM;
	count = n;
	stap_for_each_probe(p) {
		int error;

		if (p->kind != STAP_PROBE_KERNEL)
			continue;
		all[i].probe = p;
		error = add(&all[i]);
		if (error)
			stap_message(STAP_RECORD_WARNING, "probe %s cannot be registered: %s (error %d)", p->point, reason(error), error);
		else
			all[i].registered = 1;
		i++;
	}
	return 0;
}

void stap_kprobes_stop(void)
{
	struct kprobe **entries;
	struct kretprobe **returns;
	u32 i, n = 0, m = 0;

	if (!all)
		return;
	/* Many at once cost one grace period; without memory for the lists, one by one. */
	entries = kvcalloc(count, sizeof(*entries), GFP_KERNEL);
	returns = kvcalloc(count, sizeof(*returns), GFP_KERNEL);
	for (i = 0; i < count; i++) {
		if (!all[i].registered)
			continue;
		if (all[i].probe->is_return) {
			if (returns)
				returns[m++] = &all[i].ret;
			else
				unregister_kretprobe(&all[i].ret);
		} else if (entries) {
			entries[n++] = &all[i].entry;
		} else {
			unregister_kprobe(&all[i].entry);
		}
	}
	if (n)
		unregister_kprobes(entries, n);
	if (m)
		unregister_kretprobes(returns, m);
	for (i = 0; i < count; i++) {
		if (!all[i].registered)
			continue;
		stap_add_skips(STAP_SKIP_KPROBE, all[i].probe->is_return ? all[i].ret.kp.nmissed : all[i].entry.nmissed);
		if (all[i].probe->is_return)
			stap_add_skips(STAP_SKIP_RETURN, all[i].ret.nmissed);
	}
	kvfree(entries);
	kvfree(returns);
	kvfree(all);
	all = NULL;
	count = 0;
}
