using System.Globalization;
using System.Text;

namespace SystemTap.Targets;

/// <summary>Where facts that are slow to find are kept between sessions.</summary>
public static class CacheDirectory
{
    /// <summary>
    /// <c>$SYSTEMTAP_DIR/cache</c>, else <c>$XDG_CACHE_HOME/systemtap-cs</c>, else <c>~/.cache/systemtap-cs</c>;
    /// null when none can be named. It need not exist or be writable.
    /// </summary>
    public static string? Default
    {
        get
        {
            if (Environment.GetEnvironmentVariable("SYSTEMTAP_DIR") is { Length: > 0 } own)
                return Path.Combine(own, "cache");
            if (Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } cache && Path.IsPathRooted(cache))
                return Path.Combine(cache, "systemtap-cs");
            return Environment.GetEnvironmentVariable("HOME") is { Length: > 0 } home
                ? Path.Combine(home, ".cache", "systemtap-cs")
                : null;
        }
    }

    /// <summary>A name for what is made of a file, which changes with it. No cryptography: that is OpenSSL's, which small machines have not.</summary>
    public static string KeyOf(FileInfo file) => string.Create(CultureInfo.InvariantCulture,
        $"{BtfIndex.Hash(Encoding.UTF8.GetBytes(file.FullName)):x8}-{file.Length:x}-{file.LastWriteTimeUtc.Ticks:x}-{file.Name}");

    /// <summary>
    /// Replaces a file as a whole, making its folder (mode 0700) when absent. Returns false, having changed nothing,
    /// when the place cannot be written: a cache is a convenience.
    /// </summary>
    public static bool WriteAtomically(string path, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second = default)
    {
        var temporary = $"{path}.{Environment.ProcessId}-{Environment.CurrentManagedThreadId}";
        try
        {
            var folder = Path.GetDirectoryName(path)!;
            if (!Directory.Exists(folder))
#pragma warning disable CA1416 // Linux only, as the whole program
                Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
#pragma warning restore CA1416
            using (var file = File.OpenHandle(temporary, FileMode.CreateNew, FileAccess.Write, preallocationSize: 0))
            {
                RandomAccess.Write(file, first, 0);
                RandomAccess.Write(file, second, first.Length);
            }
            File.Move(temporary, path, overwrite: true);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            try { File.Delete(temporary); }
            catch (Exception again) when (again is IOException or UnauthorizedAccessException) { /* never created, or the disk is read-only */ }
            return false;
        }
    }
}
