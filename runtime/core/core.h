/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Between core and the run-time around it (the kernel module's, or the test harness): what core offers to it, and the hooks core needs from it.
 * Script code sees none of this.
 */
#ifndef STAP_CORE_H
#define STAP_CORE_H

#include "stap.h"

extern const struct stap_script *stap_core_script;	/* set by stap_core_start() */

/* ------------------------------------------------------------------------------------------------------- what the run-time calls, in this order */

/* First of all, once: remembers the script, allocates arrays and aggregates; 0, or -1 when memory is short (then call stap_core_stop). */
int stap_core_start(const struct stap_script *script, u32 cpus);

/* Bytes of a context's memory, and its making. `memory` is 8-byte aligned; out_size: bytes of the output buffer, included in the size. */
u64 stap_context_memory(const struct stap_script *script, u32 out_size);
void stap_context_init(struct stap_context *c, const struct stap_script *script, void *memory, u32 out_size);

/*
 * Around a handler run. stap_context_begin resets the run and the event's members; set those after it. What only some kinds of event have (args,
 * syscall, the text of procfs) is left as it was: their handlers find it set, and others do not look. Each store here is paid for by every event.
 */
static inline void stap_context_begin(struct stap_context *c, const struct stap_probe *probe)
{
	c->probe = probe;
	c->regs = NULL;
	c->user_regs = NULL;
	c->value = 0;
	c->user_mode = 0;
	c->text_used = 0;
	c->depth = 0;
	c->actions = stap_core_script->limits.max_action;
	c->failed = STAP_FINE;
	c->next = 0;
	c->has_procfs = 0;
	c->has_tokens = 0;
	c->match_count = 0;
	c->orders = NULL;
}

static inline void stap_context_end(struct stap_context *c)
{
	if (STAP_UNLIKELY(c->orders != NULL))
		stap_sorted_done(c, NULL);
}

/* The text after "ERROR: " of a failed run: message near TOKEN at FILE:LINE:COL (called from …) in probe X. Yields its length (no NUL). */
u32 stap_error_line(const struct stap_context *c, char *into, u32 size);

/* Prints the globals the script wrote and never read, by way of the context's output. */
void stap_show_globals(struct stap_context *c);

void stap_core_stop(const struct stap_script *script);

/* ------------------------------------------------------------------------------------------------------------------ between the files of core */

static inline void put_c(struct stap_sink *sink, const char *text)
{
	stap_put(sink, text, stap_c_string(text).n);
}

/* A string was cut to MAXSTRINGLEN. [env] */
STAP_COLD void stap_env_cut(const struct stap_place *place);

/* WHAT at 0xADDRESS (MEMBER) */
STAP_COLD void stap_fail_fault(struct stap_context *c, const struct stap_place *at, const char *what, u64 address, const char *member);
u32 stap_escape_char(u8 byte, char *to);		/* one byte as C source would write it; yields 1, 2 or 4 */
struct stap_cell *stap_array_cell(const struct stap_array *array, u32 entry, u32 cpu);
u32 stap_cell_size(const struct stap_shape *shape);
void stap_cell_add(struct stap_cell *cell, const struct stap_shape *shape, s64 sample);
s64 stap_entry_statistic(const struct stap_array *array, u32 entry, u32 statistic);
u32 stap_find(const struct stap_array *array, const union stap_key *key);	/* entry number, 0: none */
u32 stap_cpus(void);
int stap_array_start(struct stap_array *array);
void stap_array_stop(struct stap_array *array);

/* --------------------------------------------------------------------------------------------------------------- hooks the run-time implements */

/* Zeroed memory at session start; never called by handlers. node of `cpu`, or any when cpu is ~0. NULL when there is none. */
void *stap_env_alloc(u64 bytes, u32 cpu);
void stap_env_free(void *memory);

/* One print, whole or (more != 0) a piece of one: the rest follows at once from the same context. Bytes are not kept. */
void stap_env_print(struct stap_context *c, const char *bytes, u32 n, int more);

/* Copies memory; 0 on a fault. Never sleeps. */
int stap_env_copy(void *into, u64 address, u32 n, int user);

/* "name+0x1/0x2 [module]" of a kernel address ("[module]" only for modules), or "0x…", with its NUL, into STAP_SYMBOL_SIZE bytes. Any context. */
#define STAP_SYMBOL_SIZE 768
void stap_env_symbol(char *to, u64 address);

/* Where a program's stack begins, when it is not where the event met it. */
struct stap_frame {
	u64 pc, sp, fp;
};

/* Stacks, innermost first; they yield how many addresses. User: by frame pointers. */
u32 stap_kernel_stack(struct stap_context *c, u64 *into, u32 most);
u32 stap_user_stack(struct stap_context *c, u64 *into, u32 most, const struct stap_frame *from);

/* Sends the user's registers and stack to be unwound there; yields the number of the record, 0: there is no user stack or no room. */
s64 stap_env_snapshot(struct stap_context *c, const struct stap_frame *from);

/* A short lock around an insertion into an array whose lock is shared: interrupts off, spins. 0: not had (from NMI). */
int stap_env_insert_lock(struct stap_array *array, unsigned long *state);
void stap_env_insert_unlock(struct stap_array *array, unsigned long state);

#endif
