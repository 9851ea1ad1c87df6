using System.Runtime.InteropServices;
using System.Text;
using SystemTap.Bpf.Plan;
using SystemTap.Runtime.Host;
using SystemTap.Runtime.Native;
using SystemTap.Semantics.Tapsets;
using SystemTap.Targets;

namespace SystemTap.Runtime.Sessions;

/// <summary>What handlers ask of the session.</summary>
public sealed partial class Session : IHostServices
{
    /// <inheritdoc/>
    public long TargetPid { get; private set; }

    /// <inheritdoc/>
    public string ModuleName { get; }

    /// <inheritdoc/>
    public IReadOnlyList<string> Arguments => _options.Arguments;

    /// <inheritdoc/>
    public NameTables Tables { get; }

    /// <inheritdoc/>
    public IMemoryReader Memory => _peek ??= new PeekService();

    /// <inheritdoc/>
    public long TaskFromPid(long tid) => (_tasks ??= new TaskTree(_options.Target ?? Target.Live(), Memory)).Find(tid);

    private TaskTree? _tasks;

    /// <inheritdoc/>
    public ISymbols Symbols => SymbolService;

    private SymbolService SymbolService => _symbols ??= new SymbolService(_options.Target)
    {
        FollowsModules = _plan.Programs.Any(static p => p.Attach is AttachPlan.KernelFunctions { Places: var places } && places.Any(static place => place.Module is not null)),
    };

    private SymbolService? _symbols;

    /// <summary>A user stack has arrived: it is unwound now, because the record's memory is the kernel's again afterwards.</summary>
    internal void TakeSnapshot(ReadOnlySpan<byte> record) => SymbolService.Snapshot(record, _plan.Program.Limits.MaxBackTrace);

    /// <inheritdoc/>
    public string? SyscallName(long number) => _options.SyscallName(number);

    /// <inheritdoc/>
    public bool InTargetSet(long pid) => TargetPid != 0 && (_kernel?.TargetSetContains(pid) ?? _targets.Contains((int)pid));

    /// <inheritdoc/>
    public void RequestExit()
    {
        _exitRequested = true;
        _kernel?.StopHandlers();
    }

    /// <inheritdoc/>
    public void Print(ReadOnlySpan<byte> text)
    {
        if (!_inStart)
        {
            Drain();
        }

        _output.Write(text);
    }

    /// <inheritdoc/>
    public void Warn(string text) => Complain(text);

    /// <inheritdoc/>
    public void System(string command)
    {
        _output.Flush();
        try
        {
            _systemPids.Add(ChildCommand.Spawn(command));
        }
        catch (IOException error)
        {
            Complain(error.Message);
        }
    }

    /// <inheritdoc/>
    public void Printk(long level, string text) => ToKernel("/dev/kmsg", $"<{level & 7}>{text}\n");

    /// <inheritdoc/>
    public void Ftrace(string text)
    {
        var path = File.Exists("/sys/kernel/tracing/trace_marker") ? "/sys/kernel/tracing/trace_marker" : "/sys/kernel/debug/tracing/trace_marker";
        ToKernel(path, text);
    }

    /// <inheritdoc/>
    public void SwitchFile() => _output.SwitchFile();

    /// <summary>abort() of a kernel handler.</summary>
    internal void Abort() => RequestExit();

    // Written whole in one call: both files take one call as one record.
    private void ToKernel(string path, string text)
    {
        var fd = Libc.open(path, Libc.OpenWriteOnly | Libc.OpenCloseOnExec, 0);
        if (fd < 0)
        {
            Complain($"\"{path}\" cannot be written: {Marshal.GetLastPInvokeErrorMessage()}");
            return;
        }

        Libc.WriteAll(fd, Encoding.Latin1.GetBytes(text));
        Libc.close(fd);
    }
}
