using SystemTap.Runtime.Native;

namespace SystemTap.Runtime.Sessions;

/// <summary>
/// <c>--rlimit-NAME</c>: limits of this process. Memory is not limited by RLIMIT_AS: .NET reserves tens of gigabytes of addresses that cost nothing, and
/// a limit on them would end the program at once; the heap gets the limit instead.
/// </summary>
public static unsafe class ResourceLimits
{
    /// <summary>Makes room for so many open files more than the usual few; does nothing where that is not allowed.</summary>
    internal static void NeedFiles(int count)
    {
        const int files = 7;
        const ulong usual = 200;
        var wanted = (ulong)count + usual;
        Libc.Limit limit;
        if (Libc.getrlimit(files, &limit) == 0 && limit.Soft < wanted)
        {
            limit.Soft = wanted;
            limit.Hard = Math.Max(limit.Hard, wanted);
            _ = Libc.setrlimit(files, &limit);
        }
    }

    /// <summary>Sets one limit.</summary>
    /// <param name="name">as, cpu, nproc, stack or fsize.</param>
    /// <returns>null, or why it cannot be set.</returns>
    public static string? Set(string name, long value)
    {
        if (name == "as")
        {
            try
            {
                AppContext.SetData("GCHeapHardLimit", (ulong)value);
                GC.RefreshMemoryLimit();
                return null;
            }
            catch (InvalidOperationException)
            {
                return $"{value} bytes are less than the program has already";
            }
        }

        if (name == "fsize")
        {
            // Writing beyond it then fails with a message instead of a signal.
            _ = Libc.signal(25 /* SIGXFSZ */, 1);
        }

        var resource = name switch { "cpu" => 0, "fsize" => 1, "stack" => 3, "nproc" => 6, _ => throw new ArgumentOutOfRangeException(nameof(name)) };
        Libc.Limit now, limit = new() { Soft = (ulong)value, Hard = (ulong)value };
        if (Libc.getrlimit(resource, &now) == 0 && now.Hard <= limit.Hard)
        {
            limit.Soft = limit.Hard = now.Hard; // the system's own limit is stricter, and raising it is a privilege
        }

        return Libc.setrlimit(resource, &limit) == 0 ? null : System.Runtime.InteropServices.Marshal.GetLastPInvokeErrorMessage();
    }
}
