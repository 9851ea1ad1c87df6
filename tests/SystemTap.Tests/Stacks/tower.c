// A chain of calls through a library and a signal handler, all without frame pointers; the innermost function is spot().
// main → first → second (variable frame) → library_call (library) → callback → faulty ⚡ SIGILL → handler → deep (large frame) → spot
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ucontext.h>
#include <unistd.h>

#define OPAQUE __attribute__((noinline, noclone))
volatile int sink;

#ifdef LIBRARY
OPAQUE int library_inner(int (*f)(int), int x)
{
    char room[500];
    memset(room, x, sizeof room);
    int r = f(x + room[x]);
    sink += room[r & 255];
    return r;
}

OPAQUE int library_call(int (*f)(int), int x)
{
    int r = library_inner(f, x);
    sink++;
    return r + 1;
}
#else
int library_call(int (*f)(int), int x);

OPAQUE void spot(int n) { sink += n; }

OPAQUE void deep(int n)
{
    volatile char pad[6000];
    pad[n] = 1;
    spot(n + pad[n]);
    sink++;
}

OPAQUE void handler(int signal, siginfo_t *info, void *context)
{
    deep(signal);
#ifdef __x86_64__
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2; // over ud2
#else
    ((ucontext_t *)context)->uc_mcontext.pc += 4;
#endif
}

OPAQUE int faulty(int x)
{
    sink += x;
#ifdef __x86_64__
    asm volatile("ud2" : : : "memory");
#else
    asm volatile("udf #0" : : : "memory");
#endif
    sink++;
    return x;
}

OPAQUE int callback(int x)
{
    int r = faulty(x + 1);
    sink++;
    return r;
}

OPAQUE int second(int n)
{
    char *room = __builtin_alloca(n * 16);
    room[0] = 1;
    int r = library_call(callback, n);
    sink += room[0];
    return r;
}

OPAQUE int first(int n)
{
    int r = second(n) + 1;
    sink++;
    return r;
}

int main(void)
{
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
    sigaction(SIGILL, &action, 0);
    first(5);
    _exit(0);
}
#endif
