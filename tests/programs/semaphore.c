/* A mark that the program only reaches while somebody listens: prints the semaphore. With WAIT it says where that is, and waits. */
#define _SDT_HAS_SEMAPHORES 1
#include <stdio.h>
#include <sys/sdt.h>
unsigned short guarded_check_semaphore __attribute__((section(".probes"), used));
int main(void)
{
#ifdef WAIT
    printf("%p\n", (void *)&guarded_check_semaphore);
    fflush(stdout);
    getchar();
#endif
    for (int i = 0; i < 3; i++)
        if (guarded_check_semaphore) {
            DTRACE_PROBE1(guarded, check, i);
            printf("check %d semaphore %d\n", i, guarded_check_semaphore);
        }
    printf("semaphore %d\n", guarded_check_semaphore);
    return 0;
}
