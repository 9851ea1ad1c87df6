/* Variables of every shape. Each function prints one line about itself; a script that probes it must print the same line. */
#include <stdio.h>
#include <string.h>
#include <stdint.h>

#define NOINLINE __attribute__((noinline, noclone))
#define USE(x) asm volatile("" : : "g"(x) : "memory")

enum color { RED, GREEN = 5, BLUE = -2 };
typedef unsigned short u16;
struct inner { int a; short b[3]; char name[8]; };
struct node { long value; struct node *next; };
struct bits { unsigned low : 3; int sign : 5; unsigned long long big : 40; unsigned last : 1; };
struct packed { char tag; int odd; short more; } __attribute__((packed));
struct outer {
    struct inner in;
    struct inner *ip;
    const char *text;
    enum color col;
    union { int whole; unsigned char part[4]; };
    struct bits bits;
    struct node list;
    int matrix[2][3];
    int (*call)(int);
    void *opaque;
};
struct big { long x, y, z; };

int counter = 41;
static long hidden = -7;
__thread int per_thread = 99;
struct outer global;
static const char *names[] = { "zero", "one", "two" };

NOINLINE int scalars(char c, unsigned char uc, short s, u16 us, int i, unsigned u, long l, unsigned long ul, _Bool b, enum color e)
{
    printf("scalars %d %d %d %d %d %u %ld %lu %d %d\n", c, uc, s, us, i, u, l, ul, b, e);
    return i;
}

NOINLINE int members(struct outer *o)
{
    printf("members a=%d b=%d,%d,%d name=%s ip.b=%d text=%s col=%d whole=%d part=%d,%d\n", o->in.a, o->in.b[0], o->in.b[1], o->in.b[2], o->in.name, o->ip->b[2],
           o->text, o->col, o->whole, o->part[0], o->part[3]);
    printf("bits %u %d %llu %u\n", o->bits.low, o->bits.sign, (unsigned long long)o->bits.big, o->bits.last);
    printf("lists %ld %ld matrix %d %d\n", o->list.value, o->list.next->value, o->matrix[0][2], o->matrix[1][1]);
    return o->in.a;
}

NOINLINE int pointers(int **pp, const char *const *words, struct packed *p, struct node *head)
{
    printf("pointers %d %s %c %d %d %ld\n", **pp, words[1], p->tag, p->odd, p->more, head->next->next->value);
    return **pp;
}

NOINLINE long byvalue(struct big b, int tail)
{
    printf("byvalue %ld %ld %ld %d\n", b.x, b.y, b.z, tail);
    USE(&b);
    return b.x;
}

NOINLINE int globals(int n)
{
    printf("globals %d %ld %d %s %d %s\n", counter, hidden, per_thread, global.text, global.in.a, names[n]);
    counter++;
    per_thread += 2;
    hidden--;
    return n;
}

NOINLINE long many(int a, int b, int c, int d, int e, int f, int g, long h)
{
    printf("many %d %d %d %d %d %d %d %ld\n", a, b, c, d, e, f, g, h);
    return a + b + c + d + e + f + g + h;
}

NOINLINE long fact(long n)
{
    long r = n <= 1 ? 1 : n * fact(n - 1);
    USE(r);
    return r;
}

NOINLINE signed char tiny(int x) { USE(x); return (signed char)x; }
NOINLINE unsigned short small(int x) { USE(x); return (unsigned short)x; }
NOINLINE const char *text(int x) { USE(x); return names[x]; }
NOINLINE struct big large(int x) { struct big b = { x, x + 1, x + 2 }; USE(&b); return b; }
NOINLINE void nothing(int x) { USE(x); }
NOINLINE enum color paint(int x) { USE(x); return x ? BLUE : GREEN; }

static inline __attribute__((always_inline)) int inlined(int x) { USE(x); return x * 3; }

int main(void)
{
    int seven = 7, *p = &seven;
    struct node n3 = { 33, 0 }, n2 = { 22, &n3 }, n1 = { 11, &n2 };
    struct packed packed = { 'k', -123456, 77 };
    struct outer o;
    memset(&o, 0, sizeof o);
    o.in = (struct inner){ 10, { 20, -30, 40 }, "inner" };
    o.ip = &o.in;
    o.text = "hello";
    o.col = BLUE;
    o.whole = 0x41424344;
    o.bits = (struct bits){ 5, -9, 0x12345678ab, 1 };
    o.list = n1;
    o.matrix[0][2] = 102;
    o.matrix[1][1] = -111;
    global = o;
    global.text = "global";
    global.in.a = 1234;
    USE(&n1);

    scalars('x', 200, -300, 60000, -70000, 4000000000u, -5000000000L, 18446744073709551615ul, 1, GREEN);
    scalars(-1, 255, 32767, 1, 2147483647, 1, 1, 2, 0, BLUE);
    members(&o);
    pointers(&p, names, &packed, &n1);
    byvalue((struct big){ 1, -2, 3 }, 9);
    globals(1);
    globals(2);
    many(1, -2, 3, -4, 5, -6, 7, -8);
    printf("fact %ld\n", fact(4));
    printf("tiny %d\n", tiny(-3));
    printf("small %d\n", small(65535));
    printf("text %s\n", text(2));
    printf("large %ld\n", large(6).z);
    nothing(1);
    printf("paint %d\n", paint(1));
    printf("inlined %d\n", inlined(seven));
    return 0;
}
