using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Runtime.Host;
using SystemTap.Runtime.Output;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Sessions;

// Records of kernel handlers: RecordKind says what they are, BpfPlan how they are laid out. A print whose arguments are just the values sent is
// formatted straight from the ring's memory into the output buffer: no string, no array, no allocation. Where an argument is an expression over
// the values (a deferred table look-up, say) the evaluator finishes it.

/// <summary>Turns ring records into output and requests to the session.</summary>
public sealed class RecordReader
{
    private const int MostLeaves = 64;

    private sealed class Site
    {
        public required PrintSite Plan { get; init; }

        public required FormatSegment[] Segments { get; init; }

        /// <summary>Leaf of each argument; null when an argument is more than a leaf.</summary>
        public required int[]? Direct { get; init; }

        public required ScriptType[] Leaves { get; init; }

        public PrintFinisher? Finisher { get; set; }
    }

    private readonly BpfPlan _plan;
    private readonly OutputStream _output;
    private readonly HostEvaluator _evaluator;
    private readonly Session _session;
    private readonly Site[] _sites;

    internal RecordReader(BpfPlan plan, OutputStream output, HostEvaluator evaluator, Session session)
    {
        (_plan, _output, _evaluator, _session) = (plan, output, evaluator, session);
        _sites = new Site[plan.PrintSites.Count];
        for (var i = 0; i < _sites.Length; i++)
        {
            _sites[i] = Prepare(plan.PrintSites[i]);
        }
    }

    /// <summary>Records that did not have the promised form; always a fault of ours.</summary>
    public long Malformed { get; private set; }

    // A statement that stap ran has ended the session: what is left was made by handlers that would not have started. Only then; after exit() in the kernel itself those that
    // were running may finish.
    private bool _hasEnded;

    /// <summary>Handles one record.</summary>
    public void Read(ReadOnlySpan<byte> record)
    {
        if (record.Length < 8)
        {
            Malformed++;
            return;
        }

        var head = BinaryPrimitives.ReadUInt32LittleEndian(record);
        var site = (int)(head & 0xffffff);
        var probe = (int)BinaryPrimitives.ReadUInt32LittleEndian(record[4..]);
        var values = record[8..];
        if (_hasEnded)
        {
            if ((int)(head >> 24) == RecordKind.Error)
            {
                _session.ForgetError();
            }

            return;
        }

        switch ((int)(head >> 24))
        {
            case RecordKind.Print when site < _sites.Length:
                Print(_sites[site], probe, values);
                break;
            case RecordKind.Warn:
                _session.Warn(TakeText(ref values));
                break;
            case RecordKind.Error when site < _plan.ErrorSites.Count:
                Error(_plan.ErrorSites[site], probe, values);
                break;
            case RecordKind.Exit:
                _session.RequestExit();
                break;
            case RecordKind.System:
                _session.System(TakeText(ref values));
                break;
            case RecordKind.Abort:
                _session.Abort();
                break;
            case RecordKind.Printk:
            {
                var level = TakeLong(ref values);
                _session.Printk(level, TakeText(ref values));
                break;
            }

            case RecordKind.Ftrace:
                _session.Ftrace(TakeText(ref values));
                break;
            case RecordKind.SwitchFile:
                _session.SwitchFile();
                break;
            case RecordKind.UserStack when record.Length >= StackSnapshot.Stack:
                _session.TakeSnapshot(record);
                break;
            default:
                Malformed++;
                break;
        }
    }

    private static Site Prepare(PrintSite plan)
    {
        var direct = plan.Leaves.Count > MostLeaves || plan.Body is not null ? null : new int[plan.Arguments.Count];
        for (var i = 0; direct is not null && i < direct.Length; i++)
        {
            if (plan.Arguments[i] is LeafExpr leaf)
            {
                direct[i] = leaf.Index;
            }
            else
            {
                direct = null;
            }
        }

        return new Site { Plan = plan, Segments = [.. plan.Segments], Direct = direct, Leaves = [.. plan.Leaves] };
    }

    private void Print(Site site, int probe, ReadOnlySpan<byte> values)
    {
        if (site.Direct is not { } direct)
        {
            Finish(site, probe, values);
            return;
        }

        // Where each value lies: offset and length in the record.
        Span<int> offsets = stackalloc int[MostLeaves];
        Span<int> lengths = stackalloc int[MostLeaves];
        var at = 0;
        for (var i = 0; i < site.Leaves.Length; i++)
        {
            if (at + 8 > values.Length)
            {
                Malformed++;
                return;
            }

            if (site.Leaves[i] == ScriptType.String)
            {
                lengths[i] = BinaryPrimitives.ReadInt32LittleEndian(values[at..]);
                offsets[i] = at + 8;
                if ((uint)lengths[i] > (uint)(values.Length - offsets[i]))
                {
                    Malformed++;
                    return;
                }

                at += 8 + ((lengths[i] + 7) & ~7);
            }
            else
            {
                offsets[i] = at;
                at += 8;
            }
        }

        var sink = _output.Buffer;
        var next = 0;
        foreach (var segment in site.Segments)
        {
            if (segment.Conversion == FormatConversion.Literal)
            {
                sink.Append(segment.Text);
                continue;
            }

            long width = segment.WidthKind switch { FormatSize.Fixed => segment.Width, FormatSize.Dynamic => Long(values, offsets[direct[next++]]), _ => 0 };
            long precision = segment.PrecisionKind switch { FormatSize.Fixed => segment.Precision, FormatSize.Dynamic => Long(values, offsets[direct[next++]]), _ => -1 };
            var leaf = direct[next++];
            var isText = site.Leaves[leaf] == ScriptType.String;
            if (segment.Conversion is FormatConversion.Memory or FormatConversion.MemoryHex && isText)
            {
                Formatter.Memory(sink, segment, width, values.Slice(offsets[leaf], lengths[leaf]));
            }
            else if (isText)
            {
                Formatter.Text(sink, segment, width, precision, values.Slice(offsets[leaf], lengths[leaf]));
            }
            else
            {
                Formatter.Number(sink, segment, width, precision, Long(values, offsets[leaf]));
            }
        }

        _output.Written();
    }

    private void Finish(Site site, int probe, ReadOnlySpan<byte> values)
    {
        var finisher = site.Finisher ??= _evaluator.Finisher(site.Plan);
        for (var i = 0; i < site.Leaves.Length; i++)
        {
            if (site.Leaves[i] == ScriptType.String)
            {
                finisher.Texts[i] = TakeText(ref values);
            }
            else
            {
                finisher.Longs[i] = TakeLong(ref values);
            }
        }

        finisher.Probe = (uint)probe < (uint)_plan.Program.Probes.Count ? _plan.Program.Probes[probe] : null;
        if (finisher.Write(_output.Buffer) is { } error)
        {
            _session.CountError(ErrorText.Describe(error.Message, error.Span, [], PointOf(probe)));
        }
        else
        {
            _output.Written();
        }

        _hasEnded = _session.Stopping;
    }

    private void Error(ErrorSite site, int probe, ReadOnlySpan<byte> values)
    {
        var number = TakeLong(ref values);
        var callers = Callers((ulong)TakeLong(ref values));
        var text = TakeText(ref values);
        var message = site.MessageFormat
            .Replace("{0}", "0x" + number.ToString("x16", CultureInfo.InvariantCulture), StringComparison.Ordinal)
            .Replace("{1}", number.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal)
            .Replace("{s}", text, StringComparison.Ordinal);
        _session.ReportError(ErrorText.Describe(message, site.Span, callers, PointOf(probe)));
    }

    // The innermost call is the highest number; the list starts with the outermost.
    private SourceSpan[] Callers(ulong packed)
    {
        var callers = new List<SourceSpan>();
        for (; packed != 0; packed >>= 16)
        {
            if ((int)(packed & 0xffff) is > 0 and var number && number <= _plan.CallSites.Count)
            {
                callers.Add(_plan.CallSites[number - 1]);
            }
        }

        return [.. callers];
    }

    private string PointOf(int probe) => (uint)probe < (uint)_plan.Program.Probes.Count ? _plan.Program.Probes[probe].PointText : "?";

    private static long Long(ReadOnlySpan<byte> values, int offset) => BinaryPrimitives.ReadInt64LittleEndian(values[offset..]);

    private long TakeLong(ref ReadOnlySpan<byte> values)
    {
        if (values.Length < 8)
        {
            Malformed++;
            return 0;
        }

        var value = BinaryPrimitives.ReadInt64LittleEndian(values);
        values = values[8..];
        return value;
    }

    private string TakeText(ref ReadOnlySpan<byte> values)
    {
        var length = values.Length < 8 ? -1 : BinaryPrimitives.ReadInt32LittleEndian(values);
        if (length < 0 || length > values.Length - 8)
        {
            Malformed++;
            return "";
        }

        var text = Encoding.Latin1.GetString(values.Slice(8, length));
        values = values[Math.Min(values.Length, 8 + ((length + 7) & ~7))..];
        return text;
    }
}
