using SystemTap.Runtime.Host;
using SystemTap.Semantics.Tapsets;

namespace SystemTap.Tests.Runtime;

/// <summary>Services for an evaluator without a session.</summary>
internal sealed class NoServices : IHostServices, IMemoryReader
{
    public StringWriter Output { get; } = new();

    public void Print(ReadOnlySpan<byte> text) => Output.Write(global::System.Text.Encoding.Latin1.GetString(text));

    public void Warn(string text) => Output.WriteLine("WARNING: " + text);

    public void System(string command) => throw new NotSupportedException();

    public void Printk(long level, string text) => throw new NotSupportedException();

    public void Ftrace(string text) => throw new NotSupportedException();

    public long TaskFromPid(long tid) => throw new NotSupportedException();

    public void SwitchFile() => throw new NotSupportedException();

    public void RequestExit() => ExitRequested = true;

    public bool ExitRequested { get; private set; }

    public long TargetPid => 0;

    public string ModuleName => "test";

    public IReadOnlyList<string> Arguments => [];

    public bool InTargetSet(long pid) => false;

    public string? SyscallName(long number) => null;

    public IMemoryReader Memory => this;

    public ISymbols Symbols => throw new NotSupportedException();

    public NameTables Tables { get; } = new([], "x86_64");

    public bool ReadKernel(ulong address, Span<byte> into) => false;

    public bool ReadUser(ulong address, Span<byte> into) => false;

    public ulong CurrentTask() => 0;
}
