using System.Globalization;
using SystemTap.Bpf;
using SystemTap.Runtime.Native;

namespace SystemTap.Runtime.Host;

/// <summary>Who runs the session, and in which namespaces: constants that both engines need.</summary>
public static class SessionFacts
{
    private static readonly Lazy<IReadOnlyList<IdRange>> Users = new(() => Ranges("uid_map")), Groups = new(() => Ranges("gid_map"));

    /// <summary>Process whose namespaces the ns_… functions speak of (<c>--target-namespaces</c>); null: stap's own. Set before the session starts.</summary>
    public static int? NamespaceOf { get; set; }

    /// <summary>Uid of the user who started stap.</summary>
    public static long SessionUid => Libc.getuid();

    /// <summary>How the user namespace numbers the kernel's user ids.</summary>
    public static IReadOnlyList<IdRange> UserIds => Users.Value;

    /// <summary>How the user namespace numbers the kernel's group ids.</summary>
    public static IReadOnlyList<IdRange> GroupIds => Groups.Value;

    private static string Folder => NamespaceOf is { } pid ? "/proc/" + pid.ToString(CultureInfo.InvariantCulture) : "/proc/self";

    /// <summary>Inode number of the namespace of a kind ("pid", "user"); 0 when it cannot be read.</summary>
    public static long Namespace(string kind)
    {
        try
        {
            // The link reads "pid:[4026531836]".
            var link = File.ResolveLinkTarget($"{Folder}/ns/{kind}", returnFinalTarget: false)?.Name ?? "";
            var open = link.IndexOf('[');
            return open >= 0 && long.TryParse(link.AsSpan(open + 1, link.Length - open - 2), CultureInfo.InvariantCulture, out var inode) ? inode : 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

    // Lines of three numbers: first id inside, first outside, how many. Outside means stap's own namespace, which must be the initial one to use BPF.
    private static List<IdRange> Ranges(string file)
    {
        var ranges = new List<IdRange>();
        try
        {
            foreach (var line in File.ReadLines($"{Folder}/{file}"))
            {
                var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (words.Length == 3)
                {
                    ranges.Add(new IdRange(Parse(words[0]), Parse(words[1]), Parse(words[2])));
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The process is gone: nobody has a number in its namespace.
        }

        return ranges;

        static long Parse(string text) => long.Parse(text, CultureInfo.InvariantCulture);
    }
}
