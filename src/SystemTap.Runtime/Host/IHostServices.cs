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

    /// <summary>Value tables of the tapset.</summary>
    NameTables Tables { get; }
}
