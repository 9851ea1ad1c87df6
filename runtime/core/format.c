// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Formatted output: printf of the script language and the pictures of histograms. Twin of SystemTap.Runtime/Output/Formatter.cs and
 * HistogramRenderer.cs: the same bytes for the same values.
 *
 * Where it leaves C: `#` shows 0x for 0 too; %p is %#x; the 0 flag on %s appends a NUL byte. Widths are held to MAX_PADDING because a `*` width is
 * script data.
 */
#include "core.h"

#define MAX_PADDING 65535
#define PAGE 4096

static int sink_more(struct stap_sink *sink)
{
	if (!sink->owner) {
		sink->cut = 1;
		return 0;
	}
	stap_env_print(sink->owner, sink->start, (u32)(sink->at - sink->start), 1);
	sink->at = sink->start;
	return 1;
}

void stap_put(struct stap_sink *sink, const char *bytes, u32 n)
{
	while (n) {
		u64 room = (u64)(sink->end - sink->at);
		u32 part = room < n ? (u32)room : n;

		memcpy(sink->at, bytes, part);
		sink->at += part;
		bytes += part;
		n -= part;
		if (n && !sink_more(sink))
			return;
	}
}

static void fill(struct stap_sink *sink, char byte, s64 n)
{
	while (n > 0) {
		s64 room = sink->end - sink->at;
		u32 part = room < n ? (u32)room : (u32)n;

		memset(sink->at, byte, part);
		sink->at += part;
		n -= part;
		if (n > 0 && !sink_more(sink))
			return;
	}
}

struct stap_sink *stap_print_begin(struct stap_context *c)
{
	c->sink.start = c->sink.at = c->out;
	c->sink.end = c->out + c->out_size;
	c->sink.owner = c;
	return &c->sink;
}

void stap_print_end(struct stap_context *c)
{
	stap_env_print(c, c->sink.start, (u32)(c->sink.at - c->sink.start), 0);
}

void stap_format_begin(struct stap_context *c, struct stap_sink *sink)
{
	u32 max = stap_core_script->limits.max_string - 1;

	sink->start = sink->at = stap_space(c, max);
	sink->end = sink->start ? sink->start + max : sink->start;
	sink->owner = NULL;
	sink->cut = 0;
}

struct stap_str stap_format_end(struct stap_context *c, struct stap_sink *sink)
{
	u32 n = (u32)(sink->at - sink->start), i;

	if (!sink->start)
		return STAP_EMPTY;
	for (i = 0; i < n; i++)
		if (!sink->start[i])
			break;
	c->text_used -= stap_core_script->limits.max_string - 1 - i;
	return (struct stap_str){ sink->start, i };
}

struct stap_str stap_format_result(struct stap_context *c, const struct stap_place *place, struct stap_sink *sink)
{
	if (STAP_UNLIKELY(sink->cut))
		stap_env_cut(place);
	return stap_format_end(c, sink);
}

static u64 magnitude_of(s64 value)
{
	return value < 0 ? -(u64)value : (u64)value;
}

/* Digits right-aligned before `end`; yields how many (0 for 0). */
static u32 decimal(u64 value, char *end)
{
	u32 n = 0;

	for (; value; value /= 10)
		end[-(s32)++n] = (char)('0' + value % 10);
	return n;
}

void stap_put_long(struct stap_sink *sink, s64 value)
{
	char text[24];
	char *end = text + sizeof(text);
	u32 n = decimal(magnitude_of(value), end);

	if (!n)
		end[-(s32)++n] = '0';
	if (value < 0)
		end[-(s32)++n] = '-';
	stap_put(sink, end - n, n);
}

static void put_digits(struct stap_sink *sink, char conversion, u32 flag, int left, s64 width, s64 precision, s64 value)
{
	char digits[24];
	char *end = digits + sizeof(digits);
	u64 magnitude = (u64)value;
	u32 count = 0, prefix;
	int alternate = flag == STAP_FLAG_ALTERNATE || conversion == 'p';
	int hex = conversion == 'x' || conversion == 'X' || conversion == 'p';
	s64 zeros, total, least;
	char sign = 0;

	if (conversion == 'd') {
		if (value < 0) {
			sign = '-';
			magnitude = -(u64)value;
		} else if (flag == STAP_FLAG_PLUS) {
			sign = '+';
		} else if (flag == STAP_FLAG_SPACE) {
			sign = ' ';
		}
	}
	if (hex) {
		for (; magnitude; magnitude >>= 4)
			end[-(s32)++count] = (conversion == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[magnitude & 15];
	} else if (conversion == 'o') {
		for (; magnitude; magnitude >>= 3)
			end[-(s32)++count] = (char)('0' + (magnitude & 7));
	} else {
		count = decimal(magnitude, end);
	}

	/* As in C: precision 0 shows no digit for 0; the default precision is 1. */
	least = precision < 0 ? 1 : precision;
	if (alternate && conversion == 'o' && least <= count && !(count == 0 && least > 0))
		least = count + 1;
	zeros = least > count ? least - count : 0;
	prefix = alternate && hex ? 2 : 0;
	total = count + zeros + prefix + (sign ? 1 : 0);
	if (flag == STAP_FLAG_ZERO && precision < 0 && !left && width > total) {
		zeros += width - total;
		total = width;
	}
	fill(sink, ' ', left ? 0 : width - total);
	if (sign)
		stap_put(sink, &sign, 1);
	if (prefix)
		stap_put(sink, conversion == 'X' ? "0X" : "0x", 2);
	fill(sink, '0', zeros);
	stap_put(sink, end - count, count);
	fill(sink, ' ', left ? width - total : 0);
}

static void put_binary(struct stap_sink *sink, int left, s64 width, s64 value)
{
	u32 size = width == 0 || width >= 8 ? 8 : width >= 4 ? 4 : width >= 2 ? 2 : 1;

	fill(sink, 0, left ? 0 : width - size);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	stap_put(sink, (const char *)&value, size);
#else
	stap_put(sink, (const char *)&value + 8 - size, size);
#endif
	fill(sink, 0, left ? width - size : 0);
}

/* Left-justified or not, and the padding's width. */
static s64 justify(s64 width, u32 flag, int *left)
{
	*left = flag == STAP_FLAG_LEFT || width < 0;
	return width < -MAX_PADDING || width > MAX_PADDING ? MAX_PADDING : width < 0 ? -width : width;
}

void stap_put_number(struct stap_sink *sink, char conversion, u32 flag, s64 width, s64 precision, s64 value)
{
	int left;
	char text[4];
	u32 n = 1;

	width = justify(width, flag, &left);
	if (precision < 0)
		precision = -1;
	if (precision > MAX_PADDING)
		precision = MAX_PADDING;
	switch (conversion) {
	case 'c':
		text[0] = (char)value;
		if (flag == STAP_FLAG_ALTERNATE)
			n = stap_escape_char((u8)value, text);
		fill(sink, ' ', left ? 0 : width - n);
		stap_put(sink, text, n);
		fill(sink, ' ', left ? width - n : 0);
		break;
	case 'b':
		put_binary(sink, left, width, value);
		break;
	default:
		put_digits(sink, conversion, flag, left, width, precision, value);
		break;
	}
}

void stap_put_string(struct stap_sink *sink, u32 flag, s64 width, s64 precision, struct stap_str text)
{
	u32 n = precision >= 0 && precision < text.n ? (u32)precision : text.n;
	int left;

	width = justify(width, flag, &left);
	fill(sink, ' ', left ? 0 : width - n);
	stap_put(sink, text.s, n);
	fill(sink, ' ', left ? width - n : 0);
	if (flag == STAP_FLAG_ZERO)
		fill(sink, 0, 1);
}

int stap_put_memory(struct stap_context *c, const struct stap_place *at, struct stap_sink *sink, int hex, u32 flag, s64 width, s64 count, u64 address)
{
	char piece[64];
	int left;
	s64 done, length;

	if (count < 0)
		count = 1;
	if (count > PAGE) {
		struct stap_sink message;

		stap_format_begin(c, &message);
		stap_put(&message, hex ? "%M of " : "%m of ", 6);
		stap_put_long(&message, count);
		stap_put(&message, " bytes is more than a page (4096)", 33);
		stap_fail_text(c, at, stap_format_end(c, &message));
		return 0;
	}
	length = hex ? 2 * count : count;
	width = justify(width, flag, &left);
	fill(sink, ' ', left ? 0 : width - length);
	for (done = 0; done < count; ) {
		u32 n = count - done < (s64)sizeof(piece) ? (u32)(count - done) : (u32)sizeof(piece), i;

		if (!stap_env_copy(piece, address + (u64)done, n, flag == STAP_FLAG_ALTERNATE)) {
			stap_fail_read(c, at, address, NULL);
			return 0;
		}
		if (!hex)
			stap_put(sink, piece, n);
		for (i = 0; hex && i < n; i++) {
			char two[2] = { "0123456789abcdef"[(u8)piece[i] >> 4], "0123456789abcdef"[piece[i] & 15] };

			stap_put(sink, two, 2);
		}
		done += n;
	}
	fill(sink, ' ', left ? width - length : 0);
	return 1;
}

void stap_log(struct stap_context *c, struct stap_str text)
{
	struct stap_sink *sink = stap_print_begin(c);

	stap_put(sink, text.s, text.n);
	stap_put(sink, "\n", 1);
	stap_print_end(c);
}

/* --- histograms */

/* What stands before the bar, right-aligned before `end`; yields its length. */
static u32 label(const struct stap_shape *shape, u32 bucket, char *end)
{
	char outside = 0;
	s64 value;
	u32 n;

	if (shape->histogram == STAP_HIST_LOG) {
		value = bucket == 64 ? 0 : bucket > 64 ? (s64)(1ULL << (bucket - 65)) : (s64)-(1ULL << (63 - bucket));
	} else if (bucket == 0) {
		outside = '<';
		value = shape->low;
	} else if (bucket == shape->buckets - 1u) {
		outside = '>';
		value = shape->high;
	} else {
		value = (s64)((u64)shape->low + (bucket - 1) * (u64)shape->step);
	}
	n = decimal(magnitude_of(value), end);
	if (!n)
		end[-(s32)++n] = '0';
	if (value < 0)
		end[-(s32)++n] = '-';
	if (outside)
		end[-(s32)++n] = outside;
	return n;
}

struct picture {
	struct stap_sink *sink;
	const struct stap_shape *shape;
	const s64 *counts;
	u32 label_width, count_width, width;
	s64 scale;
};

static void put_rows(const struct picture *p, u32 from, u32 to)
{
	char text[24];
	char *end = text + sizeof(text);
	u32 i, n;

	for (i = from; i < to; i++) {
		s64 bar = p->counts[i] / p->scale;

		n = label(p->shape, i, end);
		fill(p->sink, ' ', p->label_width - n);
		stap_put(p->sink, end - n, n);
		stap_put(p->sink, " |", 2);
		fill(p->sink, '@', bar);
		n = decimal((u64)p->counts[i], end);
		if (!n)
			end[-(s32)++n] = '0';
		fill(p->sink, ' ', (s64)p->width - bar + 1 + p->count_width - n);
		stap_put(p->sink, end - n, n);
		stap_put(p->sink, "\n", 1);
	}
}

/*
 * One row per bucket, two empty rows around the data, an empty line at the end. Empty rows further than HIST_ELISION from the data are left out, with a ~ line in
 * their place where rows follow.
 */
void stap_put_histogram(struct stap_sink *sink, const struct stap_shape *shape, const struct stap_stat *stat)
{
	const s64 *counts = stat->bucket;
	s32 elision = stap_core_script->limits.hist_elision;
	int linear = shape->histogram == STAP_HIST_LINEAR;
	s32 first, last, low = -1, high = -1, i;
	char text[24];
	struct picture p;
	s64 most = 0;

	if (!counts)
		return;

	/* The rows for values outside a linear histogram show only when there were such values. */
	first = linear && counts[0] == 0 ? 1 : 0;
	last = shape->buckets - (linear && counts[shape->buckets - 1] == 0 ? 2 : 1);
	for (i = first; i <= last; i++) {
		if (counts[i] > most)
			most = counts[i];
		if (counts[i]) {
			low = low < 0 ? i : low;
			high = i;
		}
	}
	if (low < 0)
		low = high = linear ? first : 64;
	if (elision >= 0) {
		first = low - 2 > first ? low - 2 : first;
		last = high + 2 < last ? high + 2 : last;
		if (!linear && low >= 64 && first < 64)
			first = 64; /* without negative samples no negative rows, as SystemTap prints it */
	}
	p.sink = sink;
	p.shape = shape;
	p.counts = counts;
	p.width = stap_core_script->limits.hist_width ? stap_core_script->limits.hist_width : 1;
	p.label_width = 5;
	for (i = first; i <= last; i++) {
		u32 n = label(shape, (u32)i, text + sizeof(text));

		if (n > p.label_width)
			p.label_width = n;
	}
	p.count_width = decimal((u64)most, text + sizeof(text));
	if (!p.count_width)
		p.count_width = 1;
	p.scale = most / p.width + (most % p.width ? 1 : 0);
	if (p.scale < 1)
		p.scale = 1;
	fill(sink, ' ', p.label_width - 5);
	stap_put(sink, "value |", 7);
	fill(sink, '-', p.width);
	stap_put(sink, " count\n", 7);
	for (i = first; i <= last; i++) {
		s32 end = i, after, before;

		if (counts[i] || elision < 0) {
			put_rows(&p, (u32)i, (u32)i + 1);
			continue;
		}
		while (end <= last && counts[end] == 0)
			end++;
		after = i > first ? elision : 0;
		before = end <= last ? elision : 0;
		if (end - i > after + before && most) {
			put_rows(&p, (u32)i, (u32)(i + after));
			if (end <= last) {
				fill(sink, ' ', p.label_width + 1);
				stap_put(sink, "~\n", 2);
			}
			put_rows(&p, (u32)(end - before), (u32)end);
		} else {
			put_rows(&p, (u32)i, (u32)end);
		}
		i = end - 1;
	}
	stap_put(sink, "\n", 1);
}
