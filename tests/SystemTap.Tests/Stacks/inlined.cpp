// The same with members of a template in a namespace, and a lambda: main → ns::outer → [ns::box<int>::middle] → [the lambda] → ns::spot.
#define COPIED inline __attribute__((always_inline))
#define OPAQUE __attribute__((noinline))
volatile int sink;

namespace ns
{
OPAQUE void spot(int n)
{
    sink += n;
}

template <typename T> struct box
{
    T value;
    COPIED void middle(T n)
    {
        auto call = [this](T m) __attribute__((always_inline)) { spot(m + value); sink++; };
        call(n);
        sink--;
    }
};

OPAQUE void outer(box<int> *b)
{
    b->middle(sink);
    sink++;
}
}

int main()
{
    ns::box<int> b{1};
    ns::outer(&b);
    sink++;
    return 0;
}
