using System.Runtime.InteropServices;
using System.Text;

namespace SystemTap.Targets;

// Which unit, function and inlined copies hold an address. Tables of code ranges, of all units and of each unit that was asked for, are made when first needed, so that a stack's addresses
// cost a binary search each.

/// <summary>A call that the compiler replaced by a copy of the function.</summary>
/// <param name="Name">The function that was copied: C++ and Rust with namespaces, without parameters.</param>
/// <param name="Start">Where the piece of the copy begins that holds the address.</param>
/// <param name="Size">Bytes of that piece.</param>
/// <param name="Call">Where the source has the call; null when the debug information does not say.</param>
public sealed record DwarfInlinedCall(string Name, ulong Start, ulong Size, (string File, int Line)? Call);

public sealed unsafe partial class DwarfFile
{
    private readonly Dictionary<DwarfUnit, RangeTable<DwarfDie?>> _functionRanges = [];
    private RangeTable<DwarfUnit>? _unitRanges;

    /// <summary>The function that holds an address: the innermost inlined copy when <paramref name="inlines"/>, else the outermost function.</summary>
    public DwarfFunction? FunctionAt(ulong address, bool inlines)
    {
        lock (Lock)
        {
            if (UnitAt(address) is not { } unit || FunctionRanges(unit).Find(address) is not { } frame)
                return null;
            var copies = inlines ? Copies(frame, address) : [];
            var die = copies.Count > 0 ? copies[^1] : frame;
            return die.EntryPc() is { } entry ? Make(unit, die, "", frame, entry, copies.Count > 0) : null;
        }
    }

    /// <summary>The calls around an address that the compiler replaced by copies, innermost first; empty when there are none.</summary>
    public IReadOnlyList<DwarfInlinedCall> InlinedAt(ulong address)
    {
        lock (Lock)
        {
            if (UnitAt(address) is not { } unit || FunctionRanges(unit).Find(address) is not { } function)
                return [];
            var copies = Copies(function, address);
            var result = new DwarfInlinedCall[copies.Count];
            for (var i = 0; i < result.Length; i++)
            {
                var die = copies[^(i + 1)];
                var (start, end) = die.Ranges().Find(r => address >= r.Start && address < r.End);
                var name = die.LinkageName() is { } linkage && Demangler.Plain(linkage) is { } plain ? plain : die.Name();
                result[i] = new DwarfInlinedCall(name, start, end - start, CallOf(die, unit));
            }
            return result;
        }
    }

    private static (string File, int Line)? CallOf(DwarfDie copy, DwarfUnit unit)
    {
        if (copy.Number(Dw.AtCallLine) is not (> 0 and <= int.MaxValue and var line))
            return null;
        if (unit.IsSplit)
            return (unit.SourcePath, (int)line);
        nint files;
        nuint count;
        var die = unit.LineDie;
        if (copy.Number(Dw.AtCallFile) is not { } number || LibDw.dwarf_getsrcfiles(&die, &files, &count) != 0 || number >= count)
            return null;
        var name = LibDw.dwarf_filesrc(files, (nuint)number, null, null);
        return name is null ? null : (Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(name)), (int)line);
    }

    /// <summary>Inlined copies that hold an address, outermost first.</summary>
    private static List<DwarfDie> Copies(DwarfDie function, ulong address)
    {
        var result = new List<DwarfDie>();
        for (var inner = Search(function); inner is { } die; inner = Search(die))
            result.Add(die);
        return result;

        DwarfDie? Search(DwarfDie parent)
        {
            foreach (var die in parent.Children())
            {
                switch (die.Tag())
                {
                    case Dw.InlinedSubroutine when die.HasPc(address):
                        return die;
                    case Dw.LexicalBlock when die.HasPc(address) && Search(die) is { } found:
                        return found;
                }
            }
            return null;
        }
    }

    private DwarfUnit? UnitAt(ulong address)
    {
        lock (Lock)
        {
            if (_unitRanges is not null)
                return _unitRanges.Find(address);
            var table = new RangeTable<DwarfUnit>();
            foreach (var unit in Units)
            {
                table.Add(unit.LineDie.Ranges(), unit);
                if (unit.IsSplit)
                    table.Add(unit.Die.Ranges(), unit);
            }
            return (_unitRanges = table).Find(address);
        }
    }

    private RangeTable<DwarfDie?> FunctionRanges(DwarfUnit unit)
    {
        if (_functionRanges.TryGetValue(unit, out var table))
            return table;
        _functionRanges[unit] = table = new RangeTable<DwarfDie?>();
        Collect(unit.Die, 0);
        return table;

        void Collect(DwarfDie parent, int depth)
        {
            if (depth > 200 || !parent.FirstChild(out var die))
                return;
            do
            {
                switch (die.Tag())
                {
                    case Dw.Subprogram when !die.Has(Dw.AtDeclaration):
                        table.Add(die.Ranges(), die);
                        if (!unit.IsC)
                            Collect(die, depth + 1);
                        break;
                    case Dw.Namespace or Dw.Module or Dw.StructureType or Dw.ClassType or Dw.UnionType:
                    case Dw.LexicalBlock when !unit.IsC:
                        Collect(die, depth + 1);
                        break;
                }
            }
            while (DwarfDies.Next(ref die));
        }
    }

    /// <summary>Ranges of addresses and what they belong to; where they nest, the innermost is found.</summary>
    private sealed class RangeTable<T>
    {
        private readonly List<(ulong Start, ulong End, T Value)> _ranges = [];
        private bool _isSorted;

        public void Add(List<(ulong Start, ulong End)> ranges, T value)
        {
            foreach (var (start, end) in ranges)
                if (start < end)
                    _ranges.Add((start, end, value));
        }

        public T? Find(ulong address)
        {
            if (!_isSorted)
            {
                // Of ranges with one beginning the longest comes first, so that the innermost is the last.
                _ranges.Sort(static (a, b) => a.Start != b.Start ? a.Start.CompareTo(b.Start) : b.End.CompareTo(a.End));
                _isSorted = true;
            }
            var low = Sorted.CountUpTo<(ulong Start, ulong End, T Value)>(CollectionsMarshal.AsSpan(_ranges), address, static range => range.Start);
            const int deepest = 64;
            for (var i = low - 1; i >= 0 && i >= low - deepest; i--)
                if (address < _ranges[i].End)
                    return _ranges[i].Value;
            return default;
        }
    }
}
