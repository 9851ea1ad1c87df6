// Code that is not left by a plain return: longjmp(), contexts, the return of a signal handler. It checks itself: 0 is printed and returned when all went right.
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#ifdef CONTEXTS
#include <ucontext.h>
static ucontext_t outer, inner;
static char stack[65536];
#endif

static jmp_buf mark;
static volatile int signals, steps;

static void on_signal(int number) { signals += number == SIGUSR1; }

__attribute__((noinline)) static void leave(int level) { if (level) longjmp(mark, level); }

#ifdef CONTEXTS
static void other(void) { steps++; swapcontext(&inner, &outer); steps++; }
#endif

int main(int argc, char **argv)
{
	int wrong = argc != 1;
	signal(SIGUSR1, on_signal);
	raise(SIGUSR1);
	int level = setjmp(mark);
	if (level < 3)
		leave(level + 1);
	wrong += level != 3 || signals != 1;
#ifdef CONTEXTS
	getcontext(&inner);
	inner.uc_stack.ss_sp = stack;
	inner.uc_stack.ss_size = sizeof stack;
	inner.uc_link = &outer;
	makecontext(&inner, other, 0);
	swapcontext(&outer, &inner);
	swapcontext(&outer, &inner);
	wrong += steps != 2;
#endif
	printf("%d\n", wrong);
	return wrong;
}
