// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Regular expressions. The translator compiles a pattern to a table (states x byte classes) that answers yes or no in one pass, and to steps from
 * which groups are found: a simulation that follows all ways at once in order of preference, each with the positions it has saved. Twin of
 * SystemTap.Semantics/Regex (RegexDfa.IsMatch, RegexSimulation): the match that starts first, of those the longest, groups greedy from left to right.
 *
 * The simulation's memory is the context's regex_scratch; the translator computes its size as said here.
 */
#include "core.h"

/* Per step: a mark, two list entries (step number and slots), two stack entries: steps * (20 + 4 * slots) + 4 * slots bytes and some. */


static int table_matches(const struct stap_regex *regex, struct stap_str text)
{
	u32 i;
	s32 state = 0;

	for (i = 0; i < text.n; i++) {
		if (regex->accepts[state] & 1)
			return 1;
		state = regex->next[(u32)state * regex->class_count + regex->classes[(u8)text.s[i]]];
		if (state < 0)
			return 0;
	}
	return regex->accepts[state] != 0;
}

struct list {
	u16 *step;
	s16 *saved;	/* slots of each way */
	u32 count;
};

struct undo {
	u16 step;	/* to follow; or, with a slot, nothing */
	s16 slot;	/* to put back; -1: none */
	s16 old;
};

struct simulation {
	const struct stap_regex *regex;
	struct stap_str text;
	u32 slots;
	u32 *mark, generation;
	struct list now, then;
	struct undo *stack;
	s16 *saved, *best;
};

/* Adds the steps reachable from `step` without reading a byte; `saved` holds the way's positions and is put back to what it was. */
static void add(struct simulation *s, struct list *list, u32 step, u32 position)
{
	u32 top = 0;

	for (;;) {
		const struct stap_regex_step *at = &s->regex->steps[step];
		int dead = s->mark[step] == s->generation;

		s->mark[step] = s->generation;
		if (!dead) {
			switch (at->op) {
			case STAP_RE_JUMP:
				step = at->a;
				continue;
			case STAP_RE_SPLIT:
				s->stack[top++] = (struct undo){ at->b, -1, 0 };
				step = at->a;
				continue;
			case STAP_RE_SAVE:
				s->stack[top++] = (struct undo){ 0, (s16)at->a, s->saved[at->a] };
				s->saved[at->a] = (s16)position;
				step++;
				continue;
			case STAP_RE_START:
				if (position == 0) {
					step++;
					continue;
				}
				break;
			case STAP_RE_END:
				if (position == s->text.n) {
					step++;
					continue;
				}
				break;
			default:
				list->step[list->count] = (u16)step;
				memcpy(list->saved + list->count * s->slots, s->saved, s->slots * sizeof(s16));
				list->count++;
				break;
			}
		}
		for (;;) {
			if (top == 0)
				return;
			top--;
			if (s->stack[top].slot < 0)
				break;
			s->saved[s->stack[top].slot] = s->stack[top].old;
		}
		step = s->stack[top].step;
	}
}

/* 1 when something matches exactly at `start`; then `best` is the longest. */
static int run(struct simulation *s, u32 start)
{
	u32 position, i, k;
	int found = 0;

	s->now.count = 0;
	for (i = 0; i < s->slots; i++)
		s->saved[i] = -1;
	s->generation++;
	add(s, &s->now, 0, start);
	for (position = start; s->now.count; position++) {
		struct list swap;
		int done = 0;

		s->then.count = 0;
		s->generation++;
		for (i = 0; i < s->now.count; i++) {
			u32 step = s->now.step[i];
			const struct stap_regex_step *at = &s->regex->steps[step];
			const s16 *saved = s->now.saved + i * s->slots;

			if (at->op == STAP_RE_MATCH) {
				/* Ways come in order of preference: the first to finish here wins; one that finishes later is longer and replaces it. */
				if (!done) {
					done = found = 1;
					memcpy(s->best, saved, s->slots * sizeof(s16));
				}
			} else if (position < s->text.n) {
				u8 byte = (u8)s->text.s[position];

				if (s->regex->sets[at->a][byte / 32] >> (byte % 32) & 1) {
					for (k = 0; k < s->slots; k++)
						s->saved[k] = saved[k];
					add(s, &s->then, step + 1, position + 1);
				}
			}
		}
		swap = s->now;
		s->now = s->then;
		s->then = swap;
	}
	return found;
}

static int simulate(struct stap_context *c, const struct stap_regex *regex, struct stap_str text, s16 *groups)
{
	struct simulation s;
	char *at = c->regex_scratch;
	u32 steps = regex->step_count, start;

	s.regex = regex;
	s.text = text;
	s.slots = 2u * regex->groups;
	s.mark = (u32 *)at;
	at += steps * sizeof(u32);
	s.stack = (struct undo *)at;
	at += 2 * steps * sizeof(struct undo);
	s.now.step = (u16 *)at;
	at += steps * sizeof(u16);
	s.then.step = (u16 *)at;
	at += steps * sizeof(u16);
	s.now.saved = (s16 *)at;
	at += (u64)steps * s.slots * sizeof(s16);
	s.then.saved = (s16 *)at;
	at += (u64)steps * s.slots * sizeof(s16);
	s.saved = (s16 *)at;
	at += s.slots * sizeof(s16);
	s.best = (s16 *)at;
	memset(s.mark, 0, steps * sizeof(u32));
	s.generation = 0;
	for (start = 0; start <= text.n; start++) {
		if (run(&s, start)) {
			if (groups)
				memcpy(groups, s.best, s.slots * sizeof(s16));
			return 1;
		}
	}
	return 0;
}

s64 stap_matches(struct stap_context *c, const struct stap_regex *regex, struct stap_str text)
{
	return regex->next ? table_matches(regex, text) : simulate(c, regex, text, NULL);
}

s64 stap_matches_groups(struct stap_context *c, const struct stap_regex *regex, struct stap_str text)
{
	if (regex->next && !table_matches(regex, text))
		return 0;
	if (!simulate(c, regex, text, c->match_groups))
		return 0;
	stap_set(c->match_subject, text);
	c->match_count = regex->groups;
	return 1;
}

struct stap_str stap_matched(struct stap_context *c, s64 group)
{
	s16 start = c->match_groups[2 * group], end = c->match_groups[2 * group + 1];
	struct stap_str whole = { c->match_subject->s + (start < 0 ? 0 : start), start < 0 ? 0 : (u32)(end - start) };

	return stap_keep(c, whole);
}
