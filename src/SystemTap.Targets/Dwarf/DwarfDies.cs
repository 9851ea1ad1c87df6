using System.Runtime.InteropServices;
using System.Text;

namespace SystemTap.Targets;

/// <summary>Questions to one DIE. "Whole" ones follow abstract origins and specifications.</summary>
internal static unsafe class DwarfDies
{
    public static int Tag(this DwarfDie die) => LibDw.dwarf_tag(&die);

    /// <summary>Direct children, in order.</summary>
    public static List<DwarfDie> Children(this DwarfDie die)
    {
        var result = new List<DwarfDie>();
        DwarfDie child;
        if (LibDw.dwarf_child(&die, &child) != 0)
            return result;
        do
            result.Add(child);
        while (LibDw.dwarf_siblingof(&child, &child) == 0);
        return result;
    }

    public static bool FirstChild(this DwarfDie die, out DwarfDie child)
    {
        DwarfDie result;
        var found = LibDw.dwarf_child(&die, &result) == 0;
        child = found ? result : default;
        return found;
    }

    public static bool Next(ref DwarfDie die)
    {
        fixed (DwarfDie* p = &die)
            return LibDw.dwarf_siblingof(p, p) == 0;
    }

    /// <summary>The name's bytes, also through origins; empty for anonymous ones.</summary>
    public static ReadOnlySpan<byte> NameUtf8(this DwarfDie die)
    {
        var text = LibDw.dwarf_diename(&die);
        return text is null ? default : MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text);
    }

    public static string Name(this DwarfDie die) => Encoding.UTF8.GetString(die.NameUtf8());

    /// <summary>The name as the linker knows it; null when that is the name itself.</summary>
    public static string? LinkageName(this DwarfDie die) => die.WholeText(Dw.AtLinkageName) ?? die.WholeText(Dw.AtMipsLinkageName);

    public static string? WholeText(this DwarfDie die, uint name)
    {
        DwarfAttributeData attribute;
        if (LibDw.dwarf_attr_integrate(&die, name, &attribute) == 0)
            return null;
        var text = LibDw.dwarf_formstring(&attribute);
        return text is null ? null : Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text));
    }

    public static bool Has(this DwarfDie die, uint name) => LibDw.dwarf_hasattr(&die, name) != 0;

    public static bool Flag(this DwarfDie die, uint name)
    {
        DwarfAttributeData attribute;
        byte value = 0;
        return LibDw.dwarf_attr_integrate(&die, name, &attribute) != 0 && LibDw.dwarf_formflag(&attribute, &value) == 0 && value != 0;
    }

    /// <summary>A constant, of the DIE itself.</summary>
    public static ulong? Number(this DwarfDie die, uint name)
    {
        DwarfAttributeData attribute;
        ulong value;
        return LibDw.dwarf_attr(&die, name, &attribute) != 0 && LibDw.dwarf_formudata(&attribute, &value) == 0 ? value : null;
    }

    public static long? SignedNumber(this DwarfDie die, uint name)
    {
        DwarfAttributeData attribute;
        long value;
        return LibDw.dwarf_attr_integrate(&die, name, &attribute) != 0 && LibDw.dwarf_formsdata(&attribute, &value) == 0 ? value : null;
    }

    /// <summary>An address, of the DIE itself.</summary>
    public static ulong? Address(this DwarfDie die, uint name)
    {
        DwarfAttributeData attribute;
        ulong value;
        return LibDw.dwarf_attr(&die, name, &attribute) != 0 && LibDw.dwarf_formaddr(&attribute, &value) == 0 ? value : null;
    }

    /// <summary>The DIE an attribute refers to; also through origins.</summary>
    public static DwarfDie? Refer(this DwarfDie die, uint name, bool whole = true)
    {
        DwarfAttributeData attribute;
        DwarfDie result;
        return (whole ? LibDw.dwarf_attr_integrate(&die, name, &attribute) : LibDw.dwarf_attr(&die, name, &attribute)) != 0
            && LibDw.dwarf_formref_die(&attribute, &result) != 0 ? result : null;
    }

    /// <summary>Of a copy: the key of its declaration. Declarations of one function have ascending keys in the source's order. 0 when it is no copy.</summary>
    public static nint Origin(this DwarfDie die) => die.Refer(Dw.AtAbstractOrigin, whole: false)?.Key ?? 0;

    /// <summary>The type, or null for <c>void</c>.</summary>
    public static DwarfDie? Type(this DwarfDie die) => die.Refer(Dw.AtType);

    public static bool HasPc(this DwarfDie die, ulong address) => LibDw.dwarf_haspc(&die, address) > 0;

    /// <summary>Where execution enters it: entry pc, low pc, or the beginning of its first range; null for DIEs without code.</summary>
    public static ulong? EntryPc(this DwarfDie die)
    {
        ulong address;
        if (LibDw.dwarf_entrypc(&die, &address) == 0)
            return address;
        ulong @base = 0, start, end;
        return LibDw.dwarf_ranges(&die, 0, &@base, &start, &end) > 0 ? start : null;
    }

    /// <summary>All ranges of code.</summary>
    public static List<(ulong Start, ulong End)> Ranges(this DwarfDie die)
    {
        var result = new List<(ulong, ulong)>();
        ulong @base = 0, start, end;
        nint offset = 0;
        while ((offset = LibDw.dwarf_ranges(&die, offset, &@base, &start, &end)) > 0)
            result.Add((start, end));
        return result;
    }

    public static (string File, int Line) Declared(this DwarfDie die, DwarfUnit unit)
    {
        int line;
        if (LibDw.dwarf_decl_line(&die, &line) != 0)
            line = 0;
        // libdw ends the process when asked for the files of a split unit; its own source is nearly always the answer.
        if (unit.IsSplit)
            return (unit.SourcePath, line);
        var file = LibDw.dwarf_decl_file(&die);
        return (file is not null ? Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(file)) : die.MainSource() ?? "", line);
    }

    /// <summary>The main source file of the unit with the declaration, when that is where it stands: clang's file 0 of DWARF 5, which older versions of libdw take for none.</summary>
    private static string? MainSource(this DwarfDie die)
    {
        for (var i = 0; i < 8; i++)
        {
            if (die.Has(Dw.AtDeclFile))
            {
                DwarfDie unit;
                return die.Number(Dw.AtDeclFile) == 0 && LibDw.dwarf_diecu(&die, &unit, null, null) is not null
                    ? System.IO.Path.Combine(unit.WholeText(Dw.AtCompDir) ?? "", unit.Name()) : null;
            }
            if ((die.Refer(Dw.AtAbstractOrigin, whole: false) ?? die.Refer(Dw.AtSpecification, whole: false)) is not { } origin)
                return null;
            die = origin;
        }
        return null;
    }

    public static int Language(this DwarfDie unit) => LibDw.dwarf_srclang(&unit);
}
