// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The rings. One for each CPU, written by that CPU only, from any context: a record's room is reserved by compare-exchange, filled, and made visible
 * when the outermost writer of the CPU is done (an interrupt's record lies behind the one it interrupted). staprun reads them through a mapping and
 * moves `tail`; a tail that makes no sense counts as a full ring, nothing else. While a detached session has no reader, the writer moves `tail` itself.
 * A reader that comes takes each ring over on the ring's own CPU, between two of its writers, so that at no time both move the tail and at none neither does.
 */
#include "kernel.h"
#include <linux/mm.h>
#include <linux/irq_work.h>
#include <linux/wait.h>
#include <linux/delay.h>
#include <linux/cpu.h>
#include <linux/smp.h>
#include <linux/log2.h>

struct stap_ring {
	struct stap_ring_page *page;
	char *data;
	unsigned long reserved;		/* head for writers */
	int nest;
	int unread;			/* nobody reads: new output replaces the oldest */
};

static struct stap_ring *rings;		/* by CPU */
static u64 ring_bytes;
static atomic64_t record_numbers;
static DECLARE_WAIT_QUEUE_HEAD(ring_reader);
static struct irq_work ring_waker;

static void wake_ring_reader(struct irq_work *work)
{
	wake_up_interruptible_all(&ring_reader);
}

void stap_wake_reader(void)
{
	irq_work_queue(&ring_waker);
}

wait_queue_head_t *stap_reader_queue(void)
{
	return &ring_reader;
}

u64 stap_ring_bytes(void)
{
	return ring_bytes;
}

int stap_output_start(u64 bytes)
{
	unsigned int cpu;

	init_waitqueue_head(&ring_reader);
	init_irq_work(&ring_waker, wake_ring_reader);
	ring_bytes = roundup_pow_of_two(clamp_t(u64, bytes, PAGE_SIZE, 1ull << 32));
	rings = kvcalloc(nr_cpu_ids, sizeof(*rings), GFP_KERNEL);
	if (!rings)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		rings[cpu].page = stap_pages(PAGE_SIZE + ring_bytes, cpu_to_node(cpu));
		if (!rings[cpu].page)
			return -ENOMEM;
		rings[cpu].data = (char *)rings[cpu].page + PAGE_SIZE;
	}
	return 0;
}

void stap_output_stop(void)
{
	unsigned int cpu;

	irq_work_sync(&ring_waker);
	for (cpu = 0; rings && cpu < nr_cpu_ids; cpu++)
		vfree(rings[cpu].page);
	kvfree(rings);
	rings = NULL;
}

int stap_output_mmap(struct vm_area_struct *vma)
{
	unsigned long each = (PAGE_SIZE + ring_bytes) >> PAGE_SHIFT;
	unsigned long page = vma->vm_pgoff, at;
	int error;

	if (vma_pages(vma) > each * nr_cpu_ids || page > each * nr_cpu_ids - vma_pages(vma))
		return -EINVAL;
	for (at = vma->vm_start; at < vma->vm_end; at += PAGE_SIZE, page++) {
		struct stap_ring *ring = &rings[page / each];

		if (!ring->page)
			continue;
		error = vm_insert_page(vma, at, vmalloc_to_page((char *)ring->page + (page % each) * PAGE_SIZE));
		if (error)
			return error;
	}
	return 0;
}

static inline u64 ring_used(const struct stap_ring *ring)
{
	return ring->reserved - READ_ONCE(ring->page->tail);
}

int stap_output_pending(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		if (ring_used(&rings[cpu]) > ring_bytes / 4)
			return 1;
	return 0;
}

static inline void ring_get(const struct stap_ring *ring, unsigned long at, void *to, u32 n)
{
	unsigned long offset = at & (ring_bytes - 1);
	u32 first = min_t(u64, n, ring_bytes - offset);

	memcpy(to, ring->data + offset, first);
	memcpy((char *)to + first, ring->data, n - first);
}

static inline void ring_put(struct stap_ring *ring, unsigned long at, const void *from, u32 n)
{
	unsigned long offset = at & (ring_bytes - 1);
	u32 first = min_t(u64, n, ring_bytes - offset);

	memcpy(ring->data + offset, from, first);
	memcpy(ring->data, (const char *)from + first, n - first);
}

/*
 * Makes room by forgetting the oldest print that is there for readers; 0: there is none. The ring is its CPU's alone, so only a handler that interrupted this
 * one can have moved the tail meanwhile; then there is room already. Lengths come from memory that a reader could write: one that makes no sense empties the ring.
 */
static int forget_oldest(struct stap_ring *ring)
{
	struct stap_record oldest;
	int forgotten = 0;

	do {
		unsigned long tail = READ_ONCE(ring->page->tail), there = smp_load_acquire(&ring->page->head) - tail, length;

		if (!there || there > ring_bytes)
			return forgotten;
		ring_get(ring, tail, &oldest, sizeof(oldest));
		length = ALIGN(sizeof(oldest) + (u64)oldest.bytes, 8);
		if (length >= there) {
			length = there;
			oldest.more = 0;
		}
		if (cmpxchg_local(&ring->page->tail, tail, tail + length) != tail)
			return 1;
		atomic64_inc(&stap_control.overwritten);
		forgotten = 1;
	} while (oldest.more);
	return 1;
}

void stap_output_leave(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		smp_store_release(&rings[cpu].unread, 1);
}

/* New output until the reader has begun to read goes into the room made here: enough for a moment, little enough for an interrupt. */
static void take_ring(void *interrupted)
{
	struct stap_ring *ring = &rings[smp_processor_id()];
	unsigned long room = min_t(u64, ring_bytes / 4, 256 << 10);

	if (!ring->unread)
		return;
	if (ring->nest) {
		atomic_set((atomic_t *)interrupted, 1);
		return;
	}
	while (ring_used(ring) > ring_bytes - room && forget_oldest(ring))
		;
	WRITE_ONCE(ring->unread, 0);
}

/* Every CPU was seen between two writers after the number was read, so nothing below it is still being written. */
u64 stap_output_take(void)
{
	u64 settled = atomic64_read(&record_numbers);
	atomic_t interrupted;
	unsigned int cpu;

	cpus_read_lock();
	do {
		atomic_set(&interrupted, 0);
		on_each_cpu(take_ring, &interrupted, 1);
	} while (atomic_read(&interrupted));
	for_each_possible_cpu(cpu)
		if (!cpu_online(cpu))
			WRITE_ONCE(rings[cpu].unread, 0);
	cpus_read_unlock();
	return settled;
}

/* Preemption is off. */
static int try_send(enum stap_record_type type, const void *bytes, u32 n, int more)
{
	struct stap_ring *ring = &rings[smp_processor_id()];
	struct stap_record record = { .bytes = n, .type = type, .more = more };
	unsigned long need = ALIGN(sizeof(record) + n, 8), at;

	ring->nest++;
	barrier();
	for (;;) {
		at = READ_ONCE(ring->reserved);
		if (unlikely(at + need - READ_ONCE(ring->page->tail) > ring_bytes)) {
			if (smp_load_acquire(&ring->unread) && need <= ring_bytes && forget_oldest(ring))
				continue;
			need = 0;
			break;
		}
		if (likely(cmpxchg_local(&ring->reserved, at, at + need) == at))
			break;
	}
	if (likely(need)) {
		record.number = atomic64_fetch_inc(&record_numbers);
		ring_put(ring, at, &record, sizeof(record));
		ring_put(ring, at + sizeof(record), bytes, n);
	}
	for (;;) {
		unsigned long head = READ_ONCE(ring->reserved);

		barrier();
		if (ring->nest > 1) {
			ring->nest--;
			break;
		}
		smp_store_release(&ring->page->head, head);
		barrier();
		ring->nest = 0;
		barrier();
		if (likely(head == READ_ONCE(ring->reserved)))
			break;
		ring->nest = 1;
		barrier();
	}
	if (unlikely(ring_used(ring) > ring_bytes / 4))
		stap_wake_reader();
	return need != 0;
}

int stap_send(enum stap_record_type type, const void *bytes, u32 n, int more, int may_wait)
{
	unsigned int tries = may_wait ? 2000 : 0;

	for (;;) {
		int sent;

		preempt_disable_notrace();
		sent = try_send(type, bytes, n, more);
		preempt_enable_notrace();
		if (sent)
			return 1;
		/* staprun reads in another thread than the one that runs begin and end handlers. */
		if (!tries--)
			break;
		usleep_range(500, 1500);
	}
	atomic64_inc(&stap_control.lost);
	return 0;
}

void stap_env_print(struct stap_context *c, const char *bytes, u32 n, int more)
{
	stap_send(STAP_RECORD_OUTPUT, bytes, n, more, stap_run_of(c)->waits);
}

void stap_message(enum stap_record_type type, const char *format, ...)
{
	char text[256];
	va_list list;
	int n;

	va_start(list, format);
	n = vscnprintf(text, sizeof(text), format, list);
	va_end(list);
	stap_send(type, text, n, 0, 0);
}

void stap_warn(struct stap_context *c, struct stap_str text)
{
	stap_send(STAP_RECORD_WARNING, text.s, text.n, 0, stap_run_of(c)->waits);
}

void stap_system(struct stap_context *c, struct stap_str command)
{
	stap_send(STAP_RECORD_SYSTEM, command.s, command.n, 0, stap_run_of(c)->waits);
	stap_wake_reader();
}

void stap_switch_file(void)
{
	stap_send(STAP_RECORD_SWITCH, "", 0, 0, 0);
}

void stap_printk(s64 level, struct stap_str text)
{
	printk("%c%c%.*s\n", KERN_SOH_ASCII, (char)('0' + clamp_t(s64, level, 0, 7)), (int)text.n, text.s);
}

void stap_ftrace(struct stap_str text)
{
#ifdef CONFIG_TRACING
	__trace_puts(_THIS_IP_, text.s, text.n);
#endif
}

u64 stap_new_stack_number(void)
{
	static atomic64_t numbers;

	return atomic64_inc_return(&numbers);
}
