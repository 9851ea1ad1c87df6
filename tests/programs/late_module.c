// Stands for a kernel module that is not loaded: a file before it is linked, with names as kbuild makes them.
struct thing { int number; };

int __attribute__((noinline)) late_step(struct thing *thing, int by) { return thing->number += by; }
static __attribute__((noipa, section(".init.text"))) int late_start(struct thing *thing) { return late_step(thing, 1); }
static struct thing only;
static __attribute__((used, section(".init.text"))) int late_init(void) { return late_start(&only); }
int init_module(void) __attribute__((alias("late_init")));
int __pfx_late_step(void) { return 0; }
static const int exported __asm__("__ksymtab_late_step") __attribute__((used)) = 1;
