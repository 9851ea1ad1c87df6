// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Makes the stub a module in the build system's eyes, so that it writes the description (name, vermagic, where start and end are) that the run-time's
 * own start and end are linked with. Nothing of this file gets into modules.
 */
static const char license[] __attribute__((used, section(".modinfo"), aligned(1))) = "license=GPL";

int init_module(void);
void cleanup_module(void);

int init_module(void)
{
	return 0;
}

void cleanup_module(void)
{
}
