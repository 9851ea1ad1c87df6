// main → outer → holder → leaf, where holder has a large array, one page of which is not in memory.
#define _GNU_SOURCE
#include <sys/mman.h>
#define OPAQUE __attribute__((noinline, noclone))
volatile int sink;

OPAQUE void leaf(int n) { sink += n; }

OPAQUE void holder(int n)
{
    char room[12000];
    asm volatile("" : : "r"(room) : "memory");
    madvise((char *)(((unsigned long)room + 4095) & ~4095ul), 4096, MADV_DONTNEED);
    leaf(n);
    asm volatile("" : : "r"(room) : "memory");
}

OPAQUE void outer(int n)
{
    holder(n);
    sink++;
}

int main(void)
{
    outer(1);
    sink++;
    return 0;
}
