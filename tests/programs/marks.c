/* SDT marks with arguments in every place the compiler can choose, with and without semaphores. */
#define SDT_USE_VARIADIC
#include <stdio.h>
#include <stdint.h>
#include <sys/sdt.h>
#define NOINLINE __attribute__((noinline, noclone))

#ifdef SEMAPHORES
#define _SDT_HAS_SEMAPHORES 1
#endif
volatile unsigned short watched_semaphore_copy;

struct pair { int a; short b; char c; };
static int table[8] = { 10, 11, 12, 13, 14, 15, 16, 17 };
int64_t big = -5000000000;

NOINLINE void kinds(int8_t a, uint8_t b, int16_t c, uint16_t d, int32_t e, uint32_t f, int64_t g, uint64_t h)
{
    DTRACE_PROBE8(marks, kinds, a, b, c, d, e, f, g, h);
    printf("kinds %d %d %d %d %d %u %lld %llu\n", a, b, c, d, e, f, (long long)g, (unsigned long long)h);
}

NOINLINE void places(struct pair *p, int i, const char *text)
{
    volatile int local = i * 2;
    DTRACE_PROBE9(marks, places, 42, -1, p->a, p->b, p->c, table[i], local, text, big);
    printf("places 42 -1 %d %d %d %d %d %s %lld\n", p->a, p->b, p->c, table[i], local, text, (long long)big);
}

NOINLINE void bare(void)
{
    DTRACE_PROBE(marks, bare);
    DTRACE_PROBE1(marks, dashed__name, 3);
    printf("bare\ndashed 3\n");
}

int main(void)
{
    struct pair p = { -7, 300, 'q' };
    kinds(-1, 255, -300, 65535, -70000, 4000000000u, -5000000000, 18446744073709551615ull);
    places(&p, 3, "text");
    bare();
    return 0;
}
