namespace SystemTap.Runtime.Sessions;

/// <summary>
/// While it is held, the kernel's grace periods are short: it interrupts all CPUs instead of waiting until each has passed through the scheduler (<c>/sys/kernel/rcu_expedited</c>,
/// Documentation/RCU in the kernel's sources). For taking away many perf events at once, each of which waits for one. Where the administrator has said otherwise (<c>rcu_normal</c>, as real-time
/// systems do) the kernel takes no notice, and where the file cannot be written nothing happens.
/// </summary>
internal sealed class ShortGracePeriods : IDisposable
{
    private const string Switch = "/sys/kernel/rcu_expedited";

    private readonly bool _changed;

    public ShortGracePeriods()
    {
        try
        {
            // Another's setting stays.
            if (File.ReadAllText(Switch).Trim() == "0")
            {
                File.WriteAllText(Switch, "1");
                _changed = true;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It takes longer, that is all.
        }
    }

    public void Dispose()
    {
        if (_changed)
        {
            try
            {
                File.WriteAllText(Switch, "0");
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // The file was writable a moment ago: sysfs went away with a container.
            }
        }
    }
}
