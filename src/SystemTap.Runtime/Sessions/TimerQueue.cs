using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Sessions;

/// <summary>
/// Deadlines of the timer probes, on CLOCK_MONOTONIC. A timer that could not run in time does not run twice to catch up: its next deadline is the
/// next multiple of its interval that lies ahead, as a kernel hrtimer does it; what was left out is counted.
/// </summary>
public sealed class TimerQueue
{
    private readonly record struct Entry(Probe Probe, TimerSpec Spec);

    private readonly Entry[] _entries;
    private readonly long[] _due;
    private readonly Random _random = new();

    /// <param name="probes">Probes with a <see cref="TimerSpec"/>.</param>
    /// <param name="now">Nanoseconds.</param>
    public TimerQueue(IEnumerable<Probe> probes, long now)
    {
        var entries = new List<Entry>();
        foreach (var probe in probes)
        {
            if (probe.Spec is TimerSpec spec)
            {
                entries.Add(new Entry(probe, spec));
            }
        }

        _entries = [.. entries];
        _due = new long[_entries.Length];
        for (var i = 0; i < _due.Length; i++)
        {
            _due[i] = now + Interval(_entries[i].Spec);
        }
    }

    /// <summary>Deadlines passed over because the session was late.</summary>
    public long Missed { get; private set; }

    /// <summary>The earliest deadline; <see cref="long.MaxValue"/> when there are no timers.</summary>
    public long Next
    {
        get
        {
            var next = long.MaxValue;
            foreach (var due in _due)
            {
                next = Math.Min(next, due);
            }

            return next;
        }
    }

    /// <summary>Takes the earliest timer that is due and sets its next deadline; null when none is.</summary>
    public Probe? Take(long now)
    {
        var first = -1;
        for (var i = 0; i < _due.Length; i++)
        {
            if (_due[i] <= now && (first < 0 || _due[i] < _due[first]))
            {
                first = i;
            }
        }

        if (first < 0)
        {
            return null;
        }

        var spec = _entries[first].Spec;
        if (spec.RandomizeNs > 0)
        {
            _due[first] = now + Interval(spec);
        }
        else
        {
            var late = (now - _due[first]) / spec.IntervalNs;
            Missed += late;
            _due[first] += (late + 1) * spec.IntervalNs;
        }

        return _entries[first].Probe;
    }

    private long Interval(TimerSpec spec) => spec.RandomizeNs == 0
        ? spec.IntervalNs
        : Math.Max(1, spec.IntervalNs + _random.NextInt64(-spec.RandomizeNs, spec.RandomizeNs + 1));
}
