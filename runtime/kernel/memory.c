// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Reads of memory that may not be there. They never sleep and never fault the kernel. */
#include "kernel.h"

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
