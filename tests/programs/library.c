#include <sys/sdt.h>
int library_state = 5;
static __attribute__((noinline)) int library_inner(int x) { STAP_PROBE1(library, inner, x); return x + library_state; }
int library_call(int x)
{
    library_state++;
    return library_inner(x) * 2;
}
