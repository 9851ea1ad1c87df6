// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Stacks and kernel symbols. x86-64. */
#include "kernel.h"
#include <asm/unwind.h>
#include <linux/kallsyms.h>
#include <linux/uprobes.h>

void stap_env_symbol(char *to, u64 address)
{
	BUILD_BUG_ON(KSYM_SYMBOL_LEN > STAP_SYMBOL_SIZE);
	sprint_symbol(to, address);
}

s64 stap_env_kernel_anchor(void)
{
	return (s64)(unsigned long)sprint_symbol;
}

/* What lies between the event and this function when a tracepoint or a hook called us: the run-time's own code and the kernel's callers of handlers. */
static int is_machinery(struct stap_context *c, unsigned long address)
{
	u32 used = c->text_used;
	char *name = stap_space(c, STAP_SYMBOL_SIZE);
	int result = within_module(address, THIS_MODULE);

	if (!result && name) {
		stap_env_symbol(name, address);
		result = strstarts(name, "__traceiter_") || strstarts(name, "__probestub_") || strstarts(name, "trace_hardirqs_");
	}
	c->text_used = used;
	return result;
}

u32 stap_kernel_stack(struct stap_context *c, u64 *into, u32 most)
{
	struct unwind_state state;
	struct pt_regs *regs = c->regs;
	u32 n = 0;

	if (regs && user_mode(regs))
		return 0;
	if (regs && n < most)
		into[n++] = regs->ip;
	for (unwind_start(&state, current, regs, NULL); n < most && !unwind_done(&state); unwind_next_frame(&state)) {
		unsigned long address = unwind_get_return_address(&state);

		if (!address)
			break;
		if (n == 1 && regs && address == regs->ip)
			continue;
		if (!n && is_machinery(c, address))
			continue;
		into[n++] = address;
	}
	return n;
}

/*
 * Where a return probe is at work, the stack has the address of the kernel's trampoline at `slot`. The kernel keeps the true address with the task. A slot that no return
 * probe has changed gives what it holds.
 */
static u64 true_return_address(u64 slot, u64 held)
{
#ifdef CONFIG_UPROBES
	struct uprobe_task *utask = current->utask;
	struct return_instance *instance;

	if (utask)
		for (instance = (struct return_instance *)utask->return_instances; instance; instance = (struct return_instance *)instance->next)
			if (instance->stack == slot)
				return instance->orig_ret_vaddr;
#endif
	return held;
}

/* The same for all slots within the copy of a stack that begins at `from`. */
static void restore_return_addresses(char *copy, u64 from, u64 length, u64 size)
{
#ifdef CONFIG_UPROBES
	struct uprobe_task *utask = current->utask;
	struct return_instance *instance;

	if (utask)
		for (instance = (struct return_instance *)utask->return_instances; instance; instance = (struct return_instance *)instance->next) {
			u64 at = instance->stack - from, address = instance->orig_ret_vaddr;

			if (at < length && length - at >= size)
				memcpy(copy + at, &address, size);
		}
#endif
}

/* By frame pointers: code built without them ends the walk early. */
u32 stap_user_stack(struct stap_context *c, u64 *into, u32 most, const struct stap_frame *from)
{
	struct pt_regs *regs = stap_user_registers(c);
	u32 n = 0, size;
	u64 frame, next, address;

	if (!regs || !most)
		return 0;
	size = stap_is_narrow(regs) ? 4 : 8;
	into[n++] = from ? from->pc : regs->ip;
	for (frame = from ? from->fp : regs->bp; n < most && frame && stap_read_user(frame, size, &next) && stap_read_user(frame + size, size, &address) && address; frame = next) {
		into[n++] = true_return_address(frame + size, address);
		if (next <= frame)
			break;
	}
	return n;
}

s64 stap_env_snapshot(struct stap_context *c, const struct stap_frame *from)
{
	struct stap_stack_record *record = stap_run_of(c)->stack;
	struct task_struct *task = stap_run_of(c)->task;
	struct pt_regs *regs = stap_user_registers(c), *copied;
	u64 page, at;

	BUILD_BUG_ON(sizeof(struct pt_regs) > sizeof(record->registers));
	if (!record || !regs || task != current || !task->mm)
		return 0;
	record->id = stap_new_stack_number();
	record->time = ktime_get_mono_fast_ns();
	record->process = (u64)task_tgid_nr(task) << 32 | task_pid_nr(task);
	record->length = 0;
	memcpy(record->registers, regs, sizeof(*regs));
	copied = (struct pt_regs *)record->registers;
	if (from) {
		copied->ip = from->pc;
		copied->sp = from->sp;
		copied->bp = from->fp;
	}
	page = copied->sp & ~4095ull;
	for (at = 0; at < STAP_STACK_BYTES; at += 4096) {
		if (stap_env_copy(record->stack + at, page + at, 4096, 1))
			record->length = at + 4096;
		else /* a page of a large array that was never used; callers lie above it */
			memset(record->stack + at, 0, 4096);
	}
	restore_return_addresses(record->stack, page, record->length, stap_is_narrow(regs) ? 4 : 8);
	return stap_send(STAP_RECORD_STACK, record, offsetof(struct stap_stack_record, stack) + record->length, 0, stap_run_of(c)->waits) ? record->id : 0;
}
