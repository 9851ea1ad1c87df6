namespace SystemTap.Runtime.Sessions;

/// <summary>What the command line asks of a session.</summary>
public sealed record SessionOptions
{
    /// <summary><c>-c</c>: command to run; the session ends with it.</summary>
    public string? Command { get; init; }

    /// <summary><c>-x</c>: process that target() means; 0 for none.</summary>
    public int TargetPid { get; init; }

    /// <summary><c>-o</c>: output file with strftime directives; null for standard output.</summary>
    public string? OutputFile { get; init; }

    /// <summary><c>-S</c>: bytes at which the next output file starts; 0 never.</summary>
    public long RotateBytes { get; init; }

    /// <summary><c>-S SIZE,N</c>: files kept; 0 all.</summary>
    public int RotateKeep { get; init; }

    /// <summary><c>-T</c>: ends the session after so long; null never.</summary>
    public TimeSpan? Timeout { get; init; }

    /// <summary><c>-t</c>: table of run times at the end.</summary>
    public bool Timing { get; init; }

    /// <summary><c>-v</c> count.</summary>
    public int Verbosity { get; init; }

    /// <summary><c>-w</c>: no warnings.</summary>
    public bool SuppressWarnings { get; init; }

    /// <summary><c>--suppress-handler-errors</c></summary>
    public bool SuppressHandlerErrors { get; init; }

    /// <summary>False for <c>--no-global-var-display</c>.</summary>
    public bool ShowGlobals { get; init; } = true;

    /// <summary><c>-F -o</c>: this process leaves the terminal when all probes are live; later messages go into the output file.</summary>
    public bool InBackground { get; init; }

    /// <summary>Arguments of the script.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary><c>-m</c>, or null: <c>stap_PID</c>.</summary>
    public string? ModuleName { get; init; }

    /// <summary>Folders with value tables: <c>tapset/tables</c> of the library.</summary>
    public IReadOnlyList<string> TableFolders { get; init; } = [];

    /// <summary>The kernel's name of the architecture, for tables that differ.</summary>
    public string Architecture { get; init; } = System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.Arm64 ? "arm64" : "x86_64";

    /// <summary>Name of the local time zone, for module sessions.</summary>
    public string TimeZoneName { get; init; } = "UTC";

    /// <summary>Bytes of the output ring (<c>-s MB</c>), a power of two; 0: what the plan says.</summary>
    public int RingBytes { get; init; }

    /// <summary>The option that sets it, as messages name it.</summary>
    public string BufferOption { get; init; } = "-s";

    /// <summary>Names of system calls by number, in the native table.</summary>
    public Func<long, string?> SyscallName { get; init; } = static _ => null;

    /// <summary>The machine, for names of addresses; null: the running one, looked at when needed.</summary>
    public SystemTap.Targets.Target? Target { get; init; }

    /// <summary>Called by the session's thread when all probes are live; the session ends after it instead of waiting. For tests that make their own events.</summary>
    internal Action? WhenLive { get; init; }

    /// <summary>Milliseconds that a module's output may wait in its buffers; 0: as the session sees fit.</summary>
    public int LongestDelay { get; init; }

    /// <summary>Globals of a module that get another value before it starts: NAME=VALUE each.</summary>
    public IReadOnlyList<string> GlobalValues { get; init; } = [];

    /// <summary>Where warnings and errors go; null: standard error.</summary>
    public Action<string>? Diagnostics { get; init; }
}
