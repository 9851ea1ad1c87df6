// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Associative arrays. All memory is taken when the session starts: `capacity` entries numbered from 1, a hash table of chains through them, and a
 * doubly linked list in order of insertion. Entries are reached by number, so nothing here ever follows a pointer a script could have spoiled.
 *
 * The caller holds the array's lock. Shared by adders, two things happen at once: chains are read while another CPU inserts (an entry is complete
 * before it is published at the head of its chain, and entries never leave a chain under a shared lock), and counters are added to (atomically).
 * Insertions take turns by a short lock of their own. Where handlers do nothing but add, nobody holds a lock at all, for the same reasons.
 */
#include "core.h"

struct entry {
	u32 chain;		/* next of the same hash slot */
	u32 before, after;	/* order of insertion */
	u32 hash;
	u64 sequence;
	union {
		s64 number;
		struct stap_buf text;
	};
	/* then the key's parts: s64, or struct stap_buf */
};

static struct entry *at(const struct stap_array *array, u32 number)
{
	return (struct entry *)(array->entries + (u64)(number - 1) * array->entry_size);
}

static u32 text_part(void)
{
	return (u32)((sizeof(u32) + stap_core_script->limits.max_string + 7) & ~7u);
}

/* --- start, stop */

static u64 order_size(const struct stap_array *array)
{
	return sizeof(struct stap_rank_list) + (u64)array->capacity * sizeof(struct stap_rank);
}

int stap_array_start(struct stap_array *array)
{
	u32 slots = 16, i, size = (u32)__builtin_offsetof(struct entry, number);

	size += array->value == STAP_STRING ? text_part() : (u32)sizeof(s64);
	array->key_at = size;
	for (i = 0; i < array->keys; i++)
		size += array->text_keys >> i & 1 ? text_part() : (u32)sizeof(s64);
	array->entry_size = size;
	while (slots < array->capacity && slots < 1u << 30)
		slots *= 2;
	array->mask = slots - 1;
	array->slots = stap_env_alloc((u64)slots * sizeof(u32), ~0u);
	array->entries = stap_env_alloc((u64)array->capacity * size, ~0u);
	if (!array->slots || !array->entries)
		return -1;
	if (array->orders) {
		array->order = stap_env_alloc(array->orders * order_size(array), ~0u);
		if (!array->order)
			return -1;
	}
	if (array->value == STAP_STAT) {
		array->cell_size = stap_cell_size(array->shape);
		array->cells = stap_env_alloc((u64)stap_cpus() * sizeof(char *), ~0u);
		if (!array->cells)
			return -1;
		for (i = 0; i < stap_cpus(); i++) {
			array->cells[i] = stap_env_alloc((u64)array->capacity * array->cell_size, i);
			if (!array->cells[i])
				return -1;
		}
	}
	return 0;
}

void stap_array_stop(struct stap_array *array)
{
	u32 i;

	for (i = 0; array->cells && i < stap_cpus(); i++)
		stap_env_free(array->cells[i]);
	stap_env_free(array->cells);
	stap_env_free(array->order);
	stap_env_free(array->entries);
	stap_env_free(array->slots);
	array->cells = NULL;
	array->order = NULL;
	array->entries = NULL;
	array->slots = NULL;
}

/* --- keys */

/* Texts are mixed and compared by words: keys are short, and a loop over bytes would be most of what an event costs. */

static u64 word_at(const char *s)
{
	u64 word;

	memcpy(&word, s, sizeof(word));
	return word;
}

/* All of 1 to 7 bytes in one word; two of the same length are equal if their words are. */
static u64 short_word(const char *s, u32 n)
{
	u32 first, last;

	if (n < 4)
		return (u64)(u8)s[0] << 16 | (u64)(u8)s[n / 2] << 8 | (u8)s[n - 1];
	memcpy(&first, s, sizeof(first));
	memcpy(&last, s + n - 4, sizeof(last));
	return (u64)first << 32 | last;
}

static u64 mix(u64 hash, u64 word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 32;
}

static u64 mix_text(u64 hash, struct stap_str text)
{
	u32 i;

	hash ^= text.n;
	if (text.n < 8)
		return mix(hash, text.n ? short_word(text.s, text.n) : 0);
	for (i = 0; i + 8 < text.n; i += 8)
		hash = mix(hash, word_at(text.s + i));
	return mix(hash, word_at(text.s + text.n - 8));
}

static int same_text(const struct stap_buf *stored, struct stap_str text)
{
	u32 i;

	if (stored->n != text.n)
		return 0;
	if (text.n < 8)
		return !text.n || short_word(stored->s, text.n) == short_word(text.s, text.n);
	for (i = 0; i + 8 < text.n; i += 8)
		if (word_at(stored->s + i) != word_at(text.s + i))
			return 0;
	return word_at(stored->s + text.n - 8) == word_at(text.s + text.n - 8);
}

static u32 hash_of(const struct stap_array *array, const union stap_key *key)
{
	u64 hash = 0x243f6a8885a308d3ULL;
	u32 part;

	if (array->keys == 1)
		return (u32)(array->text_keys ? mix_text(hash, key->t) : mix(hash, (u64)key->n));
	for (part = 0; part < array->keys; part++)
		hash = array->text_keys >> part & 1 ? mix_text(hash, key[part].t) : mix(hash, (u64)key[part].n);
	return (u32)hash;
}

static int key_matches(const struct stap_array *array, const struct entry *entry, const union stap_key *key, u32 given)
{
	const char *stored = (const char *)entry + array->key_at;
	u32 part;

	for (part = 0; part < array->keys; part++) {
		if (array->text_keys >> part & 1) {
			if ((given >> part & 1) && !same_text((const struct stap_buf *)stored, key[part].t))
				return 0;
			stored += text_part();
		} else {
			if ((given >> part & 1) && *(const s64 *)stored != key[part].n)
				return 0;
			stored += sizeof(s64);
		}
	}
	return 1;
}

/* All parts, with a short way for the usual array of one. */
static int is_key_of(const struct stap_array *array, const struct entry *entry, const union stap_key *key)
{
	const char *stored = (const char *)entry + array->key_at;

	if (array->keys == 1)
		return array->text_keys ? same_text((const struct stap_buf *)stored, key->t) : *(const s64 *)stored == key->n;
	return key_matches(array, entry, key, ~0u);
}

static void store_key(const struct stap_array *array, struct entry *entry, const union stap_key *key)
{
	char *stored = (char *)entry + array->key_at;
	u32 part;

	for (part = 0; part < array->keys; part++) {
		if (array->text_keys >> part & 1) {
			stap_set((struct stap_buf *)stored, key[part].t);
			stored += text_part();
		} else {
			*(s64 *)stored = key[part].n;
			stored += sizeof(s64);
		}
	}
}

static const char *key_part(const struct stap_array *array, u32 entry, u32 part)
{
	const char *stored = (const char *)at(array, entry) + array->key_at;
	u32 i;

	for (i = 0; i < part; i++)
		stored += array->text_keys >> i & 1 ? text_part() : (u32)sizeof(s64);
	return stored;
}

/* --- look up, insert, remove */

static u32 find_hashed(const struct stap_array *array, const union stap_key *key, u32 hash)
{
	u32 number = __atomic_load_n(&array->slots[hash & array->mask], __ATOMIC_ACQUIRE);

	while (number) {
		const struct entry *entry = at(array, number);

		if (entry->hash == hash && is_key_of(array, entry, key))
			return number;
		number = entry->chain;
	}
	return 0;
}

u32 stap_find(const struct stap_array *array, const union stap_key *key)
{
	return find_hashed(array, key, hash_of(array, key));
}

static void remove_entry(struct stap_array *array, u32 number)
{
	struct entry *entry = at(array, number);
	u32 *link = &array->slots[entry->hash & array->mask];

	while (*link != number)
		link = &at(array, *link)->chain;
	*link = entry->chain;
	*(entry->before ? &at(array, entry->before)->after : &array->first) = entry->after;
	*(entry->after ? &at(array, entry->after)->before : &array->last) = entry->before;

	/* `after` stays: a loop that stands here goes on. Free entries are chained by `chain`. */
	entry->chain = array->free;
	array->free = number;
	array->count--;
}

/* 0: the array is full. */
static u32 insert(struct stap_array *array, const union stap_key *key, u32 hash)
{
	struct entry *entry;
	u32 number, cpu;

	if (array->count >= array->capacity) {
		if (!array->wraps || !array->first)
			return 0;
		remove_entry(array, array->first);
	}
	if (array->free) {
		number = array->free;
		array->free = at(array, number)->chain;
	} else {
		number = ++array->fresh;
	}
	entry = at(array, number);
	entry->hash = hash;
	entry->sequence = ++array->sequence;
	store_key(array, entry, key);
	if (array->value == STAP_STRING)
		entry->text.n = 0;
	else
		entry->number = 0;
	for (cpu = 0; array->cells && cpu < stap_cpus(); cpu++)
		memset(stap_array_cell(array, number, cpu), 0, array->cell_size);
	entry->before = array->last;
	entry->after = 0;
	if (array->last)
		at(array, array->last)->after = number;
	else
		array->first = number;
	array->last = number;
	array->count++;
	entry->chain = array->slots[hash & array->mask];
	__atomic_store_n(&array->slots[hash & array->mask], number, __ATOMIC_RELEASE);
	return number;
}

static u32 find_or_insert(struct stap_array *array, const union stap_key *key)
{
	u32 hash = hash_of(array, key), number = find_hashed(array, key, hash);

	return number ? number : insert(array, key, hash);
}

/* The same while others insert too. */
static __attribute__((__noinline__)) u32 insert_shared(struct stap_array *array, const union stap_key *key, u32 hash)
{
	unsigned long state = 0;
	u32 number;

	if (!stap_env_insert_lock(array, &state))
		return 0;
	number = find_hashed(array, key, hash);
	if (!number)
		number = insert(array, key, hash);
	stap_env_insert_unlock(array, state);
	return number;
}

static inline u32 find_or_insert_shared(struct stap_array *array, const union stap_key *key)
{
	u32 hash = hash_of(array, key), number = find_hashed(array, key, hash);

	return number ? number : insert_shared(array, key, hash);
}

struct stap_cell *stap_array_cell(const struct stap_array *array, u32 entry, u32 cpu)
{
	return (struct stap_cell *)(array->cells[cpu] + (u64)(entry - 1) * array->cell_size);
}

/* --- what script code calls */

/*
 * Operations on one element. No lock of the script covers an owned array: its elements are each their thread's own, but chains and free entries are
 * shared, so each operation takes the array's short lock. Its owner alone may use the element after that.
 */
static u32 find_guarded(const struct stap_array *array, const union stap_key *key)
{
	unsigned long state;
	u32 number;

	if (!array->owned)
		return stap_find(array, key);
	if (!stap_env_insert_lock((struct stap_array *)array, &state))
		return 0;
	number = stap_find(array, key);
	stap_env_insert_unlock((struct stap_array *)array, state);
	return number;
}

static u32 find_or_insert_guarded(struct stap_array *array, const union stap_key *key)
{
	unsigned long state;
	u32 number;

	if (!array->owned)
		return find_or_insert(array, key);
	if (!stap_env_insert_lock(array, &state))
		return 0;
	number = find_or_insert(array, key);
	stap_env_insert_unlock(array, state);
	return number;
}

s64 stap_get_long(const struct stap_array *array, const union stap_key *key)
{
	u32 number = find_guarded(array, key);

	return number ? stap_load(&at(array, number)->number) : 0;
}

struct stap_str stap_get_text(const struct stap_array *array, const union stap_key *key)
{
	u32 number = find_guarded(array, key);

	return number ? stap_view(&at(array, number)->text) : STAP_EMPTY;
}

int stap_in(const struct stap_array *array, const union stap_key *key)
{
	return find_guarded(array, key) != 0;
}

int stap_in_matching(const struct stap_array *array, const union stap_key *key, u32 given)
{
	u32 number;

	for (number = array->first; number; number = at(array, number)->after)
		if (key_matches(array, at(array, number), key, given))
			return 1;
	return 0;
}

int stap_set_long(struct stap_array *array, const union stap_key *key, s64 value)
{
	u32 number = find_or_insert_guarded(array, key);

	if (number)
		at(array, number)->number = value;
	return number != 0;
}

int stap_set_text(struct stap_array *array, const union stap_key *key, struct stap_str value)
{
	u32 number = find_or_insert_guarded(array, key);

	if (number)
		stap_set(&at(array, number)->text, value);
	return number != 0;
}

int stap_append_text(const struct stap_place *place, struct stap_array *array, const union stap_key *key, struct stap_str value)
{
	u32 number = find_or_insert_guarded(array, key);

	if (number)
		stap_append(place, &at(array, number)->text, value);
	return number != 0;
}

s64 *stap_element(struct stap_array *array, const union stap_key *key)
{
	u32 number = find_or_insert_guarded(array, key);

	return number ? &at(array, number)->number : NULL;
}

int stap_element_add(struct stap_array *array, const union stap_key *key, s64 by)
{
	u32 number = find_or_insert_shared(array, key);

	if (number)
		stap_add(&at(array, number)->number, by);
	return number != 0;
}

int stap_element_sample(struct stap_context *c, struct stap_array *array, const union stap_key *key, s64 sample)
{
	u32 number = find_or_insert_shared(array, key);

	if (number)
		stap_cell_add(stap_array_cell(array, number, c->cpu), array->shape, sample);
	return number != 0;
}

void stap_delete(struct stap_array *array, const union stap_key *key)
{
	unsigned long state = 0;
	u32 number;

	if (array->owned && !stap_env_insert_lock(array, &state))
		return;
	number = stap_find(array, key);
	if (number)
		remove_entry(array, number);
	if (array->owned)
		stap_env_insert_unlock(array, state);
}

void stap_delete_matching(struct stap_array *array, const union stap_key *key, u32 given)
{
	u32 number, next;

	for (number = array->first; number; number = next) {
		next = at(array, number)->after;
		if (key_matches(array, at(array, number), key, given))
			remove_entry(array, number);
	}
}

void stap_clear(struct stap_array *array)
{
	if (!array->count)
		return;
	memset(array->slots, 0, ((u64)array->mask + 1) * sizeof(u32));
	array->count = array->first = array->last = array->free = array->fresh = 0;
}

/* --- iteration */

u32 stap_next_entry(const struct stap_array *array, u32 entry)
{
	return entry ? at(array, entry)->after : array->first;
}

int stap_entry_matches(const struct stap_array *array, u32 entry, const union stap_key *key, u32 given)
{
	return key_matches(array, at(array, entry), key, given);
}

s64 stap_entry_key(const struct stap_array *array, u32 entry, u32 part)
{
	return *(const s64 *)key_part(array, entry, part);
}

struct stap_str stap_entry_key_text(const struct stap_array *array, u32 entry, u32 part)
{
	return stap_view((const struct stap_buf *)key_part(array, entry, part));
}

s64 stap_entry_long(const struct stap_array *array, u32 entry)
{
	return stap_load(&at(array, entry)->number);
}

struct stap_str stap_entry_text(const struct stap_array *array, u32 entry)
{
	return stap_view(&at(array, entry)->text);
}

/* --- sorting */

struct order {
	const struct stap_array *array;
	u32 sort_key, descending, is_text;
};

/* Negative: a comes before b. Equal ones stand in order of insertion, whatever the direction. */
static int before(const struct order *o, const struct stap_rank *a, const struct stap_rank *b)
{
	int order;

	if (o->is_text && o->sort_key)
		order = stap_compare(stap_entry_key_text(o->array, a->entry, o->sort_key - 1), stap_entry_key_text(o->array, b->entry, o->sort_key - 1));
	else if (o->is_text)
		order = stap_compare(stap_entry_text(o->array, a->entry), stap_entry_text(o->array, b->entry));
	else
		order = a->value < b->value ? -1 : a->value > b->value;
	if (order)
		return o->descending ? -order : order;
	return at(o->array, a->entry)->sequence < at(o->array, b->entry)->sequence ? -1 : 1;
}

/* A heap with the last of the order at its root. */
static void sift(const struct order *o, struct stap_rank *rank, u32 count, u32 from)
{
	struct stap_rank moved = rank[from];
	u32 child;

	for (; (child = 2 * from + 1) < count; from = child) {
		if (child + 1 < count && before(o, &rank[child], &rank[child + 1]) < 0)
			child++;
		if (before(o, &rank[child], &moved) < 0)
			break;
		rank[from] = rank[child];
	}
	rank[from] = moved;
}

static void sort(const struct order *o, struct stap_rank *rank, u32 count, u32 limit)
{
	u32 i;

	if (count == 0)
		return;

	/* Only the first `limit` are wanted: keep the best so many in the heap. */
	for (i = limit / 2; i-- > 0; )
		sift(o, rank, limit, i);
	for (i = limit; i < count; i++) {
		if (before(o, &rank[i], &rank[0]) < 0) {
			rank[0] = rank[i];
			sift(o, rank, limit, 0);
		}
	}
	for (i = limit; i-- > 1; ) {
		struct stap_rank last = rank[0];

		rank[0] = rank[i];
		rank[i] = last;
		sift(o, rank, i, 0);
	}
}

static struct stap_rank_list *take_list(const struct stap_array *array)
{
	u32 i;

	for (i = 0; i < array->orders; i++) {
		struct stap_rank_list *list = (struct stap_rank_list *)((char *)array->order + i * order_size(array));

		if (!__atomic_exchange_n(&list->busy, 1, __ATOMIC_ACQUIRE))
			return list;
	}
	return NULL;
}

struct stap_rank_list *stap_sorted(struct stap_context *c, struct stap_array *array, const union stap_key *key, u32 given, u32 sort_key,
				   u32 descending, u32 statistic, s64 limit)
{
	struct order o = { array, sort_key, descending, 0 };
	struct stap_rank_list *list = take_list(array);
	u32 number, count = 0, most;

	if (!list)
		return NULL;
	o.is_text = sort_key ? array->text_keys >> (sort_key - 1) & 1 : array->value == STAP_STRING;
	for (number = array->first; number && count < array->capacity; number = at(array, number)->after) {
		struct stap_rank *rank = &list->rank[count];

		if (given && !key_matches(array, at(array, number), key, given))
			continue;
		rank->entry = number;
		rank->value = 0;
		if (!o.is_text)
			rank->value = sort_key ? stap_entry_key(array, number, sort_key - 1)
				: array->value == STAP_STAT ? stap_entry_statistic(array, number, statistic) : at(array, number)->number;
		count++;
	}
	most = limit < 0 ? 0 : limit < count ? (u32)limit : count;
	sort(&o, list->rank, most ? count : 0, most);
	list->count = most;
	list->below = c->orders;
	c->orders = list;
	return list;
}

void stap_sorted_done(struct stap_context *c, struct stap_rank_list *down_to)
{
	while (c->orders && c->orders != down_to) {
		struct stap_rank_list *list = c->orders;

		c->orders = list->below;
		__atomic_store_n(&list->busy, 0, __ATOMIC_RELEASE);
	}
}
