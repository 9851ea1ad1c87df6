using SystemTap.Semantics.Tapsets;

namespace SystemTap.Runtime.Host;

/// <summary>Reads memory on behalf of handlers that run in stap.</summary>
public interface IMemoryReader
{
    /// <summary>Fills the span from a kernel address; false on a fault.</summary>
    bool ReadKernel(ulong address, Span<byte> into);

    /// <summary>Fills the span from a user address of stap's own process; false on a fault.</summary>
    bool ReadUser(ulong address, Span<byte> into);

    /// <summary>Address of stap's own task_struct; 0 when it cannot be had.</summary>
    ulong CurrentTask();
}

/// <summary>Names of addresses of the kernel and of processes.</summary>
public interface ISymbols
{
    /// <summary>The name of the symbol a kernel address lies in, else the address in hexadecimal.</summary>
    string KernelName(ulong address);

    /// <summary><c>name+0x1/0x2 [module]</c>, as much of it as is known.</summary>
    string KernelData(ulong address);

    /// <summary>Module of a kernel address, "kernel" for the kernel itself; null when it is neither's.</summary>
    string? KernelModule(ulong address);

    /// <summary>Source place of a kernel address, <c>file:line</c>; null when it is not known.</summary>
    string? KernelPlace(ulong address);

    /// <summary>The name of the symbol an address of a process lies in, else the address in hexadecimal.</summary>
    string UserName(long process, ulong address);

    /// <summary><c>name+0x1/0x2 [file]</c>, as much of it as is known.</summary>
    /// <param name="process">Whose memory.</param>
    /// <param name="address">The address.</param>
    /// <param name="isCaller">It is where a call returns to: behind a call that never returns it may be the end of the function.</param>
    string UserData(long process, ulong address, bool isCaller = false);

    /// <summary>The file mapped at an address of a process; null when none is.</summary>
    string? UserModule(long process, ulong address);

    /// <summary>Source place of an address of a process, <c>file:line</c>; null when it is not known.</summary>
    string? UserPlace(long process, ulong address);

    /// <summary>The calls around an address of a process that the compiler replaced by copies of the functions, innermost first; empty when none is known.</summary>
    /// <param name="process">Whose memory.</param>
    /// <param name="address">The address that is shown.</param>
    /// <param name="lookedUp">The address whose copies are meant: of a caller, one within its call.</param>
    IReadOnlyList<InlinedFrame> UserInlined(long process, ulong address, ulong lookedUp);

    /// <summary>The same of a kernel address.</summary>
    /// <param name="address">The address that is shown.</param>
    /// <param name="lookedUp">The address whose copies are meant: of a caller, one within its call.</param>
    IReadOnlyList<InlinedFrame> KernelInlined(ulong address, ulong lookedUp);

    /// <summary>Whether the next frame outwards of one at this address did not call it but was interrupted, by a signal.</summary>
    bool IsSignalFrame(long process, ulong address, ulong lookedUp);

    /// <summary>Whether a kernel address belongs to the machinery that runs handlers (BPF programs and what calls them).</summary>
    bool IsProbeMachinery(ulong address);

    /// <summary>The addresses of a stack that was sent before; empty when it is not known.</summary>
    IReadOnlyList<ulong> TakeStack(long snapshot);
}

/// <summary>A call within a frame that the compiler replaced by a copy of the function.</summary>
/// <param name="Data"><c>name+0x1/0x2 [file]</c>: the distance from the beginning of the copy, and its size.</param>
/// <param name="Call">Source place of the call, <c>file:line</c>; null when it is not known.</param>
public readonly record struct InlinedFrame(string Data, string? Call);

/// <summary>What handlers that run in stap ask of the session. The session's one seam, so that the evaluator is tested without one.</summary>
public interface IHostServices
{
    /// <summary>Writes to the session's output, after everything kernel handlers printed before.</summary>
    void Print(ReadOnlySpan<byte> text);

    /// <summary><c>WARNING: text</c> on standard error.</summary>
    void Warn(string text);

    /// <summary>Runs a shell command without waiting for it.</summary>
    void System(string command);

    /// <summary>Writes to the kernel's log.</summary>
    void Printk(long level, string text);

    /// <summary>Writes to the ftrace buffer.</summary>
    void Ftrace(string text);

    /// <summary>Starts the next output file.</summary>
    void SwitchFile();

    /// <summary><c>exit()</c>: the current handler finishes, no new one starts.</summary>
    void RequestExit();

    /// <summary>Pid of -x or -c, else 0.</summary>
    long TargetPid { get; }

    string ModuleName { get; }

    /// <summary>Arguments of the script.</summary>
    IReadOnlyList<string> Arguments { get; }

    /// <summary>Whether the process descends from the target.</summary>
    bool InTargetSet(long pid);

    /// <summary>Name of a system call in the native table, null when unknown.</summary>
    string? SyscallName(long number);

    IMemoryReader Memory { get; }

    /// <summary>Address of the kernel's task_struct with a thread id; 0 when there is none.</summary>
    long TaskFromPid(long tid);

    /// <summary>Names of addresses, and unwound stacks.</summary>
    ISymbols Symbols { get; }

    /// <summary>Value tables of the tapset.</summary>
    NameTables Tables { get; }
}
