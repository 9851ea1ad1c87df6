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

    // Functions are emitted once for all handlers of the program, behind them: which handler called stands in the frame.
    private readonly HashSet<int> _probeIndexes = [];
    private bool _hasRows;

    private bool IsForSeveral => _hasRows || _probeIndexes.Count > 1;

    /// <summary>A handler starts: functions it calls find in the frame which one it is.</summary>
    private void TellFunctions(Stmt body)
    {
        _probeIndexes.Add(_probeIndex);
        _hasRows |= _probeIndexColumn >= 0;
        if (!_hasFrame || !LoweredSearch.Calls(body, static _ => true))
        {
            return;
        }

        if (_probeIndexColumn >= 0)
        {
            LoadColumn(_probeIndexColumn, Reg.R0);
            Save(new Mem(Frame, FrameProbe), Reg.R0);
        }
        else
        {
            Store(new Mem(Frame, FrameProbe), _probeIndex);
        }
    }

    /// <summary>What a text of the calling probe is, in a function of a program with several: found by the probe's number.</summary>
    private StringValue CallerText(IntrinsicExpr i)
    {
        var texts = new string[_c.Program.Probes.Count];
        var longest = 1;
        for (var n = 0; n < texts.Length; n++)
        {
            texts[n] = TextOf(i, n) ?? "";
            longest = Math.Max(longest, texts[n].Length);
        }

        var width = Capacities.BufferFor(longest);
        var contents = new byte[texts.Length * width];
        for (var n = 0; n < texts.Length; n++)
        {
            System.Text.Encoding.Latin1.GetBytes(texts[n], contents.AsSpan(n * width, width));
        }

        var map = _c.SharedMap($"probe_{i.Intrinsic.Id}", width, texts.Length, contents);
        var copy = TakeFrame(width);
        var mark = Marked();
        var key = TakeStack(8);
        Load(Reg.R0, new Mem(Frame, FrameProbe));
        _a.Emit(Instruction.Store(MemSize.W, key.Base, key.Offset, Reg.R0));
        LookupKey(map, key);
        Release(mark);
        var none = _a.NewLabel();
        var end = _a.NewLabel();
        _a.JumpIf(JumpOp.Eq, Reg.R0, 0, none);
        Move(Reg.R3, Reg.R0);
        Copy(copy, new Mem(Reg.R3, 0), width);
        _a.Jump(end);
        _a.Bind(none);
        Clear(copy, width);
        _a.Bind(end);
        return new StringValue(null, copy, width, null);
    }

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
