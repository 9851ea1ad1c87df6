/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What script code is compiled against.
 *
 * Three parties meet here:
 *
 *   script    C text written by the translator (src/SystemTap.KernelModule/Translation), one file for each script. It includes this header and
 *             nothing else, so gcc compiles it in hundredths of a second. It exports one symbol, `stap_script`.
 *   core      runtime/core (C files): strings, arrays, statistics, formatting, regular expressions. Freestanding: of the outside world it knows only
 *             memcpy, memmove, memset, memcmp and the few hooks of core/core.h. Compiled with the kernel run-time, and with the test harness.
 *   run-time  runtime/kernel (or runtime/host in tests): contexts, locks, probes, clocks, tasks, memory reads, output. It includes this header after
 *             the kernel's own (define STAP_KERNEL_HEADERS then) and implements everything marked [env] below; what is marked [core] core implements.
 *
 * A handler run, seen from the run-time:
 *
 *     c = a free context of this CPU, else count a skipped probe         (a context is exclusive: nothing else on this CPU runs with it)
 *     take probe->locks[], all or none, in the order given               (event handlers only; begin, end and error handlers run alone;
 *                                                                         with interrupts off if probe->irqs_off says so; with locks_late
 *                                                                         not before the handler calls stap_lock())
 *     stap_context_begin(c, probe);  c->args, c->regs, c->value … = event
 *     probe->handler(c);
 *     stap_context_end(c);
 *     release the locks
 *     c->failed == STAP_FAILED or STAP_FAILED_HARD: stap_error_line(c, …) is the "ERROR: " line to send, count it against max_errors
 *     c->failed == STAP_ABORTED: the session ends as after exit()
 *
 * Rules of script code, which keep it loadable and safe:
 *   - It never takes the address of a run-time function (objtool seals the ENDBR of those). Addresses of its own handlers stand in its own table.
 *   - No string is ever on the kernel's stack. Longs live in C variables; strings live in the context's text space: a stack of bytes that functions
 *     push their string variables and intermediate results on. Its size is computed by the translator (stap_script.text_space).
 *   - Recursive functions ask stap_stack_low() and fail with "MAXNESTING exceeded" long before the kernel's stack ends.
 *   - An operation that can fail sets c->failed and script code jumps to the enclosing catch, or leaves the handler. Nothing unwinds by itself.
 *   - Locks are taken by the run-time around the whole handler, or, where it begins with filters, by one stap_lock() behind them. They are given back
 *     by the run-time.
 *
 * Locks. For each global the translator decides whether it needs a lock at all (some event handler changes it, and not only by one atomic
 * instruction) and what may share it: readers, or – for counters and aggregates that handlers only add to – adders, whose operations stap_*_add_* are
 * safe against each other. So a lock is an ordinary reader/writer lock: entries of stap_lock with exclusive == 0 share it. A lock not had in
 * max_try_lock × try_lock_delay µs (from NMI: at once) is a skipped probe, counted.
 *
 * Cells. What handlers add to aggregates goes to the cell c->cpu, by plain instructions. So two handlers that can be in the middle of it at once need
 * different numbers: of another CPU, and on one CPU of an NMI's handler (cpus of stap_core_start() counts these too, if the script has probes that fire
 * in NMI). Below NMI it is enough that interrupts are off; the translator sets irqs_off for handlers that an interrupt's handler could disturb so.
 *
 * Strings are byte strings without NUL. As values they are (address, length) pairs, never NUL-terminated; struct stap_buf is a variable.
 */
#ifndef STAP_H
#define STAP_H

#ifndef STAP_KERNEL_HEADERS
typedef signed char s8;
typedef unsigned char u8;
typedef short s16;
typedef unsigned short u16;
typedef int s32;
typedef unsigned int u32;
typedef long long s64;
typedef unsigned long long u64;
#ifndef NULL
#define NULL ((void *)0)
#endif
void *memcpy(void *to, const void *from, __SIZE_TYPE__ n);
void *memmove(void *to, const void *from, __SIZE_TYPE__ n);
void *memset(void *to, int byte, __SIZE_TYPE__ n);
int memcmp(const void *a, const void *b, __SIZE_TYPE__ n);
#endif

#define STAP_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define STAP_COLD __attribute__((cold))

/* ------------------------------------------------------------------------------------------------------------------------------------ values */

/* A string value. Valid as long as the variable, element or piece of text space it points into. */
struct stap_str {
	const char *s;
	u32 n;
};

#define STAP_TEXT(literal) ((struct stap_str){ (literal), sizeof(literal) - 1 })
#define STAP_EMPTY ((struct stap_str){ "", 0 })

/* A string variable: room for stap_script.limits.max_string - 1 bytes. */
struct stap_buf {
	u32 n;
	char s[];
};

/* A string variable in memory of the script's own. STAP_MAXSTRINGLEN is defined by script files before this header. */
#define STAP_BUF(name) union { struct stap_buf buf; struct { u32 n; char s[STAP_MAXSTRINGLEN]; } room; } name

/* A key of an array is an array of these, one for each part. */
union stap_key {
	s64 n;
	struct stap_str t;
};

enum stap_type { STAP_LONG, STAP_STRING, STAP_STAT };

/* ------------------------------------------------------------------------------------------------------------------------------------ places */

/* Where something stands in the script, for error messages. */
struct stap_place {
	const char *token;	/* as diagnostics call it: operator '/' */
	const char *at;		/* FILE:LINE:COL */
	u8 library;		/* in the tapset library: messages name the call that led there */
};

/* ----------------------------------------------------------------------------------------------------------------------------------- context */

enum stap_failure {
	STAP_FINE,
	STAP_FAILED,		/* a run-time error; try/catch catches it */
	STAP_FAILED_HARD,	/* MAXACTION: not catchable */
	STAP_ABORTED,		/* abort() */
};

/* Collects formatted output. Of a print: the context's output buffer; of sprintf: text space. */
struct stap_sink {
	char *at;		/* next byte to write */
	char *end;		/* no byte at or after this */
	char *start;
	struct stap_context *owner;	/* of a print: may be sent in pieces when full; NULL: what does not fit is dropped */
	u8 cut;			/* something was dropped; only for stap_format_begin()'s */
};

struct stap_probe;
struct stap_rank;
struct stap_regex;

/* One run of a handler. The run-time owns it (several per session), fills the members of the first two groups and may embed it in a larger one. */
struct stap_context {
	/* Memory, set once by stap_context_init() [core]. */
	char *text;			/* text space */
	u32 text_size;
	u32 max_depth;
	const struct stap_place **callers;	/* max_depth + 1 */
	struct stap_buf *error;		/* message of the last error */
	char *out;			/* output buffer of prints */
	u32 out_size;
	char *regex_scratch;
	struct stap_buf *match_subject;
	s16 *match_groups;		/* start and end of group n at 2n and 2n+1; -1: took no part */
	struct stap_buf *token_text;
	struct stap_buf *procfs;	/* $value: what was written; what a read handler gives */

	/* The event, set by the run-time before the handler is called. */
	const struct stap_probe *probe;
	void *regs;			/* struct pt_regs of the event, NULL: none */
	void *user_regs;		/* struct pt_regs of the interrupted user code, NULL: none */
	const u64 *args;		/* arguments of a tracepoint as the kernel passes them, or the six of a system call */
	s64 value;			/* return value of the function or system call */
	s64 syscall;			/* number of the system call */
	u32 cpu;			/* of this context: index of the per-CPU cells, see "Cells" above */
	u8 user_mode;			/* the event interrupted user code */
	unsigned long stack_floor;	/* script code must not use the stack below this address */

	/* The run, reset by stap_context_begin() [core]. */
	u32 text_used;
	u32 depth;			/* nested calls */
	s32 actions;			/* left of MAXACTION */
	u8 failed;			/* enum stap_failure */
	u8 next;			/* a function said `next` */
	u8 has_procfs;
	u8 has_tokens;			/* tokenize() has a text to go on with */
	u16 match_count;		/* groups of the last match, 0: none yet */
	u32 token_at;
	const struct stap_place *error_place;	/* valid while `failed` is set, as is the message */
	struct stap_rank_list *orders;	/* sorted lists in use */
	struct stap_sink sink;		/* of the print being made */

	void *env;			/* for the run-time */
};

/* ----------------------------------------------------------------------------------------------------------------------------------- globals */

enum stap_histogram { STAP_HIST_NONE, STAP_HIST_LINEAR, STAP_HIST_LOG };

/* What is kept of an aggregate. */
struct stap_shape {
	u8 histogram;		/* enum stap_histogram */
	u8 variance;		/* keeps the two words of Welford's method */
	u8 shift;		/* bits of scaling of the variance */
	u8 show_sum, show_min, show_max;	/* parts the script reads; for the display at the end */
	u16 buckets;
	s64 low, high, step;
};

/* What one CPU has seen. Followed by shape->buckets counters. */
struct stap_cell {
	s64 count, sum, min, max, mean, deviations;
	s64 bucket[];
};

/* A scalar aggregate. */
struct stap_stats {
	const struct stap_shape *shape;
	struct stap_cell **cells;	/* by CPU [core allocates] */
};

/* An aggregate of all CPUs, as extractors see it. */
struct stap_stat {
	s64 count, sum, min, max, variance;
	s64 *bucket;		/* in text space; NULL when not asked for */
};

enum stap_statistic { STAP_COUNT, STAP_SUM, STAP_MIN, STAP_MAX, STAP_AVG, STAP_VARIANCE };

/* An array. The first part is the translator's, the rest belongs to core. */
struct stap_array {
	const char *name;
	u8 keys;		/* parts of a key */
	u8 value;		/* enum stap_type */
	u16 text_keys;		/* bit i: part i is a string */
	u32 capacity;
	u8 wraps;		/* % arrays drop the oldest */
	u16 orders;		/* sorted foreach loops that can be under way at once: so many sort buffers */
	u8 owned;		/* each element belongs to one thread or CPU: no lock set names the array, each operation takes its short lock */
	const struct stap_shape *shape;

	u32 count;
	u32 first, last;	/* insertion order; entries are numbered from 1, 0 is none */
	u32 free;
	u32 fresh;		/* entries never used yet start here */
	u32 mask;		/* hash slots - 1 */
	u32 *slots;
	char *entries;
	u32 entry_size, key_at;
	u64 sequence;
	char **cells;		/* aggregates: by CPU, entry e at (e - 1) * cell_size */
	u32 cell_size;
	unsigned int insert_lock;	/* hook stap_env_insert_lock() */
	struct stap_rank_list *order;
};

enum stap_global_flags {
	STAP_SHOW = 1,		/* printed when the session ends */
	STAP_HEX = 2,		/* holds pointers: printed as hexadecimal */
	STAP_LOCKED = 4,	/* some lock set names it: needs a lock */
	STAP_TAPSET = 8,
};

struct stap_global {
	const char *name;
	u8 type;		/* enum stap_type: of the scalar or of the values */
	u8 flags;
	struct stap_array *array;	/* NULL: a scalar */
	union {
		s64 *number;
		struct stap_buf *text;
		struct stap_stats *stats;
	};
};

/* One lock that a handler needs. */
struct stap_lock {
	u16 global;		/* index in stap_script.globals; the table is in rising order */
	u8 exclusive;
};

/* ------------------------------------------------------------------------------------------------------------------------------------ probes */

enum stap_probe_kind {
	STAP_PROBE_BEGIN,	/* priority */
	STAP_PROBE_END,		/* priority */
	STAP_PROBE_ERROR,	/* priority */
	STAP_PROBE_NEVER,
	STAP_PROBE_TIMER,	/* timer */
	STAP_PROBE_PROFILE,	/* profile: every CPU, interrupted context in regs */
	STAP_PROBE_TRACEPOINT,	/* trace: arguments in c->args */
	STAP_PROBE_SYSCALL,	/* syscall: c->syscall, and c->args (entry) or c->value (return) */
	STAP_PROBE_PROCESS,	/* process: event */
	STAP_PROBE_PERF,	/* perf: interrupted context in regs */
	STAP_PROBE_PROCFS,	/* procfs */
	STAP_PROBE_KERNEL,	/* code: c->regs; at return also c->value */
	STAP_PROBE_USER,	/* user: c->regs and c->user_regs; at return also c->value */
	STAP_PROBE_WATCHPOINT,	/* watch */
	STAP_PROBE_NETFILTER,	/* netfilter: c->args as the translator's ContextExpr numbers them */
};

enum stap_process_event { STAP_PROCESS_BEGIN, STAP_PROCESS_END, STAP_THREAD_BEGIN, STAP_THREAD_END };

enum stap_filter_kind {
	STAP_FILTER_NONE,	/* not limited to processes */
	STAP_FILTER_ALL,	/* every process; with -c/-x the target and its descendants */
	STAP_FILTER_PATH,	/* processes whose executable is this file */
	STAP_FILTER_PID,
};

struct stap_filter {
	u8 kind;
	s32 pid;
	const char *path;
};

struct stap_probe {
	u8 kind;		/* enum stap_probe_kind */
	u8 is_return;
	u8 irqs_off;		/* runs with interrupts off: takes locks or adds to cells that an interrupt's handler uses, too */
	u8 locks_late;		/* the handler takes its locks itself, by stap_lock(), behind its filters; only then are interrupts off */
	u8 arguments;		/* the handler reads c->args below this number */
	u16 lock_count;
	void (*handler)(struct stap_context *c);
	s64 (*condition)(void);	/* NULL: none. The probe may be disarmed while it yields 0; the handler tests it again. */
	const struct stap_lock *locks;
	const char *point;	/* resolved probe point, pp() */
	const char *name;	/* as the script spells it, pn() */
	const char *mechanism;	/* probe_type() */
	const struct stap_place *place;
	struct stap_filter processes;
	const char *function, *module;	/* probed function and where it is; NULL for other events */
	union {
		s64 priority;
		struct { s64 interval_ns, randomize_ns; } timer;
		struct { s64 frequency_hz; } profile;
		struct { const char *name, *system; } trace;		/* system may be NULL */
		struct { s32 number; u8 is_compat; const char *name; } syscall;	/* number -1: every call */
		struct { u8 event; } process;				/* enum stap_process_event */
		struct { u32 type; u64 config; s64 period, frequency_hz; const char *counter; } perf;	/* counter: only read, no handler */
		struct { const char *path; u8 is_write; u32 mode, max_size; } procfs;
		struct { const char *symbol, *module; s64 offset; u64 address; s32 max_active; u8 kprobe_only, is_guess; } code;	/* module may be NULL; is_guess: of a pattern, not known to be there */
		struct { const char *path, *symbol; s64 offset, semaphore; u16 frame; s32 frame_offset; } user;	/* frame: 1 + place in pt_regs of the register from which arguments on the stack count; 0: as at a function's first instruction */
		struct { u64 address; const char *symbol; u8 length, on_read; } watch;
		struct { s32 hook, family, priority; } netfilter;
	};
};

/* ------------------------------------------------------------------------------------------------------------------------------------- script */

struct stap_limits {
	u32 max_string;		/* MAXSTRINGLEN, NUL included */
	s32 max_action;		/* statements of one handler run; INT_MAX with --suppress-time-limits */
	u32 max_nesting;
	u32 max_errors;
	u32 max_skipped;
	u32 max_try_lock;
	u32 try_lock_delay;	/* µs */
	u32 hist_width;
	s32 hist_elision;
	u32 max_back_trace;
	u32 suppress_errors;	/* --suppress-handler-errors: errors are counted, not told, and end nothing */
	u32 hide_globals;	/* --no-global-var-display */
	u32 bulk;		/* -b: staprun writes a file for each CPU */
	u64 overload_threshold;	/* cycles of handlers in any interval that end the session; 0: no such watch */
	u64 overload_interval;	/* cycles */
};

/* The one symbol a script object exports. */
struct stap_script {
	const char *name;	/* of the module; the loader knows it too */
	u32 api;		/* STAP_API */
	u32 text_space;		/* bytes of string space that a context needs */
	u32 regex_scratch;	/* bytes */
	u32 regex_groups;	/* most groups of any regular expression that matched() can ask for */
	u32 global_count;
	u32 probe_count;
	u32 argument_count;
	u32 user_stacks;	/* 1: handlers ask for user stacks or names in programs, so staprun follows what processes map */
	const struct stap_global *globals;
	const struct stap_probe *probes;
	const struct stap_str *arguments;
	struct stap_limits limits;
};

#define STAP_API 4

extern const struct stap_script stap_script;

/* Constants of the session, filled by the run-time before begin handlers run [env]. */
struct stap_session {
	s64 target;		/* pid of -x or -c, else 0 */
	s64 stp_pid;		/* of staprun */
	s64 uid;		/* who started it */
	s64 pid_namespace, user_namespace;	/* inode numbers that ns_… functions speak of */
	s64 hz, page_size;
	s64 tz_offset;		/* seconds west of UTC */
	char tz_name[16];
	char module_name[64];
};

extern struct stap_session stap_session;

/* ------------------------------------------------------------------------------------------------------------------- errors, calls, budgets */

/* All raise a run-time error at a place. [core] */
STAP_COLD void stap_fail(struct stap_context *c, const struct stap_place *at, const char *message);
STAP_COLD void stap_fail_text(struct stap_context *c, const struct stap_place *at, struct stap_str message);
STAP_COLD void stap_fail_hard(struct stap_context *c, const struct stap_place *at, const char *message);
STAP_COLD void stap_fail_read(struct stap_context *c, const struct stap_place *at, u64 address, const char *member);	/* member may be NULL */
void stap_fail_write(struct stap_context *c, const struct stap_place *at, u64 address, int user);
STAP_COLD void stap_fail_full(struct stap_context *c, const struct stap_place *at, const struct stap_array *array);
STAP_COLD void stap_fail_register(struct stap_context *c, const struct stap_place *at, struct stap_str name);
STAP_COLD void stap_fail_group(struct stap_context *c, const struct stap_place *at, s64 group);

/* abort() [core] */
STAP_COLD void stap_abort(struct stap_context *c);

/* Counts a statement or iteration; true when the budget is used up. */
static inline int stap_spent(struct stap_context *c)
{
	return STAP_UNLIKELY(--c->actions < 0);
}

#define STAP_SPEND(c, at, failed) do { \
	if (stap_spent(c)) { \
		stap_fail_hard(c, at, "MAXACTION exceeded"); \
		goto failed; \
	} \
} while (0)

/* Remembers a call for messages and counts nesting; true when it is too deep. Undone by `c->depth--` after the call. */
static inline int stap_too_deep(struct stap_context *c, const struct stap_place *call)
{
	c->callers[c->depth] = call;
	return STAP_UNLIKELY(++c->depth > c->max_depth);
}

/* Asked by recursive functions. */
static inline int stap_stack_low(const struct stap_context *c)
{
	return STAP_UNLIKELY((unsigned long)__builtin_frame_address(0) < c->stack_floor);
}

/* -------------------------------------------------------------------------------------------------------------------------------- arithmetic */

static inline s64 stap_div(s64 a, s64 b)	/* b is not 0 */
{
	return b == -1 ? (s64)-(u64)a : a / b;
}

static inline s64 stap_mod(s64 a, s64 b)	/* b is not 0 */
{
	return b == -1 ? 0 : a % b;
}

/* Globals that are changed without a lock: one atomic instruction each. */
static inline s64 stap_load(const s64 *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static inline s64 stap_store(s64 *at, s64 value)
{
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
	return value;
}

static inline s64 stap_add(s64 *at, s64 by)	/* yields the old value */
{
	return __atomic_fetch_add(at, by, __ATOMIC_RELAXED);
}

static inline int stap_swap(s64 *at, s64 *old, s64 value)	/* compare and exchange; on failure *old is what stands there */
{
	return __atomic_compare_exchange_n(at, old, value, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* --------------------------------------------------------------------------------------------------------------------------------- text space */

/* So many bytes of text space; NULL (and c->failed set) when it is used up. [core: the cold part] */
STAP_COLD char *stap_no_space(struct stap_context *c);

static inline char *stap_space(struct stap_context *c, u32 bytes)
{
	u32 from = (c->text_used + 7) & ~7u;

	if (STAP_UNLIKELY(bytes > c->text_size || from > c->text_size - bytes))
		return stap_no_space(c);
	c->text_used = from + bytes;
	return c->text + from;
}

/* A new, empty string variable. */
static inline struct stap_buf *stap_variable(struct stap_context *c, u32 max_string)
{
	struct stap_buf *v = (struct stap_buf *)stap_space(c, sizeof(u32) + max_string);

	if (v)
		v->n = 0;
	return v;
}

static inline struct stap_str stap_view(const struct stap_buf *v)
{
	return (struct stap_str){ v->s, v->n };
}

/* Assignment, cut to limits.max_string - 1; the value may lie in the variable itself. [core] */
void stap_set(struct stap_buf *to, struct stap_str value);
void stap_append(const struct stap_place *place, struct stap_buf *to, struct stap_str value);

/* A copy in text space: for values that point into something that may change. [core] */
struct stap_str stap_keep(struct stap_context *c, struct stap_str value);

/* The result of a function: drops the text space above `mark` and puts the value there. [core] */
struct stap_str stap_result(struct stap_context *c, u32 mark, struct stap_str value);

/* ------------------------------------------------------------------------------------------------------------------------------------ strings */

/* [core] Results are in text space, never longer than limits.max_string - 1; where a place is given, cutting them to that is counted. */
struct stap_str stap_concat(struct stap_context *c, const struct stap_place *place, const struct stap_str *parts, u32 count);
int stap_compare(struct stap_str a, struct stap_str b);		/* bytewise: <0, 0, >0 */
static inline int stap_same(struct stap_str a, struct stap_str b)
{
	return a.n == b.n && (a.s == b.s || memcmp(a.s, b.s, a.n) == 0);
}
struct stap_str stap_substr(struct stap_str text, s64 start, s64 length);	/* points into text */
s64 stap_byte_at(struct stap_str text, s64 at);
s64 stap_position(struct stap_str text, struct stap_str part);	/* -1: absent */
struct stap_str stap_replace(struct stap_context *c, const struct stap_place *place, struct stap_str text, struct stap_str search, struct stap_str replacement);
struct stap_str stap_tokenize(struct stap_context *c, struct stap_str text, struct stap_str delimiters, s64 is_continue);
s64 stap_parse_long(struct stap_str text, s64 base);
struct stap_str stap_escape_text(struct stap_context *c, struct stap_str text, s64 most, s64 quoted);
struct stap_str stap_tolower(struct stap_context *c, struct stap_str text);
struct stap_str stap_toupper(struct stap_context *c, struct stap_str text);
struct stap_str stap_char_string(struct stap_context *c, s64 byte);
struct stap_str stap_c_string(const char *text);		/* view of a NUL-terminated constant */
struct stap_str stap_argument(s64 n);				/* script argument, 1-based */

/* Name tables (tapset/tables). */
struct stap_name {
	s64 value;
	u64 mask;		/* of a field; 0: a bit (or set of bits) */
	const char *name;
	u8 is_field;
};

struct stap_table {
	const struct stap_name *rows;	/* in the order of the file */
	const u16 *sorted;		/* row numbers by value, the first row of equal ones */
	u16 count, sorted_count;
	u8 octal_rest;
};

struct stap_str stap_table_name(const struct stap_table *table, s64 value, struct stap_str fallback);
struct stap_str stap_table_flags(struct stap_context *c, const struct stap_table *table, s64 value);

/* -------------------------------------------------------------------------------------------------------------------------- regular expressions */

struct stap_regex_step {
	u8 op;			/* enum stap_regex_op */
	u16 a, b;
};

enum stap_regex_op { STAP_RE_SET, STAP_RE_SPLIT, STAP_RE_JUMP, STAP_RE_SAVE, STAP_RE_START, STAP_RE_END, STAP_RE_MATCH };

struct stap_regex {
	/* The table for yes/no: states x classes; NULL: too large, the steps decide. */
	const u8 *classes;	/* of the 256 bytes */
	const s16 *next;	/* -1: no match can come */
	const u8 *accepts;	/* by state: 1 found, 2 found if the text ends here */
	u16 class_count;
	/* The steps, for groups. */
	u16 step_count;
	u16 groups;		/* with the whole match */
	const struct stap_regex_step *steps;
	const u32 (*sets)[8];	/* 256 bits each */
};

s64 stap_matches(struct stap_context *c, const struct stap_regex *regex, struct stap_str text);		/* [core] */
s64 stap_matches_groups(struct stap_context *c, const struct stap_regex *regex, struct stap_str text);	/* [core] remembers groups */
/* matched(n): the group must exist (c->match_count). [core] */
struct stap_str stap_matched(struct stap_context *c, s64 group);

/* ------------------------------------------------------------------------------------------------------------------------------------- arrays */

/* [core] Keys: as many parts as the array has. Locks are held by the caller. */
s64 stap_get_long(const struct stap_array *array, const union stap_key *key);
struct stap_str stap_get_text(const struct stap_array *array, const union stap_key *key);	/* points into the element */
int stap_in(const struct stap_array *array, const union stap_key *key);
int stap_in_matching(const struct stap_array *array, const union stap_key *key, u32 given);	/* bit i of given: part i must be equal */
/* These create the element and yield 0 (NULL) when the array is full. */
int stap_set_long(struct stap_array *array, const union stap_key *key, s64 value);
int stap_set_text(struct stap_array *array, const union stap_key *key, struct stap_str value);
int stap_append_text(const struct stap_place *place, struct stap_array *array, const union stap_key *key, struct stap_str value);
s64 *stap_element(struct stap_array *array, const union stap_key *key);				/* of longs, for updates */
int stap_element_add(struct stap_array *array, const union stap_key *key, s64 by);		/* safe against other adders: shared lock */
int stap_element_sample(struct stap_context *c, struct stap_array *array, const union stap_key *key, s64 sample);	/* shared lock */
void stap_delete(struct stap_array *array, const union stap_key *key);
void stap_delete_matching(struct stap_array *array, const union stap_key *key, u32 given);
void stap_clear(struct stap_array *array);

/* Iteration: entry numbers from 1, 0 at the end. */
u32 stap_next_entry(const struct stap_array *array, u32 entry);	/* after `entry`; 0: the first */
int stap_entry_matches(const struct stap_array *array, u32 entry, const union stap_key *key, u32 given);
s64 stap_entry_key(const struct stap_array *array, u32 entry, u32 part);
struct stap_str stap_entry_key_text(const struct stap_array *array, u32 entry, u32 part);
s64 stap_entry_long(const struct stap_array *array, u32 entry);
struct stap_str stap_entry_text(const struct stap_array *array, u32 entry);

/* Sorted iteration. The list is taken from the array's sort buffers and given back by stap_sorted_done(), or by whoever catches an error. */
struct stap_rank {
	s64 value;
	u32 entry;
};

struct stap_rank_list {
	struct stap_rank_list *below;	/* taken earlier by the same context */
	u32 count;
	u32 busy;
	struct stap_rank rank[];
};

enum stap_sort { STAP_ASCENDING = 0, STAP_DESCENDING = 1 };

/* sort_key 0: by value (for aggregates: by `statistic`), n: by the n-th part. key/given as in stap_in_matching(); limit: most entries. NULL: no
 * buffer is free (recursion through the loop). */
struct stap_rank_list *stap_sorted(struct stap_context *c, struct stap_array *array, const union stap_key *key, u32 given, u32 sort_key,
				   u32 descending, u32 statistic, s64 limit);
void stap_sorted_done(struct stap_context *c, struct stap_rank_list *down_to);

/* ---------------------------------------------------------------------------------------------------------------------------------- aggregates */

/* [core] */
void stap_sample(struct stap_context *c, struct stap_stats *stats, s64 sample);
void stap_clear_stats(struct stap_stats *stats);
/* Merge all CPUs. with_buckets: also the histogram (in text space). stap_read_element: 0 and count 0 when there is no such element. */
void stap_read_stats(struct stap_context *c, const struct stap_stats *stats, int with_buckets, struct stap_stat *into);
void stap_read_element(struct stap_context *c, const struct stap_array *array, const union stap_key *key, int with_buckets, struct stap_stat *into);
/* Buckets in order of their counts (by_number 0) or numbers, as foreach visits them; in text space. */
const u16 *stap_bucket_order(struct stap_context *c, const struct stap_shape *shape, const struct stap_stat *stat, int by_number, u32 descending);

/* ------------------------------------------------------------------------------------------------------------------------------------- output */

enum stap_flag { STAP_FLAG_NONE, STAP_FLAG_ZERO, STAP_FLAG_PLUS, STAP_FLAG_LEFT, STAP_FLAG_SPACE, STAP_FLAG_ALTERNATE };

/* A print: begin, put …, end. All arguments are evaluated before. stap_print_end hands the bytes to the run-time (hook stap_env_print). [core] */
struct stap_sink *stap_print_begin(struct stap_context *c);
void stap_print_end(struct stap_context *c);
/* sprintf: the same into text space. */
void stap_format_begin(struct stap_context *c, struct stap_sink *sink);
struct stap_str stap_format_end(struct stap_context *c, struct stap_sink *sink);
struct stap_str stap_format_result(struct stap_context *c, const struct stap_place *place, struct stap_sink *sink);	/* cutting is counted */

/* conversion: d u x X o p c b as in printf; width 0 and precision -1 for none, negative width: left-justified. [core] */
void stap_put(struct stap_sink *sink, const char *bytes, u32 n);
void stap_put_long(struct stap_sink *sink, s64 value);		/* %d */
static inline void stap_put_text(struct stap_sink *sink, struct stap_str text)		/* %s */
{
	stap_put(sink, text.s, text.n);
}
void stap_put_number(struct stap_sink *sink, char conversion, u32 flag, s64 width, s64 precision, s64 value);
void stap_put_string(struct stap_sink *sink, u32 flag, s64 width, s64 precision, struct stap_str text);
void stap_put_histogram(struct stap_sink *sink, const struct stap_shape *shape, const struct stap_stat *stat);
/* %m (hex 0) and %M (hex 1) of memory: 0 and an error when it cannot be read. */
int stap_put_memory(struct stap_context *c, const struct stap_place *at, struct stap_sink *sink, int hex, u32 flag, s64 width, s64 count, u64 address);

/* Takes the handler's locks where probe->locks_late says that it does so itself; 0: not had, so the handler must leave, and is counted as skipped. [env] */
int stap_lock(struct stap_context *c);

/* ------------------------------------------------------------------------------------------------------------------------------------- memory */

/* Reads 1, 2, 4 or 8 bytes, zero-extended, into *value; 0 on a fault. [env] */
int stap_read_kernel(u64 address, u32 size, u64 *value);
int stap_read_user(u64 address, u32 size, u64 *value);

/* Writes 1, 2, 4 or 8 bytes; 0 on a fault, also of memory that may only be read. Guru mode. [env] */
int stap_write_kernel(u64 address, u32 size, u64 value);
int stap_write_user(u64 address, u32 size, u64 value);

/* Text up to a NUL or `most` bytes; raise "… string copy fault at 0x…". [core, on stap_env_copy()] */
struct stap_str stap_kernel_string(struct stap_context *c, const struct stap_place *at, s64 address, s64 most);
struct stap_str stap_user_string(struct stap_context *c, const struct stap_place *at, s64 address, s64 most);
struct stap_str stap_kernel_buffer_quoted(struct stap_context *c, const struct stap_place *at, s64 address, s64 bytes, s64 most);
struct stap_str stap_user_buffer_quoted(struct stap_context *c, const struct stap_place *at, s64 address, s64 bytes, s64 most);

/* A register of the event by its byte offset in pt_regs. The probe has registers (translator). */
static inline s64 stap_register_at(const struct stap_context *c, u32 offset)
{
	return c->regs ? *(const s64 *)((const char *)c->regs + offset) : 0;
}

/* Eight bytes of a vector register of the traced program: half 2n is the lower one of register n. [env] */
s64 stap_vector_half(struct stap_context *c, u32 half);

/* Argument n (0-based) of the probed function by the ABI of the interrupted code. [env] */
s64 stap_function_argument(struct stap_context *c, const struct stap_place *at, s64 n);

/* --------------------------------------------------------------------------------------------------------------- built-ins of the environment [env] */

void stap_exit(void);
void stap_warn(struct stap_context *c, struct stap_str text);
void stap_log(struct stap_context *c, struct stap_str text);	/* [core] text and newline to the output */
void stap_system(struct stap_context *c, struct stap_str command);
void stap_printk(s64 level, struct stap_str text);
void stap_ftrace(struct stap_str text);
void stap_switch_file(void);

/* Guru mode. Those with a result give 0, or another number when it could not be done. */
void stap_delay(s64 ns);	/* busily; ends a wait after 10 s */
void stap_panic(struct stap_str text);
void stap_dump_stack(void);
int stap_raise_signal(s64 number);
int stap_set_function_argument(struct stap_context *c, s64 n, s64 value);
int stap_set_return_value(struct stap_context *c, s64 value);
int stap_write_register(struct stap_context *c, s64 offset, s64 size, s64 value);	/* offset in struct pt_regs; size 1, 2, 4 or 8 */

s64 stap_load_average(s64 n);	/* n 0, 1, 2: over 1, 5, 15 minutes, with 11 bits behind the point */
s64 stap_current_task(struct stap_context *c);
s64 stap_pid(struct stap_context *c);
s64 stap_tid(struct stap_context *c);
s64 stap_uid(struct stap_context *c);
s64 stap_gid(struct stap_context *c);
struct stap_str stap_execname(struct stap_context *c);		/* in text space */
s64 stap_cpu(struct stap_context *c);
s64 stap_in_target(struct stap_context *c);
s64 stap_in_target_set(s64 pid);
s64 stap_task_from_pid(s64 tid);
s64 stap_namespace_id(s64 is_group, s64 id);	/* a user or group id as the session's user namespace has it; 65534 for none */
s64 stap_perf_counter(s64 number);	/* what this CPU has counted of the number-th counter of @perf */
struct stap_str stap_syscall_name(struct stap_context *c, s64 number);	/* decimal text when unknown */

/* Registers of the event by name (32- and 64-bit names of the architecture); raise "register 'x' is not available …". */
s64 stap_register(struct stap_context *c, const struct stap_place *at, struct stap_str name);
s64 stap_user_register(struct stap_context *c, const struct stap_place *at, struct stap_str name);
s64 stap_ip(struct stap_context *c, const struct stap_place *at);
s64 stap_uip(struct stap_context *c);
s64 stap_return_value(struct stap_context *c, const struct stap_place *at);

/* Stacks and names of addresses [core, runtime/core/stacks.c tells of marks and `kept`]. */
struct stap_str stap_kernel_stack_text(struct stap_context *c);
struct stap_str stap_user_stack_text(struct stap_context *c, int kept);
struct stap_str stap_user_stack_from(struct stap_context *c, s64 pc, s64 sp, s64 fp, int kept);
/* Where sprint_symbol() is loaded: what debug information says is so far from it. */
s64 stap_env_kernel_anchor(void);
s64 stap_stack_entry(struct stap_context *c, struct stap_str list, s64 n);
struct stap_str stap_stack_head(struct stap_context *c, struct stap_str list, s64 n);
struct stap_str stap_symbol_name(struct stap_context *c, s64 address);
struct stap_str stap_symbol_data(struct stap_context *c, s64 address);
struct stap_str stap_symbol_module(struct stap_context *c, const struct stap_place *at, s64 address);
struct stap_str stap_symbol_lines(struct stap_context *c, struct stap_str list, s64 style, int kept);
struct stap_str stap_symbol_place(struct stap_context *c, s64 address, s64 part);
struct stap_str stap_user_symbol(struct stap_context *c, const char *what, s64 pid, s64 address);	/* what: "N" name, "D" with offset and file, "M" file */
struct stap_str stap_user_symbol_lines(struct stap_context *c, s64 pid, struct stap_str list, s64 style);
struct stap_str stap_user_symbol_place(struct stap_context *c, s64 pid, s64 address, s64 part);
struct stap_str stap_probe_function(struct stap_context *c);
struct stap_str stap_point_function(struct stap_context *c);
struct stap_str stap_probe_module(struct stap_context *c);

s64 stap_monotonic_ns(void);
s64 stap_boot_ns(void);
s64 stap_wall_ns(void);
s64 stap_cpu_clock_ns(s64 cpu);
s64 stap_jiffies(void);
s64 stap_cycles(void);
s64 stap_random32(void);

#endif
