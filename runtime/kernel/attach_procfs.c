// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * procfs("PATH").read and .write: files below /proc/systemtap/NAME. A read handler runs when a file is read from its start, and its text is what this
 * opening of the file gives; a write handler runs once for each write.
 */
#include "kernel.h"
#include <linux/proc_fs.h>
#include <linux/mutex.h>

struct procfs_file {
	const char *path;
	const struct stap_probe *read, *write;
	struct proc_dir_entry *entry;
};

struct opened_file {
	struct procfs_file *file;
	u32 bytes;
	int made;
	struct stap_buf *text;
};

static struct procfs_file *procfs_files;
static u32 procfs_count;

static u32 procfs_room(const struct stap_probe *p)
{
	return p && p->procfs.max_size ? min(p->procfs.max_size + 1, stap_script.limits.max_string) : stap_script.limits.max_string;
}

static int procfs_open(struct inode *inode, struct file *file)
{
	struct opened_file *o = kzalloc(sizeof(*o), GFP_KERNEL);

	if (!o)
		return -ENOMEM;
	o->file = pde_data(inode);
	o->text = kvzalloc(sizeof(struct stap_buf) + stap_script.limits.max_string, GFP_KERNEL);
	if (!o->text) {
		kfree(o);
		return -ENOMEM;
	}
	file->private_data = o;
	return 0;
}

static int procfs_release(struct inode *inode, struct file *file)
{
	struct opened_file *o = file->private_data;

	kvfree(o->text);
	kfree(o);
	return 0;
}

static ssize_t procfs_read(struct file *file, char __user *to, size_t n, loff_t *at)
{
	struct opened_file *o = file->private_data;

	if (!o->file->read)
		return -EACCES;
	if (!o->made || *at == 0) {
		struct stap_context *c = stap_enter(o->file->read);

		if (!c)
			return -EIO;
		c->procfs->n = 0;
		c->has_procfs = 1;
		/* The handler's text is copied before the context can be used again: preemption is off until stap_leave_keeping ends. */
		stap_leave_procfs(c, o->text, procfs_room(o->file->read));
		o->made = 1;
	}
	return simple_read_from_buffer(to, n, at, o->text->s, o->text->n);
}

static ssize_t procfs_write(struct file *file, const char __user *from, size_t n, loff_t *at)
{
	struct opened_file *o = file->private_data;
	struct stap_context *c;
	u32 most = procfs_room(o->file->write) - 1;

	if (!o->file->write)
		return -EACCES;
	if (n > most)
		n = most;
	if (copy_from_user(o->text->s, from, n))
		return -EFAULT;
	o->text->n = strnlen(o->text->s, n);
	o->made = 0;
	c = stap_enter(o->file->write);
	if (!c)
		return -EIO;
	stap_set(c->procfs, stap_view(o->text));
	c->has_procfs = 1;
	stap_leave(c);
	return n;
}

static const struct proc_ops procfs_ops = {
	.proc_open = procfs_open,
	.proc_release = procfs_release,
	.proc_read = procfs_read,
	.proc_write = procfs_write,
	.proc_lseek = default_llseek,
};

static struct procfs_file *procfs_file_at(const char *path)
{
	u32 i;

	for (i = 0; i < procfs_count; i++)
		if (strcmp(procfs_files[i].path, path) == 0)
			return &procfs_files[i];
	procfs_files[procfs_count].path = path;
	return &procfs_files[procfs_count++];
}

static struct proc_dir_entry *make_procfs_file(struct procfs_file *file)
{
	struct proc_dir_entry *folder = stap_proc_folder(), *entry;
	char *path = kstrdup(file->path, GFP_KERNEL), *slash, *name = path;
	umode_t mode = 0;

	if (!path)
		return NULL;
	/* Folders on the way; those that two paths share exist already, and proc_create_data finds them by the path itself. */
	for (slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		u32 i;
		int known = 0;

		*slash = 0;
		for (i = 0; &procfs_files[i] < file; i++)
			known |= strncmp(procfs_files[i].path, path, strlen(path)) == 0 && procfs_files[i].path[strlen(path)] == '/';
		if (!known)
			proc_mkdir(path, folder);
		*slash = '/';
	}
	if (file->read)
		mode |= file->read->procfs.mode & 0444;
	if (file->write)
		mode |= file->write->procfs.mode & 0222;
	entry = proc_create_data(name, mode, folder, &procfs_ops, file);
	kfree(path);
	return entry;
}

int stap_procfs_start(void)
{
	const struct stap_probe *p;
	u32 n = stap_count(STAP_PROBE_PROCFS), i;

	if (!n)
		return 0;
	procfs_files = kvcalloc(n, sizeof(*procfs_files), GFP_KERNEL);
	if (!procfs_files)
		return -ENOMEM;
	stap_for_each_probe(p) {
		struct procfs_file *file;

		if (p->kind != STAP_PROBE_PROCFS)
			continue;
		file = procfs_file_at(p->procfs.path);
		if (p->procfs.is_write)
			file->write = p;
		else
			file->read = p;
	}
	for (i = 0; i < procfs_count; i++) {
		procfs_files[i].entry = make_procfs_file(&procfs_files[i]);
		if (!procfs_files[i].entry) {
			stap_message(STAP_RECORD_ERROR, "procfs file \"%s\" cannot be made", procfs_files[i].path);
			return -ENOMEM;
		}
	}
	return 0;
}

void stap_procfs_stop(void)
{
	u32 i;

	for (i = 0; i < procfs_count; i++)
		if (procfs_files[i].entry)
			proc_remove(procfs_files[i].entry);
	kvfree(procfs_files);
	procfs_files = NULL;
	procfs_count = 0;
}
