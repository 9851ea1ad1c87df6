// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* netfilter.*: hooks in the first network namespace. Packets always go on. */
#include "kernel.h"
#include <linux/netfilter.h>
#include <net/net_namespace.h>

static struct nf_hook_ops *hooks;
static u32 hook_count;

static unsigned int on_packet(void *data, struct sk_buff *packet, const struct nf_hook_state *state)
{
	const struct stap_probe *p = data;
	struct stap_context *c = stap_enter(p);

	if (c) {
		u64 args[] = { (unsigned long)packet, (unsigned long)state->in, (unsigned long)state->out, state->hook, state->pf, (unsigned long)state->sk };

		c->args = args;
		stap_leave(c);
	}
	return NF_ACCEPT;
}

int stap_netfilter_start(void)
{
	const struct stap_probe *p;
	u32 n = stap_count(STAP_PROBE_NETFILTER);

	if (!n)
		return 0;
	hooks = kvcalloc(n, sizeof(*hooks), GFP_KERNEL);
	if (!hooks)
		return -ENOMEM;
	stap_for_each_probe(p) {
		struct nf_hook_ops *ops = &hooks[hook_count];
		int error;

		if (p->kind != STAP_PROBE_NETFILTER)
			continue;
		ops->hook = on_packet;
		ops->priv = (void *)p;
		ops->pf = p->netfilter.family;
		ops->hooknum = p->netfilter.hook;
		ops->priority = p->netfilter.priority;
		error = nf_register_net_hook(&init_net, ops);
		if (error) {
			stap_message(STAP_RECORD_ERROR, "probe %s: the hook cannot be registered (error %d)", p->point, error);
			return error;
		}
		hook_count++;
	}
	return 0;
}

void stap_netfilter_stop(void)
{
	while (hook_count)
		nf_unregister_net_hook(&init_net, &hooks[--hook_count]);
	kvfree(hooks);
	hooks = NULL;
}
