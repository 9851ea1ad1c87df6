// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Registers of the event, and arguments by the calling convention. x86-64. */
#include "kernel.h"
#include <asm/fpu/types.h>

struct register_name {
	const char *name;
	u16 offset;
	u8 size;
};

#define R(n, member, bytes) { n, offsetof(struct pt_regs, member), bytes }
static const struct register_name register_names[] = {
	R("rax", ax, 8), R("rbx", bx, 8), R("rcx", cx, 8), R("rdx", dx, 8), R("rsi", si, 8), R("rdi", di, 8), R("rbp", bp, 8), R("rsp", sp, 8),
	R("r8", r8, 8), R("r9", r9, 8), R("r10", r10, 8), R("r11", r11, 8), R("r12", r12, 8), R("r13", r13, 8), R("r14", r14, 8), R("r15", r15, 8),
	R("rip", ip, 8), R("rflags", flags, 8), R("eflags", flags, 8), R("orig_rax", orig_ax, 8), R("xcs", cs, 8), R("xss", ss, 8), R("cs", cs, 8), R("ss", ss, 8),
	R("eax", ax, 4), R("ebx", bx, 4), R("ecx", cx, 4), R("edx", dx, 4), R("esi", si, 4), R("edi", di, 4), R("ebp", bp, 4), R("esp", sp, 4),
	R("eip", ip, 4), R("orig_eax", orig_ax, 4),
	R("ax", ax, 8), R("bx", bx, 8), R("cx", cx, 8), R("dx", dx, 8), R("si", si, 8), R("di", di, 8), R("bp", bp, 8), R("sp", sp, 8), R("ip", ip, 8), R("flags", flags, 8),
};

static s64 register_by_name(struct stap_context *c, const struct stap_place *at, const struct pt_regs *regs, struct stap_str name)
{
	unsigned int i;

	for (i = 0; regs && i < ARRAY_SIZE(register_names); i++)
		if (strlen(register_names[i].name) == name.n && memcmp(register_names[i].name, name.s, name.n) == 0) {
			unsigned long v = *(const unsigned long *)((const char *)regs + register_names[i].offset);

			return register_names[i].size == 4 ? (s64)(u32)v : (s64)v;
		}
	stap_fail_register(c, at, name);
	return 0;
}

struct pt_regs *stap_user_registers(struct stap_context *c)
{
	struct task_struct *task = stap_run_of(c)->task;

	if (c->user_regs)
		return c->user_regs;
	if (c->user_mode && c->regs)
		return c->regs;
	return task && task->mm && !(task->flags & PF_KTHREAD) ? task_pt_regs(task) : NULL;
}

s64 stap_register(struct stap_context *c, const struct stap_place *at, struct stap_str name)
{
	return register_by_name(c, at, c->regs, name);
}

s64 stap_user_register(struct stap_context *c, const struct stap_place *at, struct stap_str name)
{
	return register_by_name(c, at, stap_user_registers(c), name);
}

/* movups needs no alignment; the kernel's own code leaves vector registers alone except between kernel_fpu_begin() and _end(). */
static void live_vector(u32 n, u64 *into)
{
#define CASE(n) case n: asm volatile("movups %%xmm" #n ", %0" : "=m" (*(u64 (*)[2])into)); break
	switch (n) {
	CASE(0); CASE(1); CASE(2); CASE(3); CASE(4); CASE(5); CASE(6); CASE(7);
	CASE(8); CASE(9); CASE(10); CASE(11); CASE(12); CASE(13); CASE(14); CASE(15);
	}
#undef CASE
}

/*
 * The program's vector registers are in the processor as long as TIF_NEED_FPU_LOAD is off. An interrupt that wants them (kernel_fpu_begin) saves them first and sets the flag,
 * which stays until the return to the program: so a read between two looks at a flag that was off both times is good, without a lock.
 */
s64 stap_vector_half(struct stap_context *c, u32 half)
{
	u64 both[2] = { 0, 0 };
	const union fpregs_state *saved;

	if (half >= 32)
		return 0;
	if (!test_thread_flag(TIF_NEED_FPU_LOAD)) {
		live_vector(half / 2, both);
		barrier();
		if (!test_thread_flag(TIF_NEED_FPU_LOAD))
			return (s64)both[half & 1];
	}
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
	saved = &x86_task_fpu(current)->fpstate->regs;
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
	saved = &current->thread.fpu.fpstate->regs;
#else
	saved = &current->thread.fpu.state;
#endif
	/* What has its first value (0) need not have been written. */
	if (boot_cpu_has(X86_FEATURE_XSAVE) && !(saved->xsave.header.xfeatures & XFEATURE_MASK_SSE))
		return 0;
	memcpy(both, &saved->fxsave.xmm_space[half / 2 * 4], sizeof(both));
	return (s64)both[half & 1];
}

s64 stap_ip(struct stap_context *c, const struct stap_place *at)
{
	return c->regs ? ((struct pt_regs *)c->regs)->ip : 0;
}

s64 stap_uip(struct stap_context *c)
{
	struct pt_regs *regs = stap_user_registers(c);

	return regs ? regs->ip : 0;
}

s64 stap_return_value(struct stap_context *c, const struct stap_place *at)
{
	return c->probe->is_return || !c->regs ? c->value : (s64)((struct pt_regs *)c->regs)->ax;
}

s64 stap_function_argument(struct stap_context *c, const struct stap_place *at, s64 n)
{
	struct pt_regs *regs = c->regs;
	u64 value = 0, address;

	if (!regs || n < 0) {
		stap_fail_register(c, at, STAP_TEXT("argument"));
		return 0;
	}
	if (stap_is_narrow(regs)) {
		address = (u32)regs->sp + 4;
		if (c->probe->kind == STAP_PROBE_USER && c->probe->user.frame)
			address = *(u32 *)((char *)regs + c->probe->user.frame - 1) + c->probe->user.frame_offset;
		address += 4 * n;
		if (!stap_read_user(address, 4, &value))
			stap_fail_read(c, at, address, NULL);
		return (s64)value;
	}
	switch (n) {
	case 0: return regs->di;
	case 1: return regs->si;
	case 2: return regs->dx;
	case 3: return regs->cx;
	case 4: return regs->r8;
	case 5: return regs->r9;
	}
	address = regs->sp + 8;
	if (c->probe->kind == STAP_PROBE_USER && c->probe->user.frame)
		address = *(u64 *)((char *)regs + c->probe->user.frame - 1) + c->probe->user.frame_offset;
	address += 8 * (n - 6);
	if (!(user_mode(regs) ? stap_read_user(address, 8, &value) : stap_read_kernel(address, 8, &value)))
		stap_fail_read(c, at, address, NULL);
	return (s64)value;
}
