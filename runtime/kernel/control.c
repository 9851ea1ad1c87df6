// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* /proc/systemtap/NAME/control. The folder /proc/systemtap is made once and stays, empty, when the last module has gone. */
#include "kernel.h"
#include <linux/proc_fs.h>
#include <linux/poll.h>
#include <linux/namei.h>
#include <linux/cred.h>

static struct proc_dir_entry *proc_folder;
static atomic_t control_opened = ATOMIC_INIT(0);

struct proc_dir_entry *stap_proc_folder(void)
{
	return proc_folder;
}

static int control_open(struct inode *inode, struct file *file)
{
	if (atomic_cmpxchg(&control_opened, 0, 1) != 0)
		return -EBUSY;
	/* Files of /proc do not keep their module: rmmod would take it from under staprun. */
	if (!try_module_get(THIS_MODULE)) {
		atomic_set(&control_opened, 0);
		return -ENOENT;
	}
	return 0;
}

static int control_release(struct inode *inode, struct file *file)
{
	if (stap_control.detached)
		stap_output_leave();
	else
		stap_stop(0);
	atomic_set(&control_opened, 0);
	/* The end of the module waits for the end of this call: proc_remove() does. */
	module_put(THIS_MODULE);
	return 0;
}

static __poll_t control_poll(struct file *file, poll_table *table)
{
	poll_wait(file, stap_reader_queue(), table);
	return (stap_output_pending() ? EPOLLIN : 0) | (atomic_read(&stap_control.state) >= STAP_STOPPING ? EPOLLPRI : 0);
}

static long give_status(void __user *to)
{
	struct stap_status s = {
		.state = atomic_read(&stap_control.state),
		.errors = atomic_read(&stap_control.errors),
		.failed = atomic_read(&stap_control.failed),
		.suppressed = stap_control.suppress_errors,
		.lost = atomic64_read(&stap_control.lost),
		.cuts = atomic64_read(&stap_control.cuts),
	};
	const struct stap_place *cut = READ_ONCE(stap_control.first_cut);
	int i;

	for (i = 0; i < STAP_SKIP_KINDS; i++)
		s.skipped[i] = atomic_read(&stap_control.skipped[i]);
	if (cut)
		strscpy(s.first_cut, cut->at, sizeof(s.first_cut));
	return copy_to_user(to, &s, sizeof(s)) ? -EFAULT : 0;
}

/* The list of STAP_IOC_GLOBALS; its length. */
static u64 list_globals(char *into)
{
	u64 bytes = 0;
	u32 i;

	for (i = 0; i < stap_script.global_count; i++) {
		const struct stap_global *global = &stap_script.globals[i];
		u32 length = strlen(global->name) + 1;

		if (global->flags & STAP_TAPSET)
			continue;
		if (into) {
			into[bytes] = global->array ? 'a' : global->type == STAP_STAT ? 'x' : global->type == STAP_STRING ? 's' : 'n';
			memcpy(into + bytes + 1, global->name, length);
		}
		bytes += 1 + length;
	}
	return bytes;
}

static long set_global(const struct stap_setting *setting)
{
	const struct stap_global *global = NULL;
	u64 number = 0;
	u32 i;

	for (i = 0; i < stap_script.global_count; i++) {
		if (!(stap_script.globals[i].flags & STAP_TAPSET) && number++ == setting->global) {
			global = &stap_script.globals[i];
			break;
		}
	}
	if (!global || global->array || global->type == STAP_STAT)
		return -EINVAL;
	if (global->type == STAP_LONG) {
		*global->number = setting->number;
		return 0;
	}
	if (setting->text_bytes >= stap_script.limits.max_string)
		return -E2BIG;
	/* Without a NUL, as all texts of scripts are. */
	if (copy_from_user(global->text->s, (void __user *)(unsigned long)setting->text, setting->text_bytes))
		return -EFAULT;
	global->text->n = strnlen(global->text->s, setting->text_bytes);
	return 0;
}

/* Hands over a list that `fill` writes. */
static long give_list(const void __user *user, u64 (*fill)(char *into))
{
	struct stap_list list;
	u64 bytes = fill(NULL);
	char *text;
	long error = 0;

	if (copy_from_user(&list, user, sizeof(list)))
		return -EFAULT;
	if (!bytes || list.bytes != bytes)
		return -EINVAL;
	text = kvmalloc(bytes, GFP_KERNEL);
	if (!text)
		return -ENOMEM;
	fill(text);
	if (copy_to_user((void __user *)(unsigned long)list.address, text, bytes))
		error = -EFAULT;
	kvfree(text);
	return error;
}

static long control_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	void __user *user = (void __user *)argument;

	switch (request) {
	case STAP_IOC_INFO: {
		struct stap_info info = {
			.transport = STAP_TRANSPORT, .cpus = nr_cpu_ids, .ring_bytes = stap_ring_bytes(),
			.probes = stap_script.probe_count, .state = atomic_read(&stap_control.state), .user_stacks = stap_script.user_stacks, .max_back_trace = stap_script.limits.max_back_trace,
			.bulk = stap_script.limits.bulk,
			.symbol_bytes = stap_symbol_names(NULL), .symbol_functions = stap_symbol_functions(), .global_bytes = list_globals(NULL), .max_string = stap_script.limits.max_string,
		};

		return copy_to_user(user, &info, sizeof(info)) ? -EFAULT : 0;
	}
	case STAP_IOC_START: {
		struct stap_start start;

		if (copy_from_user(&start, user, sizeof(start)))
			return -EFAULT;
		return stap_start(&start);
	}
	case STAP_IOC_STOP:
		stap_stop(1);
		return 0;
	case STAP_IOC_STATUS:
		return give_status(user);
	case STAP_IOC_DETACH: {
		u32 on;

		if (copy_from_user(&on, user, sizeof(on)))
			return -EFAULT;
		stap_control.detached = on != 0;
		return 0;
	}
	case STAP_IOC_NAMES:
		return give_list(user, stap_symbol_names);
	case STAP_IOC_GLOBALS:
		return give_list(user, list_globals);
	case STAP_IOC_SET: {
		struct stap_setting setting;

		if (copy_from_user(&setting, user, sizeof(setting)))
			return -EFAULT;
		return atomic_read(&stap_control.state) == STAP_LOADED ? set_global(&setting) : -EBUSY;
	}
	case STAP_IOC_PLACES: {
		struct stap_list list;

		if (copy_from_user(&list, user, sizeof(list)))
			return -EFAULT;
		if (atomic_read(&stap_control.state) != STAP_LOADED)
			return -EBUSY;
		return stap_take_symbol_addresses((void __user *)(unsigned long)list.address, list.bytes);
	}
	case STAP_IOC_TAKE: {
		struct stap_taken taken = { .settled = stap_output_take() };

		taken.overwritten = atomic64_xchg(&stap_control.overwritten, 0);
		taken.lost = atomic64_xchg(&stap_control.lost, 0);
		return copy_to_user(user, &taken, sizeof(taken)) ? -EFAULT : 0;
	}
	case STAP_IOC_EXIT:
		stap_end_session(0);
		return 0;
	}
	return -ENOTTY;
}

static int control_mmap(struct file *file, struct vm_area_struct *vma)
{
	return stap_output_mmap(vma);
}

static const struct proc_ops control_ops = {
	.proc_open = control_open,
	.proc_release = control_release,
	.proc_poll = control_poll,
	.proc_ioctl = control_ioctl,
	.proc_mmap = control_mmap,
	.proc_lseek = noop_llseek,
};

static int path_exists(const char *path)
{
	struct path found;

	if (kern_path(path, 0, &found))
		return 0;
	path_put(&found);
	return 1;
}

int stap_control_start(void)
{
	char name[80];

	if (!path_exists("/proc/systemtap") && !proc_mkdir("systemtap", NULL))
		return -ENOMEM;
	snprintf(name, sizeof(name), "/proc/systemtap/%s", THIS_MODULE->name);
	if (path_exists(name))
		return -EEXIST;
	proc_folder = proc_mkdir(name + sizeof("/proc/") - 1, NULL);
	if (!proc_folder)
		return -ENOMEM;
	if (!proc_create("control", 0600, proc_folder, &control_ops)) {
		proc_remove(proc_folder);
		proc_folder = NULL;
		return -ENOMEM;
	}
	return 0;
}

void stap_control_stop(void)
{
	if (proc_folder)
		proc_remove(proc_folder);
	proc_folder = NULL;
}
