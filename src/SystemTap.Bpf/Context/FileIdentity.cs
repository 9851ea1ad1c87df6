using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace SystemTap.Bpf.Context;

/// <summary>
/// Inode and device of a file as the kernel's own structures have them: from fdinfo (i_ino of the open file) and mountinfo (s_dev of its file system), because
/// stat(2) shows other numbers on overlay and btrfs.
/// </summary>
public static class FileIdentity
{
    /// <summary>Inode number and device (major &lt;&lt; 20 | minor); null when the file cannot be opened or the kernel tells no inode (before 5.14).</summary>
    public static (long Inode, long Device)? Of(string path)
    {
        try
        {
            using SafeFileHandle file = File.OpenHandle(path);
            long inode = -1;
            var mount = "";
            foreach (var line in File.ReadLines($"/proc/self/fdinfo/{file.DangerousGetHandle()}"))
            {
                if (line.StartsWith("ino:", StringComparison.Ordinal))
                {
                    inode = long.Parse(line.AsSpan(4).Trim(), CultureInfo.InvariantCulture);
                }
                else if (line.StartsWith("mnt_id:", StringComparison.Ordinal))
                {
                    mount = line[7..].Trim() + " ";
                }
            }

            foreach (var line in File.ReadLines("/proc/self/mountinfo"))
            {
                if (inode >= 0 && line.StartsWith(mount, StringComparison.Ordinal))
                {
                    var device = line.Split(' ')[2].Split(':');
                    return (inode, long.Parse(device[0], CultureInfo.InvariantCulture) << 20 | long.Parse(device[1], CultureInfo.InvariantCulture));
                }
            }

            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            return null;
        }
    }
}
