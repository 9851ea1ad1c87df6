using System.Globalization;
using System.Text;

namespace SystemTap.Runtime.Sessions;

/// <summary>
/// The process of -x or -c and its descendants. The set at the start comes from /proc; while kernel programs run, they keep it in a map
/// (fork and exit). Without kernel programs the question is answered from /proc each time, by walking up the parents.
/// </summary>
internal sealed class ProcessTree
{
    private int _root;

    /// <summary>Root and descendants when the session started.</summary>
    public IReadOnlyList<int> Initial { get; private set; } = [];

    public void Start(int root)
    {
        _root = root;
        Initial = Descendants(root);
    }

    public bool Contains(int pid)
    {
        for (var depth = 0; pid > 0 && depth < 4096; depth++)
        {
            if (pid == _root)
            {
                return true;
            }

            pid = ParentOf(pid);
        }

        return false;
    }

    /// <summary>A process and all that descend from it, as /proc shows them now.</summary>
    public static IReadOnlyList<int> Descendants(int root)
    {
        var parents = new List<(int Pid, int Parent)>();
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(folder.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out var pid))
            {
                parents.Add((pid, ParentOf(pid)));
            }
        }

        var found = new List<int> { root };
        for (var i = 0; i < found.Count; i++)
        {
            foreach (var (pid, parent) in parents)
            {
                if (parent == found[i] && pid != parent && !found.Contains(pid))
                {
                    found.Add(pid);
                }
            }
        }

        return found;
    }

    /// <summary>Parent of a process; 0 when it is gone.</summary>
    public static int ParentOf(int pid)
    {
        string stat;
        try
        {
            stat = Encoding.Latin1.GetString(File.ReadAllBytes($"/proc/{pid.ToString(CultureInfo.InvariantCulture)}/stat"));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return 0;
        }

        // "pid (comm) state ppid …"; comm may hold parentheses and blanks.
        var rest = stat.AsSpan(stat.LastIndexOf(')') + 1).Trim();
        var gap = rest.IndexOf(' ');
        rest = rest[(gap + 1)..];
        return int.TryParse(rest[..rest.IndexOf(' ')], NumberStyles.None, CultureInfo.InvariantCulture, out var parent) ? parent : 0;
    }
}
