using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// <c>netfilter.hook("H").pf("PF")[.priority("P")]</c>, also with hook and pf exchanged: every packet that passes a hook of the network stack. Hooks,
/// families and priorities are written by their kernel names (without prefix too) or as numbers. BPF programs serve IPv4 and IPv6 from Linux 6.4 on, the kernel-module
/// runtime all; the packet always goes on, whatever the handler does.
/// </summary>
public sealed class NetfilterFamily : ProbeFamily
{
    // include/uapi/linux/netfilter.h, netfilter_arp.h, netfilter_bridge.h, netfilter_ipv4.h: user-space ABI, the same for ever.
    private static readonly (string Name, int Value)[] Families = [("NFPROTO_INET", 1), ("NFPROTO_IPV4", 2), ("NFPROTO_ARP", 3), ("NFPROTO_NETDEV", 5), ("NFPROTO_BRIDGE", 7), ("NFPROTO_IPV6", 10)];

    private static readonly (string Prefix, (string Name, int Value)[] Hooks)[] HooksOfFamily =
    [
        ("NF_INET_", [("PRE_ROUTING", 0), ("LOCAL_IN", 1), ("FORWARD", 2), ("LOCAL_OUT", 3), ("POST_ROUTING", 4)]),
        ("NF_ARP_", [("IN", 0), ("OUT", 1), ("FORWARD", 2)]),
        ("NF_BR_", [("PRE_ROUTING", 0), ("LOCAL_IN", 1), ("FORWARD", 2), ("LOCAL_OUT", 3), ("POST_ROUTING", 4)]),
    ];

    private static readonly (string Name, int Value)[] Priorities =
    [
        ("NF_IP_PRI_FIRST", int.MinValue), ("NF_IP_PRI_RAW_BEFORE_DEFRAG", -450), ("NF_IP_PRI_CONNTRACK_DEFRAG", -400), ("NF_IP_PRI_RAW", -300), ("NF_IP_PRI_SELINUX_FIRST", -225),
        ("NF_IP_PRI_CONNTRACK", -200), ("NF_IP_PRI_MANGLE", -150), ("NF_IP_PRI_NAT_DST", -100), ("NF_IP_PRI_FILTER", 0), ("NF_IP_PRI_SECURITY", 50), ("NF_IP_PRI_NAT_SRC", 100),
        ("NF_IP_PRI_SELINUX_LAST", 225), ("NF_IP_PRI_CONNTRACK_HELPER", 300), ("NF_IP_PRI_LAST", int.MaxValue),
        ("NF_BR_PRI_FIRST", int.MinValue), ("NF_BR_PRI_NAT_DST_BRIDGED", -300), ("NF_BR_PRI_FILTER_BRIDGED", -200), ("NF_BR_PRI_BRNF", 0), ("NF_BR_PRI_NAT_DST_OTHER", 100),
        ("NF_BR_PRI_FILTER_OTHER", 200), ("NF_BR_PRI_NAT_SRC", 300), ("NF_BR_PRI_LAST", int.MaxValue),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = ProbeForms.Of(
        "netfilter.hook(S).pf(S)", "netfilter.hook(S).pf(S).priority(S)", "netfilter.pf(S).hook(S)", "netfilter.pf(S).hook(S).priority(S)");

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.System;

    /// <inheritdoc/>
    public override string ArgumentNoun => "hook";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        var hookAt = match.FormIndex < 2 ? 1 : 2;
        var familyAt = 3 - hookAt;
        if (Find(match, familyAt, "protocol family", Families, ["NFPROTO_", "PF_", ""], scope) is not { } family)
        {
            return;
        }

        var (prefix, hooks) = HooksOfFamily[family == 3 ? 1 : family == 7 ? 2 : 0];
        if (Find(match, hookAt, "hook", hooks, [prefix, "NF_IP_", "NF_IP6_", "NF_INET_", ""], scope) is not { } hook)
        {
            return;
        }

        var priority = 0;
        if (match.FormIndex % 2 == 1)
        {
            if (Find(match, 3, "priority", Priorities, [""], scope) is not { } written)
            {
                return;
            }

            priority = written;
        }

        results.Add(new ResolvedPoint(new NetfilterSpec(hook, family, priority), match.Point.ToString(), new Context(scope.Target.KernelBtfOrNull)));
    }

    /// <inheritdoc/>
    public override IEnumerable<string> Candidates(ProbeMatch match, ResolveScope scope) => [];

    private static int? Find(ProbeMatch match, int component, string noun, (string Name, int Value)[] names, string[] prefixes, ResolveScope scope)
    {
        var text = match.Text(component);
        if (int.TryParse(text, out var number))
        {
            return number;
        }

        foreach (var (name, value) in names)
        {
            foreach (var prefix in prefixes)
            {
                // Tables hold either the whole name or the part behind the prefix.
                if (text == name || text == prefix + name || prefix + text == name)
                {
                    return value;
                }
            }
        }

        scope.Diagnostics.Error("probe.netfilter", Literal.ArgumentSpan(match.Point, component), $"unknown netfilter {noun} \"{text}\"",
            $"use one of {string.Join(", ", names.Select(n => n.Name))}, or a number");
        return null;
    }

    /// <summary>What a hook function gets. The run-time passes packet, devices, hook number, family and socket in this order.</summary>
    private sealed class Context(Btf? btf) : ProbeContext
    {
        public override IReadOnlyList<ContextVariable> Variables { get; } =
        [
            new("$hooknum", "unsigned int"), new("$skb", "struct sk_buff*"), new("$in", "struct net_device*"), new("$out", "struct net_device*"), new("$okfn", "long"), new("$pf", "int"),
        ];

        public override TypedValue? Resolve(string name, SourceSpan span) => name switch
        {
            "$skb" => Pointer(0, "sk_buff", span),
            "$in" => Pointer(1, "net_device", span),
            "$out" => Pointer(2, "net_device", span),
            "$hooknum" => Number(3, span),
            "$pf" => Number(4, span),
            "$okfn" => new TypedValue(new LongConst(0, span), null),
            _ => null,
        };

        private static TypedValue Number(int index, SourceSpan span) => new(new ContextExpr(ContextValue.TracepointArgument, index, span) { Size = 4, IsSigned = false }, null);

        private TypedValue Pointer(int index, string type, SourceSpan span)
        {
            var value = new ContextExpr(ContextValue.TracepointArgument, index, span) { IsSigned = false };
            return new TypedValue(value, btf?.Find(BtfKind.Struct, type) is { } found ? new CType(found, false, false) { PointerDepth = 1 } : null);
        }
    }
}
