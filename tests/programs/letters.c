// Names of more letters than a to z.
#include <stdio.h>

struct pünkt { int größe; };

__attribute__((noinline)) int größe(struct pünkt *p, int ä)
{
	asm volatile("" ::: "memory");
	return p->größe + ä;
}

int main(void)
{
	struct pünkt p = { 4 };

	return größe(&p, 2) - 6;
}
