// Work of exactly known size for the tests of examples/: does one thing, then writes what it did ("key value" lines) to the file named
// by TRUTH. The numbers come from the program's own counting and from the kernel's accounting (getrusage, /proc/self), never from stap.
// usage: workload MODE [NUMBER...]
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *notes;                                     // shared with children, so that they can note too
static long arg[8];

static void note(const char *key, long value) { sprintf(notes + strlen(notes), "%s %ld\n", key, value); }

static void finish(void) {
    const char *path = getenv("TRUTH");
    if (!path) { fputs(notes, stdout); return; }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, notes, strlen(notes)) < 0) { perror(path); exit(2); }
    close(fd);
}

static long now_us(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static void sleep_ms(long ms) {
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

static void spin_ms(long ms) {
    long end = now_us(CLOCK_PROCESS_CPUTIME_ID) + ms * 1000;
    volatile unsigned x = 0;
    while (now_us(CLOCK_PROCESS_CPUTIME_ID) < end)
        for (int i = 0; i < 20000; i++) x += i;
}

// Runs the work in a child and notes what the kernel accounted for that child. Born after the probes are live, so its whole life is seen.
static void in_child(void (*work)(void)) {
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_NAME, "worker");
        work();
        _exit(0);
    }
    struct rusage use;
    int status;
    wait4(child, &status, 0, &use);
    note("child", child);
    note("voluntary", use.ru_nvcsw);
    note("forced", use.ru_nivcsw);
    note("minor_faults", use.ru_minflt);
    note("major_faults", use.ru_majflt);
    note("cpu_us", (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000L + use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

// reads COUNT SIZE FAILING
static void reads(void) {
    static char buffer[1 << 20];
    int fd = open("/dev/zero", O_RDONLY);
    for (long i = 0; i < arg[0]; i++) if (read(fd, buffer, arg[1]) != arg[1]) exit(2);
    for (long i = 0; i < arg[2]; i++) if (syscall(SYS_read, -1, buffer, 1) != -1) exit(2);
    note("pid", getpid());
}

// errors: a known set of failing calls
static void errors(void) {
    for (int i = 0; i < 5; i++) open("/no/such/file", O_RDONLY);
    for (int i = 0; i < 7; i++) syscall(SYS_close, -1);
    for (int i = 0; i < 3; i++) mkdir("/tmp", 0700);
    for (int i = 0; i < 2; i++) kill(getpid(), 99);
}

// calls GETPPIDS GETUIDS
static void calls(void) {
    for (long i = 0; i < arg[0]; i++) syscall(SYS_getppid);
    for (long i = 0; i < arg[1]; i++) syscall(SYS_getuid);
}

// sleeps COUNT MS
static void sleeps(void) {
    long began = now_us(CLOCK_MONOTONIC);
    for (long i = 0; i < arg[0]; i++) sleep_ms(arg[1]);
    note("slept_us", now_us(CLOCK_MONOTONIC) - began);
}
static void sleeps_in_child(void) { in_child(sleeps); }

// switches COUNT SPIN_MS: sleeps and burns CPU
static void switches_work(void) {
    for (long i = 0; i < arg[0]; i++) sleep_ms(1);
    spin_ms(arg[1]);
}
static void switches(void) { in_child(switches_work); }

// spin MS
static void spin_work(void) { spin_ms(arg[0]); }
static void spin(void) { in_child(spin_work); }

// queue COUNT: many short sleeps while a twin competes for the same CPU
static void queue_work(void) {
    pid_t rival = fork();
    if (rival == 0) { prctl(PR_SET_NAME, "rival"); spin_ms(60); _exit(0); }
    for (long i = 0; i < arg[0]; i++) { sleep_ms(1); spin_ms(8); }
    long ran, waited, turns;
    FILE *f = fopen("/proc/self/schedstat", "r");
    if (!f || fscanf(f, "%ld %ld %ld", &ran, &waited, &turns) != 3) _exit(2);
    note("waited_ns", waited);
    note("turns", turns);
    wait(NULL);
}
static void queue(void) {
    unsigned long one = 1;
    syscall(SYS_sched_setaffinity, 0, sizeof one, &one);
    in_child(queue_work);
}

// futexes COUNT MS: waits that time out, on two words
static int word_a = 1, word_b = 1;
static void futexes(void) {
    struct timespec t = { 0, arg[1] * 1000000 };
    long began = now_us(CLOCK_MONOTONIC);
    for (long i = 0; i < arg[0]; i++) syscall(SYS_futex, &word_a, FUTEX_WAIT_PRIVATE, 1, &t, NULL, 0);
    note("waited_us", now_us(CLOCK_MONOTONIC) - began);
    syscall(SYS_futex, &word_b, FUTEX_WAIT, 2, &t, NULL, 0);     // returns at once: the value differs
    syscall(SYS_futex, &word_b, FUTEX_WAKE, 1, NULL, NULL, 0);   // not a wait
    note("pid", getpid());
    note("lock", (long)&word_a);
}

// faults PAGES
static void faults_work(void) {
    char *p = mmap(NULL, arg[0] * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(p, arg[0] * 4096, MADV_NOHUGEPAGE);
    for (long i = 0; i < arg[0]; i++) p[i * 4096] = 1;
}
static void faults(void) { in_child(faults_work); }

// threads THREADS PROCESSES
static void *thread_work(void *p) { return p; }
static void threads(void) {
    for (long i = 0; i < arg[0]; i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, thread_work, NULL)) exit(2);
        pthread_join(t, NULL);
    }
    for (long i = 0; i < arg[1]; i++) {
        pid_t child = fork();
        if (child == 0) _exit(0);
        waitpid(child, NULL, 0);
    }
    note("pid", getpid());
}

// maps COUNT KB: maps COUNT blocks, gives all but one back, grows the heap by 256 kB; one mapping fails
static void maps(void) {
    void *p[64];
    for (long i = 0; i < arg[0]; i++) p[i] = mmap(NULL, arg[1] * 1024, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long i = 1; i < arg[0]; i++) munmap(p[i], arg[1] * 1024);
    if (mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) exit(2);
    long brk_now = syscall(SYS_brk, 0);
    syscall(SYS_brk, brk_now + 256 * 1024);
    note("pid", getpid());
}

// signals COUNT: COUNT handled USR1s to a child, one that it ignores, then SIGTERM
static int pipe_fd[2];
static void on_usr1(int sig) { (void)sig; if (write(pipe_fd[1], "x", 1) != 1) _exit(2); }
static void signals(void) {
    char c;
    if (pipe(pipe_fd)) exit(2);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_NAME, "victim");
        signal(SIGUSR1, on_usr1);
        signal(SIGUSR2, SIG_IGN);
        if (write(pipe_fd[1], "r", 1) != 1) _exit(2);
        for (;;) pause();
    }
    if (read(pipe_fd[0], &c, 1) != 1) exit(2);
    for (long i = 0; i < arg[0]; i++) {
        kill(child, SIGUSR1);
        if (read(pipe_fd[0], &c, 1) != 1) exit(2);
    }
    kill(child, SIGUSR2);
    kill(child, SIGTERM);
    waitpid(child, NULL, 0);
    note("child", child);
    note("pid", getpid());
}

// net REQUEST REPLY: one TCP connection over loopback in one process, REQUEST bytes one way, REPLY back; then a refused connection
static void pass(int from, int to, long bytes) {
    static char buffer[65536];
    for (long done = 0; done < bytes;) {
        long part = bytes - done < 4000 ? bytes - done : 4000;
        if (send(from, buffer, part, 0) != part) exit(2);
        for (long got = 0; got < part;) {
            long n = recv(to, buffer, sizeof buffer, 0);
            if (n <= 0) exit(2);
            got += n;
        }
        done += part;
    }
}
static void net(void) {
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 1) || getsockname(listener, (void *)&at, &len)) exit(2);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(client, (void *)&at, sizeof at)) exit(2);
    struct sockaddr_in mine;
    getsockname(client, (void *)&mine, &len);
    int server = accept(listener, NULL, NULL);
    pass(client, server, arg[0]);
    pass(server, client, arg[1]);
    close(client);
    sleep_ms(20);
    close(server);
    sleep_ms(20);
    close(listener);
    int refused = socket(AF_INET, SOCK_STREAM, 0);
    if (!connect(refused, (void *)&at, sizeof at)) exit(2);
    note("pid", getpid());
    note("port", ntohs(at.sin_port));
    note("client_port", ntohs(mine.sin_port));
}

// opens COUNT: names in resident memory, and one in a page of a file that nobody has touched yet
static void opens(void) {
    const char *dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char cold[256];
    for (long i = 0; i < arg[0]; i++) {
        char name[32];
        sprintf(name, "/dev/zero%s", i % 2 ? "-not-there" : "");
        int fd = open(name, O_RDONLY);
        if (fd >= 0) close(fd);
    }
    snprintf(cold, sizeof cold, "%s/cold.%d", dir, getpid());
    int fd = open(cold, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (pwrite(fd, "/dev/null", 10, 4096) != 10) exit(2);
    char *p = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
    madvise(p, 8192, MADV_RANDOM);                  // no fault-around: the second page stays out of the page table
    close(fd);
    close(open(p + 4096, O_RDONLY));
    unlink(cold);
    note("pid", getpid());
}

// interrupts MS: what /proc/softirqs and /proc/interrupts say before and after some work, inside the traced time
static long softirq_sum(const char *row) {
    char line[4096];
    long total = 0;
    FILE *f = fopen("/proc/softirqs", "r");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (!colon) continue;
        *colon = 0;
        char *name = line + strspn(line, " ");
        if (strcmp(name, row)) continue;
        for (char *p = colon + 1, *end; ; p = end) {
            long n = strtol(p, &end, 10);
            if (end == p) break;
            total += n;
        }
    }
    if (f) fclose(f);
    return total;
}
static void interrupts(void) {
    long timer = softirq_sum("TIMER"), sched = softirq_sum("SCHED"), rcu = softirq_sum("RCU");
    long end = now_us(CLOCK_MONOTONIC) + arg[0] * 1000;
    while (now_us(CLOCK_MONOTONIC) < end) { spin_ms(1); sleep_ms(1); }
    note("TIMER", softirq_sum("TIMER") - timer);
    note("SCHED", softirq_sum("SCHED") - sched);
    note("RCU", softirq_sum("RCU") - rcu);
}

int main(int argc, char **argv) {
    static const struct { const char *name; void (*run)(void); } modes[] = {
        { "reads", reads }, { "errors", errors }, { "calls", calls }, { "sleeps", sleeps }, { "child-sleeps", sleeps_in_child },
        { "switches", switches }, { "spin", spin }, { "queue", queue }, { "futexes", futexes }, { "faults", faults },
        { "threads", threads }, { "maps", maps }, { "signals", signals }, { "net", net }, { "opens", opens }, { "interrupts", interrupts },
    };
    notes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 2; i < argc && i < 10; i++) arg[i - 2] = atol(argv[i]);
    for (unsigned i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(argv[1], modes[i].name)) { modes[i].run(); finish(); return 0; }
    fprintf(stderr, "workload: no such mode\n");
    return 2;
}
