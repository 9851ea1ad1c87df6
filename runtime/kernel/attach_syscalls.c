// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * System calls: one callback on sys_enter and one on sys_exit, and for each a table from number to the probes that want it. Calls of 32-bit programs
 * have numbers and tables of their own; they never reach a probe of a native call.
 */
#include "kernel.h"
#include <linux/tracepoint.h>
#include <asm/syscall.h>

enum { SYSCALL_NUMBERS = 1024 };

/* For each number a list of probe numbers + 1, linked through `next`. */
static u16 syscall_heads[2][2][SYSCALL_NUMBERS];	/* [is_return][is_compat] */
static u16 syscall_every[2];
static u16 *syscall_next;
static int sys_enter_set, sys_exit_set;

/* `args`: room for the call's arguments, when the handler reads them. */
static __always_inline void run_syscall_probe(const struct stap_probe *p, struct pt_regs *regs, s64 number, s64 value, unsigned long *args)
{
	struct stap_context *c;

	if (p->processes.kind != STAP_FILTER_NONE && !stap_passes(p, current))
		return;
	c = stap_enter(p);
	if (!c)
		return;
	if (args) {
		syscall_get_arguments(current, regs, args);
		c->args = (const u64 *)args;
	}
	c->regs = regs;
	c->user_regs = regs;
	c->user_mode = 1;
	c->syscall = number;
	c->value = value;
	stap_leave(c);
}

/* A function of its own: most handlers do without, and need no frame for them. */
static noinline void run_syscall_probe_with_arguments(const struct stap_probe *p, struct pt_regs *regs, s64 number, s64 value)
{
	unsigned long args[6];

	run_syscall_probe(p, regs, number, value, args);
}

static void run_syscall_probes(u32 first, struct pt_regs *regs, s64 number, s64 value)
{
	u32 i;

	for (i = first; i; i = syscall_next[i - 1]) {
		const struct stap_probe *p = &stap_script.probes[i - 1];

		if (p->arguments)
			run_syscall_probe_with_arguments(p, regs, number, value);
		else
			run_syscall_probe(p, regs, number, value, NULL);
	}
}

static __always_inline void dispatch_syscall(struct pt_regs *regs, long number, s64 value, int is_return)
{
	u32 first;

	if (syscall_every[is_return])
		run_syscall_probes(syscall_every[is_return], regs, number, value);
	if ((unsigned long)number >= SYSCALL_NUMBERS)
		return;
	first = syscall_heads[is_return][stap_is_compat()][number];
	if (first)
		run_syscall_probes(first, regs, number, value);
}

static void on_sys_enter(void *data, struct pt_regs *regs, long number)
{
	dispatch_syscall(regs, number, 0, 0);
}

static void on_sys_exit(void *data, struct pt_regs *regs, long value)
{
	dispatch_syscall(regs, syscall_get_nr(current, regs), value, 1);
}

int stap_syscalls_start(void)
{
	u32 i = stap_script.probe_count;
	int wants[2] = { 0, 0 }, error = 0;

	if (!stap_count(STAP_PROBE_SYSCALL))
		return 0;
	syscall_next = kvcalloc(i + 1, sizeof(*syscall_next), GFP_KERNEL);
	if (!syscall_next)
		return -ENOMEM;
	/* From the last, so that lists are in the script's order. */
	while (i--) {
		const struct stap_probe *p = &stap_script.probes[i];
		u16 *head;

		if (p->kind != STAP_PROBE_SYSCALL || p->syscall.number >= SYSCALL_NUMBERS)
			continue;
		head = p->syscall.number < 0 ? &syscall_every[p->is_return] : &syscall_heads[p->is_return][p->syscall.is_compat][p->syscall.number];
		syscall_next[i] = *head;
		*head = i + 1;
		wants[p->is_return] = 1;
	}
	if (wants[0] && !(error = stap_tracepoint_add("sys_enter", on_sys_enter, NULL, STAP_ANY)))
		sys_enter_set = 1;
	if (!error && wants[1] && !(error = stap_tracepoint_add("sys_exit", on_sys_exit, NULL, STAP_ANY)))
		sys_exit_set = 1;
	if (error)
		stap_message(STAP_RECORD_ERROR, "the tracepoints of system calls cannot be registered (error %d); the kernel needs CONFIG_HAVE_SYSCALL_TRACEPOINTS", error);
	return error;
}

void stap_syscalls_stop(void)
{
	if (sys_enter_set)
		stap_tracepoint_remove("sys_enter", on_sys_enter, NULL);
	if (sys_exit_set)
		stap_tracepoint_remove("sys_exit", on_sys_exit, NULL);
	if (sys_enter_set || sys_exit_set)
		tracepoint_synchronize_unregister();
	sys_enter_set = sys_exit_set = 0;
	kvfree(syscall_next);
	syscall_next = NULL;
}

/* Written by the builder from the kernel's own header. */
static const char *const syscall_names[] = {
#include "syscall_names.h"
};

struct stap_str stap_syscall_name(struct stap_context *c, s64 number)
{
	struct stap_sink sink;

	if (number >= 0 && number < ARRAY_SIZE(syscall_names) && syscall_names[number])
		return stap_c_string(syscall_names[number]);
	stap_format_begin(c, &sink);
	stap_put_long(&sink, number);
	return stap_format_end(c, &sink);
}
