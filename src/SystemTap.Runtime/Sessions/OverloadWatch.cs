using System.Globalization;
using Linux.Bpf;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Sessions;

// SystemTap ends a session whose handlers take more than STP_OVERLOAD_THRESHOLD cycles of any STP_OVERLOAD_INTERVAL (half of the time), because a script
// that eats the machine is worse than none. A module counts cycles at each probe. Here the kernel's own statistics do (run_time_ns of each program), and
// since they cost some 20 ns per run they are switched on for a short window each second. Three windows in a row over the threshold end the session:
// one may be an accident (a virtual machine whose processor was taken away in a handler).
//
// The times are sums over all processors, compared with the window times their number. Switched off by -DSTP_NO_OVERLOAD and
// --suppress-time-limits. Without statistics in the kernel (before 5.8) nothing is watched.

/// <summary>Watches what part of the machine the kernel handlers take.</summary>
internal sealed class OverloadWatch : IDisposable
{
    private const long Period = 1_000_000_000, Window = 20_000_000;
    private const int Strikes = 3;

    private readonly KernelSide _kernel;
    private readonly double _share;
    private readonly int _cpus;
    private KernelFd? _statistics;
    private long _next, _start, _before;
    private int _strikes;

    private OverloadWatch(KernelSide kernel, double share, int cpus, long now) => (_kernel, _share, _cpus, _next) = (kernel, share, cpus, now + Period);

    /// <summary>A watch for the session, or null when the script's user wants none.</summary>
    public static OverloadWatch? Create(KernelSide? kernel, Limits limits, long now)
    {
        if (kernel is null || limits.SuppressTimeLimits || limits.Defines.ContainsKey("STP_NO_OVERLOAD"))
        {
            return null;
        }

        var threshold = Number(limits, "STP_OVERLOAD_THRESHOLD", 500_000_000);
        var interval = Number(limits, "STP_OVERLOAD_INTERVAL", 1_000_000_000);
        return new OverloadWatch(kernel, threshold / interval, CpuList.Online().Count, now);
    }

    /// <summary>Called often with the monotonic clock in nanoseconds; returns the error when the machine is overloaded.</summary>
    public string? Check(long now)
    {
        if (_statistics is null)
        {
            if (now < _next)
            {
                return null;
            }

            try
            {
                _statistics = BpfStats.Enable();
            }
            catch (BpfException)
            {
                _next = long.MaxValue;
                return null;
            }

            (_start, _before) = (now, _kernel.RunTime());
            return null;
        }

        var took = now - _start;
        if (took < Window)
        {
            return null;
        }

        var used = _kernel.RunTime() - _before;
        _statistics.Dispose();
        _statistics = null;
        _next = now + Period;
        var allowed = (long)(_share * took * _cpus);
        _strikes = used > allowed ? _strikes + 1 : 0;
        return _strikes < Strikes ? null : string.Create(CultureInfo.InvariantCulture,
            $"probe overhead ({used} ns) exceeded threshold ({allowed} ns) in last {took * _cpus} ns");
    }

    public void Dispose() => _statistics?.Dispose();

    private static double Number(Limits limits, string name, long standard) =>
        limits.Defines.TryGetValue(name, out var text) && long.TryParse(text, NumberStyles.Integer, CultureInfo.InvariantCulture, out var value) && value > 0 ? value : standard;
}
