/* Threads, forks, an exec of itself, and a library loaded while running. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#define NOINLINE __attribute__((noinline, noclone))
NOINLINE int step(int where, int n) { asm volatile("" : : "g"(where), "g"(n) : "memory"); return where + n; }
static void *thread(void *arg) { step(2, (int)(long)arg); return arg; }
int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "child")) {
        step(4, 40);
        return 0;
    }
    step(1, 10);
    for (long i = 0; i < 3; i++) {
        pthread_t t;
        pthread_create(&t, 0, thread, (void *)(20 + i));
        pthread_join(t, 0);
    }
    pid_t pid = fork();
    if (pid == 0) {
        step(3, 30);
        _exit(0);
    }
    waitpid(pid, 0, 0);
    pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", argv[0], "child", (char *)0);
        _exit(1);
    }
    waitpid(pid, 0, 0);
    if (argc > 1) {
        void *lib = dlopen(argv[1], RTLD_NOW);
        int (*call)(int) = lib ? (int (*)(int))dlsym(lib, "library_call") : 0;
        if (!call) {
            fprintf(stderr, "%s\n", dlerror());
            return 1;
        }
        printf("library %d\n", call(7));
    }
    return 0;
}
