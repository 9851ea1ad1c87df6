using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Runtime.Output;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Host.Nodes;

/// <summary>A printf format with its arguments. All arguments are evaluated before anything is written, since they may print themselves.</summary>
internal sealed class FormatNode(FormatSegment[] segments, Node[] arguments, bool[] isText, SourceSpan span) : Node(span)
{
    private const int PageSize = 4096;

    public override string Text(Machine m)
    {
        var sink = new ByteSink(128);
        Write(m, sink);
        var text = sink.ToString();
        var end = text.IndexOf('\0');
        return m.Cut(Span, end < 0 ? text : text[..end]);
    }

    public void Write(Machine m, ByteSink sink)
    {
        var first = m.Reserve(arguments.Length);
        var start = sink.Length;
        for (var i = 0; i < arguments.Length; i++)
        {
            if (isText[i])
            {
                var text = arguments[i].Text(m);
                m.Texts[first + i] = text;
            }
            else
            {
                var value = arguments[i].Long(m);
                m.Longs[first + i] = value;
            }
        }

        // A print among the arguments used the same scratch.
        sink.CutTo(start);
        var at = first;
        foreach (var segment in segments)
        {
            if (segment.Conversion == FormatConversion.Literal)
            {
                sink.Append(segment.Text);
                continue;
            }

            long width = segment.WidthKind switch { FormatSize.Fixed => segment.Width, FormatSize.Dynamic => m.Longs[at++], _ => 0 };
            long precision = segment.PrecisionKind switch { FormatSize.Fixed => segment.Precision, FormatSize.Dynamic => m.Longs[at++], _ => -1 };
            switch (segment.Conversion)
            {
                case FormatConversion.String:
                    Formatter.Text(sink, segment, width, precision, m.Texts[at++].AsSpan());
                    break;
                case FormatConversion.Memory or FormatConversion.MemoryHex when isText[at - first]:
                    // A kernel handler took the bytes already.
                    Formatter.Memory(sink, segment, width, System.Text.Encoding.Latin1.GetBytes(m.Texts[at++]));
                    break;
                case FormatConversion.Memory or FormatConversion.MemoryHex:
                    WriteMemory(m, sink, segment, width, precision < 0 ? 1 : precision, (ulong)m.Longs[at++]);
                    break;
                default:
                    Formatter.Number(sink, segment, width, precision, m.Longs[at++]);
                    break;
            }
        }

        m.Top = first;
    }

    private void WriteMemory(Machine m, ByteSink sink, FormatSegment segment, long width, long count, ulong address)
    {
        if (count > PageSize)
        {
            throw new RuntimeError($"%{(segment.Conversion == FormatConversion.Memory ? 'm' : 'M')} of {count} bytes is more than a page ({PageSize})", Span);
        }

        Span<byte> bytes = stackalloc byte[(int)count];
        var memory = m.Services.Memory;
        var done = count == 0 || (segment.Flag == FormatFlag.Alternate ? memory.ReadUser(address, bytes) : memory.ReadKernel(address, bytes));
        if (!done)
        {
            throw new RuntimeError($"read fault at 0x{address:x16}", Span);
        }

        Formatter.Memory(sink, segment, width, bytes);
    }
}
