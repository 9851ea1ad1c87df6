/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Between the module and staprun (src/SystemTap.Runtime/Modules/ModuleTransport.cs mirrors it; STAP_TRANSPORT changes with every change).
 *
 * The control file /proc/systemtap/NAME/control is opened by one staprun at a time. mmap of it gives the rings: for each possible CPU one page of struct
 * stap_ring_page and then ring_bytes (a power of two) of records. A record is struct stap_record and its bytes, padded to 8; it may wrap around the end
 * of the ring. Records carry a number that counts through all rings: the reader puts them into one order by it. Pieces of one print follow each other in
 * their ring with `more` set on all but the last.
 *
 * A full ring loses what is new while staprun reads it. While a detached session has no reader it loses what is oldest: who looks later wants to know what
 * happened last.
 */
#ifndef STAP_TRANSPORT_H
#define STAP_TRANSPORT_H

#define STAP_TRANSPORT 7

enum stap_record_type {
	STAP_RECORD_OUTPUT,
	STAP_RECORD_WARNING,	/* text without newline */
	STAP_RECORD_ERROR,	/* text without newline */
	STAP_RECORD_SYSTEM,	/* a command for the shell */
	STAP_RECORD_SWITCH,	/* go on with the next output file */
	STAP_RECORD_STACK,	/* struct stap_stack_record; comes before the print that names it */
};

/* Registers and stack of a program, to be unwound by staprun. The layout is that of the BPF engine's (StackSnapshot in BpfPlan.cs). */
#define STAP_STACK_BYTES (5 * 4096)
struct stap_stack_record {
	u64 zero;
	u64 id;			/* from 1 */
	u64 time;		/* CLOCK_MONOTONIC */
	u64 process;		/* tgid in the upper half, tid in the lower */
	u64 length;		/* bytes of `stack` */
	u64 registers[43];	/* struct pt_regs */
	char stack[STAP_STACK_BYTES];	/* from the beginning of the page of the stack pointer */
};

struct stap_record {
	u32 bytes;		/* after this header */
	u16 type;
	u16 more;
	u64 number;		/* from 0 */
};

struct stap_ring_page {
	u64 head;		/* bytes ever written; by the module */
	u64 pad1[7];
	u64 tail;		/* bytes ever read; by staprun */
	u64 pad2[7];
};

enum stap_skip {
	STAP_SKIP_LOCK,		/* a lock on a global was not had in time */
	STAP_SKIP_REENTRY,	/* the event came while a handler ran in the same context of this CPU */
	STAP_SKIP_STACK,	/* too little kernel stack */
	STAP_SKIP_KPROBE,	/* the kernel did not run the kprobe (nested) */
	STAP_SKIP_RETURN,	/* more calls in flight than maxactive */
	STAP_SKIP_MEMORY,	/* no memory for an event */
	STAP_SKIP_KINDS,
};

struct stap_info {
	u32 transport, cpus;
	u64 ring_bytes;
	u32 probes, state;
	u32 user_stacks, max_back_trace;	/* prints may hold marks of user stacks and names */
	u64 bulk;		/* a file for each CPU */
	u64 symbol_bytes;	/* of the names of symbols whose addresses staprun is asked for; 0: none */
	u64 symbol_functions;	/* so many of them are functions, and come first; the rest are variables */
	u64 global_bytes;	/* of the list of the script's globals */
	u64 max_string;		/* MAXSTRINGLEN: room for a string global, one byte more than its longest text */
};

/* A buffer of staprun's. */
struct stap_list {
	u64 address, bytes;
};

/* A value for a global that is a number (text_bytes is 0) or a string. */
struct stap_setting {
	u64 global;		/* place in the list of STAP_IOC_GLOBALS, from 0 */
	s64 number;
	u64 text, text_bytes;
};

struct stap_start {
	u64 target;		/* pid, 0: none */
	u64 stp_pid;
	u64 uid;
	u64 pid_namespace, user_namespace;
	s64 tz_offset;
	char tz_name[16];
	u64 suppress_errors;
};

struct stap_status {
	u32 state;		/* 0 loaded, 1 starting, 2 running, 3 stopping, 4 ending, 5 ended */
	u32 errors;
	u32 failed;
	u32 suppressed;		/* errors were not told and do not count */
	u32 skipped[8];		/* by enum stap_skip */
	u64 lost;		/* prints that found no room, since the rings were last taken */
	u64 cuts;		/* strings cut to MAXSTRINGLEN */
	char first_cut[128];	/* where the first was, FILE:LINE:COL */
};

/* The rings of a session that had no reader, taken over. Each loss is told to one reader. */
struct stap_taken {
	u64 settled;		/* records below this number are written or gone */
	u64 overwritten;	/* records that had to make room while nobody read */
	u64 lost;		/* prints that found no room before */
};

/* ioctl(2) requests: _IO* of 's'. */
#define STAP_IOC_INFO	_IOR('s', 1, struct stap_info)
#define STAP_IOC_START	_IOW('s', 2, struct stap_start)	/* returns after the begin handlers ran and events are attached */
#define STAP_IOC_STOP	_IO('s', 3)			/* returns after the end handlers ran */
#define STAP_IOC_STATUS	_IOR('s', 4, struct stap_status)
#define STAP_IOC_DETACH	_IOW('s', 5, u32)		/* 1: closing the file leaves the session running */
#define STAP_IOC_EXIT	_IO('s', 6)			/* the session shall end, as exit() does */
#define STAP_IOC_NAMES	_IOW('s', 7, struct stap_list)	/* the names of info.symbol_bytes, each with its NUL */
#define STAP_IOC_PLACES	_IOW('s', 8, struct stap_list)	/* their addresses in the same order, u64, of functions with bit 0 set for those that ftrace can patch; 0: unknown, or not only one. Before START */
#define STAP_IOC_GLOBALS	_IOW('s', 9, struct stap_list)	/* info.global_bytes: for each global of the script 'n' number, 's' string, 'a' array or 'x' aggregate, then its name and NUL */
#define STAP_IOC_SET	_IOW('s', 10, struct stap_setting)	/* before START */
#define STAP_IOC_TAKE	_IOR('s', 11, struct stap_taken)	/* the tails of the rings are the caller's from now on: to be asked for just before reading */

#endif
