/* A function whose calls the compiler replaces by copies, and one without debug information. */
#include <stdio.h>
#define OPAQUE __attribute__((noinline))
volatile int sink;

static inline __attribute__((always_inline)) int mix(int alpha, int beta, int gamma, const char *text)
{
    int first = alpha * 2, second = beta + first, third = gamma ^ second;
    sink = third;
    asm volatile("" : : "r"(first), "r"(second), "r"(third), "r"(text[0]));
    {
        int inner = first + sink;
        sink += inner;
        asm volatile("nop" : : "r"(inner), "r"(second), "r"(first));
    }
    return third + text[0];
}

OPAQUE int one(int a, int b) { return mix(b, a, a + b, "one"); }
OPAQUE int two(int a, const char *t) { return mix(7, a, 3, t); }
int (*pointer)(int, int, int, const char *) = mix;

#ifdef __x86_64__
asm(".text\n.globl bare_add\n.type bare_add, @function\nbare_add:\n lea (%rdi,%rsi), %eax\n ret\n.size bare_add, .-bare_add\n");
#else
asm(".text\n.globl bare_add\n.type bare_add, @function\nbare_add:\n add w0, w0, w1\n ret\n.size bare_add, .-bare_add\n");
#endif
int bare_add(int a, int b);
OPAQUE int bare_user(int a) { return bare_add(a, 4) + 1; }

int main(int argc, char **argv)
{
    printf("%d %d %d %d\n", one(argc, 2), two(argc, argv[0]) > 0, pointer(1, 2, 3, "x"), bare_user(argc));
    return 0;
}
