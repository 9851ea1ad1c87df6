namespace SystemTap.Targets;

public sealed unsafe partial class DwarfFile
{
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
}
