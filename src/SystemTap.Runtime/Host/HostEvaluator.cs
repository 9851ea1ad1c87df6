using SystemTap.Bpf.Plan;
using SystemTap.Runtime.Host.Nodes;
using SystemTap.Runtime.Output;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Host;

/// <summary>How a handler run ended.</summary>
public enum HandlerResult
{
    Done,

    /// <summary>A run-time error nobody caught; see <see cref="HostEvaluator.LastError"/>.</summary>
    Failed,

    /// <summary><c>abort()</c>.</summary>
    Aborted,
}

/// <summary>
/// Runs the handlers that belong to stap itself (begin, end, timers, procfs, …), and finishes the prints of kernel handlers. Handlers are made
/// executable at their first run. One thread.
/// </summary>
public sealed class HostEvaluator
{
    private readonly NodeCompiler _compiler;
    private readonly Machine _machine;
    private readonly Dictionary<Probe, Act> _handlers = [];

    public HostEvaluator(LoweredProgram program, IGlobalStore store, IHostServices services)
    {
        _compiler = new NodeCompiler(program);
        _machine = new Machine(store, services, program.Limits);
    }

    /// <summary>Text of the last uncaught error, as people see it (without <c>ERROR: </c>).</summary>
    public string LastError { get; private set; } = "";

    /// <summary>Strings cut to MAXSTRINGLEN, and where the first was; null when none was.</summary>
    public (long Count, string? First) Cuts => (_machine.Cuts, _machine is { Cuts: > 0, FirstCut.IsWritten: true } ? _machine.FirstCut.ToString() : null);

    /// <summary>Makes a handler executable ahead of its event.</summary>
    public void Prepare(Probe probe) => Handler(probe);

    /// <summary>Runs a handler.</summary>
    public HandlerResult Run(Probe probe) => Run(probe, "");

    /// <summary>Runs the handler of a procfs write.</summary>
    /// <param name="probe">The probe.</param>
    /// <param name="written">What was written, already cut to a script string.</param>
    public HandlerResult Run(Probe probe, string written)
    {
        var handler = Handler(probe);
        _machine.Reset(probe, probe.Locals.Count);
        _machine.ProcfsText = written;
        try
        {
            handler.Run(_machine);
            return HandlerResult.Done;
        }
        catch (RuntimeError error)
        {
            LastError = ErrorText.Describe(error.Message, error.Span, _machine.Callers.AsSpan(0, Math.Min(_machine.Depth, _machine.Callers.Length)), probe.PointText);
            return HandlerResult.Failed;
        }
        catch (AbortSignal)
        {
            return HandlerResult.Aborted;
        }
    }

    /// <summary>Value of a string local after a run: <c>$value</c> of a procfs read.</summary>
    public string TextOf(Local local) => _machine.Texts[local.Index];

    /// <summary>Makes the arguments of a kernel handler's print executable.</summary>
    public PrintFinisher Finisher(PrintSite site)
    {
        if (site.Body is null)
        {
            return new(_machine, _compiler.Print(site), null, site);
        }

        var body = _compiler.Body(site);
        _machine.MaxNesting = _compiler.MaxNesting();
        return new(_machine, null, body, site);
    }

    /// <summary>Makes the keys of counts taken from a table of the kernel.</summary>
    public CountKeys Keys(CountTable table) => new(_machine, _compiler.Keys(table), table);

    private Act Handler(Probe probe)
    {
        if (!_handlers.TryGetValue(probe, out var handler))
        {
            handler = _compiler.Handler(probe);
            _handlers.Add(probe, handler);
            _machine.MaxNesting = _compiler.MaxNesting();
        }

        return handler;
    }
}

/// <summary>A value asks for a stack that did not fit in the ring: the print or statement is dropped.</summary>
internal sealed class LostStackSignal : Exception;

/// <summary>Evaluates and formats one print site of kernel handlers whose arguments are more than the values sent.</summary>
public sealed class PrintFinisher
{
    private readonly Machine _machine;
    private readonly FormatNode? _format;
    private readonly Act? _body;

    internal PrintFinisher(Machine machine, FormatNode? format, Act? body, PrintSite site)
    {
        _machine = machine;
        _format = format;
        _body = body;
        Longs = new long[site.Leaves.Count];
        Texts = new string[site.Leaves.Count];
    }

    /// <summary>The probe whose handler made the record: what pp() and pn() name.</summary>
    public Probe? Probe { get; set; }

    /// <summary>The record's numbers, by leaf; filled by the caller.</summary>
    public long[] Longs { get; }

    /// <summary>The record's strings, by leaf.</summary>
    public string[] Texts { get; }

    /// <summary>Appends the text; gives an error instead of raising it.</summary>
    public RuntimeError? Write(ByteSink sink)
    {
        _machine.Reset(Probe, _body is null ? 0 : Probe?.Locals.Count ?? 0);
        _machine.LeafLongs = Longs;
        _machine.LeafTexts = Texts;
        var start = sink.Length;
        try
        {
            if (_body is not null)
            {
                _body.Run(_machine);
                return null;
            }

            _format!.Write(_machine, sink);
            return null;
        }
        catch (LostStackSignal)
        {
            // Counted by the kernel's side when it was lost.
            if (_body is null)
            {
                sink.CutTo(start);
            }

            return null;
        }
        catch (AbortSignal)
        {
            _machine.Services.RequestExit();
            return null;
        }
        catch (RuntimeError error)
        {
            if (_body is null)
            {
                sink.CutTo(start);
            }

            return error;
        }
    }
}

/// <summary>Makes keys of an array from those of the table in which the kernel counts for it.</summary>
public sealed class CountKeys
{
    private readonly Machine _machine;
    private readonly KeyNodes _keys;

    internal CountKeys(Machine machine, KeyNodes keys, CountTable table)
    {
        (_machine, _keys) = (machine, keys);
        Longs = new long[table.Table.KeyTypes.Count];
        Texts = new string[Longs.Length];
    }

    /// <summary>The table's numbers, by key; filled by the caller.</summary>
    public long[] Longs { get; }

    /// <summary>The table's texts and stacks, by key.</summary>
    public string[] Texts { get; }

    /// <summary>The array's key.</summary>
    /// <exception cref="RuntimeError">It cannot be made.</exception>
    public ArrayKey Make()
    {
        _machine.Reset(null, 0);
        _machine.LeafLongs = Longs;
        _machine.LeafTexts = Texts;
        var key = _keys.Evaluate(_machine);
        var made = new ArrayKey([.. key]);
        _machine.Release(key);
        return made;
    }
}
