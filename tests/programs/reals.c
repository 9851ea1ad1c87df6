// Floating-point numbers that need care: too large for an exponent, too small for one, exact halves, signs of zero; and one that is changed from outside.
#include <float.h>
#include <math.h>
#include <stdio.h>

struct reals { float f; double d; float fs[3]; double ds[2]; long double ld; };
struct store { float up, down, least, none, large, even; } store;

__attribute__((noinline)) static void show(struct reals *r)
{
    printf("%.6f %.6f %.6f %.6f %.6f %.6f\n", r->f, r->fs[0], r->fs[1], r->fs[2], r->ds[0], r->ds[1]);
    fflush(stdout);
}

__attribute__((noinline)) static float half(float x) { return x / 2; }

int main(void)
{
    *(volatile float *)&store.up = 9;       // its page is in memory then
    struct reals all[] = {
        { 1.5f, -3.25, { 0.1f, -0.0f, 1e-40f }, { 1e18, 123456.789 }, 1 },
        { INFINITY, NAN, { 16777216.0f, FLT_MIN, 1.4e-45f }, { 0.0078125, 0.0234375 }, 2 },
        { -INFINITY, 0.5, { 3.14159f, -1e-3f, 2.5e7f }, { 2.5e-7, 0.9999999 }, 0 },
    };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) show(&all[i]);
    printf("store %a %a %a %a %a %a\n", store.up, store.down, store.least, store.none, store.large, store.even);
    printf("half %.2f\n", half(5.5f));
    return 0;
}
