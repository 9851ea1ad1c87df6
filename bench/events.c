/* Makes one kind of event in a loop and tells the nanoseconds of the fastest of some loops: events getpgid|rename [EVENTS [LOOPS]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int rename = argc > 1 && strcmp(argv[1], "rename") == 0;
	long n = argc > 2 ? atol(argv[2]) : 20000, loops = argc > 3 ? atol(argv[3]) : 9;
	double best = 1e18;

	while (loops-- > 0) {
		struct timespec from, to;
		double each;

		clock_gettime(CLOCK_MONOTONIC, &from);
		for (long i = 0; i < n; i++)
			if (rename)
				prctl(PR_SET_NAME, "events");
			else
				syscall(SYS_getpgid, 0);
		clock_gettime(CLOCK_MONOTONIC, &to);
		each = ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / n;
		if (each < best)
			best = each;
	}
	printf("%.0f\n", best);
	return 0;
}
