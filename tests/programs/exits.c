/* Makes 300 processes whose two threads exit at the same moment. */
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int ready;

static void *leave(void *unused)
{
	__atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < 2)
		;
	syscall(SYS_exit, 0);
	return unused;
}

int main(void)
{
	for (int made = 0; made < 300; made++) {
		pid_t child = fork();

		if (child == 0) {
			pthread_t second;

			pthread_create(&second, NULL, leave, NULL);
			leave(NULL);
		}
		waitpid(child, NULL, 0);
	}
	return 0;
}
