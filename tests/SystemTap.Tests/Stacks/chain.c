// A program with a known chain of calls, compiled without frame pointers: main → outer (variable frame) → qsort of the C library → compare → middle (large frame) → leaf → getppid.
// usage: chain [ROUNDS], or chain spin: computes for a while in spin()
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

volatile int sink;

__attribute__((noinline)) void leaf(int n)
{
    char buffer[200];
    memset(buffer, n, sizeof buffer);
    sink += buffer[n & 63];
    syscall(SYS_getppid);
    sink++;
}

__attribute__((noinline)) void middle(int n)
{
    volatile char pad[3000];
    pad[n] = 1;
    leaf(n + pad[n]);
    sink++;
}

static int compare(const void *a, const void *b)
{
    middle(3);
    return *(const int *)a - *(const int *)b;
}

__attribute__((noinline)) void outer(int n)
{
    int values[2] = {2, 1};
    char *room = __builtin_alloca(n * 16);
    room[0] = 1;
    qsort(values, 2, sizeof values[0], compare);
    sink += room[0];
}

__attribute__((noinline)) void spin(void)
{
    for (long i = 0; i < 300000000; i++)
        sink += i;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "spin") == 0)
    {
        spin();
        return 0;
    }

    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    for (int i = 0; i < rounds; i++)
        outer(5);
    return 0;
}
