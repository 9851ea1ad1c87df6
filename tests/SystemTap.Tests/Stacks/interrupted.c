#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>
#define NOINLINE __attribute__((noinline, noclone))
static volatile int seen;
NOINLINE void note(int n)
{
    seen += n;
}
static void handler(int number, siginfo_t *info, void *context)
{
    ucontext_t *c = context;
    note(number);
    c->uc_mcontext.gregs[REG_RIP] += 2;
}
static inline __attribute__((always_inline)) void trap(void)
{
    asm volatile("ud2");
}
NOINLINE int work(int n)
{
    asm volatile("nop; nop");
    trap();
    return n + seen;
}
int main(void)
{
    struct sigaction a = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
    sigaction(SIGILL, &a, 0);
    printf("%d\n", work(1));
    return 0;
}
