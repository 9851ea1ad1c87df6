// Functions that begin with instructions no breakpoint of the kernel's uprobes can replace: it would take the first for a jump, and refuses the second.
#include <stdio.h>

int number = 1;
int vplain(int n);
int vzero(int n);
int locked(int n);
int clock_plain(int n);

__asm__(".text\n"
	".globl vplain, vzero, locked, clock_plain\n.type vplain, @function\n.type vzero, @function\n.type locked, @function\n.type clock_plain, @function\n"
	"vplain: lea 1(%rdi), %eax\n ret\n.size vplain, . - vplain\n"
	"vzero: vzeroupper\n lea 2(%rdi), %eax\n ret\n.size vzero, . - vzero\n"
	"locked: lock incl number(%rip)\n lea 3(%rdi), %eax\n ret\n.size locked, . - locked\n"
	"clock_plain: lea 4(%rdi), %eax\n ret\n.size clock_plain, . - clock_plain\n");

int main(void)
{
	int sum = vplain(1) + vzero(1) + locked(1) + clock_plain(1);
	printf("%d %d\n", sum, number);
	return sum - 14 || number != 2;
}
