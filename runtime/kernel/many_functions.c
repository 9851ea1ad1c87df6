// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Entries and returns of many functions at once.
 *
 * Each kprobe at a function's entry is a change of ftrace's filter of its own: the kernel compares its place with all its patchable places, jump labels, static calls and BUG()s, looks at all
 * 50,000 functions again to change one, and waits until all CPUs know. A thousand of them take seconds to minutes. So many entries share one ftrace_ops, whose filter is set in one step.
 *
 * staprun knows where the functions are, which of them ftrace can patch and which the kernel forbids to probe (kallsyms, available_filter_functions, kprobes/blacklist): it hands over the addresses
 * of those that are fit. Of the others a kprobe is registered, disabled: that is how the kernel tells whether and where it may be. One that is not patched by ftrace is enabled as the kprobe
 * that it is. When ftrace refuses the whole, each becomes a kprobe.
 *
 * Returns are caught by the kernel's own return probes: there is no other way that it lets modules have on all versions. But one is enough for all functions. It is registered, disabled, at one of them,
 * and its entry handler, which takes an instance and turns the return address, is called from here whenever a function is entered; the instance remembers which it was.
 *
 * A handler finds its probe by the address, in a table of buckets; probes of the same function follow each other in it. The place that ftrace patches is the function's first instruction or the one
 * behind it (endbr64, 4 bytes). As in a kprobe's handler, the instruction pointer is that behind a breakpoint.
 */
#include "kernel.h"
#include <linux/kprobes.h>
#include <linux/ftrace.h>
#include <linux/hash.h>

#define STAP_MANY_FUNCTIONS 16	/* from so many on it is worth it */

/* Calls of a function that may be under way at once before returns are missed. */
static int stap_return_instances(void)
{
	return max_t(int, 15, 6 * num_possible_cpus());
}

/* What staprun found: functions in the order of their probes when they are many, then the watched variables. */
static u64 *symbol_addresses;
static u32 symbol_address_count, symbol_function_count;

static int is_named(const struct stap_probe *p)
{
	return p->kind == STAP_PROBE_KERNEL && p->code.symbol && *p->code.symbol && !p->code.module && !p->code.offset;
}

static int is_watched_name(const struct stap_probe *p)
{
	return p->kind == STAP_PROBE_WATCHPOINT && p->watch.symbol && *p->watch.symbol;
}

/* Functions whose addresses staprun is asked for: none when they are few and known, for the kernel finds those itself. */
u32 stap_symbol_functions(void)
{
	const struct stap_probe *p;
	u32 n = 0, guesses = 0;

	stap_for_each_probe(p) {
		n += is_named(p);
		guesses += is_named(p) && p->code.is_guess;
	}
	return n < STAP_MANY_FUNCTIONS && !guesses ? 0 : n;
}

static u64 put_name(char *into, u64 at, const char *name)
{
	u64 length = strlen(name) + 1;

	if (into)
		memcpy(into + at, name, length);
	return at + length;
}

u64 stap_symbol_names(char *into)
{
	const struct stap_probe *p;
	u64 bytes = 0;

	if (stap_symbol_functions())
		stap_for_each_probe(p)
			if (is_named(p))
				bytes = put_name(into, bytes, p->code.symbol);
	stap_for_each_probe(p)
		if (is_watched_name(p))
			bytes = put_name(into, bytes, p->watch.symbol);
	return bytes;
}

long stap_take_symbol_addresses(const void __user *from, u64 bytes)
{
	const struct stap_probe *p;
	u32 n = stap_symbol_functions();
	u64 *taken;

	stap_for_each_probe(p)
		n += is_watched_name(p);
	if (!n || bytes != n * sizeof(u64))
		return -EINVAL;
	taken = kvmalloc(bytes, GFP_KERNEL);
	if (!taken)
		return -ENOMEM;
	if (copy_from_user(taken, from, bytes)) {
		kvfree(taken);
		return -EFAULT;
	}
	kvfree(symbol_addresses);
	symbol_addresses = taken;
	symbol_address_count = n;
	symbol_function_count = stap_symbol_functions();
	return 0;
}

void stap_forget_symbol_addresses(void)
{
	kvfree(symbol_addresses);
	symbol_addresses = NULL;
	symbol_address_count = symbol_function_count = 0;
}

/* Of a watched variable, where it is in this kernel; 0: not known. */
u64 stap_watched_address(const struct stap_probe *wanted)
{
	const struct stap_probe *p;
	u32 at = symbol_function_count;

	stap_for_each_probe(p) {
		if (p == wanted)
			return is_watched_name(p) && at < symbol_address_count ? symbol_addresses[at] : 0;
		at += is_watched_name(p);
	}
	return 0;
}

/* Asked for each probe in turn. Bit 0: ftrace can patch the function, and the kernel does not forbid to probe it. Bit 1: there are several of that name. */
#define STAP_FIT 1
#define STAP_SEVERAL 2
static u64 stap_next_function_address(const struct stap_probe *p, u32 *at)
{
	return is_named(p) && *at < symbol_function_count ? symbol_addresses[(*at)++] : 0;
}

/* Whether staprun could tell which functions are fit. */
static int stap_knows_fit(void)
{
	u32 i;

	for (i = 0; i < symbol_function_count; i++)
		if (symbol_addresses[i] & STAP_FIT)
			return 1;
	return 0;
}

#if defined(CONFIG_DYNAMIC_FTRACE_WITH_REGS) && LINUX_VERSION_CODE >= KERNEL_VERSION(5, 18, 0)

struct many_entry {
	unsigned long address;
	const struct stap_probe *probe;
	u32 next;		/* 1 + the next of the same bucket, 0: none */
};

static struct many_entry *many;
static u32 *many_buckets, many_count, many_bits;
static int many_registered;
static atomic_t many_missed = ATOMIC_INIT(0);

static struct kretprobe many_return;
static u32 many_returns;
static int many_return_registered;

/* Runs the handlers of a function's entry or return. What of it is probed: bit 0 its entry, bit 1 its return. */
static int run_at(unsigned long address, struct pt_regs *regs, int is_return)
{
	u32 i;
	int found = 0;

	for (i = many_buckets[hash_long(address, many_bits)]; i; i = many[i - 1].next) {
		const struct stap_probe *p = many[i - 1].probe;
		struct stap_context *c;

		if (many[i - 1].address != address)
			continue;
		found |= p->is_return ? 2 : 1;
		if (!!p->is_return != is_return)
			continue;
		c = stap_enter(p);
		if (c) {
			c->regs = regs;
			if (is_return)
				c->value = regs_return_value(regs);
			stap_leave(c);
		}
	}
	return found;
}

/* The function that is entered on this CPU; read while preemption is off. */
static DEFINE_PER_CPU(unsigned long, many_entered);

static int on_many_entered(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	*(unsigned long *)instance->data = __this_cpu_read(many_entered);
	return 0;
}

static int on_many_returned(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	run_at(*(unsigned long *)instance->data, regs, 1);
	return 0;
}

static void on_many(unsigned long ip, unsigned long parent, struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	struct pt_regs *regs = ftrace_get_regs(fregs);
	unsigned long there;
	int what, bit = ftrace_test_recursion_trylock(ip, parent);

	if (bit < 0 || !regs) {
		atomic_inc(&many_missed);
		return;
	}
	there = regs->ip;
	regs->ip = ip + 1;
	what = run_at(ip, regs, 0);
	if (!what)
		what = run_at(ip -= 4, regs, 0);
	if (what & 2 && many_return_registered) {
		unsigned long interrupted = __this_cpu_read(many_entered);

		__this_cpu_write(many_entered, ip);
		many_return.kp.pre_handler(&many_return.kp, regs);
		__this_cpu_write(many_entered, interrupted);
	}
	regs->ip = there;
	ftrace_test_recursion_unlock(bit);
}

static struct ftrace_ops many_ops = { .func = on_many, .flags = FTRACE_OPS_FL_SAVE_REGS };

/* Room for so many entries; 0: they are few, or there is none, and each is a kprobe of its own. */
static int stap_many_begin(u32 n)
{
	if (n < STAP_MANY_FUNCTIONS)
		return 0;
	many_bits = order_base_2(n) + 1;
	many = kvcalloc(n, sizeof(*many), GFP_KERNEL);
	many_buckets = kvcalloc(1u << many_bits, sizeof(*many_buckets), GFP_KERNEL);
	return many && many_buckets;
}

static void stap_many_add(unsigned long address, const struct stap_probe *probe)
{
	u32 *at, last;

	many_returns += probe->is_return;
	many[many_count] = (struct many_entry){ address, probe, 0 };
	/* At the end of its bucket: probes of one function run in the script's order. */
	at = &many_buckets[hash_long(address, many_bits)];
	for (last = *at; last; last = *at)
		at = &many[last - 1].next;
	*at = ++many_count;
}

/* A function whose module goes: no handler finds it any more. Ftrace itself forgets its place. */
static void stap_many_forget(unsigned long address, const struct stap_probe *probe)
{
	u32 i;

	for (i = 0; i < many_count; i++)
		if (many[i].address == address && many[i].probe == probe)
			WRITE_ONCE(many[i].address, 0);
}

/* The one return probe, with as many instances as one for each function would have. */
static int many_return_start(void)
{
	u32 i;
	int error = -ENOENT;

	if (!many_returns)
		return 0;
	for (i = 0; error && i < many_count; i++) {
		if (!many[i].probe->is_return)
			continue;
		memset(&many_return, 0, sizeof(many_return));
		many_return.kp.addr = (kprobe_opcode_t *)many[i].address;
		many_return.kp.flags = KPROBE_FLAG_DISABLED;
		many_return.entry_handler = on_many_entered;
		many_return.handler = on_many_returned;
		many_return.data_size = sizeof(unsigned long);
		many_return.maxactive = min_t(u32, many_returns * stap_return_instances(), 1 << 16);
		error = register_kretprobe(&many_return);
	}
	many_return_registered = !error;
	return error;
}

/* All go live. */
static int stap_many_end(void)
{
	unsigned long *addresses;
	u32 i;
	int error;

	if (!many_count)
		return 0;
	error = many_return_start();
	if (error)
		return error;
	addresses = kvcalloc(many_count, sizeof(*addresses), GFP_KERNEL);
	if (!addresses)
		return -ENOMEM;
	for (i = 0; i < many_count; i++)
		addresses[i] = many[i].address;
	error = ftrace_set_filter_ips(&many_ops, addresses, many_count, 0, 1);
	kvfree(addresses);
	if (!error)
		error = register_ftrace_function(&many_ops);
	many_registered = !error;
	return error;
}

static void stap_many_stop(void)
{
	if (many_registered)
		unregister_ftrace_function(&many_ops);
	ftrace_free_filter(&many_ops);
	many_registered = 0;
	if (many_return_registered) {
		unregister_kretprobe(&many_return);
		stap_add_skips(STAP_SKIP_RETURN, many_return.nmissed);
	}
	many_return_registered = 0;
	many_returns = 0;
	stap_add_skips(STAP_SKIP_KPROBE, atomic_xchg(&many_missed, 0));
	kvfree(many);
	kvfree(many_buckets);
	many = NULL;
	many_buckets = NULL;
	many_count = 0;
}

#else

static int stap_many_begin(u32 n) { return 0; }
static void stap_many_add(unsigned long address, const struct stap_probe *probe) { }
static void stap_many_forget(unsigned long address, const struct stap_probe *probe) { }
static int stap_many_end(void) { return 0; }
static void stap_many_stop(void) { }

#endif
