using System.Runtime.InteropServices;
using System.Text;

namespace SystemTap.Targets;

/// <summary>Asks the servers of <c>DEBUGINFOD_URLS</c> for debug information by build id, through elfutils' libdebuginfod, which keeps what it fetched.</summary>
public static unsafe partial class Debuginfod
{
    private const string Name = "libdebuginfod.so.1";

    /// <summary>What a message advises about servers: to name some, or that those named did not help.</summary>
    public static string Advice => !IsAsked ? "or set DEBUGINFOD_URLS"
        : NativeLibrary.TryLoad(Name, out _) ? "the servers of DEBUGINFOD_URLS did not give it"
        : "or install libdebuginfod1 to ask the servers of DEBUGINFOD_URLS";

    private static bool IsAsked => !string.IsNullOrWhiteSpace(Environment.GetEnvironmentVariable("DEBUGINFOD_URLS"));

    /// <summary>Path of the debug file; null when no server is set, the library is not installed, or no server has it.</summary>
    public static string? Find(string buildId)
    {
        if (!IsAsked || !NativeLibrary.TryLoad(Name, out _))
            return null;
        var client = debuginfod_begin();
        if (client == 0)
            return null;
        byte* path = null;
        int descriptor;
        fixed (byte* id = Encoding.ASCII.GetBytes(buildId + "\0"))
            descriptor = debuginfod_find_debuginfo(client, id, 0, &path);
        debuginfod_end(client);
        if (descriptor < 0)
            return null;
        var result = path is null ? null : Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(path));
        NativeMemory.Free(path);
        using var handle = new Microsoft.Win32.SafeHandles.SafeFileHandle(descriptor, ownsHandle: true);
        return result;
    }

    [LibraryImport(Name)] private static partial nint debuginfod_begin();
    [LibraryImport(Name)] private static partial void debuginfod_end(nint client);
    [LibraryImport(Name)] private static partial int debuginfod_find_debuginfo(nint client, byte* buildId, int length, byte** path);
}
