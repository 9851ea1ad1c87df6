// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The test harness: scripts translated to C run as an ordinary program. It stands where the kernel run-time stands: one context, no locks (one
 * thread), begin, end, error and timer handlers. What only the kernel has (events, registers, tasks of others) raises the error that the host
 * evaluator raises.
 *
 * Many scripts are linked into one program; the first argument chooses one, options of stap that its run heeds may follow. `scripts` is written by the
 * test runner.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STAP_KERNEL_HEADERS
typedef signed char s8;
typedef unsigned char u8;
typedef short s16;
typedef unsigned short u16;
typedef int s32;
typedef unsigned int u32;
typedef long long s64;
typedef unsigned long long u64;
#include "../core/core.h"

extern const struct stap_script *const scripts[];
extern const unsigned int script_count;
static const struct stap_script *stap_chosen;
struct stap_session stap_session;

static struct stap_context context;
static unsigned long long cuts;
static const struct stap_place *first_cut;

void stap_env_cut(const struct stap_place *place)
{
	if (cuts++ == 0)
		first_cut = place;
}

static int exiting, too_many, suppress_errors, show_globals = 1;
static u64 errors;

/* --- output: standard output, whole prints */

static char out[1 << 16];
static u32 out_used;

static void flush(void)
{
	u32 done = 0;

	while (done < out_used) {
		ssize_t n = write(1, out + done, out_used - done);

		if (n <= 0)
			break;
		done += (u32)n;
	}
	out_used = 0;
}

void stap_env_print(struct stap_context *c, const char *bytes, u32 n, int more)
{
	(void)c;
	(void)more;
	while (n) {
		u32 part = n < sizeof(out) - out_used ? n : (u32)sizeof(out) - out_used;

		memcpy(out + out_used, bytes, part);
		out_used += part;
		bytes += part;
		n -= part;
		if (out_used == sizeof(out))
			flush();
	}
}

static void tell(const char *prefix, const char *text, u32 n)
{
	flush();
	fprintf(stderr, "%s%.*s\n", prefix, (int)n, text);
}

/* --- memory */

void *stap_env_alloc(u64 bytes, u32 cpu)
{
	(void)cpu;
	return calloc(1, bytes ? bytes : 1);
}

void stap_env_free(void *memory)
{
	free(memory);
}

int stap_env_copy(void *into, u64 address, u32 n, int user)
{
	struct iovec to = { into, n }, from = { (void *)address, n };

	(void)user;
	return n == 0 || process_vm_readv(getpid(), &to, 1, &from, 1, 0) == (ssize_t)n;
}

int stap_lock(struct stap_context *c)
{
	(void)c;
	return 1;
}

int stap_env_insert_lock(struct stap_array *array, unsigned long *state)
{
	(void)state;
	return !__atomic_exchange_n(&array->insert_lock, 1, __ATOMIC_ACQUIRE);
}

void stap_env_insert_unlock(struct stap_array *array, unsigned long state)
{
	(void)state;
	__atomic_store_n(&array->insert_lock, 0, __ATOMIC_RELEASE);
}

static int read_number(u64 address, u32 size, u64 *value)
{
	*value = 0;
	return stap_env_copy(value, address, size, 1);
}

int stap_read_kernel(u64 address, u32 size, u64 *value)
{
	return read_number(address, size, value);
}

int stap_read_user(u64 address, u32 size, u64 *value)
{
	return read_number(address, size, value);
}

/* There is nothing here that a script may write to. */
int stap_write_kernel(u64 address, u32 size, u64 value)
{
	(void)address, (void)size, (void)value;
	return 0;
}

int stap_write_user(u64 address, u32 size, u64 value)
{
	(void)address, (void)size, (void)value;
	return 0;
}

/* --- built-ins */

void stap_exit(void)
{
	exiting = 1;
}

void stap_warn(struct stap_context *c, struct stap_str text)
{
	(void)c;
	/* The text may end its line itself. */
	tell("WARNING: ", text.s, text.n - (text.n && text.s[text.n - 1] == '\n'));
}

void stap_system(struct stap_context *c, struct stap_str command)
{
	char *line = strndup(command.s, command.n);

	(void)c;
	flush();
	if (line && system(line) == -1)
		perror("system");
	free(line);
}

void stap_printk(s64 level, struct stap_str text)
{
	(void)level;
	(void)text;
}

void stap_ftrace(struct stap_str text)
{
	(void)text;
}

void stap_switch_file(void)
{
}

void stap_delay(s64 ns)
{
	struct timespec time = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	nanosleep(&time, NULL);
}

void stap_panic(struct stap_str text) { (void)text; }
void stap_dump_stack(void) { }
int stap_raise_signal(s64 number) { (void)number; return 1; }
int stap_set_function_argument(struct stap_context *c, s64 n, s64 value) { (void)c; (void)n; (void)value; return 1; }
int stap_write_register(struct stap_context *c, s64 offset, s64 size, s64 value) { (void)c; (void)offset; (void)size; (void)value; return 1; }
s64 stap_vector_half(struct stap_context *c, u32 half) { (void)c; (void)half; return 0; }
int stap_set_return_value(struct stap_context *c, s64 value) { (void)c; (void)value; return 1; }
s64 stap_load_average(s64 n) { (void)n; return 0; }

static s64 no_context(struct stap_context *c, const struct stap_place *at, const char *message)
{
	stap_fail(c, at, message);
	return 0;
}

s64 stap_current_task(struct stap_context *c) { (void)c; return 0; }
s64 stap_pid(struct stap_context *c) { (void)c; return getpid(); }
s64 stap_tid(struct stap_context *c) { (void)c; return gettid(); }
s64 stap_uid(struct stap_context *c) { (void)c; return getuid(); }
s64 stap_gid(struct stap_context *c) { (void)c; return getgid(); }
struct stap_str stap_execname(struct stap_context *c) { (void)c; return STAP_TEXT("stap"); }
s64 stap_cpu(struct stap_context *c) { (void)c; return sched_getcpu(); }
s64 stap_in_target(struct stap_context *c) { (void)c; return 0; }
s64 stap_in_target_set(s64 pid) { (void)pid; return 0; }
s64 stap_namespace_id(s64 is_group, s64 id) { (void)is_group; return id; }
s64 stap_perf_counter(s64 number) { (void)number; return 0; }
s64 stap_task_from_pid(s64 tid) { (void)tid; return 0; }

struct stap_str stap_syscall_name(struct stap_context *c, s64 number)
{
	struct stap_sink sink;

	stap_format_begin(c, &sink);
	stap_put_long(&sink, number);
	return stap_format_end(c, &sink);
}

s64 stap_register(struct stap_context *c, const struct stap_place *at, struct stap_str name)
{
	stap_fail_register(c, at, name);
	return 0;
}

s64 stap_user_register(struct stap_context *c, const struct stap_place *at, struct stap_str name)
{
	stap_fail_register(c, at, name);
	return 0;
}

s64 stap_function_argument(struct stap_context *c, const struct stap_place *at, s64 n)
{
	(void)n;
	return no_context(c, at, "function arguments are not available in this kind of probe");
}

s64 stap_ip(struct stap_context *c, const struct stap_place *at)
{
	return no_context(c, at, "the instruction pointer is not available: this probe has no registers");
}

s64 stap_uip(struct stap_context *c) { (void)c; return 0; }

s64 stap_return_value(struct stap_context *c, const struct stap_place *at)
{
	return no_context(c, at, "this probe has no return value");
}

/* The begin, end and timer handlers that run here have no stacks, and no kernel symbols are known. */
s64 stap_env_kernel_anchor(void) { return 0; }
void stap_env_symbol(char *to, u64 address) { snprintf(to, STAP_SYMBOL_SIZE, "0x%llx", address); }
u32 stap_kernel_stack(struct stap_context *c, u64 *into, u32 most) { (void)c; (void)into; (void)most; return 0; }
u32 stap_user_stack(struct stap_context *c, u64 *into, u32 most, const struct stap_frame *from) { (void)c; (void)into; (void)most; (void)from; return 0; }
s64 stap_env_snapshot(struct stap_context *c, const struct stap_frame *from) { (void)c; (void)from; return 0; }

static s64 clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

s64 stap_monotonic_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
s64 stap_boot_ns(void) { return clock_ns(CLOCK_BOOTTIME); }
s64 stap_wall_ns(void) { return clock_ns(CLOCK_REALTIME); }
s64 stap_cpu_clock_ns(s64 cpu) { (void)cpu; return clock_ns(CLOCK_MONOTONIC); }
s64 stap_jiffies(void) { return clock_ns(CLOCK_MONOTONIC) / 4000000 + 4294892296LL; }
s64 stap_cycles(void) { return clock_ns(CLOCK_MONOTONIC); }

s64 stap_random32(void)
{
	u32 value;

	return getentropy(&value, sizeof(value)) == 0 ? value : 4;
}

/* --- session */

static void run(const struct stap_probe *probe)
{
	stap_context_begin(&context, probe);
	context.user_mode = 1;
	probe->handler(&context);
	stap_context_end(&context);
	if (context.failed == STAP_ABORTED) {
		exiting = 1;	/* what follows is as after exit() */
	} else if (context.failed) {
		char line[8192];
		u32 n = stap_error_line(&context, line, sizeof(line));

		errors++;
		if (suppress_errors)
			return;
		tell("ERROR: ", line, n);
		too_many |= errors > stap_chosen->limits.max_errors;
	}
}

/* Handlers of one kind, by priority; those of equal priority in the script's order. */
static void run_all(u8 kind, s64 begin)
{
	const struct stap_script *script = stap_chosen;
	s64 last = begin;
	int first = 1;
	u32 i;

	for (;;) {
		s64 next = 0;
		int found = 0;

		for (i = 0; i < script->probe_count; i++) {
			const struct stap_probe *probe = &script->probes[i];

			if (probe->kind == kind && (first || probe->priority > last) && (!found || probe->priority < next)) {
				next = probe->priority;
				found = 1;
			}
		}
		if (!found)
			return;
		for (i = 0; i < script->probe_count; i++) {
			const struct stap_probe *probe = &script->probes[i];

			if (probe->kind != kind || probe->priority != next)
				continue;
			if (kind == STAP_PROBE_BEGIN && (exiting || too_many))
				return;
			run(probe);
			if (kind == STAP_PROBE_END && too_many)
				return;
		}
		first = 0;
		last = next;
	}
}

static void run_timers(void)
{
	const struct stap_script *script = stap_chosen;
	s64 *due = calloc(script->probe_count + 1, sizeof(*due));
	s64 now = stap_monotonic_ns(), stop = now + 10000000000LL;
	u32 i;

	for (i = 0; i < script->probe_count; i++)
		if (script->probes[i].kind == STAP_PROBE_TIMER)
			due[i] = now + script->probes[i].timer.interval_ns;
	while (!exiting && !too_many) {
		struct timespec t;
		u32 next = script->probe_count;

		for (i = 0; i < script->probe_count; i++)
			if (due[i] && (next == script->probe_count || due[i] < due[next]))
				next = i;
		if (next == script->probe_count || due[next] > stop)
			break;
		t.tv_sec = due[next] / 1000000000;
		t.tv_nsec = due[next] % 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
		due[next] += script->probes[next].timer.interval_ns;
		run(&script->probes[next]);
	}
	free(due);
}

int main(int argc, char **argv)
{
	u32 number = argc > 1 ? (u32)atoi(argv[1]) : 0, cpus = 3;
	void *memory;

	for (int i = 2; i < argc; i++) {
		suppress_errors |= strcmp(argv[i], "--suppress-handler-errors") == 0;
		show_globals &= strcmp(argv[i], "--no-global-var-display") != 0;
	}
	if (number >= script_count)
		return 2;
	stap_chosen = scripts[number];
	stap_session.stp_pid = getpid();
	stap_session.uid = getuid();
	stap_session.hz = 250;
	stap_session.page_size = 4096;
	strcpy(stap_session.tz_name, "UTC");
	strncpy(stap_session.module_name, stap_chosen->name, sizeof(stap_session.module_name) - 1);
	memory = calloc(1, stap_context_memory(stap_chosen, 4096));
	if (!memory || stap_core_start(stap_chosen, cpus))
		return 3;
	stap_context_init(&context, stap_chosen, memory, 4096);
	context.cpu = 1;
	context.stack_floor = (unsigned long)__builtin_frame_address(0) - (4ul << 20);
	run_all(STAP_PROBE_BEGIN, 0);
	if (!exiting && !too_many)
		run_timers();
	if (!too_many)
		run_all(STAP_PROBE_END, 0);
	if (too_many)
		run_all(STAP_PROBE_ERROR, 0);
	if (show_globals)
		stap_show_globals(&context);
	flush();
	if (cuts)
		fprintf(stderr, "WARNING: Strings cut to MAXSTRINGLEN%s%s%s: %llu\n", first_cut ? " (first at " : "", first_cut ? first_cut->at : "", first_cut ? ")" : "", cuts);
	if (errors)
		fprintf(stderr, "WARNING: Number of errors: %llu, skipped probes: 0\n", errors);
	stap_core_stop(stap_chosen);
	free(memory);
	return too_many || (errors && !suppress_errors) ? 1 : 0;
}
