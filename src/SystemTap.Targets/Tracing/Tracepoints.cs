using System.Text;

namespace SystemTap.Targets;

// Two sources, joined by name: BTF says which tracepoints exist and what they pass; tracefs says to which "system"
// (subsystem) one belongs, for those that are events too. Neither alone is enough: bare tracepoints (DECLARE_TRACE)
// are not in tracefs, and BTF knows no systems.
//
// A plain name needs BTF only. Systems and patterns need the table of all names, which takes a scan of BTF and a walk
// over 1,500 folders; it is therefore kept in the cache directory by the kernel's build id and the set of modules.

/// <summary>A static probe point of the kernel or a module.</summary>
public sealed class Tracepoint
{
    private readonly Tracepoints _all;
    private TracepointParameter[]? _parameters;

    internal Tracepoint(Tracepoints all, string name, BtfType traceiter)
    {
        _all = all;
        Name = name;
        Traceiter = traceiter;
    }

    public string Name { get; }

    /// <summary>The part before ":" in "sched:sched_switch"; null for a bare tracepoint or where tracefs cannot be read.</summary>
    public string? System => _all.SystemOf(Name);

    /// <summary>The module that defines it, or null for the kernel itself.</summary>
    public string? Module => Btf.Base is null ? null : Btf.Name;

    /// <summary>What it passes to a probe, in the order of a raw tracepoint's arguments.</summary>
    public IReadOnlyList<TracepointParameter> Parameters => _parameters ??= Targets.Traceiter.Parameters(Traceiter);

    /// <summary>The BTF function or typedef the parameters come from.</summary>
    public BtfType Traceiter { get; }

    /// <summary>The BTF that describes it.</summary>
    public Btf Btf => Traceiter.Btf;

    /// <summary>The type id a BPF program of kind "tp_btf" attaches to, within <see cref="Btf"/>; 0 when that is impossible.</summary>
    public int AttachId => Targets.Traceiter.AttachId(Btf, Name);

    /// <summary>"system:name", or the bare name.</summary>
    public override string ToString() => System is { } system ? $"{system}:{Name}" : Name;
}

/// <summary>All tracepoints of a <see cref="Target"/>.</summary>
public sealed class Tracepoints
{
    private readonly Target _target;
    private readonly string? _cachePath;
    private readonly Lock _lock = new();
    private readonly Dictionary<string, Tracepoint?> _found = [];
    private TracepointTable? _table;

    internal Tracepoints(Target target, string? cacheDirectory)
    {
        _target = target;
        if (cacheDirectory is not null && target.BuildId is { } key)
            _cachePath = Path.Combine(cacheDirectory, $"tracepoints-{key}");
    }

    /// <summary>Whether tracefs could be read. Where not, every <see cref="Tracepoint.System"/> is null.</summary>
    public bool SystemsKnown => Table.SystemsKnown;

    /// <summary>Names of all tracepoints, sorted.</summary>
    public IReadOnlyList<string> Names => Table.Names;

    /// <summary>
    /// The tracepoint of a name like "sched_switch" or "sched:sched_switch", or null. Where systems are not known, the
    /// system given is believed: a script that says it should not fail for want of a mount.
    /// </summary>
    public Tracepoint? Find(string name)
    {
        var colon = name.IndexOf(':');
        var tracepoint = FindBare(colon < 0 ? name : name[(colon + 1)..]);
        if (tracepoint is null || colon < 0)
            return tracepoint;
        return !SystemsKnown || name.AsSpan(0, colon).SequenceEqual(tracepoint.System) ? tracepoint : null;
    }

    /// <summary>
    /// The tracepoints whose name fits a pattern of <see cref="Globs"/>, sorted by name. With ":" in the pattern the part
    /// before it must fit the system, and a tracepoint without one (all of them, where systems are not known) fits "*" only:
    /// "sched:*" must never come to mean every tracepoint there is. See <see cref="SystemsKnown"/> to explain an empty answer.
    /// </summary>
    public List<Tracepoint> Match(string pattern)
    {
        var result = new List<Tracepoint>();
        if (!Globs.IsPattern(pattern))
        {
            if (Find(pattern) is { } one)
                result.Add(one);
            return result;
        }
        var colon = pattern.IndexOf(':');
        var system = colon < 0 ? default : pattern.AsSpan(0, colon);
        var name = colon < 0 ? pattern : pattern.AsSpan(colon + 1);
        var table = Table;
        foreach (var candidate in table.Names)
        {
            if (Globs.Matches(name, candidate)
                && (colon < 0 || (table.System(candidate) is { } its ? Globs.Matches(system, its) : system is "*"))
                && FindBare(candidate) is { } tracepoint)
                result.Add(tracepoint);
        }
        return result;
    }

    /// <summary>Record layout and id of the classic event of that name, or null when it is none or tracefs cannot be read.</summary>
    public TracepointFormat? Format(string system, string name)
    {
        using var tracefs = _target.OpenTracefs();
        return tracefs?.Format(system, name);
    }

    internal string? SystemOf(string name) => Table.System(name);

    private Tracepoint? FindBare(string name)
    {
        lock (_lock)
        {
            if (!_found.TryGetValue(name, out var tracepoint))
                _found[name] = tracepoint = Search(name);
            return tracepoint;
        }
    }

    private Tracepoint? Search(string name)
    {
        if (_target.KernelBtfOrNull is not { } kernel)
            return null;
        if (Traceiter.Find(kernel, name) is { } own)
            return new Tracepoint(this, name, own);
        foreach (var module in _target.ModulesWithBtf)
            if (_target.ModuleBtf(module) is { } btf && Traceiter.Find(btf, name) is { } its)
                return new Tracepoint(this, name, its);
        return null;
    }

    private TracepointTable Table
    {
        get
        {
            lock (_lock)
                return _table ??= MakeTable();
        }
    }

    private TracepointTable MakeTable()
    {
        var modules = string.Join(' ', _target.ModulesWithBtf);
        var cached = _cachePath is null ? null : TracepointTable.Read(_cachePath, modules);
        if (cached is { SystemsKnown: true })
            return cached;

        using var tracefs = _target.OpenTracefs();
        var systems = tracefs?.EventSystems() ?? (_target.BuildTree is { } tree ? TraceHeaders.EventSystems(tree) : []);
        if (systems.Count == 0 && cached is not null)
            return cached;
        var names = new SortedSet<string>(StringComparer.Ordinal);
        if (_target.KernelBtfOrNull is { } kernel)
        {
            names.UnionWith(Traceiter.Names(kernel));
            foreach (var module in _target.ModulesWithBtf)
                if (_target.ModuleBtf(module) is { } btf)
                    names.UnionWith(Traceiter.Names(btf));
        }
        var table = new TracepointTable([.. names], systems, systems.Count > 0);
        if (_cachePath is not null)
            table.Write(_cachePath, modules);
        return table;
    }
}

/// <summary>Names of tracepoints with their systems; kept as text, one "name system" a line after a line of header.</summary>
internal sealed class TracepointTable(string[] names, Dictionary<string, string> systems, bool systemsKnown)
{
    public string[] Names => names;
    public bool SystemsKnown => systemsKnown;
    public string? System(string name) => systems.GetValueOrDefault(name);

    private static string Header(string modules, bool known, ReadOnlySpan<byte> body) =>
        $"stap-tracepoints 1 {(known ? 1 : 0)} {Checksum.Of(body):x16} {Checksum.Of(Encoding.UTF8.GetBytes(modules)):x16}\n";

    public static TracepointTable? Read(string path, string modules)
    {
        byte[] bytes;
        try
        {
            if (!File.Exists(path))
                return null;
            bytes = File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // as if absent
        }
        var end = bytes.AsSpan().IndexOf((byte)'\n') + 1;
        var body = bytes.AsSpan(end);
        var header = Encoding.UTF8.GetString(bytes, 0, end);
        var known = header == Header(modules, true, body);
        if (!known && header != Header(modules, false, body))
            return null;

        var names = new List<string>(2048);
        var systems = new Dictionary<string, string>(2048);
        var last = "";
        var text = Encoding.UTF8.GetString(body).AsSpan();
        foreach (var line in text.EnumerateLines())
        {
            var space = line.IndexOf(' ');
            if (space <= 0)
                continue;
            var name = line[..space].ToString();
            names.Add(name);
            if (space + 1 < line.Length)
            {
                if (!line[(space + 1)..].SequenceEqual(last))
                    last = line[(space + 1)..].ToString();
                systems[name] = last;
            }
        }
        return new TracepointTable([.. names], systems, known);
    }

    public void Write(string path, string modules)
    {
        var text = new StringBuilder(names.Length * 40);
        foreach (var name in names)
            text.Append(name).Append(' ').Append(System(name)).Append('\n');
        var body = Encoding.UTF8.GetBytes(text.ToString());
        CacheDirectory.WriteAtomically(path, Encoding.UTF8.GetBytes(Header(modules, systemsKnown, body)), body);
    }
}
