using System.Text;

namespace SystemTap.Targets;

// Which functions can be probed, and what is known of their parameters
// --------------------------------------------------------------------
// Four sources, each asked only when needed:
//   BTF             prototypes by name; mapped and indexed, some microseconds a look-up;
//   kallsyms        addresses, and which names stand for several (static) functions; 40 ms to read, so the names that do – a few hundred – are
//                   remembered in the cache directory by the kernel's build id, and a plain name that BTF knows needs no kallsyms at all;
//   available_filter_functions   what ftrace can patch: the only list that patterns may be expanded over, because one function the kernel refuses
//                   makes it refuse all of a kprobe_multi link; some 20 ms;
//   kprobes/blacklist            what the kernel forbids.
//
// Compilers clone functions: "foo.isra.0" has other parameters, "foo.constprop.0" lacks some, "foo.part.0" and "foo.cold" are only pieces. A clone by
// isra or constprop is the function for whoever asks for "foo", with parameters only where BTF describes them (pahole drops those whose
// registers do not agree with the prototype); pieces are never meant.

/// <summary>A function of the kernel or a module.</summary>
/// <param name="Name">As its source has it: "foo".</param>
/// <param name="Symbol">As the linker has it: "foo" or "foo.isra.0".</param>
/// <param name="Module">The module's name, or null for the kernel itself.</param>
/// <param name="Address">Its entry; 0 when it need not or cannot be known.</param>
/// <param name="Prototype">The FUNC of BTF, or null when there is none.</param>
public sealed record KernelFunction(string Name, string Symbol, string? Module, ulong Address, BtfType? Prototype)
{
    /// <summary>Fits a pattern, but of another kernel than the running one only the types are known: whether the function can be probed that kernel itself decides.</summary>
    public bool IsGuess { get; init; }
}

/// <summary>Functions of a <see cref="Target"/> by name and pattern.</summary>
public sealed class KernelFunctions
{
    private readonly Target _target;
    private readonly string? _cachePath;
    private readonly Lazy<HashSet<string>> _ambiguous;
    private readonly Lazy<Dictionary<string, HashSet<string>>?> _traceable;
    private readonly Lazy<HashSet<string>> _blacklist;
    private readonly Lazy<Dictionary<string, List<KernelSymbol>>> _clones;
    private readonly Lazy<HashSet<string>> _exported;

    internal KernelFunctions(Target target, string? cacheDirectory)
    {
        _target = target;
        _cachePath = cacheDirectory is not null && target.BuildId is { } key ? Path.Combine(cacheDirectory, $"ambiguous-functions-{key}") : null;
        _ambiguous = new(ReadAmbiguous);
        _traceable = new(ReadTraceable);
        _blacklist = new(ReadBlacklist);
        _clones = new(ReadClones);
        _exported = new(ReadExported);
    }

    /// <summary>All functions of that name: usually one; several when static functions share it; none when it does not exist or was inlined everywhere.</summary>
    /// <param name="name">A plain name, of the source or the linker.</param>
    /// <param name="module">A module's name, or null for the kernel itself.</param>
    public List<KernelFunction> Find(string name, string? module)
    {
        var prototype = Prototype(name, module);
        if (module is null && prototype is not null && !_ambiguous.Value.Contains(name))
            return [new KernelFunction(name, name, null, 0, prototype)];

        var result = new List<KernelFunction>();
        foreach (var symbol in _target.KernelSymbols.FindAll(name))
            if (symbol.IsFunction && symbol.Module == module)
                result.Add(new KernelFunction(SourceName(name), name, module, symbol.Address, prototype ?? Prototype(SourceName(name), module)));
        if (result.Count == 0 && module is null && _clones.Value.TryGetValue(name, out var clones))
            foreach (var clone in clones)
                result.Add(new KernelFunction(name, clone.Name, null, clone.Address, prototype));
        if (result.Count == 0 && module is not null)
            AddUnloaded(name, module, result);
        if (result.Count == 0 && module is null && _target.LinkedSymbols?.Find(name) is { IsFunction: true })
            result.Add(new KernelFunction(SourceName(name), name, null, 0, prototype));
        return result;
    }

    /// <summary>Functions of a module that is not loaded, by its file.</summary>
    private void AddUnloaded(string name, string module, List<KernelFunction> result)
    {
        if (_target.UnloadedModule(module) is not { } file)
            return;
        foreach (var exact in (ReadOnlySpan<bool>)[true, false])
        {
            foreach (var symbol in file.Functions)
                if (exact ? symbol.Name == name : SourceName(symbol.Name) == name && !IsPiece(symbol.Name))
                    result.Add(new KernelFunction(SourceName(symbol.Name), symbol.Name, module, 0, Prototype(SourceName(name), module)));
            if (result.Count > 0)
                return;
        }
        if (file.Function(name) is not null)
            result.Add(new KernelFunction(name, name, module, 0, null));
    }

    /// <summary>
    /// A function of which nobody can say here whether it exists, because the kernel is not the running one and nothing lists its symbols (BTF describes only most functions):
    /// it may be named, and the kernel decides when the probe is registered. Null where the symbols are known.
    /// </summary>
    public KernelFunction? Unlisted(string name, string? module) =>
        _target.IsLive || _target.KernelSymbols.Count > 0 || _target.LinkedSymbols is not null || name.Length == 0 ? null : new KernelFunction(SourceName(name), name, module, 0, null);

    /// <summary>
    /// Functions whose name fits a pattern of <see cref="Globs"/>, by name. Where the kernel tells which functions it can trace only those are
    /// given, else only those that BTF describes; never blacklisted ones.
    /// </summary>
    public List<KernelFunction> Match(string pattern, string? module)
    {
        var result = new List<KernelFunction>();
        if (module is not null && _target.UnloadedModule(module) is { } file)
        {
            foreach (var symbol in file.Functions)
                if (SourceName(symbol.Name) is var name && !IsPiece(symbol.Name) && Globs.Matches(pattern, name) && file.IsTraceable(symbol.Name) != false)
                    result.Add(new KernelFunction(name, symbol.Name, module, 0, Prototype(name, module)));
            result.Sort(static (a, b) => string.CompareOrdinal(a.Symbol, b.Symbol));
            return result;
        }

        var traceable = _traceable.Value;
        HashSet<string>? allowed = null;
        traceable?.TryGetValue(module ?? "", out allowed);
        if (traceable is not null && allowed is null)
            return result;
        var prefix = Globs.LiteralPrefix(pattern).ToString();
        foreach (var symbol in _target.KernelSymbols.MatchFunctions(prefix + "*", module))
        {
            var name = SourceName(symbol.Name);
            if (IsPiece(symbol.Name) || !Globs.Matches(pattern, name) || _blacklist.Value.Contains(symbol.Name))
                continue;
            var prototype = Prototype(name, module);
            if (allowed is not null ? allowed.Contains(symbol.Name) : prototype is not null)
                result.Add(new KernelFunction(name, symbol.Name, module, symbol.Address, prototype));
        }
        // Of a kernel that is not the running one only the types may be known; it decides itself, when the probes are registered, what may be probed.
        if (!_target.IsLive && _target.KernelSymbols.Count == 0 && (module is null ? _target.KernelBtfOrNull : _target.ModuleBtf(module)) is { } btf)
            foreach (var function in btf.MatchFunctions(pattern))
                if (module is null || function.Id >= btf.FirstId)
                    result.Add(new KernelFunction(function.Name, function.Name, module, 0, function) { IsGuess = true });
        result.Sort(static (a, b) => string.CompareOrdinal(a.Symbol, b.Symbol) is var order and not 0 ? order : a.Address.CompareTo(b.Address));
        return result;
    }

    /// <summary>Whether the kernel forbids probes there. False where it does not tell.</summary>
    public bool IsBlacklisted(string symbol) => _blacklist.Value.Contains(symbol);

    /// <summary>
    /// Whether the kernel would read behind a module's code when a probe is put into it that is a breakpoint (not the entry of a function that ftrace can patch): before it turns such a probe
    /// into a jump it decodes the whole function, and that of the last one is all that follows it. From Linux 6.4 on nothing need be mapped there, and the kernel dies.
    /// </summary>
    public bool IsModuleEnd(string symbol, string? module)
    {
        if (module is null || _target.Architecture != X8664.Instance || !_target.IsAtLeast(6, 4))
            return false;
        if (_target.UnloadedModule(module) is { } file)
            return file.IsLast(symbol);
        ulong address = 0, last = 0;
        foreach (var other in _target.KernelSymbols.MatchFunctions("*", module))
        {
            last = Math.Max(last, other.Address);
            if (other.Name == symbol)
                address = other.Address;
        }

        return address != 0 && address == last;
    }

    /// <summary>Whether ftrace can patch it; null where the kernel does not tell.</summary>
    public bool? IsTraceable(string symbol, string? module) =>
        module is not null && _target.UnloadedModule(module) is { } file ? file.IsTraceable(symbol) : _traceable.Value is not { } all ? null : all.TryGetValue(module ?? "", out var names) && names.Contains(symbol);

    /// <summary>Whether modules may use it (EXPORT_SYMBOL). Of another kernel than the running one Module.symvers tells.</summary>
    public bool IsExported(string symbol, string? module) =>
        module is not null && _target.UnloadedModule(module) is { } file ? file.IsExported(symbol)
        : _target.IsLive || _target.KernelSymbols.Count > 0 ? _target.KernelSymbols.Find("__ksymtab_" + symbol) is not null
        : _exported.Value.Contains(symbol);

    /// <summary>Names of Module.symvers: "CRC NAME FILE KIND", separated by tabs.</summary>
    private HashSet<string> ReadExported()
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        if (_target.BuildTree is { } tree && ReadLines(tree + "/Module.symvers") is { } lines)
            foreach (var line in lines)
                if (line.Split('\t', 3) is [_, var name, _])
                    names.Add(name);
        return names;
    }

    /// <summary>Names of functions, for suggestions.</summary>
    public IEnumerable<string> Names(string? module)
    {
        if (module is not null && _target.UnloadedModule(module) is { } file)
        {
            foreach (var function in file.Functions)
                yield return SourceName(function.Name);
            yield break;
        }

        if ((module is null ? _target.KernelBtfOrNull : _target.ModuleBtf(module)) is not { } btf)
            yield break;
        foreach (var function in btf.MatchFunctions("*"))
            if (module is null || function.Id >= btf.FirstId)
                yield return function.Name;
    }

    /// <summary>
    /// Loaded modules whose name fits a pattern ("-" and "_" are the same), as kallsyms and /sys/kernel/btf know them; for a plain name or a path that is not that of a loaded one, the module
    /// whose file is there (<see cref="Target.UnloadedModule"/>).
    /// </summary>
    public List<string> Modules(string pattern)
    {
        var path = pattern.Contains('/') && File.Exists(pattern) ? pattern : null;
        pattern = Path.GetFileName(pattern);
        pattern = (pattern.IndexOf(".ko", StringComparison.Ordinal) is > 0 and var end ? pattern[..end] : pattern).Replace('-', '_');
        var names = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var name in _target.ModulesWithBtf)
            if (Globs.Matches(pattern, name))
                names.Add(name);
        if (_target.IsLive && Directory.Exists("/sys/module"))
            foreach (var folder in Directory.EnumerateDirectories("/sys/module"))
                if (Path.GetFileName(folder) is var name && Globs.Matches(pattern, name) && File.Exists(folder + "/initstate"))
                    names.Add(name);
        if (path is not null)
            _target.ModuleIsAt(pattern, Path.GetFullPath(path));
        if (names.Count == 0 && !Globs.IsPattern(pattern) && (_target.UnloadedModule(pattern) is not null || path is not null && !_target.IsLive))
            names.Add(pattern);
        return [.. names];
    }

    /// <summary>The name in the source: without ".isra.0" and the like.</summary>
    public static string SourceName(string symbol) => symbol.IndexOf('.') is > 0 and var dot ? symbol[..dot] : symbol;

    /// <summary>Parts of functions, padding, stubs of static calls: symbols that are no functions.</summary>
    private static bool IsPiece(string symbol) =>
        symbol.StartsWith("__pfx_", StringComparison.Ordinal) || symbol.StartsWith("__cfi_", StringComparison.Ordinal) || symbol.StartsWith("__SCT__", StringComparison.Ordinal)
        || symbol.Contains(".cold", StringComparison.Ordinal) || symbol.Contains(".part.", StringComparison.Ordinal);

    private BtfType? Prototype(string name, string? module)
    {
        var btf = module is null ? _target.KernelBtfOrNull : _target.ModuleBtf(module);
        return btf?.FindFunction(name) is { } found && (module is null || found.Id >= btf.FirstId) ? found : null;
    }

    private Dictionary<string, List<KernelSymbol>> ReadClones()
    {
        var clones = new Dictionary<string, List<KernelSymbol>>(StringComparer.Ordinal);
        foreach (var symbol in _target.KernelSymbols.MatchFunctions("*.*"))
        {
            if (IsPiece(symbol.Name))
                continue;
            var name = SourceName(symbol.Name);
            if (!clones.TryGetValue(name, out var list))
                clones[name] = list = [];
            list.Add(symbol);
        }
        return clones;
    }

    private HashSet<string> ReadAmbiguous()
    {
        try
        {
            if (_cachePath is not null && File.Exists(_cachePath))
                return [.. File.ReadAllLines(_cachePath)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // As if absent.
        }
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var result = new HashSet<string>(StringComparer.Ordinal);
        foreach (var symbol in _target.KernelSymbols.MatchFunctions("*"))
            if (!seen.Add(symbol.Name))
                result.Add(symbol.Name);
        // A clone beside the function of its name is one more place: "foo" and "foo.constprop.0".
        foreach (var (name, _) in _clones.Value)
            if (!seen.Contains(name))
                result.Add(name);
        if (_cachePath is not null && seen.Count > 0)
            CacheDirectory.WriteAtomically(_cachePath, Encoding.UTF8.GetBytes(string.Join('\n', result)), []);
        return result;
    }

    private Dictionary<string, HashSet<string>>? ReadTraceable()
    {
        using var tracefs = _target.OpenTracefs();
        if (tracefs is null || ReadLines(tracefs.Root + "/available_filter_functions") is not { } lines)
            return null;
        var all = new Dictionary<string, HashSet<string>>(StringComparer.Ordinal);
        foreach (var line in lines)
        {
            var space = line.IndexOf(' ');
            var module = space > 0 ? line[(space + 1)..].Trim(['[', ']', ' ', '\t']) : "";
            if (!all.TryGetValue(module, out var names))
                all[module] = names = new HashSet<string>(StringComparer.Ordinal);
            names.Add(space > 0 ? line[..space] : line);
        }
        return all;
    }

    private HashSet<string> ReadBlacklist()
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        if (_target.IsLive && ReadLines("/sys/kernel/debug/kprobes/blacklist") is { } lines)
            foreach (var line in lines)
                if (line.IndexOf('\t') is > 0 and var tab)
                    names.Add(line[(tab + 1)..].Trim());
        return names;
    }

    private static string[]? ReadLines(string path)
    {
        try
        {
            return File.Exists(path) ? File.ReadAllLines(path) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
