// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Contexts, errors, and what happens to globals when a session starts and ends. */
#include "core.h"

const struct stap_script *stap_core_script;
static u32 cpu_count;

u32 stap_cpus(void)
{
	return cpu_count;
}

/* --- session */

int stap_core_start(const struct stap_script *script, u32 cpus)
{
	u32 i, cpu;

	stap_core_script = script;
	cpu_count = cpus;
	for (i = 0; i < script->global_count; i++) {
		const struct stap_global *global = &script->globals[i];

		if (global->array) {
			if (stap_array_start(global->array))
				return -1;
		} else if (global->type == STAP_STAT) {
			struct stap_stats *stats = global->stats;

			stats->cells = stap_env_alloc((u64)cpus * sizeof(*stats->cells), ~0u);
			if (!stats->cells)
				return -1;
			for (cpu = 0; cpu < cpus; cpu++) {
				stats->cells[cpu] = stap_env_alloc(stap_cell_size(stats->shape), cpu);
				if (!stats->cells[cpu])
					return -1;
			}
		}
	}
	return 0;
}

void stap_core_stop(const struct stap_script *script)
{
	u32 i, cpu;

	for (i = 0; i < script->global_count; i++) {
		const struct stap_global *global = &script->globals[i];

		if (global->array) {
			stap_array_stop(global->array);
		} else if (global->type == STAP_STAT && global->stats->cells) {
			for (cpu = 0; cpu < cpu_count; cpu++)
				stap_env_free(global->stats->cells[cpu]);
			stap_env_free(global->stats->cells);
			global->stats->cells = NULL;
		}
	}
}

/* --- contexts */

#define ALIGNED(bytes) (((u64)(bytes) + 7) & ~7ULL)

u64 stap_context_memory(const struct stap_script *script, u32 out_size)
{
	u64 string = ALIGNED(sizeof(u32) + script->limits.max_string);

	return ALIGNED(script->text_space) + (u64)(script->limits.max_nesting + 1) * sizeof(void *) + 4 * string + ALIGNED(out_size)
		+ ALIGNED(script->regex_scratch) + ALIGNED(2 * script->regex_groups * sizeof(s16));
}

static void *take(char **at, u64 bytes)
{
	void *from = *at;

	*at += ALIGNED(bytes);
	return from;
}

void stap_context_init(struct stap_context *c, const struct stap_script *script, void *memory, u32 out_size)
{
	u64 string = sizeof(u32) + script->limits.max_string;
	char *at = memory;

	c->text = take(&at, script->text_space);
	c->text_size = script->text_space;
	c->max_depth = script->limits.max_nesting;
	c->callers = take(&at, (u64)(script->limits.max_nesting + 1) * sizeof(void *));
	c->error = take(&at, string);
	c->match_subject = take(&at, string);
	c->token_text = take(&at, string);
	c->procfs = take(&at, string);
	c->out = take(&at, out_size);
	c->out_size = out_size;
	c->regex_scratch = take(&at, script->regex_scratch);
	c->match_groups = take(&at, 2 * script->regex_groups * sizeof(s16));
	stap_context_begin(c, NULL);
}

/* --- errors */

static void message_sink(struct stap_context *c, struct stap_sink *sink)
{
	sink->start = sink->at = c->error->s;
	sink->end = sink->start + stap_core_script->limits.max_string - 1;
	sink->owner = NULL;
}

static void failed(struct stap_context *c, const struct stap_place *at, struct stap_sink *sink)
{
	c->error->n = (u32)(sink->at - sink->start);
	c->error_place = at;
	c->failed = STAP_FAILED;
}

void stap_fail_text(struct stap_context *c, const struct stap_place *at, struct stap_str message)
{
	struct stap_sink sink;

	message_sink(c, &sink);
	memmove(sink.at, message.s, message.n);
	sink.at += message.n;
	failed(c, at, &sink);
}

void stap_fail(struct stap_context *c, const struct stap_place *at, const char *message)
{
	struct stap_sink sink;

	message_sink(c, &sink);
	put_c(&sink, message);
	failed(c, at, &sink);
}

void stap_fail_hard(struct stap_context *c, const struct stap_place *at, const char *message)
{
	stap_fail(c, at, message);
	c->failed = STAP_FAILED_HARD;
}

void stap_fail_fault(struct stap_context *c, const struct stap_place *at, const char *what, u64 address, const char *member)
{
	struct stap_sink sink;

	message_sink(c, &sink);
	put_c(&sink, what);
	put_c(&sink, " at 0x");
	stap_put_number(&sink, 'x', STAP_FLAG_ZERO, 16, -1, (s64)address);
	if (member) {
		put_c(&sink, " (");
		put_c(&sink, member);
		put_c(&sink, ")");
	}
	failed(c, at, &sink);
}

void stap_fail_read(struct stap_context *c, const struct stap_place *at, u64 address, const char *member)
{
	stap_fail_fault(c, at, "read fault", address, member);
}

void stap_fail_write(struct stap_context *c, const struct stap_place *at, u64 address, int user)
{
	stap_fail_fault(c, at, user ? "user write fault" : "kernel write fault", address, NULL);
}

void stap_fail_full(struct stap_context *c, const struct stap_place *at, const struct stap_array *array)
{
	struct stap_sink sink;

	message_sink(c, &sink);
	if (array->value == STAP_STAT) {
		put_c(&sink, "aggregation overflow in ");
		put_c(&sink, array->name);
	} else {
		put_c(&sink, "Array overflow, check MAXMAPENTRIES / size limit (");
		stap_put_long(&sink, array->capacity);
		put_c(&sink, ")");
	}
	failed(c, at, &sink);
}

void stap_fail_register(struct stap_context *c, const struct stap_place *at, struct stap_str name)
{
	struct stap_sink sink;

	message_sink(c, &sink);
	put_c(&sink, "register '");
	stap_put(&sink, name.s, name.n);
	put_c(&sink, "' is not available: this probe has no registers");
	failed(c, at, &sink);
}

void stap_fail_group(struct stap_context *c, const struct stap_place *at, s64 group)
{
	struct stap_sink sink;

	message_sink(c, &sink);
	if (c->match_count == 0) {
		put_c(&sink, "no regular expression has matched yet");
	} else {
		put_c(&sink, "no such group: ");
		stap_put_long(&sink, group);
		put_c(&sink, " of ");
		stap_put_long(&sink, c->match_count);
	}
	failed(c, at, &sink);
}

void stap_abort(struct stap_context *c)
{
	c->failed = STAP_ABORTED;
}

u32 stap_error_line(const struct stap_context *c, char *into, u32 size)
{
	struct stap_sink sink = { .at = into, .end = into + size, .start = into };
	const struct stap_place *place = c->error_place;
	u32 depth = c->depth <= c->max_depth + 1 ? c->depth : c->max_depth + 1;

	/* The library's own lines mean nothing to the script's author: name the call that entered the library. */
	while (depth > 0 && (!place || place->library))
		place = c->callers[--depth];
	stap_put(&sink, c->error->s, c->error->n);
	if (place) {
		put_c(&sink, " near ");
		put_c(&sink, place->token);
		put_c(&sink, " at ");
		put_c(&sink, place->at);
	}
	if (depth > 0) {
		put_c(&sink, " (called from ");
		put_c(&sink, c->callers[depth - 1]->at);
		put_c(&sink, ")");
	}
	put_c(&sink, " in probe ");
	put_c(&sink, c->probe ? c->probe->point : "?");
	return (u32)(sink.at - sink.start);
}

/* --- globals shown at the end */

static void show_text(struct stap_sink *sink, struct stap_str text)
{
	stap_put(sink, "\"", 1);
	stap_put(sink, text.s, text.n);
	stap_put(sink, "\"", 1);
}

static void show_long(struct stap_sink *sink, s64 value, int hex)
{
	if (hex)
		stap_put_number(sink, 'x', STAP_FLAG_ALTERNATE, 0, -1, value);
	else
		stap_put_long(sink, value);
}

static void show_part(struct stap_sink *sink, const char *name, s64 value)
{
	stap_put(sink, " @", 2);
	put_c(sink, name);
	stap_put(sink, "=", 1);
	stap_put_long(sink, value);
}

static void show_stat(struct stap_sink *sink, const struct stap_shape *shape, const struct stap_stat *stat)
{
	if (!stat->count) {
		/* In hexadecimal, alone of all: so SystemTap's module prints it. */
		put_c(sink, " @count=0x0");
		return;
	}
	show_part(sink, "count", stat->count);
	if (shape->show_min)
		show_part(sink, "min", stat->min);
	if (shape->show_max)
		show_part(sink, "max", stat->max);
	if (shape->show_sum) {
		show_part(sink, "sum", stat->sum);
		show_part(sink, "avg", stap_div(stat->sum, stat->count));
	}
}

static void show_array(struct stap_context *c, const struct stap_global *global)
{
	struct stap_array *array = global->array;
	struct stap_rank_list *list = stap_sorted(c, array, NULL, 0, 0, STAP_DESCENDING, STAP_COUNT, array->capacity);
	u32 i, part;

	for (i = 0; list && i < list->count; i++) {
		u32 entry = list->rank[i].entry;
		struct stap_sink *sink = stap_print_begin(c);
		union stap_key key[16];
		struct stap_stat stat;

		put_c(sink, global->name);
		for (part = 0; part < array->keys; part++) {
			stap_put(sink, part ? "," : "[", 1);
			if (array->text_keys >> part & 1) {
				key[part].t = stap_entry_key_text(array, entry, part);
				show_text(sink, key[part].t);
			} else {
				key[part].n = stap_entry_key(array, entry, part);
				show_long(sink, key[part].n, 0);
			}
		}
		stap_put(sink, "]", 1);
		if (array->value == STAP_STAT) {
			stap_read_element(c, array, key, 0, &stat);
			show_stat(sink, array->shape, &stat);
		} else {
			stap_put(sink, "=", 1);
			if (array->value == STAP_STRING)
				show_text(sink, stap_entry_text(array, entry));
			else
				show_long(sink, stap_entry_long(array, entry), global->flags & STAP_HEX);
		}
		stap_put(sink, "\n", 1);
		stap_print_end(c);
	}
	stap_sorted_done(c, NULL);
}

void stap_show_globals(struct stap_context *c)
{
	u32 i;

	stap_context_begin(c, NULL);
	for (i = 0; i < stap_core_script->global_count; i++) {
		const struct stap_global *global = &stap_core_script->globals[i];
		struct stap_sink *sink;
		struct stap_stat stat;

		if (!(global->flags & STAP_SHOW) || (global->flags & STAP_TAPSET))
			continue;
		if (global->array) {
			show_array(c, global);
			continue;
		}
		sink = stap_print_begin(c);
		put_c(sink, global->name);
		if (global->type == STAP_STAT) {
			stap_read_stats(c, global->stats, 0, &stat);
			show_stat(sink, global->stats->shape, &stat);
		} else {
			stap_put(sink, "=", 1);
			if (global->type == STAP_STRING)
				show_text(sink, stap_view(global->text));
			else
				show_long(sink, *global->number, global->flags & STAP_HEX);
		}
		stap_put(sink, "\n", 1);
		stap_print_end(c);
	}
}
