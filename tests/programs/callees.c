// Who calls whom. The scripts of tests/corpus/user/callees.cases look for some of the calls.
static volatile int sink;

#define OWN __attribute__((noipa))

OWN int leaf(int x) { sink += x; return x + 1; }

OWN int middle(int x)
{
    int r = leaf(x * 10);
    sink += r;
    r += leaf(x * 10 + 1);
    sink += r;
    return r;
}

static inline __attribute__((always_inline)) int copied(int x)
{
    sink += x;
    int r = leaf(x * 100);
    sink += r;
    return r;
}

OWN int outer(int x)
{
    int a = middle(x);
    sink += a;
    int b = leaf(x);
    sink += b;
    int c = copied(x);
    sink += c;
    return a + b + c;
}

OWN int other(int x)
{
    int a = middle(x);
    sink += a;
    int b = leaf(x + 5);
    sink += b;
    return a + b;
}

// Optimised: a jump.
OWN int jumps(int x)
{
    sink++;
    return leaf(x);
}

OWN int again(int n)
{
    sink += n;
    int r = n > 0 ? again(n - 1) : 0;
    sink += r;
    return r + 1;
}

int main(void)
{
    outer(1);
    other(2);
    jumps(3);
    again(3);
    return 0;
}
