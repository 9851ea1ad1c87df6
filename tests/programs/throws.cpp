// Functions left by exceptions: of each round only the call with n = 1 returns.
#include <cstdio>

__attribute__((noinline)) int dive(int n, int limit)
{
    int below;
    if (n == limit)
        throw n;
    if (n == 1) {
        try {
            below = dive(n + 1, limit);
        } catch (int) {
            below = 100;
        }
    } else
        below = dive(n + 1, limit) + 1;
    asm volatile("");
    return below + n;
}

int main()
{
    long sum = 0;
    for (int i = 0; i < 1500; i++)
        sum += dive(1, 4);
    try {
        dive(2, 4);
    } catch (int) {
        sum++;
    }
    sum += dive(1, 2);
    std::printf("%ld\n", sum);
}
