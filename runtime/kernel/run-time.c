// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * All of the kernel side as one translation unit: most of the time of compiling goes into the kernel's headers, and this way they are read once. It is what
 * makes the first script on a kernel wait three seconds instead of ten.
 */
#include "main.c"
#include "context.c"
#include "output.c"
#include "control.c"
#include "memory.c"
#include "clocks.c"
#include "registers.c"
#include "guru.c"
#include "stacks.c"
#include "tasks.c"
#include "attach_tracepoints.c"
#include "attach_syscalls.c"
#include "attach_processes.c"
#include "many_functions.c"
#include "attach_kprobes.c"
#include "attach_timers.c"
#include "attach_perf.c"
#include "attach_watchpoints.c"
#include "attach_netfilter.c"
#include "attach_procfs.c"
#include "attach_uprobes.c"
