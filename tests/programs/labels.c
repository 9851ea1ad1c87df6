/* Labels that code jumps to, one that nothing does, and one whose function is inlined. */
#include <stdio.h>
__attribute__((noinline, noclone)) int work(int n)
{
    int sum = 0;
again:
    sum += n;
    asm volatile("" : "+r"(sum));
    if (--n > 0)
        goto again;
unused:
    asm volatile("" : : "g"(sum) : "memory");
    return sum;
}
int main(void)
{
    printf("%d\n", work(3));
    return 0;
}
