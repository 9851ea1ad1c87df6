// A chain of calls some of which the compiler replaces by copies: main → outer → [middle] → [inner] → spot; and spot's own beginning is a copy of [first].
#define COPIED static inline __attribute__((always_inline))
#define OPAQUE __attribute__((noinline, noclone))
volatile int sink;

COPIED void first(int n)
{
    asm volatile("nop");
    sink += n;
}

OPAQUE void spot(int n)
{
    first(n + sink);
    sink++;
}

COPIED void inner(int n)
{
    sink += n;
    spot(n);
    sink++;
}

COPIED void middle(int n)
{
    for (int i = 0; i < n; i++)
        inner(n - i);
    sink--;
}

OPAQUE void outer(int n)
{
    middle(n);
    sink++;
}

int main(void)
{
    outer(1);
    sink++;
    return 0;
}
