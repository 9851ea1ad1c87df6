// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A module that is probed. Writing a number N to /proc/stap_target calls st_work N times; reading it shows what the module counted itself, which is the
 * truth that probes are compared with.
 */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>
#include <linux/kstrtox.h>

struct st_inner {
	int a;
	unsigned int low : 3;
	signed int high : 5;
	char name[12];
};

enum st_kind { ST_NONE, ST_SMALL = 3, ST_BIG = 70 };

struct st_outer {
	int id;
	enum st_kind kind;
	struct st_inner inner;
	union {
		long number;
		char bytes[8];
	} u;
	short values[4];
	struct st_outer *next;
	struct st_inner **handle;
};

static int st_global = 17;
static long st_calls, st_inlined, st_sum;
static struct st_outer st_second = { .id = 2, .kind = ST_BIG, .inner = { 20, 5, -3, "second" } };
static struct st_inner *st_pointer = &st_second.inner;

static __always_inline int st_small(int value)
{
	int doubled = value * 2;

	OPTIMIZER_HIDE_VAR(doubled);
	st_inlined++;
	return doubled + 1;
}

noinline long st_leaf(long number)
{
	OPTIMIZER_HIDE_VAR(number);
	return number + 1;
}

noinline long st_work(struct st_outer *outer, int n, const char *text)
{
	long total = 100;
	int i;

	for (i = 0; i < n; i++) {
		total += st_small(i);
		OPTIMIZER_HIDE_VAR(total);	/* line: total is live */
	}
	if (total > 106)
		goto big;
	st_sum += total;
	return st_leaf(total);
big:
	st_sum += 2 * st_leaf(total);
	return -total;
}

static int st_show(struct seq_file *m, void *v)
{
	seq_printf(m, "calls %ld inlined %ld sum %ld last %d\n", st_calls, st_inlined, st_sum, st_global);
	return 0;
}

static int st_open(struct inode *inode, struct file *file)
{
	return single_open(file, st_show, NULL);
}

static ssize_t st_write(struct file *file, const char __user *buffer, size_t size, loff_t *offset)
{
	struct st_outer first = { .id = 1, .kind = ST_SMALL, .inner = { 10, 7, -16, "first" }, .u.number = 0x41424344, .values = { 1, -2, 3, -4 },
				  .next = &st_second, .handle = &st_pointer };
	int i, n;

	if (kstrtoint_from_user(buffer, size, 10, &n))
		return -EINVAL;
	for (i = 0; i < n; i++) {
		st_calls++;
		st_global = i;
		st_work(&first, i % 4, "a text");
	}
	return size;
}

static const struct proc_ops st_ops = { .proc_open = st_open, .proc_read = seq_read, .proc_lseek = seq_lseek, .proc_release = single_release, .proc_write = st_write };

static int __init st_init(void)
{
	return proc_create("stap_target", 0600, NULL, &st_ops) ? 0 : -ENOMEM;
}

static void __exit st_exit(void)
{
	remove_proc_entry("stap_target", NULL);
}

module_init(st_init);
module_exit(st_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("target of probes in tests");
