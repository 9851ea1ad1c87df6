// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Stands for a script when the run-time is built: the build system then sees a whole module, and notes the versions of all kernel symbols that the
 * run-time uses – and of those below, which gcc may call in script code on its own account.
 */
#include "../include/stap.h"

static void handler(struct stap_context *c)
{
	volatile char text[64];
	void (*volatile indirect)(struct stap_context *) = handler;

	memset((void *)text, c->cpu, sizeof(text));
	memcpy((void *)text, (const void *)(text + c->cpu), c->cpu);
	memmove((void *)text, (const void *)(text + c->cpu), c->cpu);
	if (memcmp((const void *)text, c, c->cpu))
		indirect(c);
}

static const struct stap_probe probes[] = { { .kind = STAP_PROBE_NEVER, .handler = handler } };

const struct stap_script stap_script = { .name = "stub", .api = STAP_API, .probes = probes, .probe_count = 1 };
