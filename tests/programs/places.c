/* What compilers keep in vector registers, and what they do away with. Prints about itself what a script must print. */
#include <stdio.h>

#ifdef __clang__
#define OPAQUE __attribute__((noinline))
#else
#define OPAQUE __attribute__((noipa))
#endif

struct pair { double x, y; };
struct mix { double d; long l; };
struct point { int x, y; struct point *next; };

OPAQUE double scaled(double a, float b, int n, double c)
{
    printf("scaled %.3f %.3f %d %.3f\n", a, b, n, c);
    return a * n + c;
}

OPAQUE float halved(float f) { return f / 2; }
OPAQUE struct pair made(double x) { struct pair p = { x, -x }; return p; }
OPAQUE struct mix mixed(long l) { struct mix m = { l / 4.0, l }; return m; }
OPAQUE double taken(struct pair p, struct mix m) { printf("taken %.3f %.3f %.3f %ld\n", p.x, p.y, m.d, m.l); return p.x; }

/* The pointers exist in the source only: the structures they point to are in registers or constants. */
static inline __attribute__((always_inline)) int summed(const struct point *p, const int *k)
{
    asm volatile("nop; nop" : : "r"(p->x), "r"(p->y) : "memory");
    int r = p->x * p->y + *k;
    asm volatile("nop; nop" : "+r"(r) : "r"(p->x), "r"(p->y) : "memory");
    return r;
}

OPAQUE int local(int a, int b)
{
    struct point p = { a + 1, b + 2, 0 };
    int k = 40;
    return summed(&p, &k);
}

OPAQUE int changed(int n, long m) { asm volatile("" : "+r"(n), "+r"(m)); return n + (int)m; }

int main(void)
{
    double d = scaled(2.5, -0.125f, 3, 1000.0625);
    float f = halved(d > 0 ? 7.5f : 0);
    struct pair p = made(f);
    struct mix m = mixed(-10);
    printf("returned %.3f %.3f %.3f %.3f %.3f %ld\n", d, f, p.x, p.y, m.d, m.l);
    taken(p, m);
    printf("local %d %d %d\n", local(3, 4), 4, 6);
    printf("changed %d\n", changed(1, 2));
    return 0;
}
