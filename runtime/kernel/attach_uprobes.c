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

struct user_probe {
	struct uprobe_consumer consumer;
	const struct stap_probe *probe;
	struct inode *inode;
	int registered;
#ifdef UPROBE_OBJECTS
	struct uprobe *uprobe;
#endif
};

static struct user_probe *uprobes;
static u32 uprobe_count;

static void run_uprobe(const struct stap_probe *p, struct pt_regs *regs)
{
	struct stap_context *c;

	if (!stap_passes(p, current))
		return;
	c = stap_enter(p);
	if (c) {
		c->regs = regs;
		c->user_regs = regs;
		c->user_mode = 1;
		if (p->is_return)
			c->value = regs_return_value(regs);
		stap_leave(c);
	}
}

static int on_uprobe(struct uprobe_consumer *consumer, struct pt_regs *regs UPROBE_DATA)
{
	run_uprobe(container_of(consumer, struct user_probe, consumer)->probe, regs);
	return 0;
}

static int on_uretprobe(struct uprobe_consumer *consumer, unsigned long function, struct pt_regs *regs UPROBE_DATA)
{
	run_uprobe(container_of(consumer, struct user_probe, consumer)->probe, regs);
	return 0;
}

static int add_uprobe(struct user_probe *user_probe)
{
	const struct stap_probe *p = user_probe->probe;
	struct path path;
	int error = kern_path(p->user.path, LOOKUP_FOLLOW, &path);

	if (error)
		return error;
	user_probe->inode = igrab(d_real_inode(path.dentry));
	path_put(&path);
	if (!user_probe->inode)
		return -ENOENT;
	if (p->is_return)
		user_probe->consumer.ret_handler = on_uretprobe;
	else
		user_probe->consumer.handler = on_uprobe;
#ifdef UPROBE_OBJECTS
	user_probe->uprobe = uprobe_register(user_probe->inode, p->user.offset, p->user.semaphore, &user_probe->consumer);
	return IS_ERR(user_probe->uprobe) ? PTR_ERR(user_probe->uprobe) : 0;
#else
	return p->user.semaphore ? uprobe_register_refctr(user_probe->inode, p->user.offset, p->user.semaphore, &user_probe->consumer)
				 : uprobe_register(user_probe->inode, p->user.offset, &user_probe->consumer);
#endif
}

int stap_uprobes_start(void)
{
	const struct stap_probe *p;
	u32 n = stap_count(STAP_PROBE_USER);

	if (!n)
		return 0;
	uprobes = kvcalloc(n, sizeof(*uprobes), GFP_KERNEL);
	if (!uprobes)
		return -ENOMEM;
	stap_for_each_probe(p) {
		int error;

		if (p->kind != STAP_PROBE_USER)
			continue;
		uprobes[uprobe_count].probe = p;
		error = add_uprobe(&uprobes[uprobe_count]);
		if (error)
			stap_message(STAP_RECORD_WARNING, "probe %s cannot be registered (error %d)", p->point, error);
		else
			uprobes[uprobe_count].registered = 1;
		uprobe_count++;
	}
	return 0;
}

void stap_uprobes_stop(void)
{
	u32 i;

	if (!uprobes)
		return;
	for (i = 0; i < uprobe_count; i++)
		if (uprobes[i].registered)
#ifdef UPROBE_OBJECTS
			uprobe_unregister_nosync(uprobes[i].uprobe, &uprobes[i].consumer);
	uprobe_unregister_sync();
#else
			uprobe_unregister(uprobes[i].inode, uprobes[i].probe->user.offset, &uprobes[i].consumer);
#endif
	for (i = 0; i < uprobe_count; i++)
		iput(uprobes[i].inode);
	kvfree(uprobes);
	uprobes = NULL;
	uprobe_count = 0;
}
