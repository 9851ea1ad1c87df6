// C++: members of classes and bases, references, templates, overloads, lambdas, exceptions, namespaces. Prints what scripts must print.
#include <cstdio>
#include <stdexcept>
#define NOINLINE __attribute__((noinline))
#define USE(x) asm volatile("" : : "g"(x) : "memory")
namespace geo {
struct Base { int id; explicit Base(int i) : id(i) {} virtual ~Base() {} };
struct Tag { short tag = 77; };
class Shape : public Base, public Tag {
    int &ref;
    static int count;
  public:
    enum class Kind : unsigned char { Round = 1, Square = 2 };
    Kind kind;
    struct Point { int x, y; } at;
    Shape(int i, int &r, Kind k) : Base(i), ref(r), kind(k), at{ i, -i } { count++; }
    NOINLINE int scale(int factor)
    {
        printf("scale %d %d %d %d %d %d %d\n", id, tag, ref, (int)kind, at.y, factor, count);
        if (factor > 2) throw std::runtime_error("big");
        return id * factor + ref;
    }
};
int Shape::count = 3;
template <typename T> NOINLINE T twice(T x) { USE(x); return x + x; }
NOINLINE int over(int x) { USE(x); return x; }
NOINLINE int over(const char *x) { USE(x); return x[0]; }
namespace { NOINLINE int secret(Shape &s, const Shape &t) { printf("secret %d %d\n", s.id, t.at.x); return s.id + t.id; } }
}
int main()
{
    int r = 7;
    geo::Shape s(5, r, geo::Shape::Kind::Square), t(6, r, geo::Shape::Kind::Round);
    int sum = s.scale(2);
    printf("twice %d\n", geo::twice(21) / 2);
    printf("twice %ld\n", geo::twice(2L) / 2);
    printf("over %d\n", geo::over(3));
    sum += geo::over("A") + geo::secret(s, t);
    auto add = [&](int q) NOINLINE { printf("lambda %d\n", q); return q + sum; };
    sum += add(4);
    try { t.scale(3); } catch (std::exception &e) { sum++; }
    USE(sum);
    return 0;
}
