namespace SystemTap.Targets;

/// <summary>
/// A way into tracefs. Where it is not mounted, it is mounted detached: visible through a descriptor of this process
/// only and gone with it, so the machine is left as it was.
/// </summary>
public sealed class Tracefs : IDisposable
{
    private int _mount;

    private Tracefs(string root, int mount)
    {
        Root = root;
        _mount = mount;
    }

    /// <summary>A folder path that this process can read tracefs under while this object is not disposed.</summary>
    public string Root { get; }

    /// <summary>tracefs at a known folder.</summary>
    public static Tracefs At(string folder) => new(folder, -1);

    /// <summary>
    /// The mounted tracefs, else a detached mount (needs CAP_SYS_ADMIN and kernel 5.2), else null: the caller does without.
    /// </summary>
    public static Tracefs? Open()
    {
        ReadOnlySpan<string> places = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
        foreach (var place in places)
            if (Directory.Exists(place + "/events"))
                return new Tracefs(place, -1);
        var mount = Native.MountDetached("tracefs\0"u8);
        return mount < 0 ? null : new Tracefs($"/proc/self/fd/{mount}", mount);
    }

    /// <summary>Names of all events by their system (for tracepoints: the part before ":").</summary>
    public Dictionary<string, string> EventSystems()
    {
        var systems = new Dictionary<string, string>(2048);
        try
        {
            foreach (var folder in Directory.EnumerateDirectories(Root + "/events"))
            {
                var system = Path.GetFileName(folder);
                foreach (var entry in Directory.EnumerateDirectories(folder))
                    systems.TryAdd(Path.GetFileName(entry), system);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            systems.Clear(); // readable by root only, or unmounted meanwhile: as if it could not be opened
        }
        return systems;
    }

    /// <summary>The binary layout of a classic event's record and its id, or null when there is no such event.</summary>
    /// <exception cref="TargetException">The event exists but its format cannot be understood.</exception>
    public TracepointFormat? Format(string system, string name)
    {
        if (system.Contains('/') || name.Contains('/'))
            return null;
        var path = $"{Root}/events/{system}/{name}/format";
        try
        {
            return File.Exists(path) ? TracepointFormat.Parse(File.ReadAllText(path)) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _mount, -1) is >= 0 and var mount)
            _ = Native.close(mount);
    }
}
