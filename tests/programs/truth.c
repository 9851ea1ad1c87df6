/* Variables of every shape and place, for all compilers and flags. Each function prints one line about itself; a script that probes it must print the same line. */
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <wchar.h>

/* Nothing is known of the callers and nothing of the parameters is thrown away. */
#ifdef __clang__
#define OPAQUE __attribute__((noinline))
#else
#define OPAQUE __attribute__((noipa))
#endif
#define KEEP(x) asm volatile("" : : "r"(x) : "memory")
#define KEEPM(x) asm volatile("" : "+m"(x) : : "memory")

/* ---- numbers */
enum small { MINUS = -3, ZERO, FIVE = 5 } __attribute__((packed));
enum wide { HUGE = 0x123456789abcull, TINY = 1 };
typedef int8_t byte;

OPAQUE void numbers(signed char sc, byte by, uint8_t u8, wchar_t wc, long long ll, unsigned long long ull, enum small es, enum wide ew, _Bool yes, _Bool no)
{
    printf("numbers %d %d %d %d %lld %llu %d %lu %d %d\n", sc, by, u8, (int)wc, ll, ull, es, (unsigned long)ew, yes, no);
}

/* Ten parameters and more: the last ones are on the stack, narrow ones among them. */
OPAQUE long stacked(int a, int b, int c, int d, int e, int f, signed char g, short h, unsigned char i, int j, long k, const char *l)
{
    printf("stacked %d %d %d %d %d %d %s\n", f, g, h, i, j, (int)k, l);
    return a + b + c + d + e + f + g + h + i + j + k + l[0];
}

/* ---- floating point; only memory is asked of */
struct reals { float f; double d; float fs[3]; double ds[2]; };
float global_float = 2.5f;
double global_double = -1234.0625;

OPAQUE void reals(struct reals *r)
{
    printf("reals %.4f %.4f %.4f %.4f %.4f %.4f %.4f\n", r->f, r->d, r->fs[0], r->fs[2], r->ds[1], global_float, global_double);
}

OPAQUE double mixed(int a, struct reals by_value, int b)
{
    printf("mixed %d %.3f %.3f %d\n", a, by_value.d, by_value.fs[1], b);
    return by_value.d;
}

/* ---- structures */
struct inner { int a; short b[3]; char name[8]; };
struct deep { struct { struct { int z[2][2]; } y; } x; struct inner in[2]; struct inner *ptrs[2]; };
struct fields {
    unsigned a : 1; unsigned b : 7; int c : 9; unsigned long d : 33; long e : 31; unsigned char f : 3; unsigned char : 2; unsigned char g : 3; signed char h : 4;
    _Bool i : 1; enum { LOW, HIGH = 3 } j : 2; unsigned long long k : 64;
};
union mix { uint32_t word; uint8_t bytes[4]; struct { uint16_t low, high; }; int (*call)(int); float real; };
struct list { int value; struct list *next, **where; };
struct flex { int count; int items[]; };
struct empty_tail { char tag; union { long l; char c[8]; }; struct { int anon; }; } __attribute__((packed));

OPAQUE void nested(struct deep *d)
{
    printf("nested %d %d %d %s %d %s\n", d->x.y.z[1][0], d->x.y.z[0][1], d->in[1].b[2], d->in[0].name, d->ptrs[1]->a, d->ptrs[0]->name);
}

OPAQUE void fields(struct fields *f)
{
    printf("fields %u %u %d %lu %ld %u %u %d %d %d %llu\n", f->a, f->b, f->c, (unsigned long)f->d, (long)f->e, f->f, f->g, f->h, f->i, f->j, (unsigned long long)f->k);
}

OPAQUE void unions(union mix *m, struct empty_tail *t)
{
    printf("unions %u %u %u %u %u %d %ld %d %d\n", m->word, m->bytes[0], m->bytes[3], m->low, m->high, t->tag, t->l, t->c[1], t->anon);
}

OPAQUE void lists(struct list *l, struct list **ll, struct flex *x, int i)
{
    printf("lists %d %d %d %d %d %d\n", l->next->next->value, (*ll)->value, (*l->where)->value, x->count, x->items[2], x->items[i]);
}

/* ---- structures by value, in one register, in two, in memory */
struct one { int a; short b; char c; };
struct two { long p; int q; unsigned char r; short s; };
struct three { long p, q, r; };

OPAQUE int in_one(struct one o) { printf("in_one %d %d %d\n", o.a, o.b, o.c); return o.a; }
OPAQUE int in_two(int before, struct two t, int after) { printf("in_two %d %ld %d %d %d %d\n", before, t.p, t.q, t.r, t.s, after); return t.q; }
OPAQUE int in_three(struct three t, int after) { printf("in_three %ld %ld %ld %d\n", t.p, t.q, t.r, after); return 1; }
OPAQUE struct one make_one(int x) { struct one o = { x, (short)-x, 'o' }; return o; }
OPAQUE struct two make_two(int x) { struct two t = { -x, x + 1, 200, -9 }; return t; }
OPAQUE struct three make_three(int x) { struct three t = { x, x + 1, x + 2 }; return t; }

/* ---- strings and tables */
struct words { const char *one, *const *many; char fixed[4]; char inside[16]; unsigned char raw[5]; };
static const char *const table[] = { "zero", "one", "two", 0 };
static const int matrix[2][3] = { { 1, 2, 3 }, { 4, 5, 6 } };

OPAQUE void strings(struct words *w, char letter, const char **vector, int n)
{
    printf("strings %s %s %.4s %s %d %c %s %s %d\n", w->one, w->many[2], w->fixed, w->inside, w->raw[4], letter, vector[1], table[n], matrix[1][n]);
}

/* ---- places: globals, file-local, function-local statics, thread-local */
int exported = 17;
static volatile short file_local = -18;
const long constant = 19;
__thread int thread_int = 20;
static __thread struct inner thread_struct = { 21, { 22, 23, 24 }, "thread" };

OPAQUE void places(int x)
{
    static int calls = 100;
    calls++;
    KEEPM(calls);
    printf("places %d %d %d %ld %d %d %d %s\n", x, exported, file_local, constant, thread_int, thread_struct.a, thread_struct.b[2], thread_struct.name);
    exported++;
    thread_int += 10;
}

/* ---- results */
OPAQUE signed char r_schar(int x) { return (signed char)(x - 300); }
OPAQUE unsigned char r_uchar(int x) { return (unsigned char)(x - 1); }
OPAQUE short r_short(int x) { return (short)-x; }
OPAQUE unsigned r_unsigned(int x) { return (unsigned)-x; }
OPAQUE _Bool r_bool(int x) { return x != 0; }
OPAQUE int *r_pointer(int *x) { return x + 1; }
OPAQUE struct inner *r_struct(struct deep *d) { return &d->in[1]; }
OPAQUE enum small r_enum(int x) { return x ? MINUS : FIVE; }
OPAQUE int apply(int (*f)(int), int x) { int y = f(x); KEEP(y); return y + 1; }
OPAQUE int half(int x) { return x / 2; }

/* ---- inlined */
static inline __attribute__((always_inline)) int square(int side) { KEEP(side); return side * side; }
OPAQUE int uses_square(int s) { int r = square(s + 1); KEEP(r); return r; }

int main(void)
{
    static int ints[3] = { 7, 8, 9 };
    static struct { struct flex f; int room[3]; } flex = { { 3 }, { 31, 32, 33 } };
    struct inner in = { 51, { 52, -53, 54 }, "ptr-one" };
    struct deep d;
    memset(&d, 0, sizeof d);
    d.x.y.z[1][0] = 41;
    d.x.y.z[0][1] = -42;
    d.in[0] = (struct inner){ 1, { 2, 3, 4 }, "first" };
    d.in[1] = (struct inner){ 5, { 6, 7, -8 }, "second" };
    d.ptrs[0] = d.ptrs[1] = &in;
    struct fields f = { 1, 99, -200, 0x1fffffffful, -1000000000, 5, 2, -8, 1, HIGH, 0xfedcba9876543210ull };
    union mix m = { 0x87654321 };
    struct empty_tail t = { 't', { 0x4142434445464748 }, { -66 } };
    struct list l3 = { 3, 0, 0 }, l2 = { 2, &l3, 0 }, *lp = &l2, l1 = { 1, &l2, &lp };
    struct words w = { "word", table, { 'f', 'u', 'l', 'l' }, "inside", { 1, 2, 3, 4, 250 } };
    const char *vector[] = { "v0", "v1" };
    struct reals r = { 1.5f, 3.14159, { 0.25f, -8.5f, 1e-3f }, { 0, 1e6 } };
    KEEPM(d); KEEPM(f); KEEPM(m); KEEPM(t); KEEPM(l1); KEEPM(w); KEEPM(r);

    numbers(-1, -128, 255, L'\u20ac', -5000000000ll, 18446744073709551615ull, MINUS, HUGE, 1, 0);
    stacked(1, 2, 3, 4, 5, -6, -7, -8, 209, 10, -11, "twelve");
    reals(&r);
    mixed(1, r, 2);
    nested(&d);
    fields(&f);
    unions(&m, &t);
    lists(&l1, &l1.next, &flex.f, 1);
    in_one((struct one){ -1, 2, 'c' });
    in_two(1, (struct two){ -5000000000, -3, 250, -4 }, 5);
    in_three((struct three){ 1, -2, 3 }, 4);
    struct one o = make_one(11);
    printf("make_one %d %d %d\n", o.a, o.b, o.c);
    struct two two = make_two(12);
    printf("make_two %ld %d %d %d\n", two.p, two.q, two.r, two.s);
    struct three three = make_three(13);
    printf("make_three %ld %ld %ld\n", three.p, three.q, three.r);
    strings(&w, 'L', vector, 2);
    places(1);
    places(2);
    printf("r_schar %d\n", r_schar(299));
    printf("r_uchar %d\n", r_uchar(0));
    printf("r_short %d\n", r_short(300));
    printf("r_unsigned %u\n", r_unsigned(1));
    printf("r_bool %d\n", r_bool(256));
    printf("r_pointer %d\n", *r_pointer(ints));
    printf("r_struct %s\n", r_struct(&d)->name);
    printf("r_enum %d\n", r_enum(1));
    printf("apply %d\n", apply(half, 9));
    printf("square %d %d\n", 5, uses_square(4));
    return 0;
}
