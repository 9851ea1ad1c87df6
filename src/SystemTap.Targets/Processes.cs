using System.Globalization;
using System.Text;

namespace SystemTap.Targets;

/// <summary>A range of a process's memory, one line of /proc/PID/maps.</summary>
/// <param name="Start">First address.</param>
/// <param name="End">First address after it.</param>
/// <param name="Permissions">"r-xp" and the like.</param>
/// <param name="FileOffset">Bytes into the file at <paramref name="Start"/>.</param>
/// <param name="Inode">0 for memory without a file.</param>
/// <param name="Path">The file, "[stack]" and the like, or empty. " (deleted)" is cut off, see <paramref name="IsDeleted"/>.</param>
/// <param name="IsDeleted">The file no longer has this name.</param>
public readonly record struct MemoryRange(ulong Start, ulong End, string Permissions, ulong FileOffset, ulong Inode, string Path, bool IsDeleted)
{
    public bool IsExecutable => Permissions.Contains('x');
    public bool IsFile => Inode != 0;
}

/// <summary>A process as it was when it was looked up; maps and threads are read when asked.</summary>
public sealed class ProcessInfo
{
    private readonly string _folder;

    internal ProcessInfo(string folder, int pid, string name, char state, int parent, ulong startTime)
    {
        _folder = folder;
        (Pid, Name, State, ParentPid, StartTime) = (pid, name, state, parent, startTime);
    }

    public int Pid { get; }

    /// <summary>The kernel's name of it (comm), at most 15 bytes.</summary>
    public string Name { get; }

    /// <summary>"R", "S", "Z" and so on, see proc(5).</summary>
    public char State { get; }

    public int ParentPid { get; }

    /// <summary>Clock ticks (1/100 s) from boot to its start: with the pid it identifies a process for good.</summary>
    public ulong StartTime { get; }

    /// <summary>The program's path as the process sees it; null for kernel threads, zombies and processes we may not look at.</summary>
    public string? Executable
    {
        get
        {
            try
            {
                var path = new FileInfo(_folder + "/exe").LinkTarget;
                return path is not null && path.EndsWith(" (deleted)", StringComparison.Ordinal) ? path[..^10] : path;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return null;
            }
        }
    }

    /// <summary>A path under which this program can open the executable even when it was deleted or is in another mount namespace.</summary>
    public string ExecutableLink => _folder + "/exe";

    /// <summary>Prefix that turns a path as the process sees it into one for us: "/proc/PID/root".</summary>
    public string RootLink => _folder + "/root";

    /// <summary>The real user id, or -1 when the process is gone.</summary>
    public int UserId => int.TryParse(Status("Uid").Split('\t', ' ')[0], out var id) ? id : -1;

    /// <summary>A line of /proc/PID/status by its name, without the name; empty when absent.</summary>
    public string Status(string field)
    {
        foreach (var line in (ProcessTable.ReadText(_folder + "/status") ?? "").AsSpan().EnumerateLines())
            if (line.StartsWith(field) && line.Length > field.Length && line[field.Length] == ':')
                return line[(field.Length + 1)..].Trim().ToString();
        return "";
    }

    /// <summary>Ids of its threads, ascending; empty when it is gone.</summary>
    public IReadOnlyList<int> Threads => ProcessTable.Numbers(_folder + "/task");

    /// <summary>Its memory, ascending; empty for kernel threads, when it is gone, or when we may not look.</summary>
    public List<MemoryRange> Maps
    {
        get
        {
            var result = new List<MemoryRange>();
            foreach (var line in (ProcessTable.ReadText(_folder + "/maps") ?? "").AsSpan().EnumerateLines())
                if (ParseRange(line) is { } range)
                    result.Add(range);
            return result;
        }
    }

    /// <summary>"55d0-55d8 r-xp 00000000 fe:01 1234     /usr/bin/cat"; null for any other text.</summary>
    internal static MemoryRange? ParseRange(ReadOnlySpan<char> line)
    {
        Span<Range> parts = stackalloc Range[6];
        var count = line.Split(parts, ' ');
        if (count < 5)
            return null;
        var addresses = line[parts[0]];
        var dash = addresses.IndexOf('-');
        if (dash < 0
            || !Hex(addresses[..dash], out var start) || !Hex(addresses[(dash + 1)..], out var end) || !Hex(line[parts[2]], out var offset)
            || !ulong.TryParse(line[parts[4]], NumberStyles.None, CultureInfo.InvariantCulture, out var inode))
            return null;
        var path = count == 6 ? line[parts[5]].TrimStart(' ') : default;
        var deleted = path.EndsWith(" (deleted)");
        if (deleted)
            path = path[..^10];
        return new MemoryRange(start, end, line[parts[1]].ToString(), offset, inode, Unescape(path), deleted);
    }

    /// <summary>The kernel writes a newline within a path as "\012".</summary>
    private static string Unescape(ReadOnlySpan<char> path) => path.ToString().Replace("\\012", "\n");

    private static bool Hex(ReadOnlySpan<char> text, out ulong value) =>
        ulong.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
}

/// <summary>The processes of the machine, read from /proc afresh at each question.</summary>
public sealed class ProcessTable
{
    private readonly string? _root;

    internal ProcessTable(string? root) => _root = root;

    /// <summary>Ids of all processes, ascending.</summary>
    public IReadOnlyList<int> Pids => _root is null ? [] : Numbers(_root);

    /// <summary>The process with that id, or null when there is none (or it ended just now).</summary>
    public ProcessInfo? Find(int pid)
    {
        if (_root is null || pid <= 0)
            return null;
        var folder = $"{_root}/{pid.ToString(CultureInfo.InvariantCulture)}";
        // "PID (COMM) STATE PPID ...": COMM may contain anything, also ")", so count from the last one.
        if (ReadText(folder + "/stat") is not { } stat)
            return null;
        int open = stat.IndexOf('('), close = stat.LastIndexOf(')');
        if (open < 0 || close < open || close + 2 >= stat.Length)
            return null;
        var fields = stat[(close + 2)..].Split(' ');
        return fields.Length > 19 && fields[0].Length == 1
            && int.TryParse(fields[1], out var parent) && ulong.TryParse(fields[19], out var start)
            ? new ProcessInfo(folder, pid, stat[(open + 1)..close], fields[0][0], parent, start)
            : null;
    }

    /// <summary>All processes that still exist when their turn comes.</summary>
    public IEnumerable<ProcessInfo> All()
    {
        foreach (var pid in Pids)
            if (Find(pid) is { } process)
                yield return process;
    }

    internal static string? ReadText(string path)
    {
        try
        {
            return Encoding.UTF8.GetString(File.ReadAllBytes(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // it ended, or is not ours to see
        }
    }

    internal static List<int> Numbers(string folder)
    {
        var result = new List<int>();
        try
        {
            foreach (var path in Directory.EnumerateDirectories(folder))
                if (int.TryParse(Path.GetFileName(path.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out var number))
                    result.Add(number);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            result.Clear(); // it ended meanwhile
        }
        result.Sort();
        return result;
    }
}
