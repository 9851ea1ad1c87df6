// Each thread touches another number of fresh pages, many times, side by side: each touch is one page fault, whoever runs meanwhile.
#include <pthread.h>
#include <sys/mman.h>

__attribute__((noinline)) void touch(char *pages, long count)
{
	for (long i = 0; i < count; i++)
		((volatile char *)pages)[i * 4096] = 1;
}

static void *run(void *pages)
{
	for (int i = 0; i < 50; i++) {
		char *p = mmap(0, (long)pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		madvise(p, (long)pages * 4096, MADV_NOHUGEPAGE);
		touch(p, (long)pages);
		munmap(p, (long)pages * 4096);
	}
	return 0;
}

int main(void)
{
	pthread_t thread[4];
	char page[4096];

	touch(page, 1);	/* its own code is a page, too */
	for (long i = 0; i < 4; i++)
		pthread_create(&thread[i], 0, run, (void *)(100 * (i + 1)));
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], 0);
	return 0;
}
