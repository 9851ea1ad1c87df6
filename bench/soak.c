/* Two processes, one on each of two CPUs, make getppid calls as fast as they can for some seconds; then the number of calls is told. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);	/* vDSO: no system call */
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	double end = now() + (argc > 1 ? atof(argv[1]) : 10);
	long *calls = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int i;

	for (i = 0; i < 2; i++)
		if (fork() == 0) {
			cpu_set_t one;

			CPU_ZERO(&one);
			CPU_SET(i, &one);
			sched_setaffinity(0, sizeof(one), &one);
			while (now() < end)
				for (int n = 0; n < 256; n++, calls[i]++)
					syscall(SYS_getppid);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	fprintf(stderr, "calls: %ld\n", calls[0] + calls[1]);
	return 0;
}
