/* An optimiser that sees the whole program (-flto) drops the parameters that are not used and passes the others elsewhere. */
#include <stdio.h>

struct pair { long a, b; };

__attribute__((noinline)) long pick(struct pair unused, long number, int second, long third)
{
    asm volatile("" : : "r"(third), "r"(second) : "memory");
    printf("pick %d %ld\n", second, third);
    return second + third;
}

int main(int argc, char **argv)
{
    struct pair p = { argc, 5 };
    return pick(p, argc + 1000, argc + 1, argc + 2999) == 3002 ? 0 : 1;
}
