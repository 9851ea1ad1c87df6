using System.Runtime.InteropServices;

namespace SystemTap.Targets;

/// <summary>A DIE as elfutils hands it out (<c>Dwarf_Die</c>): valid as long as its file is open, which is for the life of the process.</summary>
[StructLayout(LayoutKind.Sequential)]
public readonly struct DwarfDie
{
    private readonly nint _address, _unit, _abbreviation, _padding;

    /// <summary>Identifies the DIE.</summary>
    public nint Key => _address;

    public bool IsNull => _address == 0;

    private DwarfDie(nint address, nint unit) => (_address, _unit) = (address, unit);

    /// <summary>Another DIE of the same unit, by its <see cref="Key"/>.</summary>
    internal DwarfDie At(nint address) => new(address, _unit);

    internal nint UnitPointer => _unit;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct DwarfAttributeData
{
    public uint Code, Form;
    public byte* Value;
    public nint Unit;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct DwarfBlockData
{
    public ulong Length;
    public byte* Data;
}

/// <summary>One operation of a location expression (<c>Dwarf_Op</c>).</summary>
[StructLayout(LayoutKind.Sequential)]
public readonly struct DwarfOp
{
    /// <summary>DW_OP_*.</summary>
    public readonly byte Code;
    public readonly ulong Number, Number2;

    /// <summary>Bytes from the beginning of the expression: what branches count from.</summary>
    public readonly ulong Offset;

    public DwarfOp(byte code, ulong number = 0, ulong number2 = 0) => (Code, Number, Number2) = (code, number, number2);
}

[StructLayout(LayoutKind.Sequential)]
internal struct DwflCallbacks
{
    public nint FindElf, FindDebugInfo, SectionAddress, DebugInfoPath;
}

/// <summary>
/// elfutils' libdw (package libdw1), which knows DWARF 2 to 5, split units, dwz, compression and debuginfod. It is loaded when the first script asks for
/// debug information, so stap runs without it. It keeps state for each file and is not thread-safe: all calls are made under <see cref="DwarfFile.Lock"/>.
/// </summary>
internal static unsafe partial class LibDw
{
    private const string Name = "libdw.so.1";

    /// <summary>Whether the library can be loaded.</summary>
    public static bool IsAvailable => Handle.Value != 0;

    private static readonly Lazy<nint> Handle = new(() => NativeLibrary.TryLoad(Name, out var handle) ? handle : 0);

    /// <summary>Address of a function, for call-back tables.</summary>
    public static nint Address(string function) => NativeLibrary.GetExport(Handle.Value, function);

    [LibraryImport(Name)] public static partial nint dwfl_begin(DwflCallbacks* callbacks);
    [LibraryImport(Name)] public static partial nint dwfl_report_offline(nint dwfl, byte* name, byte* file, int descriptor);
    [LibraryImport(Name)] public static partial int dwfl_report_end(nint dwfl, nint removed, nint argument);
    [LibraryImport(Name)] public static partial nint dwfl_module_getdwarf(nint module, ulong* bias);
    [LibraryImport(Name)] public static partial byte* dwfl_module_addrinfo(nint module, ulong address, ulong* offset, byte* symbol, uint* section, nint* elf, ulong* bias);
    [LibraryImport(Name)] public static partial int dwfl_module_relocate_address(nint module, ulong* address);
    [LibraryImport(Name)] public static partial byte* dwfl_module_relocation_info(nint module, uint index, uint* section);
    [LibraryImport(Name)] public static partial nint dwfl_module_eh_cfi(nint module, ulong* bias);
    [LibraryImport(Name)] public static partial nint dwarf_getcfi(nint dwarf);
    [LibraryImport(Name)] public static partial int dwarf_cfi_addrframe(nint cfi, ulong address, nint* frame);
    [LibraryImport(Name)] public static partial int dwarf_frame_cfa(nint frame, DwarfOp** operations, nuint* count);
    [LibraryImport(Name)] public static partial int dwarf_get_units(nint dwarf, nint unit, nint* next, ushort* version, byte* type, DwarfDie* die, DwarfDie* sub);
    [LibraryImport(Name)] public static partial int dwarf_child(DwarfDie* die, DwarfDie* result);
    [LibraryImport(Name)] public static partial int dwarf_siblingof(DwarfDie* die, DwarfDie* result);
    [LibraryImport(Name)] public static partial int dwarf_tag(DwarfDie* die);
    [LibraryImport(Name)] public static partial nint dwarf_attr(DwarfDie* die, uint name, DwarfAttributeData* result);
    [LibraryImport(Name)] public static partial nint dwarf_attr_integrate(DwarfDie* die, uint name, DwarfAttributeData* result);
    [LibraryImport(Name)] public static partial int dwarf_hasattr(DwarfDie* die, uint name);
    [LibraryImport(Name)] public static partial byte* dwarf_formstring(DwarfAttributeData* attribute);
    [LibraryImport(Name)] public static partial int dwarf_formudata(DwarfAttributeData* attribute, ulong* value);
    [LibraryImport(Name)] public static partial int dwarf_formsdata(DwarfAttributeData* attribute, long* value);
    [LibraryImport(Name)] public static partial int dwarf_formaddr(DwarfAttributeData* attribute, ulong* value);
    [LibraryImport(Name)] public static partial nint dwarf_formref_die(DwarfAttributeData* attribute, DwarfDie* result);
    [LibraryImport(Name)] public static partial int dwarf_formblock(DwarfAttributeData* attribute, DwarfBlockData* result);
    [LibraryImport(Name)] public static partial int dwarf_formflag(DwarfAttributeData* attribute, byte* value);
    [LibraryImport(Name)] public static partial byte* dwarf_diename(DwarfDie* die);
    [LibraryImport(Name)] public static partial int dwarf_entrypc(DwarfDie* die, ulong* address);
    [LibraryImport(Name)] public static partial int dwarf_haspc(DwarfDie* die, ulong address);
    [LibraryImport(Name)] public static partial nint dwarf_ranges(DwarfDie* die, nint offset, ulong* @base, ulong* start, ulong* end);
    [LibraryImport(Name)] public static partial byte* dwarf_decl_file(DwarfDie* die);
    [LibraryImport(Name)] public static partial int dwarf_decl_line(DwarfDie* die, int* line);
    [LibraryImport(Name)] public static partial DwarfDie* dwarf_diecu(DwarfDie* die, DwarfDie* unit, byte* addressSize, byte* offsetSize);
    [LibraryImport(Name)] public static partial int dwarf_getsrcfiles(DwarfDie* unit, nint* files, nuint* count);
    [LibraryImport(Name)] public static partial byte* dwarf_filesrc(nint files, nuint index, ulong* time, ulong* length);
    [LibraryImport(Name)] public static partial int dwarf_srclang(DwarfDie* die);
    [LibraryImport(Name)] public static partial int dwarf_getlocation(DwarfAttributeData* attribute, DwarfOp** operations, nuint* count);
    [LibraryImport(Name)] public static partial int dwarf_getlocation_addr(DwarfAttributeData* attribute, ulong address, DwarfOp** operations, nuint* counts, nuint most);
    [LibraryImport(Name)] public static partial int dwarf_getlocation_implicit_value(DwarfAttributeData* attribute, DwarfOp* operation, DwarfBlockData* result);
    [LibraryImport(Name)] public static partial int dwarf_getlocation_attr(DwarfAttributeData* attribute, DwarfOp* operation, DwarfAttributeData* result);
    [LibraryImport(Name)] public static partial int dwarf_getlocation_die(DwarfAttributeData* attribute, DwarfOp* operation, DwarfDie* result);
    [LibraryImport(Name)] public static partial int dwarf_getsrclines(DwarfDie* unit, nint* lines, nuint* count);
    [LibraryImport(Name)] public static partial nint dwarf_onesrcline(nint lines, nuint index);
    [LibraryImport(Name)] public static partial int dwarf_lineaddr(nint line, ulong* address);
    [LibraryImport(Name)] public static partial int dwarf_lineno(nint line, int* number);
    [LibraryImport(Name)] public static partial int dwarf_linebeginstatement(nint line, byte* flag);
    [LibraryImport(Name)] public static partial int dwarf_lineendsequence(nint line, byte* flag);
    [LibraryImport(Name)] public static partial int dwarf_lineprologueend(nint line, byte* flag);
    [LibraryImport(Name)] public static partial byte* dwarf_linesrc(nint line, ulong* time, ulong* length);
}
