using System.Runtime.InteropServices;
using System.Text;
using SystemTap.Language.Text;
using SystemTap.Runtime.Native;

namespace SystemTap.Runtime.Sessions;

/// <summary>
/// The command of <c>-c</c>. It is started stopped, so that its pid is known and every probe is live before its first instruction: a <see cref="Holder"/> stops
/// itself and execs the command when told to go on. The pid stays the same; all that the probes see of the holder is the exec.
/// Deliberately not fork(): a managed process must not run code in a forked child.
/// </summary>
internal sealed class ChildCommand : IDisposable
{
    private const string Shell = "/bin/sh";

    private bool _ended;

    private ChildCommand(int pid)
    {
        Pid = pid;

        // pidfd_open(2), 434 on every architecture, Linux 5.3: readable when the process ends.
        Descriptor = (int)Libc.syscall(434, pid, 0);
    }

    public int Pid { get; }

    /// <summary>Readable when the command has ended; −1 on kernels without pidfds.</summary>
    public int Descriptor { get; private set; }

    /// <summary>Wait status of the ended command.</summary>
    public int Status { get; private set; }

    /// <summary>Starts the command and waits until it stands still.</summary>
    /// <exception cref="IOException">It cannot be started.</exception>
    public static ChildCommand Start(string command)
    {
        // Words alone need no shell of their own. Anything else runs in a shell, so that the shell is the target, and the command itself where the shell hands its process over.
        var words = command.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
        var path = IsSimple(command) && !IsBuiltin(words[0]) ? PathOf(ByteText.ToText(words[0])) : null;
        using (var holder = Holder.Create())
        {
            if (holder is not null && Held(Begin(holder.Path, path, words, command), out _) is { } held)
            {
                return held;
            }
        }

        // Where memory cannot be executed: a shell stops itself and becomes the command.
        var pid = Spawn("kill -STOP $$; exec " + (path is null ? Shell + " -c " + Quoted(command) : command));
        return Held(pid, out var status) ?? throw new IOException($"command \"{command}\" could not be held at its start (wait status {status}); check that {Shell} works");
    }

    /// <summary>Starts the holder, which is to become the command; -1 when it cannot be started.</summary>
    /// <param name="holder">Its path.</param>
    /// <param name="path">The command's program; null when a shell is to run the command.</param>
    /// <param name="words">Of the command.</param>
    /// <param name="command">As written.</param>
    private static int Begin(string holder, string? path, string[] words, string command)
    {
        if (path is null)
        {
            return Spawn(holder, [holder, Shell, "sh", "-c", command], out _);
        }

        // What the kernel does not execute, shells do: a script without its first line.
        var file = Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(path));
        string[] program = Executes(path) ? [file, words[0]] : [Shell, "sh", file];

        // Quotes, variables and patterns are the shell's business; then it becomes the holder.
        return command.AsSpan().IndexOfAny("\"'\\$*?[~#!") >= 0
            ? Spawn($"exec {holder} {string.Join(' ', program.Select(Quoted))}{command.TrimStart()[words[0].Length..]}")
            : Spawn(holder, [holder, .. program, .. words[1..]], out _);
    }

    private static unsafe ChildCommand? Held(int pid, out int status)
    {
        int waited;
        status = 0;
        fixed (int* result = &status)
        {
            waited = pid < 0 ? -1 : Libc.waitpid(pid, result, 2 /* WUNTRACED */);
        }

        return waited == pid && (status & 0xff) == 0x7f ? new ChildCommand(pid) : null;
    }

    private static string Quoted(string word) => "'" + word.Replace("'", "'\\''", StringComparison.Ordinal) + "'";

    /// <summary>True for ELF files and scripts that name their interpreter.</summary>
    private static bool Executes(string path)
    {
        Span<byte> start = stackalloc byte[4];
        try
        {
            using var file = File.OpenHandle(path);
            return RandomAccess.Read(file, start, 0) >= 2 && (start.SequenceEqual("\u007fELF"u8) || start.StartsWith("#!"u8));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return true; // it may be executable without being readable
        }
    }

    /// <summary>Runs a shell command in byte form, not waited for; the caller reaps it.</summary>
    /// <exception cref="IOException">No shell.</exception>
    public static int Spawn(string script)
    {
        var pid = Spawn(Shell, ["sh", "-c", script], out var error);
        return pid >= 0 ? pid : throw new IOException($"{Shell} cannot be started: {Marshal.GetPInvokeErrorMessage(error)}");
    }

    /// <summary>Starts a program with words in byte form; -1 and an error number when that fails.</summary>
    private static unsafe int Spawn(string path, string[] words, out int error)
    {
        var bytes = new byte[words.Sum(static w => w.Length + 1)];
        var arguments = stackalloc byte*[words.Length + 1];

        // The child must not inherit ignored SIGPIPE (.NET ignores it) or a blocked mask.
        var attributes = stackalloc byte[512];
        Libc.posix_spawnattr_init(attributes);
        var none = stackalloc ulong[16];
        var all = stackalloc ulong[16];
        for (var i = 0; i < 16; i++)
        {
            none[i] = 0;
            all[i] = i == 0 ? (1UL << (Libc.SigPipe - 1)) | (1UL << (Libc.SigInt - 1)) | (1UL << (Libc.SigQuit - 1)) | (1UL << (Libc.SigTerminate - 1)) | (1UL << (Libc.SigHup - 1)) : 0;
        }

        Libc.posix_spawnattr_setsigmask(attributes, none);
        Libc.posix_spawnattr_setsigdefault(attributes, all);
        Libc.posix_spawnattr_setflags(attributes, 0x04 | 0x08);
        int pid;
        fixed (byte* text = bytes)
        {
            var at = 0;
            for (var i = 0; i < words.Length; i++)
            {
                arguments[i] = text + at;
                at += Encoding.Latin1.GetBytes(words[i], bytes.AsSpan(at)) + 1;
            }

            arguments[words.Length] = null;
            error = Libc.posix_spawn(&pid, path, null, attributes, arguments, Libc.Environment());
        }

        return error == 0 ? pid : -1;
    }

    /// <summary>Lets the command go.</summary>
    public void Release() => Libc.kill(Pid, Libc.SigContinue);

    /// <summary>True once the command has ended; <see cref="Status"/> is then valid.</summary>
    public unsafe bool HasEnded()
    {
        if (!_ended)
        {
            int status;
            if (Libc.waitpid(Pid, &status, 1 /* WNOHANG */) == Pid && (status & 0xff) != 0x7f)
            {
                (_ended, Status) = (true, status);
            }
        }

        return _ended;
    }

    /// <summary>What went wrong with the command, null when it ended well.</summary>
    public string? Complaint() => (Status & 0x7f) switch
    {
        0 when Status >> 8 == 0 => null,
        0 => $"Child process exited with status {Status >> 8}",
        var signal => $"Child process exited with signal {signal} ({SignalName(signal)})",
    };

    /// <summary>Ends a command that still runs, and closes.</summary>
    public unsafe void Dispose()
    {
        if (!HasEnded())
        {
            Libc.kill(Pid, Libc.SigTerminate);
            Libc.kill(Pid, Libc.SigContinue);
            for (var i = 0; i < 50 && !HasEnded(); i++)
            {
                Thread.Sleep(10);
            }

            if (!HasEnded())
            {
                Libc.kill(Pid, Libc.SigKill);
                int status;
                Libc.waitpid(Pid, &status, 0);
                _ended = true;
            }
        }

        if (Descriptor >= 0)
        {
            Libc.close(Descriptor);
            Descriptor = -1;
        }
    }

    /// <summary>True for words alone, quoted or not: the starting shell can become the command. Metacharacters inside quotes are text.</summary>
    private static bool IsSimple(string command)
    {
        var quote = '\0';
        for (var i = 0; i < command.Length; i++)
        {
            var c = command[i];
            if (c == '\\' && quote != '\'')
            {
                i++;
            }
            else if (quote != '\0')
            {
                quote = c == quote ? '\0' : quote;
            }
            else if (c is '"' or '\'')
            {
                quote = c;
            }
            else if (c is '|' or '&' or ';' or '<' or '>' or '(' or ')' or '{' or '}' or '\n' or '`')
            {
                return false;
            }
        }

        // "NAME=VALUE command" is the shell's to set up.
        var words = command.Trim().Split((char[])[' ', '\t'], 2);
        return quote == '\0' && words[0].Length > 0 && !words[0].Contains('=') && words[0].IndexOfAny(['"', '\'', '$', '\\', '*', '?', '~']) < 0;
    }

    /// <summary>Commands that only a shell has.</summary>
    private static bool IsBuiltin(string name) => name is "exit" or "cd" or "ulimit" or "umask" or "wait" or "exec" or "eval" or "." or "set" or "export" or "trap" or "read" or ":";

    /// <summary>The program that a shell would start for a name.</summary>
    /// <exception cref="IOException">There is none.</exception>
    private static string PathOf(string name)
    {
        var found = "";
        foreach (var path in name.Contains('/') ? [name] : (Environment.GetEnvironmentVariable("PATH") ?? "/usr/bin:/bin").Split(':').Select(folder => Path.Combine(folder.Length == 0 ? "." : folder, name)))
        {
            if (File.Exists(path))
            {
                if (Libc.access(path, 1 /* X_OK */) == 0)
                {
                    return path;
                }

                found = path;
            }
        }

        throw new IOException(found.Length > 0 ? $"command \"{found}\" of -c may not be executed; make it executable (chmod +x), or name its interpreter" : $"command \"{name}\" of -c was not found; give its path");
    }

    private static string SignalName(int signal) => signal switch
    {
        1 => "Hangup",
        2 => "Interrupt",
        3 => "Quit",
        4 => "Illegal instruction",
        6 => "Aborted",
        7 => "Bus error",
        8 => "Floating point exception",
        9 => "Killed",
        11 => "Segmentation fault",
        13 => "Broken pipe",
        14 => "Alarm clock",
        15 => "Terminated",
        _ => "signal",
    };
}
