// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A module that is loaded after the session has started: what it does when it is loaded and unloaded is probed. Its parameter "start" goes through
 * sl_start (part of initialisation) and sl_step (not); sl_step is called start times by it, and once more by the exit function.
 */
#include <linux/module.h>

struct sl_thing {
	int number;
	char name[12];
};

static int start = 3;
module_param(start, int, 0);

static struct sl_thing sl_only = { 40, "late" };

noinline int sl_step(struct sl_thing *thing, int by)
{
	thing->number += by;
	OPTIMIZER_HIDE_VAR(by);
	return thing->number;
}
EXPORT_SYMBOL_GPL(sl_step);

static noinline int __init sl_start(struct sl_thing *thing, int count)
{
	int i, last = 0;

	for (i = 0; i < count; i++)
		last = sl_step(thing, i + 1);
	return last;
}

static int __init sl_init(void)
{
	return sl_start(&sl_only, start) < 0 ? -EINVAL : 0;
}

static void __exit sl_exit(void)
{
	sl_step(&sl_only, -1);
}

module_init(sl_init);
module_exit(sl_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("target of probes in tests, loaded late");
