// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Who the event is about, and which processes a probe means.
 *
 * The target of -x or -c and its descendants are a set of process ids, kept by fork and exit once the session runs. Executables are compared by inode,
 * resolved when the session starts.
 */
#include "kernel.h"
#include <linux/pid.h>
#include <linux/namei.h>
#include <linux/cred.h>
#include <linux/sched/signal.h>
#include <linux/user_namespace.h>
#include <linux/proc_ns.h>
#include <linux/mm_types.h>
#include <linux/compat.h>
#include <linux/hashtable.h>
#include <linux/spinlock.h>
#include <linux/tracepoint.h>
#include <linux/kprobes.h>

static inline struct task_struct *task_of(struct stap_context *c)
{
	return stap_run_of(c)->task;
}

s64 stap_current_task(struct stap_context *c)
{
	return (s64)(unsigned long)task_of(c);
}

s64 stap_pid(struct stap_context *c)
{
	return task_of(c)->tgid;
}

s64 stap_tid(struct stap_context *c)
{
	return task_of(c)->pid;
}

s64 stap_uid(struct stap_context *c)
{
	s64 id;

	rcu_read_lock();
	id = from_kuid_munged(&init_user_ns, __task_cred(task_of(c))->uid);
	rcu_read_unlock();
	return id;
}

s64 stap_gid(struct stap_context *c)
{
	s64 id;

	rcu_read_lock();
	id = from_kgid_munged(&init_user_ns, __task_cred(task_of(c))->gid);
	rcu_read_unlock();
	return id;
}

/* The user namespace that ns_uid() and its like speak of; null: the first one. */
static struct user_namespace *id_namespace;

s64 stap_namespace_id(s64 is_group, s64 id)
{
	struct user_namespace *to = READ_ONCE(id_namespace) ?: &init_user_ns;

	return is_group ? from_kgid_munged(to, make_kgid(&init_user_ns, id)) : from_kuid_munged(to, make_kuid(&init_user_ns, id));
}

/* staprun knows it by its inode number: some process lives there. */
void stap_find_user_namespace(u64 inode)
{
	struct task_struct *task;

	if (inode == init_user_ns.ns.inum)
		return;
	rcu_read_lock();
	for_each_process(task) {
		struct user_namespace *space = __task_cred(task)->user_ns;

		if (space->ns.inum == inode) {
			id_namespace = get_user_ns(space);
			break;
		}
	}
	rcu_read_unlock();
}

void stap_put_user_namespace(void)
{
	struct user_namespace *space = xchg(&id_namespace, NULL);

	if (space)
		put_user_ns(space);
}

struct stap_str stap_execname(struct stap_context *c)
{
	const u64 ones = 0x0101010101010101ull, highs = 0x8080808080808080ull;
	char *text = stap_space(c, TASK_COMM_LEN);
	u64 word, zeros;
	u32 at;

	if (!text)
		return STAP_EMPTY;
	/* Copied and searched for its end by words: the commonest key there is. */
	BUILD_BUG_ON(TASK_COMM_LEN % sizeof(word));
	for (at = 0; at < TASK_COMM_LEN; at += sizeof(word)) {
		memcpy(&word, task_of(c)->comm + at, sizeof(word));
		memcpy(text + at, &word, sizeof(word));
		zeros = (word - ones) & ~word & highs;
		if (zeros)
			return (struct stap_str){ text, at + (__ffs(zeros) >> 3) };
	}
	return (struct stap_str){ text, TASK_COMM_LEN };
}

s64 stap_cpu(struct stap_context *c)
{
	return raw_smp_processor_id();
}

s64 stap_task_from_pid(s64 tid)
{
	struct task_struct *task;

	if (tid <= 0 || tid > INT_MAX)
		return 0;
	rcu_read_lock();
	task = pid_task(find_pid_ns((int)tid, &init_pid_ns), PIDTYPE_PID);
	rcu_read_unlock();
	return (s64)(unsigned long)task;
}

int stap_is_compat(void)
{
#ifdef CONFIG_COMPAT
	return in_compat_syscall();
#else
	return 0;
#endif
}

/* ------------------------------------------------------------------------------------------------------------------------- the target's processes */

struct target_member {
	struct hlist_node node;
	struct rcu_head rcu;
	s32 pid;
};

static DEFINE_HASHTABLE(target_members, 8);
static DEFINE_RAW_SPINLOCK(target_members_lock);
static int follows_target;			/* fork and exit are watched */

s64 stap_in_target_set(s64 pid)
{
	struct target_member *m;
	s64 found = 0;

	if (!stap_session.target)
		return 0;
	if (pid == stap_session.target)
		return 1;
	rcu_read_lock();
	hash_for_each_possible_rcu(target_members, m, node, (u32)pid)
		if (m->pid == pid) {
			found = 1;
			break;
		}
	rcu_read_unlock();
	return found;
}

s64 stap_in_target(struct stap_context *c)
{
	return stap_in_target_set(task_of(c)->tgid);
}

static void add_target_member(s32 pid, gfp_t flags)
{
	struct target_member *m = kmalloc(sizeof(*m), flags);
	unsigned long state;

	if (!m) {
		stap_add_skips(STAP_SKIP_MEMORY, 1);
		return;
	}
	m->pid = pid;
	raw_spin_lock_irqsave(&target_members_lock, state);
	hash_add_rcu(target_members, &m->node, (u32)pid);
	raw_spin_unlock_irqrestore(&target_members_lock, state);
}

static void target_fork(void *data, struct task_struct *parent, struct task_struct *child)
{
	if (child->tgid != parent->tgid && stap_in_target_set(parent->tgid))
		add_target_member(child->tgid, GFP_ATOMIC);
}

static void target_exit(void *data, struct task_struct *task)
{
	struct target_member *m;
	unsigned long state;

	if (atomic_read(&task->signal->live) != 0)
		return;
	raw_spin_lock_irqsave(&target_members_lock, state);
	hash_for_each_possible(target_members, m, node, (u32)task->tgid)
		if (m->pid == task->tgid) {
			hash_del_rcu(&m->node);
			kfree_rcu(m, rcu);
			break;
		}
	raw_spin_unlock_irqrestore(&target_members_lock, state);
}

/* Descendants that are there when the session starts. */
static void add_target_descendants(void)
{
	struct task_struct *task, *up;

	rcu_read_lock();
	for_each_process(task) {
		for (up = task; up->pid > 1; up = rcu_dereference(up->real_parent)->group_leader)
			if (up->tgid == stap_session.target) {
				if (task->tgid != stap_session.target)
					add_target_member(task->tgid, GFP_ATOMIC);
				break;
			}
	}
	rcu_read_unlock();
}

/* --------------------------------------------------------------------------------------------------------------------------------------- filters */

static struct inode **executables;	/* by probe; held */

int stap_filters_start(void)
{
	const struct stap_probe *p;
	int error;

	executables = kvcalloc(stap_script.probe_count + 1, sizeof(*executables), GFP_KERNEL);
	if (!executables)
		return -ENOMEM;
	stap_for_each_probe(p) {
		struct path path;

		if (p->processes.kind != STAP_FILTER_PATH)
			continue;
		error = kern_path(p->processes.path, LOOKUP_FOLLOW, &path);
		if (error) {
			stap_message(STAP_RECORD_ERROR, "probe %s: file \"%s\" cannot be found (error %d); check the path", p->point, p->processes.path, error);
			return error;
		}
		executables[p - stap_script.probes] = igrab(d_inode(path.dentry));
		path_put(&path);
	}
	if (!stap_session.target)
		return 0;
	follows_target = 1;
	error = stap_tracepoint_add("sched_process_fork", target_fork, NULL, STAP_FIRST);
	if (!error)
		error = stap_tracepoint_add("sched_process_exit", target_exit, NULL, STAP_LAST);
	add_target_descendants();
	return error;
}

void stap_filters_stop(void)
{
	struct target_member *m;
	struct hlist_node *next;
	u32 i;
	int bucket;

	if (follows_target) {
		stap_tracepoint_remove("sched_process_fork", target_fork, NULL);
		stap_tracepoint_remove("sched_process_exit", target_exit, NULL);
		tracepoint_synchronize_unregister();
		hash_for_each_safe(target_members, bucket, next, m, node) {
			hash_del(&m->node);
			kfree(m);
		}
		rcu_barrier();
		follows_target = 0;
	}
	for (i = 0; executables && i < stap_script.probe_count; i++)
		iput(executables[i]);
	kvfree(executables);
	executables = NULL;
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)

/* Until 6.16 a task has lost its memory when its exit is announced, so that nobody can tell which program it ran: that is remembered where its exit begins. */
struct exiting {
	struct hlist_node node;
	const struct task_struct *task;
	struct inode *inode;
};

static DEFINE_HASHTABLE(exiting, 8);
static DEFINE_RAW_SPINLOCK(exiting_lock);
static struct inode *executable_of(struct task_struct *task);

static int exit_begins(struct kprobe *p, struct pt_regs *regs)
{
	struct inode *inode = executable_of(current);
	struct exiting *e;
	unsigned long flags;
	u32 i = 0;

	if (!inode)
		return 0;
	while (i < stap_script.probe_count && executables[i] != inode)
		i++;
	e = i < stap_script.probe_count ? kmalloc(sizeof(*e), GFP_ATOMIC | __GFP_NOWARN) : NULL;
	if (!e)
		return 0;
	e->task = current;
	e->inode = inode;
	raw_spin_lock_irqsave(&exiting_lock, flags);
	hash_add(exiting, &e->node, (unsigned long)e->task);
	raw_spin_unlock_irqrestore(&exiting_lock, flags);
	return 0;
}

static struct kprobe exit_probe = { .symbol_name = "do_exit", .pre_handler = exit_begins };
static int watches_exits;

int stap_exits_start(void)
{
	const struct stap_probe *p;
	int error;

	stap_for_each_probe(p)
		if (p->kind == STAP_PROBE_PROCESS && p->processes.kind == STAP_FILTER_PATH && (p->process.event == STAP_PROCESS_END || p->process.event == STAP_THREAD_END)) {
			error = register_kprobe(&exit_probe);
			watches_exits = !error;
			return error;
		}
	return 0;
}

static struct inode *exiting_executable(const struct task_struct *task)
{
	struct inode *inode = NULL;
	struct exiting *e;
	unsigned long flags;

	raw_spin_lock_irqsave(&exiting_lock, flags);
	hash_for_each_possible(exiting, e, node, (unsigned long)task)
		if (e->task == task)
			inode = e->inode;	/* compared only */
	raw_spin_unlock_irqrestore(&exiting_lock, flags);
	return inode;
}

/* The task has exited; null: all of them are forgotten. */
void stap_exits_forget(const struct task_struct *task)
{
	HLIST_HEAD(gone);
	struct exiting *e;
	struct hlist_node *next;
	unsigned long flags;
	int bucket;

	if (!watches_exits)
		return;
	raw_spin_lock_irqsave(&exiting_lock, flags);
	if (task) {
		hash_for_each_possible_safe(exiting, e, next, node, (unsigned long)task)
			if (e->task == task) {
				hash_del(&e->node);
				hlist_add_head(&e->node, &gone);
			}
	} else {
		hash_for_each_safe(exiting, bucket, next, e, node) {
			hash_del(&e->node);
			hlist_add_head(&e->node, &gone);
		}
	}
	raw_spin_unlock_irqrestore(&exiting_lock, flags);
	hlist_for_each_entry_safe(e, next, &gone, node)
		kfree(e);
}

/* After the tracepoints are gone. */
void stap_exits_stop(void)
{
	if (!watches_exits)
		return;
	unregister_kprobe(&exit_probe);
	stap_exits_forget(NULL);
	watches_exits = 0;
}

#else

int stap_exits_start(void)
{
	return 0;
}

static struct inode *exiting_executable(const struct task_struct *task)
{
	return NULL;
}

void stap_exits_forget(const struct task_struct *task)
{
}

void stap_exits_stop(void)
{
}

#endif

static struct inode *executable_of(struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	struct file *file;
	struct inode *inode = NULL;

	if (task->flags & PF_KTHREAD)
		return NULL;
	if (!mm)
		return exiting_executable(task);
	rcu_read_lock();
	file = rcu_dereference(mm->exe_file);
	if (file)
		inode = file_inode(file);	/* compared only */
	rcu_read_unlock();
	return inode;
}

int stap_passes(const struct stap_probe *probe, struct task_struct *task)
{
	switch (probe->processes.kind) {
	case STAP_FILTER_ALL:
		return !stap_session.target || stap_in_target_set(task->tgid);
	case STAP_FILTER_PID:
		return task->tgid == probe->processes.pid;
	case STAP_FILTER_PATH:
		return executable_of(task) == executables[probe - stap_script.probes];
	default:
		return 1;
	}
}
