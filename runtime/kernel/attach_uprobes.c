// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Functions, statements and marks of programs: uprobes and uretprobes, by file and offset. */
#include "kernel.h"
#include <linux/uprobes.h>
#include <linux/namei.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define UPROBE_OBJECTS 1	/* registering yields an object */
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
#define UPROBE_DATA , __u64 *data
#else
#define UPROBE_DATA
#endif

struct one {
	struct uprobe_consumer consumer;
	const struct stap_probe *probe;
	struct inode *inode;
	int registered;
#ifdef UPROBE_OBJECTS
	struct uprobe *uprobe;
#endif
};

static struct one *all;
static u32 count;

static void run(const struct stap_probe *p, struct pt_regs *regs)
{
	struct stap_entry entry;
	struct stap_context *c;

	if (!stap_passes(p, current))
		return;
	c = stap_enter(p, &entry);
	if (c) {
		c->regs = regs;
		c->user_regs = regs;
		c->user_mode = 1;
		if (p->is_return)
			c->value = regs_return_value(regs);
		stap_leave(c, &entry);
	}
}

static int on_entry(struct uprobe_consumer *consumer, struct pt_regs *regs UPROBE_DATA)
{
	run(container_of(consumer, struct one, consumer)->probe, regs);
	return 0;
}

static int on_return(struct uprobe_consumer *consumer, unsigned long function, struct pt_regs *regs UPROBE_DATA)
{
	run(container_of(consumer, struct one, consumer)->probe, regs);
	return 0;
}

static int add(struct one *one)
{
	const struct stap_probe *p = one->probe;
	struct path path;
	int error = kern_path(p->user.path, LOOKUP_FOLLOW, &path);

	if (error)
		return error;
	one->inode = igrab(d_real_inode(path.dentry));
	path_put(&path);
	if (!one->inode)
		return -ENOENT;
	if (p->is_return)
		one->consumer.ret_handler = on_return;
	else
		one->consumer.handler = on_entry;
#ifdef UPROBE_OBJECTS
	one->uprobe = uprobe_register(one->inode, p->user.offset, p->user.semaphore, &one->consumer);
	return IS_ERR(one->uprobe) ? PTR_ERR(one->uprobe) : 0;
#else
	return p->user.semaphore ? uprobe_register_refctr(one->inode, p->user.offset, p->user.semaphore, &one->consumer)
				 : uprobe_register(one->inode, p->user.offset, &one->consumer);
#endif
}

int stap_uprobes_start(void)
{
	const struct stap_probe *p;
	u32 n = stap_count(STAP_PROBE_USER);

	if (!n)
		return 0;
	all = kvcalloc(n, sizeof(*all), GFP_KERNEL);
	if (!all)
		return -ENOMEM;
	stap_for_each_probe(p) {
		int error;

		if (p->kind != STAP_PROBE_USER)
			continue;
		all[count].probe = p;
		error = add(&all[count]);
		if (error)
			stap_message(STAP_RECORD_WARNING, "probe %s cannot be registered (error %d)", p->point, error);
		else
			all[count].registered = 1;
		count++;
	}
	return 0;
}

void stap_uprobes_stop(void)
{
	u32 i;

	if (!all)
		return;
	for (i = 0; i < count; i++)
		if (all[i].registered)
#ifdef UPROBE_OBJECTS
			uprobe_unregister_nosync(all[i].uprobe, &all[i].consumer);
	uprobe_unregister_sync();
#else
			uprobe_unregister(all[i].inode, all[i].probe->user.offset, &all[i].consumer);
#endif
	for (i = 0; i < count; i++)
		iput(all[i].inode);
	kvfree(all);
	all = NULL;
	count = 0;
}
