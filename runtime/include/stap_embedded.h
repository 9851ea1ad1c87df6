/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * For embedded C (guru mode): the names that text between %{ and %} may use. It is compiled in a unit of its own, after the kernel's headers.
 *
 * Of each function the translator defines STAP_ARG_name (s64 or char *), STAP_RETVALUE (s64, or char[MAXSTRINGLEN]), STAP_RETURN(v), and turns `return`
 * into a jump to the function's end. `c` is the context.
 *
 * Strings come in NUL-terminated copies in text space: writing into them changes nothing else.
 */
#ifndef STAP_EMBEDDED_H
#define STAP_EMBEDDED_H

#ifdef STAP_HOST	/* the test harness */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
typedef signed char s8;
typedef unsigned char u8;
typedef short s16;
typedef unsigned short u16;
typedef int s32;
typedef unsigned int u32;
typedef long long s64;
typedef unsigned long long u64;
#else
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/uaccess.h>
#endif
#ifndef STAP_KERNEL_HEADERS
#define STAP_KERNEL_HEADERS
#endif
#include "stap.h"

#define MAXSTRINGLEN STAP_MAXSTRINGLEN
#define CONTEXT c
#define STAP_PRINTF(fmt, ...) stap_embedded_printf(c, fmt, ##__VA_ARGS__)
#define STAP_ERROR(fmt, ...) do { stap_embedded_error(c, fmt, ##__VA_ARGS__); goto stap_out; } while (0)
#define STAP_NEXT do { c->next = 1; goto stap_out; } while (0)
#define CATCH_DEREF_FAULT() do { } while (0)

/* Memory: a fault is a run-time error, and the value 0. */
#define kderef(size, address) stap_embedded_read(c, (u64)(unsigned long)(address), (size), 0)
#define uderef(size, address) stap_embedded_read(c, (u64)(unsigned long)(address), (size), 1)
#define store_kderef(size, address, value) stap_embedded_write(c, (u64)(unsigned long)(address), (size), (u64)(value), 0)
#define store_uderef(size, address, value) stap_embedded_write(c, (u64)(unsigned long)(address), (size), (u64)(value), 1)
#define kwrite(pointer, value) store_kderef(sizeof(*(pointer)), (pointer), (unsigned long)(value))
#define uwrite(pointer, value) store_uderef(sizeof(*(pointer)), (pointer), (unsigned long)(value))
#define kread(pointer) ((typeof(*(pointer)))kderef(sizeof(*(pointer)), (pointer)))
#define uread(pointer) ((typeof(*(pointer)))uderef(sizeof(*(pointer)), (pointer)))
#define kderef_string(to, address, max) stap_embedded_read_string(c, (to), (u64)(unsigned long)(address), (max), 0)
#define uderef_string(to, address, max) stap_embedded_read_string(c, (to), (u64)(unsigned long)(address), (max), 1)

/* [core] runtime/core/embedded.c */
char *stap_c_text(struct stap_context *c, struct stap_str text);
char *stap_embedded_result(struct stap_context *c);
struct stap_str stap_embedded_string_result(struct stap_context *c, u32 mark, const char *text);
s64 stap_embedded_read(struct stap_context *c, u64 address, u32 size, int user);
void stap_embedded_write(struct stap_context *c, u64 address, u32 size, u64 value, int user);
void stap_embedded_read_string(struct stap_context *c, char *to, u64 address, s64 max, int user);
void stap_embedded_print(struct stap_context *c, const char *text, s64 n);

static inline void stap_embedded_copy(char *to, const char *from)
{
	u32 n = 0;

	if (!from || from == to)
		return;
	while (n < MAXSTRINGLEN - 1 && from[n]) {
		to[n] = from[n];
		n++;
	}
	to[n] = 0;
}

static __attribute__((__unused__, __noinline__, __format__(printf, 2, 3))) void stap_embedded_printf(struct stap_context *c, const char *format, ...)
{
	va_list list;
	int n;

	va_start(list, format);
	n = vsnprintf(c->out, c->out_size, format, list);
	va_end(list);
	stap_embedded_print(c, c->out, n < (int)c->out_size ? n : (int)c->out_size - 1);
}

static __attribute__((__unused__, __noinline__, __format__(printf, 2, 3))) void stap_embedded_error(struct stap_context *c, const char *format, ...)
{
	va_list list;
	int n;

	va_start(list, format);
	n = vsnprintf(c->out, c->out_size, format, list);
	va_end(list);
	if (n >= (int)c->out_size)
		n = (int)c->out_size - 1;
	stap_fail_text(c, NULL, (struct stap_str){ c->out, (u32)n < MAXSTRINGLEN - 1 ? (u32)n : MAXSTRINGLEN - 1 });
}

#endif
