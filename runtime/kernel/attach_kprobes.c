// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Functions of the kernel and its modules: kprobes and kretprobes. The kernel uses ftrace for those at a function's entry. A function that does not
 * exist or may not be probed is a warning: the others of a wildcard go on, as in SystemTap.
 *
 * Functions of modules come and go with their module. The kernel tells when one is about to be initialised, and its own code runs only afterwards, so a probe that is attached then sees
 * the first instruction. When a module goes its probes are unregistered at once; they never keep it from going.
 */
#include "kernel.h"
#include <linux/kprobes.h>

struct function_probe {
	const struct stap_probe *probe;
	int registered;
	int added;		/* to those that many_functions.c serves */
	enum { ALONE, ONE_OF_MANY, NOT_BY_FTRACE, ONLY_BY_FTRACE } many;	/* many_functions.c serves it: beside a disabled kprobe, not, without a kprobe */
	char symbol[128];	/* MODULE:SYMBOL or SYMBOL */
	union {
		struct kprobe entry;
		struct kretprobe ret;
	};
};

static struct function_probe *kprobes;
static u32 kprobe_count;
static DEFINE_MUTEX(kprobes_lock);	/* modules that come and go while probes are attached */

static int on_kprobe(struct kprobe *kp, struct pt_regs *regs)
{
	struct function_probe *function_probe = container_of(kp, struct function_probe, entry);
	struct stap_context *c = stap_enter(function_probe->probe);

	if (c) {
		c->regs = regs;
		stap_leave(c);
	}
	return 0;
}


static int on_kretprobe(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct kretprobe *rp = get_kretprobe(instance);
	struct stap_context *c;

	if (!rp)
		return 0;
	c = stap_enter(container_of(rp, struct function_probe, ret)->probe);
	if (c) {
		c->regs = regs;
		c->value = regs_return_value(regs);
		stap_leave(c);
	}
	return 0;
}


/* known: the function's address when staprun found it, else 0. */
static int add_kprobe(struct function_probe *function_probe, u64 known)
{
	const struct stap_probe *p = function_probe->probe;
	struct kprobe *kp = p->is_return ? &function_probe->ret.kp : &function_probe->entry;

	if (known) {
		kp->addr = (kprobe_opcode_t *)(unsigned long)known;
	} else if (p->code.symbol && *p->code.symbol) {
		snprintf(function_probe->symbol, sizeof(function_probe->symbol), "%s%s%s", p->code.module ?: "", p->code.module ? ":" : "", p->code.symbol);
		kp->symbol_name = function_probe->symbol;
		kp->offset = p->code.offset;
	} else {
		kp->addr = (kprobe_opcode_t *)(unsigned long)p->code.address;
	}
	if (!p->is_return) {
		kp->pre_handler = on_kprobe;
		if (function_probe->many)
			kp->flags = KPROBE_FLAG_DISABLED;
		return register_kprobe(kp);
	}
	function_probe->ret.handler = on_kretprobe;
	function_probe->ret.maxactive = p->code.max_active > 0 ? p->code.max_active : stap_return_instances();
	return register_kretprobe(&function_probe->ret);
}

/*
 * Whether a module is loaded. The kernel does not tell modules, but it finds a symbol that each of them has, a variable, only in those that are; and refuses to probe it, as it is no code.
 */
static int is_module_there(const char *module)
{
	char symbol[MODULE_NAME_LEN + 32];
	struct kprobe variable = { .symbol_name = symbol, .flags = KPROBE_FLAG_DISABLED };
	int error;

	snprintf(symbol, sizeof(symbol), "%s:__this_module", module);
	error = register_kprobe(&variable);
	if (!error)
		unregister_kprobe(&variable);
	return error != -ENOENT;
}

static const char *kprobe_reason(const struct stap_probe *p, int error)
{
	switch (error) {
	case -ENOENT: return p->code.module ? "there is no such function in this module" : "there is no such function in this kernel";
	case -EINVAL: return "the kernel does not allow probes there";
	case -EADDRNOTAVAIL: return "several functions have this name";
	case -EILSEQ: case -ERANGE: return "no instruction begins there";
	case -EOPNOTSUPP: return "the kernel cannot probe there";
	default: return "the kernel refused it";
	}
}

/* An entry or return that many_functions.c may serve. */
static int can_be_many(const struct stap_probe *p)
{
	return p->kind == STAP_PROBE_KERNEL && p->code.symbol && *p->code.symbol && !p->code.offset &&
		(!p->is_return || (p->code.max_active <= 0 && strcmp(p->code.symbol, "__switch_to")));
}

static int attach(struct function_probe *function_probe, u64 known)
{
	const struct stap_probe *p = function_probe->probe;
	int error = add_kprobe(function_probe, known & ~(u64)(STAP_FIT | STAP_SEVERAL));

	/* A module that is not there may come. */
	if (error && !(error == -ENOENT && p->code.module && !is_module_there(p->code.module)))
		stap_message(STAP_RECORD_WARNING, "probe %s cannot be registered: %s (error %d)", p->point, kprobe_reason(p, error), error);
	function_probe->registered = !error;
	return error;
}

static void add_misses(struct function_probe *function_probe)
{
	if (function_probe->probe->is_return) {
		stap_add_skips(STAP_SKIP_KPROBE, function_probe->ret.kp.nmissed);
		stap_add_skips(STAP_SKIP_RETURN, function_probe->ret.nmissed);
	} else {
		stap_add_skips(STAP_SKIP_KPROBE, function_probe->entry.nmissed);
	}
}

/* Its memory is used again for the next attachment. */
static void detach(struct function_probe *function_probe)
{
	if (function_probe->added)
		stap_many_forget((unsigned long)function_probe->entry.addr, function_probe->probe);
	if (function_probe->probe->is_return)
		unregister_kretprobe(&function_probe->ret);
	else
		unregister_kprobe(&function_probe->entry);
	add_misses(function_probe);
	function_probe->registered = 0;
	function_probe->added = 0;
	function_probe->many = ALONE;
	memset(&function_probe->ret, 0, sizeof(function_probe->ret));
}

static int on_module(struct notifier_block *block, unsigned long state, void *data)
{
	const struct module *module = data;
	u32 i;

	if (state != MODULE_STATE_COMING && state != MODULE_STATE_GOING)
		return NOTIFY_DONE;
	mutex_lock(&kprobes_lock);
	for (i = 0; i < kprobe_count; i++) {
		struct function_probe *one = &kprobes[i];

		if (!one->probe || !one->probe->code.module || strcmp(one->probe->code.module, module->name))
			continue;
		if (state == MODULE_STATE_GOING && one->registered) {
			detach(one);
		} else if (state == MODULE_STATE_COMING && !one->registered) {
			one->many = ALONE;
			memset(&one->ret, 0, sizeof(one->ret));
			attach(one, 0);
		}
	}
	mutex_unlock(&kprobes_lock);
	return NOTIFY_DONE;
}

static struct notifier_block module_watch = { .notifier_call = on_module };
static int watches_modules;

/* Kprobes for those that one ftrace_ops does not serve; all, when it was refused. */
static void attach_others(int refused)
{
	u32 i;

	for (i = 0; i < kprobe_count; i++) {
		struct function_probe *one = &kprobes[i];

		if (one->many == ONLY_BY_FTRACE && refused) {
			one->many = ALONE;
			attach(one, 0);
		} else if (one->registered && (one->many == NOT_BY_FTRACE || (one->many == ONE_OF_MANY && refused)) && enable_kprobe(&one->entry)) {
			stap_message(STAP_RECORD_WARNING, "probe %s cannot be enabled", one->probe->point);
		}
	}
}

int stap_kprobes_start(void)
{
	const struct stap_probe *p;
	u32 n = stap_count(STAP_PROBE_KERNEL), i = 0, entries = 0;
	u32 known = 0;
	int are_many, knows_fit, in_modules = 0;

	if (!n)
		return 0;
	kprobes = kvcalloc(n, sizeof(*kprobes), GFP_KERNEL);
	if (!kprobes)
		return -ENOMEM;
	kprobe_count = n;
	stap_for_each_probe(p) {
		entries += can_be_many(p);
		in_modules |= p->kind == STAP_PROBE_KERNEL && p->code.module;
	}
	watches_modules = in_modules && !register_module_notifier(&module_watch);
	mutex_lock(&kprobes_lock);
	are_many = stap_many_begin(entries);
	knows_fit = stap_knows_fit();
	stap_for_each_probe(p) {
		struct function_probe *one = &kprobes[i];
		u64 address;

		if (p->kind != STAP_PROBE_KERNEL)
			continue;
		i++;
		one->probe = p;
		address = stap_next_function_address(p, &known);
		/* What a pattern only might mean: a function that was inlined, is gone with the initialisation, or is not traced. */
		if (knows_fit && p->code.is_guess && !p->code.module && !(address & (STAP_FIT | STAP_SEVERAL)))
			continue;
		one->many = !are_many || !can_be_many(p) ? ALONE : address & STAP_FIT ? ONLY_BY_FTRACE : p->is_return ? ALONE : ONE_OF_MANY;
		if (one->many == ONLY_BY_FTRACE)
			stap_many_add(address & ~(u64)(STAP_FIT | STAP_SEVERAL), p);
		else if (attach(one, address) || one->many == ALONE)
			continue;
		else if (one->entry.flags & KPROBE_FLAG_FTRACE) {
			stap_many_add((unsigned long)one->entry.addr, p);
			one->added = 1;
		} else {
			one->many = NOT_BY_FTRACE;
		}
	}
	attach_others(stap_many_end() != 0);
	mutex_unlock(&kprobes_lock);
	return 0;
}

void stap_kprobes_stop(void)
{
	struct kprobe **entries;
	struct kretprobe **returns;
	u32 i, n = 0, m = 0;

	if (!kprobes)
		return;
	if (watches_modules)
		unregister_module_notifier(&module_watch);
	watches_modules = 0;
	stap_many_stop();
	/* Many at once cost one grace period; without memory for the lists, one by one. */
	entries = kvcalloc(kprobe_count, sizeof(*entries), GFP_KERNEL);
	returns = kvcalloc(kprobe_count, sizeof(*returns), GFP_KERNEL);
	for (i = 0; i < kprobe_count; i++) {
		if (!kprobes[i].registered)
			continue;
		if (kprobes[i].probe->is_return) {
			if (returns)
				returns[m++] = &kprobes[i].ret;
			else
				unregister_kretprobe(&kprobes[i].ret);
		} else if (entries) {
			entries[n++] = &kprobes[i].entry;
		} else {
			unregister_kprobe(&kprobes[i].entry);
		}
	}
	if (n)
		unregister_kprobes(entries, n);
	if (m)
		unregister_kretprobes(returns, m);
	for (i = 0; i < kprobe_count; i++) {
		if (kprobes[i].registered)
			add_misses(&kprobes[i]);
	}
	kvfree(entries);
	kvfree(returns);
	kvfree(kprobes);
	kprobes = NULL;
	kprobe_count = 0;
}
