using System.Text;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Parsing;
using SystemTap.Language.Preprocessing;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Probes;
using SystemTap.Targets;

namespace SystemTap.Semantics.Tapsets;

/// <summary>
/// The tapset folders of a session. Nothing is read until the first name is asked for; then the name index (from the cache when every folder and
/// file is as it was), and after that only the files that define what the script names.
/// </summary>
public sealed class TapsetLibrary : ITapsetLibrary
{
    /// <summary>As stap's own thread: trees may be 1,500 levels high.</summary>
    private const int HelperStackBytes = 256 << 20;

    private readonly TapsetOptions _options;
    private readonly string _key;
    private TapsetIndex? _index;
    private ScriptFile?[] _parsed = [];
    private bool[] _tried = [];
    private Dictionary<string, MacroDefinition>?[] _macroFiles = [];
    private int _parsedCount;

    public TapsetLibrary(TapsetOptions options)
    {
        _options = options;
        Macros = new MacroTable(FindMacro);
        var environment = options.Environment;
        _key = TapsetIndex.KeyHash(string.Join('\n', [.. options.Directories, environment.KernelRelease, environment.KernelVersion, environment.Architecture, environment.Runtime]));
    }

    /// <summary>The library macros (<c>.stpm</c> files), read when a script first uses one.</summary>
    public MacroTable Macros { get; }

    /// <inheritdoc/>
    public IEnumerable<string> FunctionNames
    {
        get
        {
            foreach (var (name, _) in Index.WithPrefix(TapsetSection.Functions, ""))
            {
                if (name[0] != '_')
                {
                    yield return name;
                }
            }
        }
    }

    /// <inheritdoc/>
    public IEnumerable<string> AliasNames
    {
        get
        {
            foreach (var (name, _) in Index.WithPrefix(TapsetSection.Aliases, ""))
            {
                if (name[0] != '_')
                {
                    yield return name;
                }
            }
        }
    }

    /// <summary>Names of the library macros, without <c>@</c>.</summary>
    public IEnumerable<string> MacroNames
    {
        get
        {
            foreach (var (name, _) in Index.WithPrefix(TapsetSection.Macros, ""))
            {
                yield return name;
            }
        }
    }

    /// <inheritdoc/>
    public (int Known, int Parsed) FileCounts => (_index?.Files.Count ?? 0, _parsedCount);

    /// <summary>True when the index came from the cache, for <c>-v</c> and tests.</summary>
    public bool IndexWasCached { get; private set; }

    /// <inheritdoc/>
    public IReadOnlyList<ScriptFile> FilesWithFunction(string name) => Parse(Index.Find(TapsetSection.Functions, name));

    /// <inheritdoc/>
    public IReadOnlyList<ScriptFile> FilesWithGlobal(string name) => Parse(Index.Find(TapsetSection.Globals, name));

    /// <inheritdoc/>
    public IReadOnlyList<ScriptFile> FilesWithAlias(string firstComponent)
    {
        var files = new SortedSet<int>();
        var isPattern = ProbeTree.IsWildcard(firstComponent);
        foreach (var (name, numbers) in Index.WithPrefix(TapsetSection.Aliases, isPattern ? Globs.LiteralPrefix(firstComponent).ToString() : firstComponent))
        {
            var dot = name.IndexOf('.');
            var first = dot < 0 ? name.AsSpan() : name.AsSpan(0, dot);
            if (isPattern ? Globs.Matches(firstComponent, first) : first.SequenceEqual(firstComponent))
            {
                files.UnionWith(numbers);
            }
        }

        return Parse(files);
    }

    /// <inheritdoc/>
    public IReadOnlyList<ScriptFile> FilesWithAlias(IReadOnlyList<ProbeComponent> components)
    {
        var files = new SortedSet<int>();
        var name = new StringBuilder();
        for (var i = 0; i < components.Count; i++)
        {
            if (ProbeTree.IsWildcard(components[i].Name))
            {
                Scan(name + Globs.LiteralPrefix(components[i].Name).ToString(), components, files);
                break;
            }

            name.Append(components[i].Name);
            files.UnionWith(Index.Find(TapsetSection.Aliases, name.ToString()));
            name.Append('.');
        }

        return Parse(files);
    }

    /// <summary>All files of the library, parsed: for dumps.</summary>
    public IReadOnlyList<ScriptFile> AllFiles()
    {
        var numbers = new List<int>();
        for (var i = 0; i < Index.Files.Count; i++)
        {
            if (!Index.Files[i].IsMacros)
            {
                numbers.Add(i);
            }
        }

        return Parse(numbers);
    }

    private void Scan(string prefix, IReadOnlyList<ProbeComponent> components, SortedSet<int> files)
    {
        Span<Range> parts = stackalloc Range[32];
        foreach (var (name, numbers) in Index.WithPrefix(TapsetSection.Aliases, prefix))
        {
            var count = name.AsSpan().Split(parts, '.');
            var fits = true;
            var i = 0;
            for (; i < count && fits; i++)
            {
                if (i >= components.Count)
                {
                    fits = false;
                }
                else if (components[i].Name.Contains("**", StringComparison.Ordinal))
                {
                    break; // may stand for any number of components: the tree of spellings decides
                }
                else
                {
                    fits = Globs.Matches(components[i].Name, name.AsSpan(parts[i]));
                }
            }

            if (fits)
            {
                files.UnionWith(numbers);
            }
        }
    }

    // ---------------------------------------------------------------------------------------------------------- files

    private List<ScriptFile> Parse(IEnumerable<int> numbers)
    {
        var result = new List<ScriptFile>();
        numbers = [.. numbers];
        ParseAhead(numbers);
        foreach (var number in numbers)
        {
            if (File(number) is { } file)
            {
                result.Add(file);
            }
        }

        return result;
    }

    private ScriptFile? File(int number)
    {
        if (number >= _tried.Length || _tried[number])
        {
            return number < _tried.Length ? _parsed[number] : null;
        }

        return Keep(number, ParseFile(number));
    }

    /// <summary>"syscall.*" names 30 files, and parsing them is most of its pass 2: where several are missing, a second thread takes every other one.</summary>
    private void ParseAhead(IEnumerable<int> numbers)
    {
        List<int> missing = [.. numbers.Where(n => n < _tried.Length && !_tried[n])];
        if (missing.Count < 4 || Environment.ProcessorCount < 2)
        {
            return;
        }

        var results = new (ScriptFile? File, SourceText? Source, DiagnosticBag Bag)[missing.Count];
        var next = -1;
        void Work()
        {
            int at;
            while ((at = Interlocked.Increment(ref next)) < results.Length)
            {
                results[at] = ParseFile(missing[at]);
            }
        }

        Exception? failure = null;
        var helper = new Thread(() =>
        {
            try
            {
                Work();
            }
            catch (Exception e)
            {
                failure = e;
            }
        }, HelperStackBytes);
        helper.Start();
        Work();
        helper.Join();
        if (failure is not null)
        {
            throw new InvalidOperationException(failure.Message, failure);
        }

        for (var i = 0; i < results.Length; i++)
        {
            Keep(missing[i], results[i]);
        }
    }

    // Safe on several threads: it changes nothing but the macro files, which the macro table guards.
    private (ScriptFile? File, SourceText? Source, DiagnosticBag Bag) ParseFile(int number)
    {
        var bag = new DiagnosticBag();
        if (Read(number, bag) is not { } source)
        {
            return (null, null, bag);
        }

        var options = new ParseOptions { Environment = _options.Environment, Macros = Macros, GuruMode = true };
        return (Parser.Parse(source, options, bag), source, bag);
    }

    private ScriptFile? Keep(int number, (ScriptFile? File, SourceText? Source, DiagnosticBag Bag) result)
    {
        _tried[number] = true;
        if (result.File is null && result.Source is { } source)
        {
            Skip(source.Path, result.Bag);
            return null;
        }

        foreach (var warning in result.Bag.All)
        {
            _options.Diagnostics.Add(warning);
        }

        if (result.File is not null)
        {
            _parsedCount++;
        }

        return _parsed[number] = result.File;
    }

    private void Skip(string path, DiagnosticBag bag)
    {
        foreach (var diagnostic in bag.All)
        {
            if (diagnostic.Severity != Severity.Warning)
            {
                _options.Diagnostics.Warn("tapset.parse", diagnostic.Span, $"tapset file '{path}' has errors and is skipped: {diagnostic.Message}");
                return;
            }
        }
    }

    private SourceText? Read(int number, DiagnosticBag bag)
    {
        var file = Index.Files[number];
        try
        {
            return new SourceText(file.Path, Encoding.Latin1.GetString(System.IO.File.ReadAllBytes(file.Path)), isTapset: true) { ProcessPathPrefix = file.ProcessPathPrefix };
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            bag.Warn("tapset.unreadable", null, $"tapset file '{file.Path}' cannot be read and is skipped", "check its permissions");
            return null;
        }
    }

    // Called by the macro table, which lets one thread in at a time.
    private MacroDefinition? FindMacro(string name)
    {
        foreach (var number in Index.Find(TapsetSection.Macros, name))
        {
            if (MacroFile(number).TryGetValue(name, out var definition))
            {
                return definition;
            }
        }

        return null;
    }

    private Dictionary<string, MacroDefinition> MacroFile(int number)
    {
        if (_macroFiles[number] is { } known)
        {
            return known;
        }

        var result = _macroFiles[number] = new Dictionary<string, MacroDefinition>(StringComparer.Ordinal);
        if (Read(number, _options.Diagnostics) is not { } source)
        {
            return result;
        }

        var bag = new DiagnosticBag();
        var definitions = MacroTable.ParseLibrary(source, _options.Environment, Macros, bag);
        if (bag.HasErrors)
        {
            Skip(source.Path, bag);
            return result;
        }

        _parsedCount++;
        foreach (var definition in definitions)
        {
            result.TryAdd(definition.Name, definition);
        }

        return result;
    }

    // ---------------------------------------------------------------------------------------------------------- index

    private TapsetIndex Index
    {
        get
        {
            if (_index is null)
            {
                _index = Cached() ?? BuildIndex();
                _parsed = new ScriptFile?[_index.Files.Count];
                _tried = new bool[_index.Files.Count];
                _macroFiles = new Dictionary<string, MacroDefinition>?[_index.Files.Count];
            }

            return _index;
        }
    }

    private string? CachePath => _options.CacheDirectory is { } folder ? Path.Combine(folder, "tapset-" + _key) : null;

    private TapsetIndex? Cached()
    {
        if (CachePath is not { } path || !System.IO.File.Exists(path))
        {
            return null;
        }

        byte[] text;
        try
        {
            text = System.IO.File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // as if absent
        }

        if (TapsetIndex.Parse(text, _key) is not { } index)
        {
            return null;
        }

        foreach (var folder in index.Folders)
        {
            if (TapsetFiles.FolderTime(folder.Path) != folder.Time)
            {
                return null;
            }
        }

        foreach (var file in index.Files)
        {
            if (TapsetFiles.Stamp(file.Path) != (file.Size, file.Time))
            {
                return null;
            }
        }

        IndexWasCached = true;
        return index;
    }

    private TapsetIndex BuildIndex()
    {
        var folders = new List<TapsetFolder>();
        var files = new List<TapsetFile>();
        TapsetFiles.Find(_options, folders, files);
        var names = new SortedDictionary<string, List<int>>[4];
        for (var i = 0; i < names.Length; i++)
        {
            names[i] = new SortedDictionary<string, List<int>>(ByteOrder.Instance);
        }

        for (var i = 0; i < files.Count; i++)
        {
            TapsetScanner.Scan(files[i], i, names);
        }

        var index = TapsetIndex.Build(folders, files, names, _key, out var text);
        if (CachePath is { } path)
        {
            CacheDirectory.WriteAtomically(path, text);
        }

        return index;
    }

    /// <summary>The order of the UTF-8 form, which the index is searched by.</summary>
    private sealed class ByteOrder : IComparer<string>
    {
        public static readonly ByteOrder Instance = new();

        public int Compare(string? x, string? y) => Encoding.UTF8.GetBytes(x!).AsSpan().SequenceCompareTo(Encoding.UTF8.GetBytes(y!));
    }
}
