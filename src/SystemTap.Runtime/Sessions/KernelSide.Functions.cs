using System.Diagnostics;
using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Runtime.Native;

namespace SystemTap.Runtime.Sessions;

// Kernel functions: one kprobe_multi link for many, else one perf event for each. Where there is no kprobe_multi, many functions take long, both to attach and
// to detach: each costs the kernel a round of patching and a grace period. The first few are timed and the rest is announced.

public sealed partial class KernelSide
{
    /// <summary>Functions from which a slow attachment is announced.</summary>
    private const int ManyFunctions = 50;

    /// <summary>Attached one by one before the time of the rest is told.</summary>
    private const int Sample = 8;

    private void AttachFunctions(AttachPlan.KernelFunctions plan, BpfProgram program)
    {
        if (plan.IsMulti)
        {
            AttachMulti(plan, program);
            return;
        }

        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < plan.Places.Count; i++)
        {
            var place = plan.Places[i];
            _links.Add(place.Address != 0
                ? ProbePmu.AttachKprobe(program, place.Address, place.Symbol, plan.AtReturn, place.Cookie)
                : ProbePmu.AttachKprobe(program, place.Symbol, (ulong)place.Offset, plan.AtReturn, place.Cookie));
            if (i == Sample && plan.Places.Count > ManyFunctions)
            {
                var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds / (Sample + 1) * (plan.Places.Count - Sample - 1);
                _complain($"attaching {plan.Places.Count} kernel functions one by one takes about {Math.Ceiling(seconds)} s more: this kernel has no kprobe_multi (CONFIG_FPROBE)");
            }
        }
    }

    private void AttachMulti(AttachPlan.KernelFunctions plan, BpfProgram program)
    {
        var cookies = new ulong[plan.Places.Count];
        var byAddress = true;
        for (var i = 0; i < cookies.Length; i++)
        {
            cookies[i] = plan.Places[i].Cookie;
            byAddress &= plan.Places[i].Address != 0;
        }

        if (byAddress)
        {
            var addresses = new ulong[cookies.Length];
            for (var i = 0; i < addresses.Length; i++)
            {
                addresses[i] = plan.Places[i].Address;
            }

            _links.Add(KprobeMulti.AttachAddresses(program, addresses, cookies, plan.AtReturn));
            return;
        }

        var names = new string[cookies.Length];
        for (var i = 0; i < names.Length; i++)
        {
            names[i] = plan.Places[i].Symbol;
        }

        // The kernel sorts names and wants the cookies to follow; giving both sorted keeps it simple.
        Array.Sort(names, cookies, StringComparer.Ordinal);
        _links.Add(KprobeMulti.AttachNames(program, names, cookies, plan.AtReturn));
    }

    /// <summary>Runs that kprobes dropped (Linux 6.7 and newer tell); taken before detaching.</summary>
    private long _missed;

    /// <summary>Closes links; many at once, because each close waits a grace period and the waits may overlap.</summary>
    private void CloseLinks()
    {
        foreach (var link in _links)
        {
            _missed += (long)(link.Missed() ?? 0);
        }

        if (_links.Count <= MostClosedInTurn)
        {
            for (var i = _links.Count - 1; i >= 0; i--)
            {
                _links[i].Dispose();
            }

            _links.Clear();
            return;
        }

        var next = _links.Count;
        var threads = new Thread[Math.Min(64, _links.Count / 4)];
        for (var t = 0; t < threads.Length; t++)
        {
            threads[t] = new Thread(() =>
            {
                for (int i; (i = Interlocked.Decrement(ref next)) >= 0;)
                {
                    _links[i].Dispose();
                }
            }, 128 * 1024);
            threads[t].Start();
        }

        foreach (var thread in threads)
        {
            thread.Join();
        }

        _links.Clear();
    }

    private const int MostClosedInTurn = 12;
}
