namespace SystemTap.Targets;

public sealed unsafe partial class DwarfFile
{
    private DwarfUnit? _lastUnit;

    /// <summary>The source line an address belongs to, as the compiler's line table has it; null when no unit covers the address or the code belongs to no line.</summary>
    public (string File, int Line)? LineAt(ulong address)
    {
        return UnitAt(address) is { } unit ? LineOf(unit, address) : null;
    }

    private (string File, int Line)? LineOf(DwarfUnit unit, ulong address)
    {
        var lines = Lines(unit);
        var low = 0;
        var high = lines.Count;
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (lines[middle].Address <= address)
                low = middle + 1;
            else
                high = middle;
        }
        return low > 0 && lines[low - 1] is { IsEnd: false, Line: > 0, File.Length: > 0 } row ? (row.File, row.Line) : null;
    }

    /// <summary>Addresses asked for one after the other mostly lie in one unit, so the last one is looked at first.</summary>
    private DwarfUnit? UnitAt(ulong address)
    {
        lock (Lock)
        {
            if (_lastUnit is { } last && Covers(last))
                return last;
            foreach (var unit in Units)
                if (Covers(unit))
                    return _lastUnit = unit;
            return null;
        }

        bool Covers(DwarfUnit unit) => unit.LineDie.HasPc(address) || unit.IsSplit && unit.Die.HasPc(address);
    }
}
