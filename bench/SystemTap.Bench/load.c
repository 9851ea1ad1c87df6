// The measured program, pinned to one CPU so that the tool's reader can have another.
//   load loop CALLS ROUNDS CPU   times CALLS getppid system calls, ROUNDS times; prints nanoseconds per call, one line each
//   load paced CALLS NS CPU      CALLS getppid calls, from start to start at least NS apart; prints nanoseconds per call
//   load arguments COUNT         getppid calls with the arguments 0 … COUNT - 1
//   load marker CPU              ioprio_get (a call nothing else makes) every 100 us until standard input ends; then prints the time of
//                                each call on the monotonic clock in ns
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);   // one CPU only: stays where it is
}

int main(int argc, char **argv) {
    if (argc == 5 && !strcmp(argv[1], "loop")) {
        long calls = atol(argv[2]);
        pin(atoi(argv[4]));
        for (int round = atoi(argv[3]); round > 0; round--) {
            long began = now();
            for (long i = 0; i < calls; i++) syscall(SYS_getppid);
            printf("%.2f\n", (double)(now() - began) / calls);
        }
        return 0;
    }
    if (argc == 5 && !strcmp(argv[1], "paced")) {
        long calls = atol(argv[2]), gap = atol(argv[3]);
        pin(atoi(argv[4]));
        long began = now(), next = began;
        for (long i = 0; i < calls; i++) {
            while (gap && now() < next)
                ;
            next += gap;
            syscall(SYS_getppid);
        }
        printf("%.2f\n", (double)(now() - began) / calls);
        return 0;
    }
    if (argc == 3 && !strcmp(argv[1], "arguments")) {
        long count = atol(argv[2]);
        for (long i = 0; i < count; i++) syscall(SYS_getppid, i);
        return 0;
    }
    if (argc == 3 && !strcmp(argv[1], "marker")) {
        static long times[1 << 20];
        long n = 0;
        struct pollfd in = { .fd = 0, .events = POLLIN };
        struct timespec gap = { 0, 100000 };
        pin(atoi(argv[2]));
        while (n < 1 << 20 && ppoll(&in, 1, &gap, NULL) == 0) {
            times[n++] = now();
            syscall(SYS_ioprio_get, 1, 0);
        }
        for (long i = 0; i < n; i++) printf("%ld\n", times[i]);
        return 0;
    }
    fprintf(stderr, "usage: load loop CALLS ROUNDS CPU | load paced CALLS NS CPU | load arguments COUNT | load marker CPU\n");
    return 2;
}
