using System.Diagnostics;

namespace SystemTap.Cli.Driver;

/// <summary>Times a pass for the <c>-v</c> lines: processor and wall-clock milliseconds.</summary>
internal sealed class PassClock
{
    private readonly long _start = Stopwatch.GetTimestamp();
    private readonly TimeSpan _user;
    private readonly TimeSpan _system;
    private readonly bool _cpu;

    public PassClock(bool withCpu)
    {
        _cpu = withCpu;
        if (withCpu)
        {
            var usage = Environment.CpuUsage;
            (_user, _system) = (usage.UserTime, usage.PrivilegedTime);
        }
    }

    /// <summary><c>XKB in Uusr/Ssys/Rreal ms.</c></summary>
    public override string ToString()
    {
        if (!_cpu)
        {
            return ""; // Nobody prints it: the memory figure costs reading a file.
        }

        var real = Stopwatch.GetElapsedTime(_start).TotalMilliseconds;
        var usage = Environment.CpuUsage;
        return $"using {Environment.WorkingSet >> 10}KB in {(usage.UserTime - _user).TotalMilliseconds:0}usr/{(usage.PrivilegedTime - _system).TotalMilliseconds:0}sys/{real:0.0}real ms";
    }
}
