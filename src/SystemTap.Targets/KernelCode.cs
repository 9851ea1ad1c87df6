using System.Collections.Concurrent;
using System.Globalization;

namespace SystemTap.Targets;

// Debug information of the kernel and its modules: which file has it, and where its addresses are on the machine.
//
//   the kernel     vmlinux of a debug package, a build tree, or debuginfod; accepted only with the build id of the running kernel.
//                  Loaded at one distance from where it was linked (KASLR): that of the symbol _stext.
//   a module       NAME.ko of a debug package, /lib/modules, or the path the script names. An object file: each of its sections lies where
//                  /sys/module/NAME/sections says.
//
// For a kernel that is not the running one there are no loaded addresses, only symbols with offsets: enough to place probes.

/// <summary>A place in kernel code as the kernel's probes take it.</summary>
/// <param name="Symbol">The symbol that holds it.</param>
/// <param name="Offset">Distance from the symbol.</param>
/// <param name="Address">Where it is loaded; 0 when that is not known.</param>
public readonly record struct KernelCodePlace(string Symbol, long Offset, ulong Address);

/// <summary>How the file of the kernel or of a module is loaded.</summary>
public sealed class KernelCode
{
    private readonly Target _target;
    private readonly ConcurrentDictionary<string, ulong?> _sections = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<ulong, KernelCodePlace?> _places = new();
    private readonly Lazy<UserImage> _image;
    private readonly Lazy<ulong?> _distance;
    private readonly Lazy<ulong?> _anchor;
    private UserFile _file = null!;

    private KernelCode(Target target, string? module)
    {
        _target = target;
        Module = module;
        _image = new(() => UserImage.Of(_file));
        _anchor = new(() => _file.Symbols.Find(Anchor)?.Value);
        _distance = new(() => _target.IsLive && _target.KernelSymbols.Find("_stext") is { Address: not 0 } loaded && _file.Symbols.Find("_stext") is { } linked
            ? unchecked(loaded.Address - linked.Value) : null);
    }

    /// <summary>The module's name, null for the kernel itself.</summary>
    public string? Module { get; }

    /// <summary>Where an address of the debug information is loaded; null when that is not known, and when it is not to be kept.</summary>
    public ulong? Loaded(ulong address) => Module is null && _target.IsForLaterBoots ? null : Now(address);

    /// <summary>Where it is loaded now.</summary>
    private ulong? Now(ulong address)
    {
        if (Module is null)
            return _distance.Value is { } distance ? unchecked(address + distance) : null;
        if (!_target.IsLive || _file.Dwarf?.SectionAt(address) is not ({ Length: > 0 } section, var offset))
            return null;
        return _sections.GetOrAdd(section, ReadSection) is { } start ? start + offset : null;
    }

    /// <summary>
    /// The function of the kernel that modules ask for its address: whatever distance the kernel is loaded at, it is the same for all of it. Exported in every kernel, and used by the
    /// module run-time anyway (<c>stap_env_kernel_anchor()</c>).
    /// </summary>
    private const string Anchor = "sprint_symbol";

    /// <summary>For another kernel than the running one, or another boot of it: the distance of an address from the function that <c>_stap_kernel_anchor</c> gives the place of; null when it has none, and for modules.</summary>
    public long? FromAnchor(ulong address) => Module is null && (!_target.IsLive || _target.IsForLaterBoots) && _anchor.Value is { } anchor ? unchecked((long)(address - anchor)) : null;

    /// <summary>An address of code as symbol and offset; null when it is not there any more: what initialises a module is gone once the module is loaded.</summary>
    public KernelCodePlace? Place(ulong address) => Module is null ? _places.GetOrAdd(address, Find) : Find(address);

    private KernelCodePlace? Find(ulong address)
    {
        if (_file.Dwarf is not { } dwarf || SymbolAt(dwarf, address) is not ({ Length: > 0 } symbol, var offset))
            return null;
        var section = Module is null ? "" : dwarf.SectionAt(address).Section;
        if (section.StartsWith(".init", StringComparison.Ordinal) && _target.IsModuleLoaded(Module!))
            return null;
        var loaded = Now(address) ?? 0;
        // The linker's name for the place may be an alias, or one of several equal names: the kernel's own table decides.
        if (loaded != 0 && _target.KernelSymbols.Find(loaded) is { } known && known.Symbol.Module == Module && known.Symbol.Address != 0)
            return new KernelCodePlace(known.Symbol.Name, (long)known.Offset, loaded);
        return new KernelCodePlace(symbol, (long)offset, loaded);
    }

    /// <summary>libdwfl knows where it has laid a module's sections, but looks at all symbols each time, of which the kernel has 150,000.</summary>
    private (string Symbol, ulong Offset)? SymbolAt(DwarfFile dwarf, ulong address) =>
        Module is not null ? dwarf.SymbolAt(address) : _image.Value.Find(address) is { } symbol ? (symbol.Name, address - symbol.Address) : null;

    /// <summary>The function whose entry a symbol is; null when the debug information has none.</summary>
    public DwarfFunction? Function(string symbol)
    {
        if (_file.Dwarf is not { } dwarf)
            return null;
        // The kernel's symbol table leads to the one unit among thousands; symbols of a module count from their sections.
        if (Module is null)
            return _file.Symbols.Find(symbol) is { } found && dwarf.FunctionAt(found.Value, inlines: false) is { } function && function.Entry == found.Value ? function : null;
        var name = System.Text.Encoding.UTF8.GetBytes(KernelFunctions.SourceName(symbol));
        foreach (var function in dwarf.Functions(n => n.SequenceEqual(name), null, inlines: false))
            if (dwarf.SymbolAt(function.Entry) is (var its, 0) && its == symbol)
                return function;
        return null;
    }

    private ulong? ReadSection(string name)
    {
        try
        {
            var text = File.ReadAllText($"/sys/module/{Module}/sections/{name}").Trim();
            return ulong.TryParse(text.AsSpan(text.StartsWith("0x", StringComparison.Ordinal) ? 2 : 0), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var address) && address != 0
                ? address : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Which package, or what else, would bring the debug information.</summary>
    public static string Missing(Target target, string? module)
    {
        if (!DwarfFile.IsLibraryPresent)
            return "install elfutils' libdw (package libdw1)";
        var package = $"install package linux-image-{target.Release}-dbg (kernel-debuginfo on Fedora){(Debuginfod.Advice[0] == 'o' ? " " : "; ")}{Debuginfod.Advice}";
        return module is null ? package : package + $"; for a module of your own, build it with -g and keep {module}.ko in /lib/modules/{target.Release} or name its path";
    }

    /// <summary>The file with the debug information of the kernel, or of a module; null when there is none.</summary>
    internal static UserFile? Open(Target target, string? module, string? given, string? buildTree)
    {
        var wanted = !target.IsLive ? null : module is null ? target.BuildId : Target.ReadBuildId($"/sys/module/{module}/notes/.note.gnu.build-id");
        var paths = given is not null ? [given] : module is null ? KernelFiles(target.Release, buildTree) : ModuleFiles(target.Release, module, buildTree);
        if (module is not null)
            paths = paths.Select(path => KernelModuleFile.Readable(path, target.CacheFolder)).OfType<string>();
        foreach (var path in paths)
        {
            if (Try(path) is { } file)
                return file;
        }

        return target.IsLive && wanted is not null && Debuginfod.Find(wanted) is { } fetched ? Try(fetched) : null;

        UserFile? Try(string path)
        {
            if (!File.Exists(path) || ElfFile.TryOpen(path) is not { } elf || wanted is not null && elf.BuildId is { } id && id != wanted)
                return null;
            var code = new KernelCode(target, module);
            var file = new UserFile(path, elf, code);
            code._file = file;
            return file.Dwarf is null ? null : file;
        }
    }

    private static IEnumerable<string> KernelFiles(string release, string? buildTree)
    {
        if (buildTree is not null)
            yield return buildTree + "/vmlinux";
        yield return $"/usr/lib/debug/boot/vmlinux-{release}";
        yield return $"/usr/lib/debug/lib/modules/{release}/vmlinux";
        yield return $"/usr/lib/debug/boot/vmlinux-{release}.debug";
        yield return $"/lib/modules/{release}/vmlinux";
        yield return $"/lib/modules/{release}/build/vmlinux";
        yield return $"/boot/vmlinux-{release}";
    }

    /// <summary>Folders where files of modules lie, those with debug information first.</summary>
    internal static string[] ModuleRoots(string release, string? buildTree) =>
        [$"/usr/lib/debug/lib/modules/{release}", $"/lib/modules/{release}", .. buildTree is null ? (ReadOnlySpan<string>)[] : [buildTree]];

    /// <summary>Files of a module, those with debug information first.</summary>
    internal static IEnumerable<string> ModuleFiles(string release, string module, string? buildTree)
    {
        foreach (var root in ModuleRoots(release, buildTree))
        {
            if (!Directory.Exists(root))
                continue;
            foreach (var path in Directory.EnumerateFiles(root, "*.ko*", new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = FileAttributes.ReparsePoint }))
            {
                var name = Path.GetFileName(path);
                if (name.AsSpan(0, name.IndexOf(".ko", StringComparison.Ordinal)) is var stem && stem.Length == module.Length && stem.ToString().Replace('-', '_') == module)
                    yield return path;
            }
        }
    }
}
