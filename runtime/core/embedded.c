// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* What embedded C calls; see include/stap_embedded.h. */
#include "core.h"

char *stap_c_text(struct stap_context *c, struct stap_str text);
char *stap_embedded_result(struct stap_context *c);
struct stap_str stap_embedded_string_result(struct stap_context *c, u32 mark, const char *text);
s64 stap_embedded_read(struct stap_context *c, u64 address, u32 size, int user);
void stap_embedded_write(struct stap_context *c, u64 address, u32 size, u64 value, int user)
{
	if (c->failed != STAP_FINE)
		return;
	if (!(user ? stap_write_user(address, size, value) : stap_write_kernel(address, size, value)))
		stap_fail_write(c, NULL, address, user);
}

void stap_embedded_read_string(struct stap_context *c, char *to, u64 address, s64 max, int user);
void stap_embedded_print(struct stap_context *c, const char *text, s64 n);

/* A NUL-terminated copy. Without space for it an error is set and the text is empty; the caller looks at c->failed before it writes. */
char *stap_c_text(struct stap_context *c, struct stap_str text)
{
	static char none[1];
	char *to = stap_space(c, stap_core_script->limits.max_string);

	if (!to)
		return none;
	memcpy(to, text.s, text.n);
	to[text.n] = 0;
	return to;
}

char *stap_embedded_result(struct stap_context *c)
{
	return stap_c_text(c, STAP_EMPTY);
}

struct stap_str stap_embedded_string_result(struct stap_context *c, u32 mark, const char *text)
{
	return stap_result(c, mark, stap_c_string(text));
}

s64 stap_embedded_read(struct stap_context *c, u64 address, u32 size, int user)
{
	u64 value = 0;

	/* After an error the function only runs to its end; the first one is told. */
	if (c->failed != STAP_FINE)
		return 0;
	if (!(user ? stap_read_user(address, size, &value) : stap_read_kernel(address, size, &value)))
		stap_fail_read(c, NULL, address, NULL);
	return (s64)value;
}

void stap_embedded_read_string(struct stap_context *c, char *to, u64 address, s64 max, int user)
{
	struct stap_str text;

	if (max <= 0)
		return;
	to[0] = 0;
	if (c->failed != STAP_FINE)
		return;
	text = user ? stap_user_string(c, NULL, (s64)address, max - 1) : stap_kernel_string(c, NULL, (s64)address, max - 1);
	memcpy(to, text.s, text.n);
	to[text.n] = 0;
}

void stap_embedded_print(struct stap_context *c, const char *text, s64 n)
{
	if (n > 0)
		stap_env_print(c, text, (u32)n, 0);
}
