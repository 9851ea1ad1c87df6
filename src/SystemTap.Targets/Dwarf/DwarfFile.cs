using System.Runtime.InteropServices;
using System.Text;

namespace SystemTap.Targets;

// Debug information of one program, library or module, through elfutils.
//
//   units ── one walk ──► functions, inline instances     Functions        (names compared as bytes; no string is made for what does not match)
//     │  └── index ─────► types, variables, enumerators   FindType …       (made when first asked)
//     └── line table ───► rows                            Lines            (per unit, kept)
//   CFI (.eh_frame, .debug_frame) ──► CFA at an address   CanonicalFrame
//
// Addresses are those of the ELF file, as linked. The file, its separate debug file (build id, debug link, debuginfod when DEBUGINFOD_URLS is set), its
// split units and its dwz file are all found by libdwfl. Nothing is ever closed: a session opens a handful of files and ends.

/// <summary>DW_LANG_* of languages with calling conventions of their own.</summary>
public static class DwarfLanguage
{
    public const int Go = 0x16, Rust = 0x1c;
}

/// <summary>One unit of compilation.</summary>
public sealed class DwarfUnit
{
    internal DwarfUnit(DwarfDie die, DwarfDie lineDie) => (Die, LineDie, Language, IsSplit) = (die, lineDie, die.Language(), die.Key != lineDie.Key);

    /// <summary>The unit's DIE: of split units, the one with the contents.</summary>
    internal DwarfDie Die { get; }

    internal DwarfDie LineDie { get; }

    /// <summary>Its contents are in a file of their own (.dwo).</summary>
    internal bool IsSplit { get; }

    internal DwarfLine[]? Lines { get; set; }

    /// <summary>The main source file as given to the compiler.</summary>
    public string Name => Die.Name();

    /// <summary>The compiler, with its flags when it writes them down.</summary>
    public string Producer => Die.WholeText(Dw.AtProducer) ?? "";

    /// <summary>DW_LANG_*.</summary>
    public int Language { get; }

    /// <summary>C of any version.</summary>
    internal bool IsC => Language is 0x01 or 0x02 or 0x0c or 0x1d or 0x2c or 0x3e;

    /// <summary>The main source file with its folder.</summary>
    internal string SourcePath => System.IO.Path.Combine(LineDie.WholeText(Dw.AtCompDir) ?? "", Name);
}

/// <summary>A row of a line table.</summary>
public readonly record struct DwarfLine(ulong Address, string File, int Line, bool IsStatement, bool IsPrologueEnd, bool IsEnd);

/// <summary>A function with code, or one place where the compiler copied it inline.</summary>
public sealed record DwarfFunction(string Name, ulong Entry, bool IsInlined)
{
    public required DwarfUnit Unit { get; init; }

    internal DwarfDie Die { get; init; }

    /// <summary>The function whose frame is used: for an inline instance the one around it.</summary>
    internal DwarfDie Frame { get; init; }

    /// <summary>With namespaces and classes, without parameters.</summary>
    public required string QualifiedName { get; init; }

    /// <summary>The same as the compiler spells it: <c>ns::box&lt;long int&gt;::get</c> where the demangled name has <c>long</c>.</summary>
    public required string ScopedName { get; init; }

    public string? LinkageName { get; init; }

    /// <summary>Source file of its definition, as the compiler wrote it.</summary>
    public string File { get; init; } = "";

    public int Line { get; init; }

    /// <summary>Visible to other files.</summary>
    public bool IsExternal { get; init; }
}

/// <summary>A variable visible at some address.</summary>
public sealed record DwarfVariable(string Name, bool IsParameter)
{
    internal DwarfDie Die { get; init; }

    /// <summary>Of a copy: place of the declaration in the debug information; 0 when it is no copy.</summary>
    internal nint Origin { get; init; }
}

/// <summary>Debug information of one file.</summary>
public sealed unsafe partial class DwarfFile
{
    internal static readonly Lock Lock = new();

    private readonly nint _dwarf, _module;
    private List<DwarfUnit>? _units;
    private nint _ehFrame, _debugFrame;
    private bool _hasCfi;
    private ulong _ehBias;

    private readonly ulong _bias;

    private DwarfFile(string path, nint module, nint dwarf, ulong bias)
    {
        _bias = bias;
        Path = path;
        _module = module;
        _dwarf = dwarf;
        Types = new DwarfTypes(this);
    }

    public string Path { get; }

    /// <summary>Bytes of an address in it.</summary>
    public int AddressSize
    {
        get
        {
            lock (Lock)
            {
                DwarfDie die = Units[0].LineDie, unit;
                byte size, offsets;
                return LibDw.dwarf_diecu(&die, &unit, &size, &offsets) != null && size == 4 ? 4 : 8;
            }
        }
    }

    /// <summary>Its types, as BTF.</summary>
    public DwarfTypes Types { get; }

    /// <summary>libdw is installed.</summary>
    public static bool IsLibraryPresent => LibDw.IsAvailable;

    /// <summary>Opens the debug information of an ELF file; null when there is none or libdw is not installed.</summary>
    public static DwarfFile? TryOpen(string path)
    {
        if (!LibDw.IsAvailable)
            return null;
        lock (Lock)
        {
            if (TryOpen(path, -1, -1) is { } file)
                return file;
            // Sections compressed in a way that the library does not know: of the file, or of its separate debug file.
            if (ElfFile.TryOpen(path) is not { } elf)
                return null;
            if (CompressedSections.HasZstd(elf))
                return TryOpen(path, CompressedSections.PlainCopy(elf), -1);
            return !elf.HasDebugInfo && DebugFiles.Find(elf) is { } debug && CompressedSections.HasZstd(debug) ? TryOpen(path, -1, CompressedSections.PlainCopy(debug)) : null;
        }
    }

    /// <summary>Why a file that has debug information gives none; null when there is none to begin with.</summary>
    public static string? Unreadable(ElfFile file)
    {
        if (!CompressedSections.CanZstd && (CompressedSections.HasZstd(file) || !file.HasDebugInfo && DebugFiles.Find(file) is { } debug && CompressedSections.HasZstd(debug)))
            return "is compressed with zstd: install package libzstd1";
        // What compilers leave in the program when they split it off.
        return file.FindSection(".debug_addr") is not null && file.HasDebugInfo
            ? "was split off by the compiler (-gsplit-dwarf): its .dwo files are not where it says (packages of them, .dwp, are read by elfutils from 0.191 on)" : null;
    }

    /// <summary>A copy of the separate debug file that the library shall take, while it opens a file.</summary>
    [ThreadStatic]
    private static int _separate;

    [UnmanagedCallersOnly(CallConvs = [typeof(System.Runtime.CompilerServices.CallConvCdecl)])]
    private static int GiveSeparate(nint module, void** own, byte* name, ulong start, byte* file, byte* link, uint check, byte** found)
    {
        var descriptor = _separate - 1;
        _separate = 0;
        return descriptor;
    }

    private static DwarfFile? TryOpen(string path, int copy, int separate)
    {
        lock (Lock)
        {
            // Never freed: libdwfl keeps the pointer.
            var callbacks = (DwflCallbacks*)NativeMemory.AllocZeroed((nuint)sizeof(DwflCallbacks));
            callbacks->FindElf = LibDw.Address("dwfl_build_id_find_elf");
            delegate* unmanaged[Cdecl]<nint, void**, byte*, ulong, byte*, byte*, uint, byte**, int> give = &GiveSeparate;
            callbacks->FindDebugInfo = separate >= 0 ? (nint)give : LibDw.Address("dwfl_standard_find_debuginfo");
            _separate = separate + 1;
            callbacks->SectionAddress = LibDw.Address("dwfl_offline_section_address");
            var session = LibDw.dwfl_begin(callbacks);
            if (session == 0)
                return null;
            nint module;
            fixed (byte* text = Encoding.UTF8.GetBytes(path + "\0"))
                module = LibDw.dwfl_report_offline(session, text, text, copy);
            if (module == 0 || LibDw.dwfl_report_end(session, 0, 0) != 0)
                return null;
            ulong bias;
            var dwarf = LibDw.dwfl_module_getdwarf(module, &bias);
            if (dwarf == 0)
                return null;
            var file = new DwarfFile(path, module, dwarf, bias);
            return file.Units.Count > 0 ? file : null;
        }
    }

    /// <summary>All units with contents of their own.</summary>
    public IReadOnlyList<DwarfUnit> Units
    {
        get
        {
            if (_units is not null)
                return _units;
            lock (Lock)
            {
                var units = new List<DwarfUnit>();
                nint unit = 0, next;
                ushort version;
                byte type;
                DwarfDie die, sub;
                while (LibDw.dwarf_get_units(_dwarf, unit, &next, &version, &type, &die, &sub) == 0)
                {
                    unit = next;
                    if (type == Dw.UnitSkeleton)
                    {
                        if (!sub.IsNull)
                            units.Add(new DwarfUnit(sub, die));
                    }
                    else if (type is Dw.UnitCompile or Dw.UnitPartial or 0)
                        units.Add(new DwarfUnit(die, die));
                }
                return _units = units;
            }
        }
    }

    /// <summary>Rows of a unit's line table by ascending address; those that only end a sequence have <see cref="DwarfLine.IsEnd"/>.</summary>
    public DwarfLine[] Lines(DwarfUnit unit)
    {
        if (unit.Lines is { } known)
            return known;
        lock (Lock)
        {
            nint lines;
            nuint count;
            var die = unit.LineDie;
            if (LibDw.dwarf_getsrclines(&die, &lines, &count) != 0)
                return unit.Lines = [];
            var result = new DwarfLine[(int)count];
            byte* lastFile = null;
            var lastText = "";
            for (nuint i = 0; i < count; i++)
            {
                var line = LibDw.dwarf_onesrcline(lines, i);
                ulong address;
                int number;
                byte statement, prologueEnd, end;
                _ = LibDw.dwarf_lineaddr(line, &address);
                _ = LibDw.dwarf_lineno(line, &number);
                _ = LibDw.dwarf_linebeginstatement(line, &statement);
                _ = LibDw.dwarf_lineprologueend(line, &prologueEnd);
                _ = LibDw.dwarf_lineendsequence(line, &end);
                var file = LibDw.dwarf_linesrc(line, null, null);
                if (file != lastFile)
                {
                    lastFile = file;
                    lastText = file is null ? "" : Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(file));
                }
                result[i] = new DwarfLine(address, lastText, number, statement != 0, prologueEnd != 0, end != 0);
            }
            return unit.Lines = result;
        }
    }

    /// <summary>How the canonical frame address is computed at an address; empty when the file does not say.</summary>
    public IReadOnlyList<DwarfOp> CanonicalFrame(ulong address)
    {
        lock (Lock)
        {
            if (!_hasCfi)
            {
                _hasCfi = true;
                ulong bias;
                _ehFrame = LibDw.dwfl_module_eh_cfi(_module, &bias);
                _ehBias = bias;
                _debugFrame = LibDw.dwarf_getcfi(_dwarf);
            }
            return Frame(_ehFrame, address) ?? Frame(_debugFrame, address) ?? [];
        }
    }

    private static DwarfOp[]? Frame(nint cfi, ulong address)
    {
        nint frame;
        if (cfi == 0 || LibDw.dwarf_cfi_addrframe(cfi, address, &frame) != 0)
            return null;
        DwarfOp* operations;
        nuint count;
        var result = LibDw.dwarf_frame_cfa(frame, &operations, &count) == 0 && count > 0
            ? new ReadOnlySpan<DwarfOp>(operations, (int)count).ToArray()
            : null;
        NativeMemory.Free((void*)frame);
        return result;
    }

    /// <summary>What a function's variables are relative to, at an address in it.</summary>
    public IReadOnlyList<DwarfOp> FrameBase(DwarfFunction function, ulong address)
    {
        lock (Lock)
            return DwarfLocations.FrameBase(function.Frame, address);
    }

    /// <summary>Where a variable is at an address.</summary>
    public DwarfLocation Location(DwarfVariable variable, ulong address)
    {
        lock (Lock)
            return DwarfLocations.Of(variable.Die, address);
    }

    /// <summary>The C type of a variable; null when the debug information gives none.</summary>
    public BtfType? TypeOf(DwarfVariable variable)
    {
        lock (Lock)
            return variable.Die.Type() is { } type ? Types.Convert(type) : null;
    }

    /// <summary>The type of a variable as listings spell it.</summary>
    public string TypeText(DwarfVariable variable)
    {
        lock (Lock)
            return DwarfText.Of(variable.Die.Type());
    }

    /// <summary>What a function returns; null for <c>void</c>. Of a Go function: its first result, if results are in registers (Go 1.17).</summary>
    public BtfType? ReturnType(DwarfFunction function)
    {
        lock (Lock)
            return Result(function)?.Type() is { } type ? Types.Convert(type) : null;
    }

    /// <summary>The DIE whose type is that of the result. Go describes results as parameters that the function sets.</summary>
    private static DwarfDie? Result(DwarfFunction function)
    {
        if (function.Unit.Language != DwarfLanguage.Go)
            return function.Die;
        if (!function.Unit.Producer.Contains("regabi", StringComparison.Ordinal))
            return null;
        foreach (var die in function.Die.Children())
            if (die.Tag() == Dw.FormalParameter && die.Flag(Dw.AtVariableParameter))
                return die;
        return null;
    }

    /// <summary>
    /// The function's result is an object of a class that must not be copied as bytes (C++): the caller gives memory for it and its address is what the
    /// function returns, however small it is.
    /// </summary>
    public bool ReturnsByReference(DwarfFunction function)
    {
        lock (Lock)
            return IsPassedByReference(function.Die.Type());
    }

    /// <summary>A parameter as the caller passes it.</summary>
    public sealed record Parameter(string Name, BtfType? Type, bool ByReference)
    {
        internal DwarfDie Die { get; init; }
    }

    /// <summary>All parameters in order, also those without names; null when the debug information leaves some out.</summary>
    public List<Parameter>? Parameters(DwarfFunction function)
    {
        lock (Lock)
        {
            var result = new List<Parameter>();
            foreach (var die in function.Die.Children())
                if (die.Tag() == Dw.FormalParameter)
                    result.Add(new Parameter(die.Name(), die.Type() is { } type ? Types.Convert(type) : null, IsPassedByReference(die.Type())) { Die = die });
            foreach (var origin in (uint[])[Dw.AtAbstractOrigin, Dw.AtSpecification])
            {
                var count = 0;
                if (function.Die.Refer(origin, whole: false) is not { } other)
                    continue;
                foreach (var die in other.Children())
                    count += die.Tag() == Dw.FormalParameter ? 1 : 0;
                if (count > result.Count)
                    return null;
            }
            var order = result.ConvertAll(p => (Origin: p.Die.Origin(), Parameter: p));
            return order.Exists(p => p.Origin == 0) ? result : [.. order.OrderBy(p => p.Origin).Select(p => p.Parameter)];
        }
    }

    /// <summary>The type, or a member of it, asks for more alignment than eight bytes by a word of its own.</summary>
    public bool IsOveraligned(Parameter parameter)
    {
        lock (Lock)
            return Search(parameter.Die.Type(), 0);

        static bool Search(DwarfDie? type, int depth)
        {
            if (type is not { } die || depth > 16)
                return false;
            if (die.Number(Dw.AtAlignment) is > 8 || die.Tag() == Dw.BaseType && die.Number(Dw.AtByteSize) is > 8)
                return true;
            switch (die.Tag())
            {
                case Dw.PointerType or Dw.ReferenceType or Dw.RvalueReference:
                    return false;
                case Dw.StructureType or Dw.ClassType or Dw.UnionType:
                    foreach (var child in die.Children())
                        if (child.Tag() is Dw.Member or Dw.Inheritance && (child.Number(Dw.AtAlignment) is > 8 || Search(child.Type(), depth + 1)))
                            return true;
                    return false;
                default:
                    return Search(die.Type(), depth + 1);
            }
        }
    }

    private bool IsPassedByReference(DwarfDie? type)
    {
        for (var i = 0; i < 32 && type is { } die; i++)
        {
            if (die.Tag() is not (Dw.Typedef or Dw.ConstType or Dw.VolatileType))
            {
                if (die.Has(Dw.AtDeclaration) && Definition(die) is { } whole)
                    die = whole;
                const ulong byReference = 4;
                if (die.Number(Dw.AtCallingConvention) is { } convention)
                    return convention == byReference;
                // Older debug information does not say; a destructor of its own is what makes the difference.
                if (die.Tag() is Dw.StructureType or Dw.ClassType)
                    foreach (var child in die.Children())
                        if (child.Tag() == Dw.Subprogram && !child.Has(Dw.AtArtificial) && child.Name().StartsWith('~'))
                            return true;
                return false;
            }
            type = die.Type();
        }
        return false;
    }

    /// <summary>The same as listings spell it; null for <c>void</c>.</summary>
    public string? ReturnText(DwarfFunction function)
    {
        lock (Lock)
            return Result(function)?.Type() is { } type ? DwarfText.Of(type) : null;
    }
}
