using System.Buffers.Binary;
using System.Text;

namespace SystemTap.Targets;

// The machine as the compiler passes see it: one value, read live or from files. Every part is found on first use and
// then stays as it is, so that a session that asks for nothing pays for nothing, and all passes see the same machine
// even if it changes meanwhile. Parts may be asked for from several threads.

/// <summary>Where a <see cref="Target"/> made from files finds its parts; what is null is absent.</summary>
public sealed record TargetFiles
{
    /// <summary>As <c>uname -r</c>.</summary>
    public required string Release { get; init; }
    public required Architecture Architecture { get; init; }
    /// <summary>A raw BTF file (not an ELF file).</summary>
    public string? BtfPath { get; init; }
    /// <summary>BTF given as bytes instead.</summary>
    public byte[]? BtfBytes { get; init; }
    /// <summary>BTF whose bytes are made when they are first asked for: unpacking a kernel image takes a second.</summary>
    public Func<byte[]?>? BtfSource { get; init; }
    /// <summary>A folder with one raw split BTF file for each module.</summary>
    public string? ModuleBtfFolder { get; init; }
    /// <summary>The text of the kernel's .config.</summary>
    public string? ConfigText { get; init; }
    /// <summary>Text in the format of /proc/kallsyms.</summary>
    public byte[]? KernelSymbols { get; init; }
    /// <summary>Text in the same format whose addresses are not those of the running kernel (System.map): only names of functions are taken from it. Null: there is none.</summary>
    public Func<byte[]?>? LinkedSymbols { get; init; }
    /// <summary>A copy of a tracefs root; its "events" folder is read.</summary>
    public string? TracefsFolder { get; init; }
    /// <summary>The processors in use; all are also the possible ones.</summary>
    public IReadOnlyList<int> OnlineCpus { get; init; } = [0];
    /// <summary>Bytes of a page; the architecture's usual one if 0.</summary>
    public int PageSize { get; init; }
    /// <summary>A folder laid out as /proc; null when the machine has no processes.</summary>
    public string? ProcFolder { get; init; }
    /// <summary>The kernel's build tree, where files with debug information may lie; null without one.</summary>
    public string? BuildTree { get; init; }
    /// <summary>Identifies the kernel's build, and thereby what caches hold of it; null switches caches off.</summary>
    public string? BuildId { get; init; }
    /// <summary>Where caches live; null switches them off.</summary>
    public string? CacheDirectory { get; init; }
}

/// <summary>What is on the machine. Immutable as seen from outside; see <see cref="Live"/> and <see cref="FromFiles"/>.</summary>
public sealed class Target
{
    private readonly TargetFiles? _files;
    private readonly string? _cacheDirectory;
    private readonly Lazy<Btf?> _btf;
    private readonly Lazy<KernelConfig> _config;
    private readonly Lazy<Tracepoints> _tracepoints;
    private readonly Lazy<KernelSymbols> _symbols;
    private readonly Lazy<KernelSymbols?> _linked;
    private readonly Lazy<KernelFunctions> _functions;
    private readonly Lazy<int[]> _online;
    private readonly Lazy<int> _possible;
    private readonly Lazy<string?> _buildId;
    private readonly Lazy<int> _ticks;
    private readonly Dictionary<string, Btf?> _modules = [];
    private readonly Dictionary<string, UserFile?> _kernelFiles = [];
    private readonly Dictionary<string, string> _modulePaths = [];
    private readonly Dictionary<string, KernelModuleFile?> _unloaded = [];

    private Target(string release, Architecture architecture, TargetFiles? files)
    {
        Release = release;
        Architecture = architecture;
        _files = files;
        _cacheDirectory = files is null ? CacheDirectory.Default : files.CacheDirectory;
        _buildId = new(() => _files is null ? ReadBuildId("/sys/kernel/notes") : _files.BuildId);
        _btf = new(ReadBtf);
        _config = new(() => _files is null ? KernelConfig.Read(Release) : KernelConfig.Parse(_files.ConfigText ?? ""));
        _tracepoints = new(() => new Tracepoints(this, _cacheDirectory));
        _symbols = new(() => _files is null ? KernelSymbols.Read("/proc/kallsyms") : KernelSymbols.Parse(_files.KernelSymbols ?? []));
        _linked = new(() => _files?.LinkedSymbols?.Invoke() is { } text ? KernelSymbols.Parse(text) : null);
        _functions = new(() => new KernelFunctions(this, _cacheDirectory));
        _online = new(() => _files is null ? CpuList.Read("/sys/devices/system/cpu/online") : [.. _files.OnlineCpus]);
        _possible = new(() => CpuList.Read(_files is null ? "/sys/devices/system/cpu/possible" : null, _online.Value)[^1] + 1);
        _ticks = new(ReadTicks);
        Processes = new ProcessTable(files is null ? "/proc" : files.ProcFolder);
        PageSize = files is null ? Environment.SystemPageSize : files.PageSize > 0 ? files.PageSize : architecture.DefaultPageSize;
    }

    /// <summary>The machine this program runs on.</summary>
    /// <exception cref="TargetException">Its architecture is not supported.</exception>
    public static Target Live()
    {
        var (release, machine) = Uname();
        var architecture = Architecture.Find(machine)
            ?? throw new TargetException($"architecture \"{machine}\" is not supported: only x86_64 and arm64 are. Run on such a machine.");
        return new Target(release, architecture, null);
    }

    /// <summary>A machine described by files, for tests and for compiling for elsewhere. Reads nothing of this machine.</summary>
    public static Target FromFiles(TargetFiles files) => new(files.Release, files.Architecture, files);

    /// <summary>Whether this is the running machine, so that paths of it can be opened.</summary>
    public bool IsLive => _files is null;

    /// <summary>What is made of this machine shall serve after its next start, too, when the kernel itself is loaded somewhere else: addresses of it must not be kept.</summary>
    public bool IsForLaterBoots { get; set; }

    /// <summary>The kernel's release, as <c>uname -r</c>: "6.1.0-13-amd64".</summary>
    public string Release { get; }

    /// <summary>The release up to the first "-": "6.1.0".</summary>
    public string Version => Release.IndexOf('-') is >= 0 and var dash ? Release[..dash] : Release;

    /// <summary>Whether the kernel is of that release or a later one.</summary>
    public bool IsAtLeast(int major, int minor)
    {
        var parts = Release.Split('.', '-', '+');
        return parts.Length >= 2 && int.TryParse(parts[0], out var its) && int.TryParse(parts[1], out var itsMinor) && (its, itsMinor).CompareTo((major, minor)) >= 0;
    }

    public Architecture Architecture { get; }

    /// <summary>Bytes of a page of memory.</summary>
    public int PageSize { get; }

    /// <summary>Where facts that are slow to find are kept; null: nowhere.</summary>
    internal string? CacheFolder => _cacheDirectory;

    /// <summary>The kernel's build tree when the machine is described by files and has one.</summary>
    internal string? BuildTree => _files?.BuildTree;

    /// <summary>The kernel's build id as lower-case hexadecimal digits, or null when it is not known.</summary>
    public string? BuildId => _buildId.Value;

    /// <summary>The kernel's types.</summary>
    /// <exception cref="TargetException">The kernel has none (CONFIG_DEBUG_INFO_BTF is off) or they are malformed.</exception>
    public Btf KernelBtf => _btf.Value ?? throw new TargetException(
        $"kernel \"{Release}\" offers no BTF: \"{Btf.KernelPath}\" does not exist. Use a kernel built with CONFIG_DEBUG_INFO_BTF=y.");

    /// <summary>The kernel's types, or null when it offers none.</summary>
    public Btf? KernelBtfOrNull => _btf.Value;

    public Tracepoints Tracepoints => _tracepoints.Value;
    public KernelSymbols KernelSymbols => _symbols.Value;
    public KernelFunctions KernelFunctions => _functions.Value;

    /// <summary>Symbols as linked, for their names; null for the running kernel, and where nothing tells them.</summary>
    internal KernelSymbols? LinkedSymbols => _linked.Value;
    public KernelConfig KernelConfig => _config.Value;
    public ProcessTable Processes { get; }

    /// <summary>Programs and libraries that scripts probe.</summary>
    public UserFiles UserFiles { get; } = new();

    /// <summary>
    /// The file with the debug information of the kernel (<paramref name="module"/> null) or of a module; null when none is installed. Looked for when first asked.
    /// </summary>
    public UserFile? KernelFile(string? module)
    {
        lock (_kernelFiles)
        {
            var key = module ?? "";
            if (!_kernelFiles.TryGetValue(key, out var file))
                _kernelFiles[key] = file = IsLive || _files!.BuildTree is not null ? KernelCode.Open(this, module, _modulePaths.GetValueOrDefault(key), _files?.BuildTree) : null;
            return file;
        }
    }

    /// <summary>Remembers the file of a module that a script names by path.</summary>
    public void ModuleIsAt(string module, string path)
    {
        lock (_kernelFiles)
        {
            if (_modulePaths.TryGetValue(module, out var known) && known == path)
                return;
            _modulePaths[module] = path;
            _unloaded.Remove(module);
        }
    }

    /// <summary>Whether a module (its name with "_") is loaded; one that is built into the kernel is none.</summary>
    public bool IsModuleLoaded(string module) => IsLive && File.Exists($"/sys/module/{module}/initstate");

    /// <summary>Whether a module's code is a part of this kernel, so that it is never loaded.</summary>
    public bool IsBuiltIn(string module)
    {
        foreach (var root in KernelCode.ModuleRoots(Release, BuildTree))
        {
            try
            {
                if (File.Exists(root + "/modules.builtin") && File.ReadLines(root + "/modules.builtin").Any(line => Path.GetFileNameWithoutExtension(line).Replace('-', '_') == module))
                    return true;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // As if absent.
            }
        }

        return false;
    }

    /// <summary>Where files of modules are looked for.</summary>
    public IReadOnlyList<string> ModuleFolders => KernelCode.ModuleRoots(Release, BuildTree);

    /// <summary>The file of a module that is not loaded, by its name or its path that a script named; null when the module is loaded, or there is no file of it.</summary>
    public KernelModuleFile? UnloadedModule(string module)
    {
        module = module.Replace('-', '_');
        if (module.Length == 0 || !IsLive && BuildTree is null || module.AsSpan().IndexOfAnyExcept(ModuleNames) >= 0)
            return null;
        lock (_kernelFiles)
        {
            if (!_unloaded.TryGetValue(module, out var file))
            {
                // Files for debuggers hold neither code nor types: the others come first here.
                _unloaded[module] = file = IsModuleLoaded(module) ? null : KernelModuleFile.Open(module, _modulePaths.GetValueOrDefault(module) is { } given ? [given]
                    : KernelCode.ModuleFiles(Release, module, BuildTree).OrderBy(static path => path.StartsWith("/usr/lib/debug", StringComparison.Ordinal)), _cacheDirectory);
            }

            return file;
        }
    }

    private static readonly System.Buffers.SearchValues<char> ModuleNames = System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

    /// <summary>Numbers of the processors in use, ascending.</summary>
    public IReadOnlyList<int> OnlineCpus => _online.Value;

    /// <summary>One more than the highest processor number that may ever come into use: the size of per-CPU tables.</summary>
    public int PossibleCpuCount => _possible.Value;

    /// <summary>
    /// The kernel's HZ. Live it is measured, for the configuration may be absent: the coarse clock's resolution is
    /// exactly one tick. From files it is CONFIG_HZ, and 250 without.
    /// </summary>
    public int TicksPerSecond => _ticks.Value;

    /// <summary>Types of a module (beyond the kernel's): as it is loaded, else by its file. Null when it has none, or there is no such module.</summary>
    public Btf? ModuleBtf(string module)
    {
        module = module.Replace('-', '_'); // as the kernel spells module names
        lock (_modules)
        {
            if (_modules.TryGetValue(module, out var known))
                return known;
            var folder = _files is null ? "/sys/kernel/btf" : _files.ModuleBtfFolder;
            var path = folder is null || module.Contains('/') ? null : Path.Combine(folder, module);
            return _modules[module] = module == "vmlinux" ? null : File.Exists(path) ? Btf.Open(path, module, KernelBtf)
                : KernelBtfOrNull is { } kernel ? UnloadedModule(module)?.ReadBtf(kernel) : null;
        }
    }

    /// <summary>Names of the modules with types of their own, sorted.</summary>
    public IReadOnlyList<string> ModulesWithBtf
    {
        get
        {
            var folder = _files is null ? "/sys/kernel/btf" : _files.ModuleBtfFolder;
            if (folder is null || !Directory.Exists(folder))
                return [];
            var names = new List<string>();
            foreach (var path in Directory.EnumerateFiles(folder))
                if (Path.GetFileName(path) is var name && name != "vmlinux")
                    names.Add(name);
            names.Sort(StringComparer.Ordinal);
            return names;
        }
    }

    /// <summary>Opens a view of tracefs; dispose it to end a private mount. Null when this machine refuses.</summary>
    public Tracefs? OpenTracefs() => _files is null ? Tracefs.Open()
        : _files.TracefsFolder is { } folder ? Tracefs.At(folder) : null;

    private Btf? ReadBtf()
    {
        if ((_files?.BtfBytes ?? _files?.BtfSource?.Invoke()) is { } bytes)
            return Btf.Parse(bytes);
        var path = _files is null ? Btf.KernelPath : _files.BtfPath;
        if (path is null || _files is null && !File.Exists(path))
            return null;
        return Btf.Open(path, "vmlinux", null, _cacheDirectory, BuildId);
    }

    private int ReadTicks()
    {
        if (_files is null)
            return MeasureTicks();
        return int.TryParse(KernelConfig["CONFIG_HZ"], out var hz) && hz > 0 ? hz : 250;
    }

    private static unsafe int MeasureTicks()
    {
        const int clockMonotonicCoarse = 6;
        var resolution = stackalloc long[2];
        if (Native.clock_getres(clockMonotonicCoarse, resolution) != 0 || resolution[1] <= 0)
            throw new TargetException("the clock's resolution cannot be asked: clock_getres(CLOCK_MONOTONIC_COARSE) failed. Use a kernel of 2.6.32 or newer.");
        return (int)Math.Round(1e9 / resolution[1]);
    }

    private static unsafe (string Release, string Machine) Uname()
    {
        const int field = 65;
        var buffer = stackalloc byte[6 * field];
        if (Native.uname(buffer) != 0)
            throw new TargetException("the kernel's release cannot be asked: uname failed. Run on Linux.");
        static string Text(byte* text) => Encoding.UTF8.GetString(System.Runtime.InteropServices.MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text));
        return (Text(buffer + 2 * field), Text(buffer + 4 * field));
    }

    /// <summary>ELF notes in a row; the build id is the one of name "GNU" and type 3.</summary>
    internal static string? ReadBuildId(string path)
    {
        byte[] notes;
        try
        {
            notes = File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // CONFIG_SYSFS without notes: nothing to key caches by, so there are none
        }
        var rest = notes.AsSpan();
        while (rest.Length >= 12)
        {
            long nameLength = BinaryPrimitives.ReadUInt32LittleEndian(rest), length = BinaryPrimitives.ReadUInt32LittleEndian(rest[4..]);
            var type = BinaryPrimitives.ReadUInt32LittleEndian(rest[8..]);
            long start = 12 + (nameLength + 3 & ~3L), next = start + (length + 3 & ~3L);
            if (start + length > rest.Length)
                return null;
            if (type == 3 && length is > 0 and <= 64 && rest[12..].StartsWith("GNU\0"u8))
                return Convert.ToHexStringLower(rest.Slice((int)start, (int)length));
            if (next > rest.Length)
                return null;
            rest = rest[(int)next..];
        }
        return null;
    }
}
