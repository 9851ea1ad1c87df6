// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Strings: text space, variables, and the string built-ins. What the C# twins do (SystemTap.Runtime/Host/TextFunctions.cs), byte for byte. */
#include "core.h"

static u32 max_text(void)
{
	return stap_core_script->limits.max_string - 1;
}

static struct stap_str str(const char *s, u32 n)
{
	return (struct stap_str){ s, n };
}

char *stap_no_space(struct stap_context *c)
{
	stap_fail(c, NULL, "the space for strings is used up, check MAXNESTING");
	return NULL;
}

void stap_set(struct stap_buf *to, struct stap_str value)
{
	u32 n = value.n < max_text() ? value.n : max_text();

	memmove(to->s, value.s, n);
	to->n = n;
}

void stap_append(const struct stap_place *place, struct stap_buf *to, struct stap_str value)
{
	u32 room = max_text() - to->n;
	u32 n = value.n < room ? value.n : room;

	if (STAP_UNLIKELY(n < value.n))
		stap_env_cut(place);
	memmove(to->s + to->n, value.s, n);
	to->n += n;
}

struct stap_str stap_keep(struct stap_context *c, struct stap_str value)
{
	u32 n = value.n < max_text() ? value.n : max_text();
	char *to = stap_space(c, n);

	if (!to)
		return STAP_EMPTY;
	memcpy(to, value.s, n);
	return str(to, n);
}

struct stap_str stap_result(struct stap_context *c, u32 mark, struct stap_str value)
{
	u32 n = value.n < max_text() ? value.n : max_text();
	char *to;

	c->text_used = mark;
	to = stap_space(c, n);
	if (!to)
		return STAP_EMPTY;
	memmove(to, value.s, n);
	return str(to, n);
}

struct stap_str stap_concat(struct stap_context *c, const struct stap_place *place, const struct stap_str *parts, u32 count)
{
	u64 total = 0;
	u32 i, n, at = 0;
	char *to;

	for (i = 0; i < count; i++)
		total += parts[i].n;
	n = total < max_text() ? (u32)total : max_text();
	if (STAP_UNLIKELY(n < total))
		stap_env_cut(place);
	to = stap_space(c, n);
	if (!to)
		return STAP_EMPTY;
	for (i = 0; i < count && at < n; i++) {
		u32 part = parts[i].n < n - at ? parts[i].n : n - at;

		memcpy(to + at, parts[i].s, part);
		at += part;
	}
	return str(to, n);
}

int stap_compare(struct stap_str a, struct stap_str b)
{
	u32 n = a.n < b.n ? a.n : b.n;
	int order = memcmp(a.s, b.s, n);

	if (order)
		return order;
	return a.n < b.n ? -1 : a.n > b.n;
}

struct stap_str stap_substr(struct stap_str text, s64 start, s64 length)
{
	if (start < 0 || start >= text.n || length <= 0)
		return STAP_EMPTY;
	return str(text.s + start, length < text.n - start ? (u32)length : (u32)(text.n - start));
}

s64 stap_byte_at(struct stap_str text, s64 at)
{
	return at < 0 || at >= text.n ? -1 : (u8)text.s[at];
}

s64 stap_position(struct stap_str text, struct stap_str part)
{
	u32 i;

	if (part.n > text.n)
		return -1;
	for (i = 0; i <= text.n - part.n; i++)
		if (memcmp(text.s + i, part.s, part.n) == 0)
			return i;
	return -1;
}

struct stap_str stap_replace(struct stap_context *c, const struct stap_place *place, struct stap_str text, struct stap_str search, struct stap_str replacement)
{
	u32 max = max_text(), at = 0, n = 0;
	int cut = 0;
	char *to;

	if (search.n == 0)
		return text;
	to = stap_space(c, max);
	if (!to)
		return STAP_EMPTY;
	while (at < text.n && n < max) {
		if (text.n - at >= search.n && memcmp(text.s + at, search.s, search.n) == 0) {
			u32 part = replacement.n < max - n ? replacement.n : max - n;

			cut |= part < replacement.n;
			memcpy(to + n, replacement.s, part);
			n += part;
			at += search.n;
		} else {
			to[n++] = text.s[at++];
		}
	}
	if (STAP_UNLIKELY(cut || at < text.n))
		stap_env_cut(place);
	c->text_used -= max - n;
	return str(to, n);
}

static int is_one_of(char byte, struct stap_str set)
{
	u32 i;

	for (i = 0; i < set.n; i++)
		if (set.s[i] == byte)
			return 1;
	return 0;
}

struct stap_str stap_tokenize(struct stap_context *c, struct stap_str text, struct stap_str delimiters, s64 is_continue)
{
	u32 start, end, n;

	if (!is_continue) {
		stap_set(c->token_text, text);
		c->token_at = 0;
		c->has_tokens = 1;
	}
	if (!c->has_tokens)
		return STAP_EMPTY;

	/* As strtok: delimiters in a row count as one, and none at the ends. */
	n = c->token_text->n;
	start = c->token_at;
	while (start < n && is_one_of(c->token_text->s[start], delimiters))
		start++;
	end = start;
	while (end < n && !is_one_of(c->token_text->s[end], delimiters))
		end++;
	c->token_at = end + 1 < n ? end + 1 : n;
	return stap_keep(c, str(c->token_text->s + start, end - start));
}

static u32 digit_of(char byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	if (byte >= 'a' && byte <= 'z')
		return byte - 'a' + 10;
	if (byte >= 'A' && byte <= 'Z')
		return byte - 'A' + 10;
	return 99;
}

s64 stap_parse_long(struct stap_str text, s64 base)
{
	u32 at = 0;
	int negative = 0, is_hex;
	u64 value = 0;

	while (at < text.n && (text.s[at] == ' ' || (text.s[at] >= '\t' && text.s[at] <= '\r')))
		at++;
	if (at < text.n && (text.s[at] == '-' || text.s[at] == '+'))
		negative = text.s[at++] == '-';
	is_hex = at + 2 < text.n && text.s[at] == '0' && (text.s[at + 1] == 'x' || text.s[at + 1] == 'X') && digit_of(text.s[at + 2]) < 16;
	if (base == 0)
		base = is_hex ? 16 : at < text.n && text.s[at] == '0' ? 8 : 10;
	if (base < 2 || base > 36)
		return 0;
	if (base == 16 && is_hex)
		at += 2;
	for (; at < text.n; at++) {
		u32 digit = digit_of(text.s[at]);

		if (digit >= base)
			break;
		value = value * (u64)base + digit;
	}
	return negative ? (s64)-value : (s64)value;
}

static struct stap_str changed_case(struct stap_context *c, struct stap_str text, char from, char to)
{
	char *copy = stap_space(c, text.n);
	u32 i;

	if (!copy)
		return STAP_EMPTY;
	for (i = 0; i < text.n; i++)
		copy[i] = text.s[i] >= from && text.s[i] <= from + 25 ? text.s[i] - from + to : text.s[i];
	return str(copy, text.n);
}

struct stap_str stap_tolower(struct stap_context *c, struct stap_str text)
{
	return changed_case(c, text, 'A', 'a');
}

struct stap_str stap_toupper(struct stap_context *c, struct stap_str text)
{
	return changed_case(c, text, 'a', 'A');
}

struct stap_str stap_char_string(struct stap_context *c, s64 byte)
{
	char *to;

	if ((u8)byte == 0)
		return STAP_EMPTY;
	to = stap_space(c, 1);
	if (!to)
		return STAP_EMPTY;
	*to = (char)byte;
	return str(to, 1);
}

struct stap_str stap_c_string(const char *text)
{
	u32 n = 0;

	while (text[n] && n < max_text())
		n++;
	return str(text, n);
}

struct stap_str stap_argument(s64 n)
{
	struct stap_str text;

	if (n < 1 || n > stap_core_script->argument_count)
		return STAP_EMPTY;
	text = stap_core_script->arguments[n - 1];
	return str(text.s, text.n < max_text() ? text.n : max_text());
}

/* --- name tables */

struct stap_str stap_table_name(const struct stap_table *table, s64 value, struct stap_str fallback)
{
	u32 low = 0, high = table->sorted_count;

	while (low < high) {
		u32 middle = (low + high) / 2;
		const struct stap_name *row = &table->rows[table->sorted[middle]];

		if (row->value == value)
			return stap_c_string(row->name);
		if (row->value < value)
			low = middle + 1;
		else
			high = middle;
	}
	return fallback;
}

static void put_name(struct stap_sink *sink, struct stap_str name)
{
	if (sink->at != sink->start)
		stap_put(sink, "|", 1);
	stap_put(sink, name.s, name.n);
}

struct stap_str stap_table_flags(struct stap_context *c, const struct stap_table *table, s64 value)
{
	u64 rest = (u64)value, field_done = 0;
	const char *zero = NULL;
	struct stap_sink sink;
	int in_field = 0;
	u32 i, k;

	stap_format_begin(c, &sink);
	for (i = 0; i < table->count; i++) {
		const struct stap_name *row = &table->rows[i];

		if (!row->is_field) {
			in_field = 0;
			if (row->value == 0) {
				if (!zero)
					zero = row->name;
			} else if ((rest & (u64)row->value) == (u64)row->value) {
				put_name(&sink, stap_c_string(row->name));
				rest &= ~(u64)row->value;
			}
			continue;
		}

		/* Entries of one field follow each other; the field is compared as it was when its first entry was reached. */
		if (in_field && field_done == row->mask)
			continue;
		in_field = 1;
		field_done = row->mask;
		for (k = i; k < table->count && table->rows[k].is_field && table->rows[k].mask == row->mask; k++) {
			if ((u64)table->rows[k].value == (rest & row->mask)) {
				put_name(&sink, stap_c_string(table->rows[k].name));
				rest &= ~row->mask;
				break;
			}
		}
	}
	if (rest) {
		put_name(&sink, STAP_EMPTY);
		stap_put_number(&sink, table->octal_rest ? 'o' : 'x', STAP_FLAG_ALTERNATE, 0, -1, (s64)rest);
	} else if (sink.at == sink.start) {
		if (zero)
			put_name(&sink, stap_c_string(zero));
		else
			stap_put(&sink, "0x0", 3);
	}
	return stap_format_end(c, &sink);
}

/* --- text from memory */

/* In pieces that never cross a 64-byte line, so that a string at the end of a page does not fail for what lies behind it. */
static struct stap_str read_string(struct stap_context *c, const struct stap_place *at, u64 address, s64 most, int user)
{
	u32 max = most < 0 ? 0 : most < max_text() ? (u32)most : max_text();
	char *to = stap_space(c, max);
	u32 n = 0, i;

	if (!to)
		return STAP_EMPTY;
	while (n < max) {
		u32 piece = 64 - ((address + n) & 63);

		if (piece > max - n)
			piece = max - n;
		if (!stap_env_copy(to + n, address + n, piece, user)) {
			stap_fail_fault(c, at, user ? "user string copy fault" : "kernel string copy fault", address, NULL);
			return STAP_EMPTY;
		}
		for (i = 0; i < piece; i++)
			if (to[n + i] == 0)
				goto done;
		n += piece;
		continue;
done:
		n += i;
		break;
	}
	c->text_used -= max - n;
	return str(to, n);
}

struct stap_str stap_kernel_string(struct stap_context *c, const struct stap_place *at, s64 address, s64 most)
{
	return read_string(c, at, (u64)address, most, 0);
}

struct stap_str stap_user_string(struct stap_context *c, const struct stap_place *at, s64 address, s64 most)
{
	return read_string(c, at, (u64)address, most, 1);
}

/* --- escaping */

static u32 escape_byte(u8 byte, char quote, char *to)
{
	static const char letters[] = "abtnvfr";

	to[0] = '\\';
	if (byte >= '\a' && byte <= '\r') {
		to[1] = letters[byte - '\a'];
		return 2;
	}
	if (byte == '\\' || byte == (u8)quote) {
		to[1] = (char)byte;
		return 2;
	}
	if (byte >= 32 && byte < 127) {
		to[0] = (char)byte;
		return 1;
	}
	to[1] = (char)('0' + (byte >> 6));
	to[2] = (char)('0' + ((byte >> 3) & 7));
	to[3] = (char)('0' + (byte & 7));
	return 4;
}

u32 stap_escape_char(u8 byte, char *to)
{
	return escape_byte(byte, '\'', to);
}

/* With quotes the text must leave room for the closing one and, when it is cut, for the dots: `fits` remembers where that still fits. */
struct escaping {
	char *to;
	u32 n, limit, fits;
	int quoted, cut;
};

static void escape_begin(struct escaping *e, char *to, u32 limit, int quoted)
{
	e->to = to;
	e->limit = limit;
	e->quoted = quoted;
	e->cut = 0;
	e->n = 0;
	if (quoted)
		to[e->n++] = '"';
	e->fits = e->n;
}

static void escape_add(struct escaping *e, u8 byte)
{
	char room[4];
	u32 n = escape_byte(byte, '"', room);

	if (e->n + n + (e->quoted ? 1 : 0) > e->limit) {
		e->cut = 1;
		return;
	}
	memcpy(e->to + e->n, room, n);
	e->n += n;
	if (e->n + 4 <= e->limit)
		e->fits = e->n;
}

static struct stap_str escape_end(struct stap_context *c, struct escaping *e, u32 reserved)
{
	if (e->quoted && e->cut) {
		e->n = e->fits;
		memcpy(e->to + e->n, "\"...", 4);
		e->n += 4;
	} else if (e->quoted) {
		e->to[e->n++] = '"';
	}
	c->text_used -= reserved - e->n;
	return stap_keep(c, str(e->to, e->n));
}

static u32 escape_limit(s64 most)
{
	return most <= 0 || most > max_text() ? max_text() : (u32)most;
}

struct stap_str stap_escape_text(struct stap_context *c, struct stap_str text, s64 most, s64 quoted)
{
	u32 limit = escape_limit(most), reserved = limit + 8, i;
	char *to = stap_space(c, reserved);
	struct escaping e;

	if (!to)
		return STAP_EMPTY;
	escape_begin(&e, to, limit, quoted != 0);
	for (i = 0; i < text.n && !e.cut; i++)
		escape_add(&e, (u8)text.s[i]);
	return escape_end(c, &e, reserved);
}

static struct stap_str read_buffer(struct stap_context *c, const struct stap_place *at, u64 address, s64 bytes, s64 most, int user)
{
	u32 limit = escape_limit(most), reserved = limit + 8, done, i;
	u32 count = bytes < 0 ? 0 : bytes < 65536 ? (u32)bytes : 65536;
	char *to = stap_space(c, reserved);
	struct escaping e;
	char piece[64];

	if (!to)
		return STAP_EMPTY;
	escape_begin(&e, to, limit, 1);

	/* All bytes are read, also those that no longer fit: a fault in any is an error. */
	for (done = 0; done < count; done += i) {
		u32 n = count - done < sizeof(piece) ? count - done : sizeof(piece);

		if (!stap_env_copy(piece, address + done, n, user)) {
			stap_fail_fault(c, at, user ? "user buffer copy fault" : "kernel buffer copy fault", address, NULL);
			return STAP_EMPTY;
		}
		for (i = 0; i < n; i++)
			if (!e.cut)
				escape_add(&e, (u8)piece[i]);
	}
	return escape_end(c, &e, reserved);
}

struct stap_str stap_kernel_buffer_quoted(struct stap_context *c, const struct stap_place *at, s64 address, s64 bytes, s64 most)
{
	return read_buffer(c, at, (u64)address, bytes, most, 0);
}

struct stap_str stap_user_buffer_quoted(struct stap_context *c, const struct stap_place *at, s64 address, s64 bytes, s64 most)
{
	return read_buffer(c, at, (u64)address, bytes, most, 1);
}
