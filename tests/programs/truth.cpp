// C++ of every shape. Each function prints one line about itself; a script that probes it must print the same line.
#include <cstdio>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef __clang__
#define OPAQUE __attribute__((noinline))
#else
#define OPAQUE __attribute__((noipa))
#endif
#define KEEP(x) asm volatile("" : : "r"(x) : "memory")
#define KEEPM(x) asm volatile("" : "+m"(x) : : "memory")

namespace truth {

// Bases, virtual functions, several bases, a virtual base.
struct Root { int root = 7; virtual ~Root() {} virtual int kind() const { return 1; } };
struct Left : Root { long left = -8; int kind() const override { return 2; } };
struct Right { short right = 9; unsigned flag : 1, wide : 12; Right() : flag(1), wide(4000) {} virtual ~Right() {} };
struct Both : Left, Right { char both = 'b'; static int made; static const int limit = 12; OPAQUE int kind() const override; OPAQUE int add(int x, const Both &other); };
int Both::made = 3;
OPAQUE int Both::kind() const { printf("kind %d %ld %d %c %d\n", root, left, right, both, (int)wide); return 3; }
OPAQUE int Both::add(int x, const Both &other) { printf("add %d %d %d %ld %d\n", x, root, other.root, other.left, made); return x + other.root; }

// References of all kinds, pointers to members, class enums.
enum class Mode : uint8_t { Off, On = 200 };
struct Point { int x, y; };
OPAQUE int refs(int &a, const Point &b, Point &&c, int *&d, Mode m, const char (&text)[6], Point *const &e)
{
    printf("refs %d %d %d %d %d %s %d\n", a, b.y, c.x, *d, (int)m, text, e->y);
    return a;
}

// Templates: of a type, of a number, of a member, specialised.
template <typename T, int N> struct Box { T items[N]; OPAQUE T pick(int i) { printf("pick %ld %d %d\n", (long)items[i], i, N); return items[i]; } };
template <typename T> OPAQUE T larger(T a, T b) { printf("larger %ld %ld\n", (long)a, (long)b); return a < b ? b : a; }
template <> OPAQUE int larger<int>(int a, int b) { printf("larger-int %d %d\n", a, b); return a < b ? b : a; }

// Results: small, with a destructor (by address), a pair.
struct Owner { int *p; ~Owner() { KEEP(p); } };
OPAQUE Point make_point(int x) { return Point{ x, -x }; }
OPAQUE Owner make_owner(int *p) { return Owner{ p }; }
OPAQUE int take_owner(Owner o, int after) { printf("take_owner %d %d\n", *o.p, after); return after; }

// Overloads, operators, constructors, conversions.
OPAQUE int over(int x) { printf("over-int %d\n", x); return x; }
OPAQUE int over(const Point &p) { printf("over-point %d\n", p.x); return p.y; }
OPAQUE bool operator==(const Point &a, const Point &b) { printf("equal %d %d\n", a.x, b.y); return a.x == b.x; }
struct Made { int value; OPAQUE explicit Made(int v) : value(v) { printf("made %d\n", v); } OPAQUE operator int() const { printf("convert %d\n", value); return value; } };

namespace { OPAQUE int hidden(int h) { printf("hidden %d\n", h); return h; } }
inline namespace v2 { OPAQUE int versioned(int v) { printf("versioned %d\n", v); return v; } }

// Library types, by their real members.
OPAQUE int library(const std::string &s, std::vector<int> &v, std::unique_ptr<Point> &p)
{
    printf("library %s %d %d\n", s.c_str(), v[2], p->x);
    return (int)v.size();
}

OPAQUE int thrower(int x) { if (x > 1) throw std::runtime_error("t"); return x + 100; }
OPAQUE int catcher(int x) { try { return thrower(x); } catch (const std::exception &e) { return -x; } }
}

int main()
{
    using namespace truth;
    Both one, two;
    two.root = 17;
    two.left = -18;
    KEEPM(one); KEEPM(two);
    Root *root = &one;
    root->kind();
    one.add(5, two);
    int a = 1, d = 4, *dp = &d;
    Point b{ 2, -2 }, c{ 3, -3 }, *bp = &b;
    refs(a, b, std::move(c), dp, Mode::On, "sixth", bp);
    Box<short, 3> box{ { 10, -20, 30 } };
    Box<long, 2> big{ { 1, 5000000000 } };
    KEEPM(box); KEEPM(big);
    box.pick(1);
    big.pick(1);
    larger(1L, 2L);
    larger(3, 4);
    Point made = make_point(21);
    printf("make_point %d %d\n", made.x, made.y);
    { Owner owner = make_owner(&a); printf("make_owner %d\n", *owner.p); take_owner(owner, 6); }
    over(31);
    over(b);
    bool same = b == c;
    Made m(41);
    int back = m;
    hidden(51);
    versioned(52);
    std::vector<int> v{ 61, 62, 63 };
    std::unique_ptr<Point> p(new Point{ 64, 65 });
    library("text longer than the short buffer", v, p);
    auto lambda = [&a, copy = 71](int q) OPAQUE { printf("lambda %d %d %d\n", q, copy, a); return q + copy; };
    auto method = &decltype(lambda)::operator();
    KEEPM(method); // others may call it, so it keeps its parameters
    lambda(72);
    printf("thrower %d\n", thrower(1));
    printf("catcher %d\n", catcher(1));
    printf("catcher %d\n", catcher(2));
    KEEP(same); KEEP(back);
    return 0;
}
