using System.Globalization;
using SystemTap.Runtime.Native;

namespace SystemTap.Runtime.Host;

/// <summary>Who runs the session, and in which namespaces: constants that both engines need.</summary>
public static class SessionFacts
{
    /// <summary>Uid of the user who started stap.</summary>
    public static long SessionUid => Libc.getuid();

    /// <summary>Inode number of stap's own namespace of a kind ("pid", "user"); 0 when it cannot be read.</summary>
    public static long Namespace(string kind)
    {
        try
        {
            // The link reads "pid:[4026531836]".
            var link = File.ResolveLinkTarget($"/proc/self/ns/{kind}", returnFinalTarget: false)?.Name ?? "";
            var open = link.IndexOf('[');
            return open >= 0 && long.TryParse(link.AsSpan(open + 1, link.Length - open - 2), CultureInfo.InvariantCulture, out var inode) ? inode : 0;
        }
        catch (IOException)
        {
            return 0;
        }
    }
}
