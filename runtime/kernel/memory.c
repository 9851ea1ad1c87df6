// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Reads and writes of memory that may not be there. They never sleep and never fault the kernel. */
#include "kernel.h"

/*
 * Zeroed memory of a session. A script that asks for more than there is must be refused: the kernel would rather end other processes than let vmalloc fail.
 * A sixteenth of what is available stays free.
 */
void *stap_pages(u64 bytes, int node)
{
	long available = si_mem_available();

	if (bytes > ULONG_MAX / 2 || available <= 0 || (bytes >> PAGE_SHIFT) > (u64)available - available / 16)
		return NULL;
	return vzalloc_node(bytes, node);
}

int stap_env_copy(void *into, u64 address, u32 n, int user)
{
	if (user)
		return copy_from_user_nofault(into, (const void __user *)(unsigned long)address, n) == 0;
	return copy_from_kernel_nofault(into, (const void *)(unsigned long)address, n) == 0;
}

static int read_number(u64 address, u32 size, u64 *value, int user)
{
	union { u8 b; u16 h; u32 w; u64 d; } v;

	if (!stap_env_copy(&v, address, size, user))
		return 0;
	*value = size == 1 ? v.b : size == 2 ? v.h : size == 4 ? v.w : v.d;
	return 1;
}

int stap_read_kernel(u64 address, u32 size, u64 *value)
{
	return read_number(address, size, value, 0);
}

int stap_read_user(u64 address, u32 size, u64 *value)
{
	return read_number(address, size, value, 1);
}

int stap_write_user(u64 address, u32 size, u64 value)
{
	union { u8 b; u16 h; u32 w; u64 d; } v = { .d = 0 };

	if (size == 1)
		v.b = (u8)value;
	else if (size == 2)
		v.h = (u16)value;
	else if (size == 4)
		v.w = (u32)value;
	else
		v.d = value;
	return copy_to_user_nofault((void __user *)(unsigned long)address, &v, size) == 0;
}

/* copy_to_kernel_nofault() is not there for modules; what it is made of is. */
int stap_write_kernel(u64 address, u32 size, u64 value)
{
	void *to = (void *)(unsigned long)address;
	u8 b = (u8)value;
	u16 h = (u16)value;
	u32 w = (u32)value;

	if (address < TASK_SIZE_MAX)
		return 0;
	pagefault_disable();
	if (size == 1)
		__put_kernel_nofault(to, &b, u8, fault);
	else if (size == 2)
		__put_kernel_nofault(to, &h, u16, fault);
	else if (size == 4)
		__put_kernel_nofault(to, &w, u32, fault);
	else
		__put_kernel_nofault(to, &value, u64, fault);
	pagefault_enable();
	return 1;
fault:
	pagefault_enable();
	return 0;
}
