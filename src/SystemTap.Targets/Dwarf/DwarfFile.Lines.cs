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
        var low = Sorted.CountUpTo<DwarfLine>(lines, address, static line => line.Address);
        return low > 0 && lines[low - 1] is { IsEnd: false, Line: > 0, File.Length: > 0 } row ? (row.File, row.Line) : null;
    }
}
