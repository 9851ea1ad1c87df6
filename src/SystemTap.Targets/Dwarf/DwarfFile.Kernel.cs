using System.Runtime.InteropServices;
using System.Text;

namespace SystemTap.Targets;

// What only files of the kernel need: modules are object files, whose sections libdwfl lays out one behind the other, so an address of the debug
// information means a section and a place in it.

public sealed unsafe partial class DwarfFile
{
    /// <summary>The symbol that holds an address of the debug information, and the distance from it; null outside of all symbols.</summary>
    public (string Symbol, ulong Offset)? SymbolAt(ulong address)
    {
        lock (Lock)
        {
            ulong offset;
            var symbol = stackalloc byte[64]; // a GElf_Sym, which nobody looks at
            var name = LibDw.dwfl_module_addrinfo(_module, address + _bias, &offset, symbol, null, null, null);
            return name is null ? null : (Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(name)), offset);
        }
    }

    /// <summary>The section that holds an address of an object file, and the place in it; the name is empty for files that are linked.</summary>
    public (string Section, ulong Offset) SectionAt(ulong address)
    {
        lock (Lock)
        {
            var place = address + _bias;
            var index = LibDw.dwfl_module_relocate_address(_module, &place);
            if (index < 0)
                return ("", address);
            var name = LibDw.dwfl_module_relocation_info(_module, (uint)index, null);
            return (name is null ? "" : Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(name)), place);
        }
    }
}
