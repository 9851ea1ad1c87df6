using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Layout;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Constants of merged handlers: columns of the row the dispatcher found. The row's address stands in a stack slot of the main program; columns occur
// only there, never in functions.

internal sealed partial class ProgramEmitter
{
    private Mem _row;
    private IReadOnlyList<RowColumn> _columns = [];
    private int _probeIndexColumn = -1;

    /// <summary>Says what the columns of the row at a stack slot are.</summary>
    public void UseRow(Mem row, IReadOnlyList<RowColumn> columns, int probeIndexColumn) =>
        (_row, _columns, _probeIndexColumn) = (row, columns, probeIndexColumn);

    private void LoadColumn(ColumnExpr c, Reg to) => LoadColumn(c.Column, to);

    private void LoadColumn(int column, Reg to)
    {
        Load(to, _row);
        Load(to, new Mem(to, _columns[column].Offset));
    }

    private StringValue CopyColumn(ColumnExpr c)
    {
        var capacity = _columns[c.Column].Capacity;
        var copy = TakeFrame(capacity);
        Load(Reg.R3, _row);
        Copy(copy, new Mem(Reg.R3, _columns[c.Column].Offset), capacity);
        return new StringValue(null, copy, capacity, null);
    }

    private void ColumnInto(ColumnExpr c, Mem target, int capacity)
    {
        var column = _columns[c.Column];
        var common = Math.Min(capacity, column.Capacity);
        Load(Reg.R3, _row);
        Copy(target, new Mem(Reg.R3, column.Offset), common);
        Clear(target.At(common), capacity - common);
    }
}

/// <summary>A column of a dispatch table: 8 bytes for a long, a padded buffer for a string.</summary>
internal readonly record struct RowColumn(ScriptType Type, int Offset, int Capacity);
