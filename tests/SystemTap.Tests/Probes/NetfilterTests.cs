using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.Probes;

/// <summary>Packets of a datagram on the loopback device at netfilter hooks, by BPF programs of the running kernel.</summary>
public sealed class NetfilterTests
{
    // The shell itself sends five bytes: 20 of IP, 8 of UDP.
    private const string Send = "bash -c 'echo ping > /dev/udp/127.0.0.1/9'";

    private static Task<StapResult> Run(string script) => StapProcess.RunAsync(["--runtime=bpf", "-c", Send, "-e", script], seconds: 60);

    private static void SkipWhereThereIsNone()
    {
        Assert.SkipWhen(Environment.UserName != "root", "needs root");
        Assert.SkipWhen(new Linux.Bpf.Features(_ => 0, typedefId: _ => 0).Has(Linux.Bpf.KernelFeature.NetfilterPrograms) is false, "the kernel has no netfilter programs");
    }

    [Fact]
    public async Task A_packet_is_seen_with_its_sender_and_goes_on()
    {
        SkipWhereThereIsNone();
        var got = await Run("""
            probe netfilter.ipv4.local_out if (1) { if (dport == 9) printf("out %s %d %d %d %d %s %s\n", execname(), pid() == target(), uid(), length, protocol, daddr, outdev_name) }
            probe netfilter.ipv4.local_in { if (dport == 9) printf("in %d %d %d %s\n", $hooknum, $pf, length, indev_name) }
            """);
        Assert.Equal("out bash 1 0 33 17 127.0.0.1 lo\nin 1 2 33 lo\n", got.Out);
        Assert.Equal("", got.Err);
        Assert.Equal(0, got.Status);
    }

    [Fact]
    public async Task Handlers_of_one_hook_run_in_their_order_and_share_globals()
    {
        SkipWhereThereIsNone();
        var got = await Run("""
            global n, by, sizes
            probe netfilter.hook("LOCAL_OUT").pf("NFPROTO_INET") { if (pid() == target() && $skb->len == 33) { n++ by["first", $pf] = n } }
            probe netfilter.hook("LOCAL_OUT").pf("NFPROTO_INET") { if (pid() == target() && $skb->len == 33) { n++ by["second", $pf] = n sizes <<< $skb->len } }
            probe netfilter.hook("LOCAL_OUT").pf("NFPROTO_IPV4").priority("NF_IP_PRI_FIRST") { if (pid() == target() && $skb->len == 33) { n++ by["before", $pf] = n } }
            probe end { foreach ([k, f] in by+) println(k, f, by[k, f]) println(@sum(sizes)) }
            """);
        Assert.Equal("before21\nfirst22\nsecond23\n33\n", got.Out);
        Assert.Equal("", got.Err);
        Assert.Equal(0, got.Status);
    }

    [Fact]
    public async Task What_such_programs_cannot_do_is_refused_with_its_place()
    {
        SkipWhereThereIsNone();
        var got = await Run("probe netfilter.hook(\"NF_ARP_IN\").pf(\"NFPROTO_ARP\") { println(1) }");
        Assert.Contains("its programs see IPv4 and IPv6 packets only: keyword 'probe' at <input>:1:1", got.Err);
        Assert.Contains("run with --runtime=kernel", got.Err);
        Assert.Equal(1, got.Status);
        got = await Run("probe netfilter.hook(\"LOCAL_IN\").pf(\"NFPROTO_IPV4\") { print_backtrace() }");
        Assert.Contains("a stack in a handler of packets: ", got.Err);
        Assert.Equal(1, got.Status);
    }
}
