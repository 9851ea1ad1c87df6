// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Aggregates. Each CPU adds to a cell of its own, without any lock: a context is exclusive on its CPU. Readers merge the cells.
 *
 * Variance by Welford's method on samples multiplied by 2^shift: `mean` is their running mean, `deviations` the sum of the squared deviations. Merged:
 * total sum of squares = sum within the cells + sum of n * (cell mean - grand mean)^2. Products need 128 bits, and the kernel has no 128-bit division.
 */
#include "core.h"

typedef __int128 wide;
typedef unsigned __int128 uwide;

u32 stap_cell_size(const struct stap_shape *shape)
{
	return (u32)sizeof(struct stap_cell) + shape->buckets * (u32)sizeof(s64);
}

static u32 log2_of(u64 value)
{
	return 63u - (u32)__builtin_clzll(value);
}

/* Logarithmic: #64 is 0, #65 is 1, #66 is 2-3, ...; #63 is -1 and so on. Linear: 0 below low, then one per step, the last for all above. */
static u32 bucket_of(const struct stap_shape *shape, s64 value)
{
	u64 bucket;

	if (shape->histogram == STAP_HIST_LOG) {
		if (value == 0)
			return 64;
		if (value > 0)
			return 65 + log2_of((u64)value);
		return log2_of(-(u64)value) > 63 ? 0 : 63 - log2_of(-(u64)value);
	}
	if (value < shape->low)
		return 0;
	bucket = ((u64)value - (u64)shape->low) / (u64)shape->step;
	return bucket >= shape->buckets - 2u ? shape->buckets - 1u : (u32)bucket + 1;
}

void stap_cell_add(struct stap_cell *cell, const struct stap_shape *shape, s64 sample)
{
	if (cell->count == 0 || sample < cell->min)
		cell->min = sample;
	if (cell->count == 0 || sample > cell->max)
		cell->max = sample;
	cell->count++;
	cell->sum = (s64)((u64)cell->sum + (u64)sample);
	if (shape->variance) {
		s64 scaled = (s64)((u64)sample << shape->shift);
		s64 delta = (s64)((u64)scaled - (u64)cell->mean);

		cell->mean = (s64)((u64)cell->mean + (u64)(delta / cell->count));
		cell->deviations = (s64)((u64)cell->deviations + (u64)delta * ((u64)scaled - (u64)cell->mean));
	}
	if (shape->buckets)
		cell->bucket[bucket_of(shape, sample)]++;
}

void stap_sample(struct stap_context *c, struct stap_stats *stats, s64 sample)
{
	stap_cell_add(stats->cells[c->cpu], stats->shape, sample);
}

void stap_clear_stats(struct stap_stats *stats)
{
	u32 cpu;

	for (cpu = 0; cpu < stap_cpus(); cpu++)
		memset(stats->cells[cpu], 0, stap_cell_size(stats->shape));
}

/* Quotient toward zero. */
static wide wide_div(wide a, s64 by)
{
	int negative = (a < 0) != (by < 0);
	uwide left = a < 0 ? -(uwide)a : (uwide)a, rest = 0, result = 0;
	u64 divisor = by < 0 ? -(u64)by : (u64)by;
	int bit;

	for (bit = 127; bit >= 0; bit--) {
		rest = rest << 1 | (left >> bit & 1);
		if (rest >= divisor) {
			rest -= divisor;
			result |= (uwide)1 << bit;
		}
	}
	return negative ? -(wide)result : (wide)result;
}

struct source {
	const struct stap_array *array;
	const struct stap_stats *stats;
	u32 entry;
};

static const struct stap_cell *cell_of(const struct source *from, u32 cpu)
{
	return from->array ? stap_array_cell(from->array, from->entry, cpu) : from->stats->cells[cpu];
}

/* The grand mean comes from the exact sum, also for a single cell, as in SystemTap: running means are truncated at every step. */
static s64 merged_variance(const struct source *from, u32 shift, s64 sum, s64 count)
{
	wide squares = 0, mean = wide_div((wide)sum << shift, count);
	u32 cpu;

	for (cpu = 0; cpu < stap_cpus(); cpu++) {
		const struct stap_cell *cell = cell_of(from, cpu);

		if (cell->count) {
			wide off = cell->mean - mean;

			squares += cell->deviations + off * off * cell->count;
		}
	}
	return (s64)(wide_div(squares, count - 1) >> (2 * shift));
}

static void merge(struct stap_context *c, const struct source *from, const struct stap_shape *shape, int with_buckets, struct stap_stat *into)
{
	u32 cpu, i;

	memset(into, 0, sizeof(*into));
	if (with_buckets) {
		into->bucket = (s64 *)stap_space(c, shape->buckets * (u32)sizeof(s64));
		if (into->bucket)
			memset(into->bucket, 0, shape->buckets * sizeof(s64));
	}
	if (from->array && !from->entry)
		return;
	for (cpu = 0; cpu < stap_cpus(); cpu++) {
		const struct stap_cell *cell = cell_of(from, cpu);

		if (!cell->count)
			continue;
		if (!into->count || cell->min < into->min)
			into->min = cell->min;
		if (!into->count || cell->max > into->max)
			into->max = cell->max;
		into->count += cell->count;
		into->sum = (s64)((u64)into->sum + (u64)cell->sum);
		for (i = 0; into->bucket && i < shape->buckets; i++)
			into->bucket[i] += cell->bucket[i];
	}
	if (shape->variance && into->count > 1)
		into->variance = merged_variance(from, shape->shift, into->sum, into->count);
}

void stap_read_stats(struct stap_context *c, const struct stap_stats *stats, int with_buckets, struct stap_stat *into)
{
	struct source from = { NULL, stats, 0 };

	merge(c, &from, stats->shape, with_buckets, into);
}

void stap_read_element(struct stap_context *c, const struct stap_array *array, const union stap_key *key, int with_buckets, struct stap_stat *into)
{
	struct source from = { array, NULL, stap_find(array, key) };

	merge(c, &from, array->shape, with_buckets, into);
}

/* What an entry is sorted by. */
s64 stap_entry_statistic(const struct stap_array *array, u32 entry, u32 statistic)
{
	struct source from = { array, NULL, entry };
	struct stap_stat stat;

	merge(NULL, &from, array->shape, 0, &stat);
	if (!stat.count)
		return 0;
	switch (statistic) {
	case STAP_COUNT: return stat.count;
	case STAP_SUM: return stat.sum;
	case STAP_MIN: return stat.min;
	case STAP_MAX: return stat.max;
	case STAP_AVG: return stap_div(stat.sum, stat.count);
	default: return stat.variance;
	}
}

const u16 *stap_bucket_order(struct stap_context *c, const struct stap_shape *shape, const struct stap_stat *stat, int by_number, u32 descending)
{
	u16 *order = (u16 *)stap_space(c, shape->buckets * (u32)sizeof(u16));
	u32 i, k;

	if (!order || !stat->bucket)
		return NULL;

	/* At most 128: insertion sort, which keeps equal ones in order of their numbers. */
	for (i = 0; i < shape->buckets; i++) {
		s64 value = by_number ? (s64)i : stat->bucket[i];

		for (k = i; k > 0; k--) {
			s64 before = by_number ? order[k - 1] : stat->bucket[order[k - 1]];

			if (descending ? before >= value : before <= value)
				break;
			order[k] = order[k - 1];
		}
		order[k] = (u16)i;
	}
	return order;
}
