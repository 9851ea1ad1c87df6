// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Stacks and names of addresses, as scripts see them: a stack is a text of addresses, "0x… 0x…", innermost first.
 *
 * Some texts only staprun can make: names in programs and libraries, the stack of a program built without frame pointers, source places. A print of such
 * a text holds a mark in its place, which staprun replaces by the text (src/SystemTap.Runtime/Modules/MarkedText.cs): byte 0x1d, a letter, numbers in hexadecimal
 * and texts separated by ';', byte 0x1e. Marks nest. The translator asks for marks only where a script does not look into the text (kept == 0); where it
 * does – keys, comparisons – it gets what the kernel knows: names of the kernel's own functions, user stacks by frame pointers. Names in programs are
 * marks always: made of process and address, they are as good as keys.
 *
 *     S id                    the user stack that was sent as record `id`
 *     H n ; stack             the first n addresses
 *     K style ; stack         lines of a kernel stack
 *     L pid ; style ; stack   lines of a user stack
 *     N pid ; address         name;  D: name, offset and file;  M: file
 *     P pid ; part ; address  source place
 *     Q part ; address        the same in the kernel
 */
#include "core.h"

#define OPEN "\x1d"
#define CLOSE "\x1e"

static void put_hex(struct stap_sink *sink, u64 value)
{
	stap_put_number(sink, 'x', STAP_FLAG_NONE, 0, -1, (s64)value);
}

/* The next address of a list; 0 at the end. */
static int next_address(struct stap_str list, u32 *at, u64 *address)
{
	while (*at < list.n && list.s[*at] == ' ')
		(*at)++;
	if (*at >= list.n)
		return 0;
	*address = (u64)stap_parse_long((struct stap_str){ list.s + *at, list.n - *at }, 16);
	while (*at < list.n && list.s[*at] != ' ')
		(*at)++;
	return 1;
}

/* A list that surely fits into a mark with the numbers before it. */
static struct stap_str fitting(struct stap_str list)
{
	u32 room = stap_core_script->limits.max_string > 64 ? stap_core_script->limits.max_string - 64 : 0;

	if (list.n <= room || (list.n && list.s[0] == OPEN[0]))
		return list;
	while (room && list.s[room] != ' ')
		room--;
	return (struct stap_str){ list.s, room };
}

static struct stap_str mark(struct stap_context *c, const char *letter, const u64 *numbers, u32 count, struct stap_str list)
{
	struct stap_sink sink;
	u32 i;

	list = fitting(list);
	stap_format_begin(c, &sink);
	put_c(&sink, OPEN);
	put_c(&sink, letter);
	for (i = 0; i < count; i++) {
		if (i)
			put_c(&sink, ";");
		put_hex(&sink, numbers[i]);
	}
	if (list.s) {
		put_c(&sink, ";");
		stap_put(&sink, list.s, list.n);
	}
	put_c(&sink, CLOSE);
	return stap_format_end(c, &sink);
}

#define NO_LIST ((struct stap_str){ NULL, 0 })

enum stack_of { OF_KERNEL, OF_PROGRAM };

/* from: where a program's stack begins; NULL: where the event met it. */
static struct stap_str stack_text(struct stap_context *c, enum stack_of whose, const struct stap_frame *from)
{
	u32 most = stap_core_script->limits.max_back_trace, n, i;
	u64 *addresses = (u64 *)stap_space(c, most * (u32)sizeof(u64));
	struct stap_sink sink;

	if (!addresses)
		return STAP_EMPTY;
	n = whose == OF_KERNEL ? stap_kernel_stack(c, addresses, most) : stap_user_stack(c, addresses, most, from);
	stap_format_begin(c, &sink);
	for (i = 0; i < n; i++) {
		put_c(&sink, i ? " 0x" : "0x");
		put_hex(&sink, addresses[i]);
	}
	return fitting(stap_format_end(c, &sink));
}

struct stap_str stap_kernel_stack_text(struct stap_context *c)
{
	return stack_text(c, OF_KERNEL, NULL);
}

static struct stap_str user_stack(struct stap_context *c, const struct stap_frame *from, int kept)
{
	u64 id;

	if (kept)
		return stack_text(c, OF_PROGRAM, from);
	id = (u64)stap_env_snapshot(c, from);
	return id ? mark(c, "S", &id, 1, NO_LIST) : STAP_EMPTY;
}

struct stap_str stap_user_stack_text(struct stap_context *c, int kept)
{
	return user_stack(c, NULL, kept);
}

struct stap_str stap_user_stack_from(struct stap_context *c, s64 pc, s64 sp, s64 fp, int kept)
{
	struct stap_frame from = { (u64)pc, (u64)sp, (u64)fp };

	return user_stack(c, &from, kept);
}

s64 stap_stack_entry(struct stap_context *c, struct stap_str list, s64 n)
{
	u64 address = 0;
	u32 at = 0;

	/* A number is wanted now, so the stack that staprun would unwind does not help. */
	if (list.n && list.s[0] == OPEN[0])
		list = stack_text(c, OF_PROGRAM, NULL);
	while (n >= 0 && next_address(list, &at, &address))
		if (n-- == 0)
			return (s64)address;
	return 0;
}

struct stap_str stap_stack_head(struct stap_context *c, struct stap_str list, s64 n)
{
	u64 address, count = (u64)n;
	u32 at = 0;

	if (n < 0)
		return list;
	if (list.n && list.s[0] == OPEN[0])
		return mark(c, "H", &count, 1, list);
	while (n-- > 0 && next_address(list, &at, &address))
		;
	return (struct stap_str){ list.s, at };
}

/* "name+0x1/0x2 [module]", or the address. */
static struct stap_str symbol_text(struct stap_context *c, u64 address)
{
	char *text = stap_space(c, STAP_SYMBOL_SIZE);

	if (!text)
		return STAP_EMPTY;
	stap_env_symbol(text, address);
	return stap_c_string(text);
}

static int is_address(struct stap_str text)
{
	return text.n > 2 && text.s[0] == '0' && text.s[1] == 'x';
}

struct stap_str stap_symbol_name(struct stap_context *c, s64 address)
{
	struct stap_str text = symbol_text(c, (u64)address);
	s64 plus = stap_position(text, STAP_TEXT("+"));

	return plus >= 0 ? (struct stap_str){ text.s, (u32)plus } : text;
}

static void put_data(struct stap_sink *sink, struct stap_str text)
{
	stap_put(sink, text.s, text.n);
	if (!is_address(text) && text.n && text.s[text.n - 1] != ']')
		put_c(sink, " [kernel]");
}

struct stap_str stap_symbol_data(struct stap_context *c, s64 address)
{
	struct stap_str text = symbol_text(c, (u64)address);
	struct stap_sink sink;

	stap_format_begin(c, &sink);
	put_data(&sink, text);
	return stap_format_end(c, &sink);
}

struct stap_str stap_symbol_module(struct stap_context *c, const struct stap_place *at, s64 address)
{
	struct stap_str text = symbol_text(c, (u64)address);
	s64 bracket = stap_position(text, STAP_TEXT(" ["));
	struct stap_sink sink;

	if (bracket >= 0)
		return (struct stap_str){ text.s + bracket + 2, text.n - (u32)bracket - 3 };
	if (!is_address(text))
		return STAP_TEXT("kernel");
	stap_format_begin(c, &sink);
	put_c(&sink, "no kernel module holds address ");
	stap_put(&sink, text.s, text.n);
	stap_fail_text(c, at, stap_format_end(c, &sink));
	return STAP_EMPTY;
}

struct stap_str stap_symbol_lines(struct stap_context *c, struct stap_str list, s64 style, int kept)
{
	struct stap_sink sink;
	u64 address;
	u32 at = 0;

	if (!kept) {
		u64 number = (u64)style;

		return mark(c, "K", &number, 1, list);
	}
	stap_format_begin(c, &sink);
	while (next_address(list, &at, &address)) {
		u32 used = c->text_used;
		struct stap_str text = symbol_text(c, address);
		s64 slash = stap_position(text, STAP_TEXT("/"));

		if (style != 1) {
			put_c(&sink, " 0x");
			put_hex(&sink, address);
			if (!is_address(text)) {
				put_c(&sink, " : ");
				put_data(&sink, text);
			}
		} else if (slash < 0) {
			put_data(&sink, text);
		} else {
			s64 blank = stap_position(text, STAP_TEXT(" ["));

			stap_put(&sink, text.s, (u32)slash);
			if (blank > slash)
				stap_put(&sink, text.s + blank, text.n - (u32)blank);
			else
				put_c(&sink, " [kernel]");
		}
		put_c(&sink, "\n");
		c->text_used = used;
	}
	return stap_format_end(c, &sink);
}

struct stap_str stap_symbol_place(struct stap_context *c, s64 address, s64 part)
{
	u64 numbers[] = { (u64)part, (u64)address };

	return mark(c, "Q", numbers, 2, NO_LIST);
}

struct stap_str stap_user_symbol(struct stap_context *c, const char *what, s64 pid, s64 address)
{
	u64 numbers[] = { (u64)pid, (u64)address };

	return mark(c, what, numbers, 2, NO_LIST);
}

struct stap_str stap_user_symbol_lines(struct stap_context *c, s64 pid, struct stap_str list, s64 style)
{
	u64 numbers[] = { (u64)pid, (u64)style };

	return mark(c, "L", numbers, 2, list);
}

struct stap_str stap_user_symbol_place(struct stap_context *c, s64 pid, s64 address, s64 part)
{
	u64 numbers[] = { (u64)pid, (u64)part, (u64)address };

	return mark(c, "P", numbers, 3, NO_LIST);
}

struct stap_str stap_point_function(struct stap_context *c)
{
	return c->probe->function ? stap_c_string(c->probe->function) : STAP_EMPTY;
}

struct stap_str stap_probe_module(struct stap_context *c)
{
	return c->probe->module ? stap_c_string(c->probe->module) : STAP_EMPTY;
}

/* In samples, which are on no function, the one that was running. */
struct stap_str stap_probe_function(struct stap_context *c)
{
	s64 at;

	if (c->probe->kind != STAP_PROBE_PROFILE && c->probe->kind != STAP_PROBE_PERF && c->probe->kind != STAP_PROBE_WATCHPOINT)
		return stap_point_function(c);
	at = stap_ip(c, NULL);
	return c->user_mode ? stap_user_symbol(c, "N", stap_pid(c), at) : stap_symbol_name(c, at);
}
