using System.Diagnostics;
using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Targets;

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

        // An event and a link for each.
        ResourceLimits.NeedFiles(2 * (_links.Count + plan.Places.Count));
        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < plan.Places.Count; i++)
        {
            var place = plan.Places[i];
            try
            {
                _links.Add(place.Module is not null && AttachInModule(place, plan.AtReturn, program) is { } link ? link
                    : place.Address != 0
                    ? ProbePmu.AttachKprobe(program, place.Address, place.Symbol, plan.AtReturn, place.Cookie)
                    : ProbePmu.AttachKprobe(program, place.Symbol, (ulong)place.Offset, plan.AtReturn, place.Cookie));
            }
            catch (BpfException e) when (e.ErrorNumber is not (Errno.EMFILE or Errno.ENOMEM or Errno.ENODEV)) // those are not about the function
            {
                Refused(e, place, plan.Places.Count);
            }

            if (i == Sample && plan.Places.Count > ManyFunctions)
            {
                var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds / (Sample + 1) * (plan.Places.Count - Sample - 1);
                _complain($"attaching {plan.Places.Count} kernel functions one by one takes about {Math.Ceiling(seconds)} s more, and detaching them longer: this kernel has no kprobe_multi (CONFIG_FPROBE)");
            }
        }
    }

    /// <summary>A place in a module, that is attached whenever the module is loaded; null where it can only be attached once, because the module is there and its functions are not told apart by name.</summary>
    private BpfLink? AttachInModule(KernelPlace place, bool atReturn, BpfProgram program)
    {
        _tracefs ??= Tracefs.Open();
        try
        {
            if (_tracefs is null)
            {
                throw new BpfException("tracefs", "open", Errno.ENODEV);
            }

            _events ??= KprobeEvents.Open(_tracefs.Root);
            return _events.Attach(program, place.Module!, place.Symbol, (ulong)place.Offset, atReturn, place.Cookie);
        }
        catch (BpfException) when (place.Address != 0)
        {
            return null;
        }
        catch (BpfException e) when (_tracefs is null)
        {
            throw new BpfException($"function \"{place.Symbol}\" of module \"{place.Module}\"", "wait for the module to be loaded", e.ErrorNumber, "mount tracefs (mount -t tracefs tracefs /sys/kernel/tracing), or load the module first");
        }
    }

    private Tracefs? _tracefs;
    private KprobeEvents? _events;

    private void AttachMulti(AttachPlan.KernelFunctions plan, BpfProgram program)
    {
        // Compared by address first: places known by name only (no kallsyms) make a link of their own.
        var places = plan.Places.ToArray();
        Array.Sort(places, static (a, b) => a.Address != 0 || b.Address != 0 ? a.Address.CompareTo(b.Address) : string.CompareOrdinal(a.Symbol, b.Symbol));
        var named = Array.FindIndex(places, p => p.Address != 0);
        named = named < 0 ? places.Length : named;
        AttachTogether(places.AsSpan(0, named), Link, static _ => true, Refuse);
        AttachTogether(places.AsSpan(named), Link, static _ => true, Refuse);

        void Refuse(BpfException e, KernelPlace place) => Refused(e, place, places.Length);

        BpfLink Link(ReadOnlySpan<KernelPlace> places)
        {
            var cookies = new ulong[places.Length];
            var addresses = new ulong[places.Length];
            var names = new string[places.Length];
            for (var i = 0; i < places.Length; i++)
            {
                (cookies[i], addresses[i], names[i]) = (places[i].Cookie, places[i].Address, places[i].Symbol);
            }

            return addresses[0] != 0 ? KprobeMulti.AttachAddresses(program, addresses, cookies, plan.AtReturn) : KprobeMulti.AttachNames(program, names, cookies, plan.AtReturn);
        }
    }

    private delegate BpfLink LinkOf<T>(ReadOnlySpan<T> places);

    /// <summary>One link for all; when the kernel refuses, halves are tried, until the places it means are found.</summary>
    /// <param name="places">Where.</param>
    /// <param name="link">Attaches to all of some places.</param>
    /// <param name="isAboutPlaces">Whether an error may be about one of the places; others end the attempt.</param>
    /// <param name="refused">Gets each place that is refused by itself.</param>
    private void AttachTogether<T>(ReadOnlySpan<T> places, LinkOf<T> link, Func<BpfException, bool> isAboutPlaces, Action<BpfException, T> refused)
    {
        if (places.IsEmpty)
        {
            return;
        }

        try
        {
            _links.Add(link(places));
        }
        catch (BpfException e) when (isAboutPlaces(e))
        {
            if (places.Length == 1)
            {
                refused(e, places[0]);
                return;
            }

            AttachTogether(places[..(places.Length / 2)], link, isAboutPlaces, refused);
            AttachTogether(places[(places.Length / 2)..], link, isAboutPlaces, refused);
        }
    }

    /// <summary>A place the kernel does not let anyone probe: the session goes on without it when it has others, as SystemTap's does.</summary>
    private void Refused(BpfException e, KernelPlace place, int all)
    {
        const string reason = "the kernel does not allow probes there (see available_filter_functions and kprobes/blacklist)";
        if (all == 1)
        {
            throw new BpfException($"kernel function \"{place.Symbol}\"", "probe", e.ErrorNumber, reason);
        }

        _complain($"kernel function \"{place.Symbol}\" is left out: {reason}");
    }

    /// <summary>Runs that kprobes dropped (Linux 6.7 and newer tell); taken before detaching.</summary>
    private long _missed;

    private void CloseLinks()
    {
        DisposeLinks();
        _events?.Dispose();
        _events = null;
        _tracefs?.Dispose();
        _tracefs = null;
    }

    /// <summary>Closes links; many at once, because each close waits for grace periods, and some of the waits may overlap (the kernel's event_mutex is held in the others).</summary>
    private void DisposeLinks()
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

        using var quick = new ShortGracePeriods();
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
