/* A library with thread-local variables, found by dlopen or loaded with the program (preload). Compiled with -shared it is the library. Prints what a script must print. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef LIBRARY
static __thread struct { char tag; long numbers[3]; } hidden = { 'h', { 1, 2, 3 } };
__thread int counter = 7;
static __thread const char *whose = "nobody";
__attribute__((noinline)) void show(int x)
{
    asm volatile("" : : "r"(x) : "memory");
    printf("show %d %d %s %c %ld\n", x, counter, whose, hidden.tag, hidden.numbers[2]);
}
__attribute__((noinline)) void fresh(int x) { asm volatile("" : : "r"(x) : "memory"); }
void set(const char *name, int by) { whose = name; counter += by; hidden.numbers[2] *= by; }
#else
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>
static void (*show)(int), (*set)(const char *, int), (*fresh)(int);
static void *run(void *number)
{
    fresh((int)(long)number);
    set((long)number == 1 ? "first" : "second", 10 * (int)(long)number);
    show((int)(long)number);
    return 0;
}
int main(int argc, char **argv)
{
    if (argc > 2 && !getenv("LD_PRELOAD")) {
        setenv("LD_PRELOAD", argv[1], 1);
        execv("/proc/self/exe", argv);
    }
    void *library = argc > 2 ? RTLD_DEFAULT : dlopen(argv[1], RTLD_NOW);
    pthread_t thread;
    show = (void (*)(int))dlsym(library, "show");
    set = (void (*)(const char *, int))dlsym(library, "set");
    fresh = (void (*)(int))dlsym(library, "fresh");
    set("main", 3);
    show(0);
    for (long i = 1; i <= 2; i++) {
        pthread_create(&thread, 0, run, (void *)i);
        pthread_join(thread, 0);
    }
    set("main again", 1);
    show(5);
    return 0;
}
#endif
