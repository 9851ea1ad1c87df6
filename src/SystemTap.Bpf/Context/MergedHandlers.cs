using System.Buffers.Binary;
using System.Text;
using Linux.Bpf;
using SystemTap.Bpf.Analysis;
using SystemTap.Bpf.Deferral;
using SystemTap.Bpf.Emit;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Context;

/// <summary>Handlers of one shape (<see cref="HandlerShape"/>) made into one body, with a table row by number that holds what differs.</summary>
internal class MergedHandlers
{
    public required HandlerShape Shape { get; init; }

    /// <summary>Probe and constants for each number.</summary>
    public List<(Probe Probe, HandlerShape Shape, int Number)> Members { get; } = [];

    public Stmt Body { get; private set; } = BlockStmt.Empty;

    public Probe First => Members[0].Probe;

    /// <summary>Map of rows; −1 with one member, which needs none.</summary>
    public int Table { get; private set; } = -1;

    public List<RowColumn> Columns { get; } = [];

    public int ProbeColumn { get; private set; } = -1;

    /// <summary>Replaces what differs by columns and makes the table.</summary>
    public void Prepare(Compilation c, BodyRewriter rewriter)
    {
        if (Members.Count == 1)
        {
            Body = rewriter.Rewrite(First.Body);
            return;
        }

        // Row: word 0 says served; then the probe's index; then the columns.
        ProbeColumn = 0;
        Columns.Add(new RowColumn(ScriptType.Long, 8, 8));
        var size = 16;
        var replacements = new Dictionary<Expr, Expr>(ReferenceEqualityComparer.Instance);
        var differing = new List<int>();
        for (var h = 0; h < Shape.Holes.Count; h++)
        {
            var same = true;
            var longest = 0;
            foreach (var (_, shape, _) in Members)
            {
                same &= shape.Values[h].Equals(Shape.Values[h]);
                longest = Math.Max(longest, shape.Values[h] is string s ? s.Length : 0);
            }

            var hole = Shape.Holes[h];
            if (same)
            {
                continue;
            }

            var column = new RowColumn(hole.Type, size, hole.Type == ScriptType.Long ? 8 : Capacities.BufferFor(longest));
            size += column.Capacity;
            replacements[hole] = new ColumnExpr(Columns.Count, hole.Type, hole.Span) { Length = longest };
            Columns.Add(column);
            differing.Add(h);
        }

        // A local of the merged handler must hold the longest of all.
        foreach (var (_, shape, _) in Members)
        {
            for (var i = 0; i < shape.Locals.Count; i++)
            {
                c.Capacities.AtLeast(Shape.Locals[i], c.Capacities.Of(shape.Locals[i]));
            }
        }

        var top = 0;
        foreach (var (_, _, number) in Members)
        {
            top = Math.Max(top, number);
        }

        var contents = new byte[(top + 1) * size];
        foreach (var (probe, shape, number) in Members)
        {
            var row = contents.AsSpan(number * size, size);
            row[0] = 1;
            BinaryPrimitives.WriteInt64LittleEndian(row[8..], probe.Index);
            for (var i = 0; i < differing.Count; i++)
            {
                var at = row[Columns[i + 1].Offset..];
                if (shape.Values[differing[i]] is string text)
                {
                    Encoding.Latin1.GetBytes(text, at);
                }
                else
                {
                    BinaryPrimitives.WriteInt64LittleEndian(at, (long)shape.Values[differing[i]]);
                }
            }
        }

        Table = c.Maps.Add(ProgramEmitter.MapName("r_", First.Name), MapType.Array, 4, size, top + 1, MapFlags.None, contents);
        Body = rewriter.Rewrite(new NodeReplacer(replacements).Replace(First.Body));
    }
}
