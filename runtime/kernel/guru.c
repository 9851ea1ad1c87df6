// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* What only guru scripts may do: signals, waiting, the kernel log's stack, the end of the machine, registers of the probed function. */
#include "kernel.h"
#include <linux/delay.h>
#include <linux/panic.h>
#include <linux/printk.h>
#include <linux/sched/signal.h>

void stap_delay(s64 ns)
{
	ns = clamp_t(s64, ns, 0, 10 * NSEC_PER_SEC);
	for (; ns >= NSEC_PER_MSEC; ns -= NSEC_PER_MSEC)
		udelay(1000);
	if (ns > 0)
		ndelay(ns);
}

void stap_panic(struct stap_str text)
{
	panic("%.*s", (int)text.n, text.s);
}

void stap_dump_stack(void)
{
	dump_stack();
}

int stap_raise_signal(s64 number)
{
	return send_sig((int)number, current, 1);
}

int stap_set_function_argument(struct stap_context *c, s64 n, s64 value)
{
	struct pt_regs *regs = c->regs;
	u64 address;

	if (!regs || n < 0 || c->probe->is_return)
		return -EINVAL;
	if (stap_is_narrow(regs))
		return !stap_write_user((u32)regs->sp + 4 * (n + 1), 4, value);
	switch (n) {
	case 0: regs->di = value; return 0;
	case 1: regs->si = value; return 0;
	case 2: regs->dx = value; return 0;
	case 3: regs->cx = value; return 0;
	case 4: regs->r8 = value; return 0;
	case 5: regs->r9 = value; return 0;
	}
	address = regs->sp + 8 * (n - 5);
	return !(user_mode(regs) ? stap_write_user(address, 8, value) : stap_write_kernel(address, 8, value));
}

int stap_write_register(struct stap_context *c, s64 offset, s64 size, s64 value)
{
	void *place = (char *)c->regs + offset;

	if (!c->regs || offset < 0 || offset + 8 > (s64)sizeof(struct pt_regs))
		return -EINVAL;
	switch (size) {	/* as the processor does: 32 bits clear the upper half, less leaves the rest */
	case 1: *(u8 *)place = (u8)value; break;
	case 2: *(u16 *)place = (u16)value; break;
	case 4: *(u64 *)place = (u32)value; break;
	default: *(u64 *)place = (u64)value; break;
	}
	if (c->probe->is_return && offset == offsetof(struct pt_regs, ax))
		c->value = *(s64 *)place;
	return 0;
}

int stap_set_return_value(struct stap_context *c, s64 value)
{
	struct pt_regs *regs = c->regs;

	if (!regs || !c->probe->is_return)
		return -EINVAL;
	regs->ax = value;
	return 0;
}
